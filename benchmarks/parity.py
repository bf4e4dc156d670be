"""Parity: two engines over real photographs, with the faces on which they agree and differ, as Markdown.

    python -m benchmarks.parity [PHOTOS] [--engines dlib,onnx] [--megapixels 0.48] [--threads 0]

Engines are dlib; onnx; and float32, which is onnx without screening in integers. Every picture is shrunk to the pixel
budget, and goes through both one after the other. "encodings" is of both for the boxes that the first found, so that a
difference is the encoder's own; "their own", of each for its own boxes, as the pipeline has them. A row of the table is a
folder in PHOTOS.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pyraface.core import boxes
from pyraface.core.engines import Detections, Engine, EngineOptions, Pixels, start
from pyraface.core.errors import ImageError
from pyraface.core.images.decode import decode
from pyraface.core.parameters import ImageLimits

from .common import PACKAGES, machine, photos_folder, timed, today, versions

SUFFIXES = {".jpg", ".jpeg", ".png", ".gif", ".webp", ".heic", ".heif", ".avif", ".tif", ".tiff", ".bmp"}
SAME_FACE = 0.5
"""Intersection over union from which two boxes count as one face."""
BOX_TOLERANCE, CONFIDENCE_TOLERANCE, ENCODING_TOLERANCE = 1.0, 1e-3, 1e-4
"""Pixels, score, Euclidean distance: a face that differs by more is listed."""


ENGINES: dict[str, Callable[[int], Engine]] = {
    "dlib": lambda _: start("dlib"),
    "onnx": lambda threads: start("onnx", EngineOptions(threads=threads)),
    "float32": lambda threads: start("onnx", EngineOptions(threads=threads, screened=False)),
}


@dataclass
class Row:
    """What two engines said of one folder; pairs are of the first and the second."""

    photographs: int = 0
    unreadable: int = 0
    faces: list[int] = field(default_factory=lambda: [0, 0])
    seconds: list[float] = field(default_factory=lambda: [0.0, 0.0])
    alone: list[int] = field(default_factory=lambda: [0, 0])
    box: float = 0.0
    voted: float = 0.0
    confidence: float = 0.0
    encoding: float = 0.0
    own_encoding: float = 0.0

    def add(self, other: Row) -> None:
        self.photographs += other.photographs
        self.unreadable += other.unreadable
        for side in (0, 1):
            self.faces[side] += other.faces[side]
            self.seconds[side] += other.seconds[side]
            self.alone[side] += other.alone[side]
        self.box = max(self.box, other.box)
        self.voted = max(self.voted, other.voted)
        self.confidence = max(self.confidence, other.confidence)
        self.encoding = max(self.encoding, other.encoding)
        self.own_encoding = max(self.own_encoding, other.own_encoding)

    def cells(self) -> Iterator[str]:
        yield str(self.photographs)
        yield str(self.unreadable)
        yield f"{self.faces[0]} / {self.faces[1]}"
        yield f"{self.alone[0]} / {self.alone[1]}"
        yield f"{self.box:.0f} px"
        yield f"{self.voted:.1e} px"
        yield f"{self.confidence:.1e}"
        yield f"{self.encoding:.1e}"
        yield f"{self.own_encoding:.1e}"
        first, second = (self.photographs / seconds if seconds else 0 for seconds in self.seconds)
        yield f"{first:.2f} / {second:.2f}"
        yield f"{second / first:.3g}x" if first else "-"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.parity", description="Compare two engines on real photographs."
    )
    parser.add_argument("photos", nargs="?", type=Path, default=photos_folder(), help="a folder of folders")
    parser.add_argument("--engines", default="dlib,onnx", help=f"two of {', '.join(ENGINES)}")
    parser.add_argument("--megapixels", type=float, default=0.48, help="larger pictures are shrunk to this")
    parser.add_argument(
        "--threads", type=int, default=0, help="threads of the onnx engine; 0: one for each core"
    )
    arguments = parser.parse_args()
    names = arguments.engines.split(",")
    if not arguments.photos.is_dir():
        parser.error(f"{arguments.photos} is no folder")
    if len(set(names) & set(ENGINES)) != 2 or len(names) != 2:
        parser.error(f"--engines takes two of {', '.join(ENGINES)}, not {arguments.engines}")

    engines = {name: ENGINES[name](arguments.threads) for name in names}
    rows: dict[str, Row] = {}
    cases: list[str] = []
    paths = sorted(path for path in arguments.photos.rglob("*") if path.suffix.lower() in SUFFIXES)
    for number, path in enumerate(paths, 1):
        name = str(path.relative_to(arguments.photos))
        print(f"\r\x1b[K{number}/{len(paths)} {name}", end="", file=sys.stderr, flush=True)
        row, differences = compare(engines, path, arguments.megapixels)
        folder = path.relative_to(arguments.photos).parts[0] if path.parent != arguments.photos else "."
        rows.setdefault(folder, Row()).add(row)
        cases.extend(f"{name}: {difference}" for difference in differences)
    print(file=sys.stderr)
    print("\n".join(report(engines, rows, cases, arguments.megapixels)))


def compare(engines: dict[str, Engine], path: Path, megapixels: float) -> tuple[Row, list[str]]:
    """Returns one photograph's numbers, and a line for each face on which the engines do not agree."""
    row, differences = Row(), list[str]()
    try:
        pixels = shrunk(decode(path.read_bytes(), ImageLimits()).pixels, megapixels)
    except ImageError:
        row.unreadable = 1
        return row, differences
    row.photographs = 1
    found: list[Detections] = []
    own: list[NDArray[np.float32]] = []
    for side, engine in enumerate(engines.values()):
        row.seconds[side], detections = timed(partial(engine.detect, [pixels]))
        found += detections
        row.faces[side] = len(detections[0].boxes)
    for side, engine in enumerate(engines.values()):
        seconds, encodings = timed(partial(engine.encode, pixels, found[side].voted))
        row.seconds[side] += seconds
        own.append(encodings)
    same = [engine.encode(pixels, found[0].boxes) for engine in engines.values()]

    first, second = found
    pairs = matched(first, second)
    alone = (
        sorted(set(range(len(first.boxes))) - {i for i, _ in pairs}),
        sorted(set(range(len(second.boxes))) - {j for _, j in pairs}),
    )
    row.alone = [len(indices) for indices in alone]
    for name, detected, indices in zip(engines, found, alone, strict=True):
        differences += [f"{name} alone: {shown(detected, index)}" for index in indices]
    for i, j in pairs:
        box = float(np.abs(first.boxes[i] - second.boxes[j]).max())
        voted = float(np.abs(first.voted[i] - second.voted[j]).max())
        confidence = float(abs(first.confidences[i] - second.confidences[j]))
        encoding = float(np.linalg.norm(same[0][i] - same[1][i]))
        own_encoding = float(np.linalg.norm(own[0][i] - own[1][j]))
        row.box, row.voted = max(row.box, box), max(row.voted, voted)
        row.confidence, row.encoding = max(row.confidence, confidence), max(row.encoding, encoding)
        row.own_encoding = max(row.own_encoding, own_encoding)
        if (
            max(box, voted) > BOX_TOLERANCE
            or confidence > CONFIDENCE_TOLERANCE
            or encoding > ENCODING_TOLERANCE
        ):
            what = f"boxes {box:.0f} px (voted {voted:.1e}), confidences {confidence:.1e}, encodings {encoding:.1e} apart"
            one, other = engines
            differences.append(f"{what}: {one} {shown(first, i)}, {other} {shown(second, j)}")
    return row, differences


def shrunk(pixels: Pixels, megapixels: float) -> Pixels:
    """Returns the picture at no more than so many megapixels."""
    height, width = pixels.shape[:2]
    factor = (megapixels * 1e6 / (height * width)) ** 0.5
    if factor >= 1:
        return pixels
    size = (max(1, int(width * factor)), max(1, int(height * factor)))
    return np.ascontiguousarray(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS))


def matched(a: Detections, b: Detections) -> list[tuple[int, int]]:
    """Returns (index in a, index in b) of the boxes that are one face, each used once, the best matches first."""
    overlaps = boxes.iou(a.boxes, b.boxes)
    pairs: list[tuple[int, int]] = []
    while overlaps.size and overlaps.max() >= SAME_FACE:
        i, j = divmod(int(overlaps.argmax()), overlaps.shape[1])
        pairs.append((i, j))
        overlaps[i, :] = overlaps[:, j] = 0
    return pairs


def shown(found: Detections, index: int) -> str:
    left, top, right, bottom = found.boxes[index].astype(int).tolist()
    return f"{left},{top},{right},{bottom} ({found.confidences[index]:.5f})"


def report(
    engines: dict[str, Engine], rows: dict[str, Row], cases: list[str], megapixels: float
) -> Iterator[str]:
    """Yields the lines of the report."""
    first, second = engines
    yield f"{today()}; {machine()}"
    yield ""
    for name, engine in engines.items():
        yield f"- {name}: {engine.device}; {engine.libraries}"
    yield f"- {versions(*PACKAGES)}"
    yield f"- pictures above {megapixels} Mpx are shrunk to that; seconds are of detection and encoding"
    yield ""
    yield (
        f"| photographs in | read | unreadable | faces {first} / {second} | found by one alone | boxes differ by | voted by "
        f"| confidences by | encodings by | their own by | images/s {first} / {second} | ratio |"
    )
    yield "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|"
    total = Row()
    for name, row in rows.items():
        total.add(row)
        yield f"| {name} | {' | '.join(row.cells())} |"
    yield f"| **all** | {' | '.join(total.cells())} |"
    yield ""
    yield (
        f"Faces that only one engine found, or whose boxes differ by more than {BOX_TOLERANCE:.0f} px, confidences by "
        f"more than {CONFIDENCE_TOLERANCE} or encodings by more than {ENCODING_TOLERANCE}: {len(cases)}"
    )
    yield from (f"- {case}" for case in cases)


if __name__ == "__main__":
    main()
