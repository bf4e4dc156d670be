"""Runs both engines over real photographs and prints, as Markdown, where they agree and where they do not.

    python -m benchmarks.parity [PHOTOS] [--megapixels 0.48] [--threads 0]

Every picture is shrunk to the pixel budget, goes through both engines one after the other, and both encode the boxes that
dlib found, so that a difference in an encoding is the encoder's own. A row of the table is a folder in PHOTOS.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pyraface.core import boxes, images
from pyraface.core.engines import Detections, Engine, Pixels, start
from pyraface.core.errors import ImageError
from pyraface.core.parameters import ImageLimits

from .common import PACKAGES, machine, photos_folder, timed, today, versions

SUFFIXES = {".jpg", ".jpeg", ".png", ".gif", ".webp", ".heic", ".heif", ".avif", ".tif", ".tiff", ".bmp"}
SAME_FACE = 0.5
"""Intersection over union from which two boxes count as one face."""
BOX_TOLERANCE, CONFIDENCE_TOLERANCE, ENCODING_TOLERANCE = 1.0, 1e-3, 1e-4
"""Pixels, score, Euclidean distance: a face that differs by more is listed."""


@dataclass
class Row:
    """What the engines said of one folder."""

    photographs: int = 0
    unreadable: int = 0
    faces: dict[str, int] = field(default_factory=lambda: {"dlib": 0, "onnx": 0})
    seconds: dict[str, float] = field(default_factory=lambda: {"dlib": 0.0, "onnx": 0.0})
    box: float = 0.0
    voted: float = 0.0
    confidence: float = 0.0
    encoding: float = 0.0

    def add(self, other: Row) -> None:
        self.photographs += other.photographs
        self.unreadable += other.unreadable
        for name in self.faces:
            self.faces[name] += other.faces[name]
            self.seconds[name] += other.seconds[name]
        self.box = max(self.box, other.box)
        self.voted = max(self.voted, other.voted)
        self.confidence = max(self.confidence, other.confidence)
        self.encoding = max(self.encoding, other.encoding)

    def cells(self) -> Iterator[str]:
        yield str(self.photographs)
        yield str(self.unreadable)
        yield f"{self.faces['dlib']} / {self.faces['onnx']}"
        yield f"{self.box:.0f} px"
        yield f"{self.voted:.1e} px"
        yield f"{self.confidence:.1e}"
        yield f"{self.encoding:.1e}"
        speeds = [self.photographs / self.seconds[name] if self.seconds[name] else 0 for name in self.seconds]
        yield f"{speeds[0]:.2f} / {speeds[1]:.2f}"
        yield f"{speeds[1] / speeds[0]:.0f}x" if speeds[0] else "-"


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare the engines on real photographs.")
    parser.add_argument("photos", nargs="?", type=Path, default=photos_folder(), help="a folder of folders")
    parser.add_argument("--megapixels", type=float, default=0.48, help="larger pictures are shrunk to this")
    parser.add_argument("--threads", type=int, default=0, help="of the onnx engine; 0: one a core")
    arguments = parser.parse_args()
    if not arguments.photos.is_dir():
        parser.error(f"{arguments.photos} is no folder")

    engines = {"dlib": start("dlib"), "onnx": start("onnx", threads=arguments.threads)}
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
        pixels = shrunk(images.decode(path.read_bytes(), ImageLimits()).pixels, megapixels)
    except ImageError:
        row.unreadable = 1
        return row, differences
    row.photographs = 1
    found: dict[str, Detections] = {}
    encodings: dict[str, NDArray[np.float32]] = {}
    for name, engine in engines.items():
        seconds, [found[name]] = timed(partial(engine.detect, [pixels]))
        row.seconds[name] += seconds
        row.faces[name] = len(found[name].boxes)
    for name, engine in engines.items():
        seconds, encodings[name] = timed(partial(engine.encode, pixels, found["dlib"].boxes))
        row.seconds[name] += seconds

    dlib, onnx = found["dlib"], found["onnx"]
    pairs = matched(dlib, onnx)
    for i in sorted(set(range(len(dlib.boxes))) - {i for i, _ in pairs}):
        differences.append(f"dlib alone: {shown(dlib, i)}")
    for j in sorted(set(range(len(onnx.boxes))) - {j for _, j in pairs}):
        differences.append(f"onnx alone: {shown(onnx, j)}")
    for i, j in pairs:
        box = float(np.abs(dlib.boxes[i] - onnx.boxes[j]).max())
        voted = float(np.abs(dlib.voted[i] - onnx.voted[j]).max())
        confidence = float(abs(dlib.confidences[i] - onnx.confidences[j]))
        encoding = float(np.linalg.norm(encodings["dlib"][i] - encodings["onnx"][i]))
        row.box, row.voted = max(row.box, box), max(row.voted, voted)
        row.confidence, row.encoding = max(row.confidence, confidence), max(row.encoding, encoding)
        if (
            max(box, voted) > BOX_TOLERANCE
            or confidence > CONFIDENCE_TOLERANCE
            or encoding > ENCODING_TOLERANCE
        ):
            what = f"boxes {box:.0f} px (voted {voted:.1e}), confidences {confidence:.1e}, encodings {encoding:.1e} apart"
            differences.append(f"{what}: dlib {shown(dlib, i)}, onnx {shown(onnx, j)}")
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
    yield f"{today()}; {machine()}"
    yield ""
    for engine in engines.values():
        yield f"- {engine.name}: {engine.device}; {engine.fingerprint}"
    yield f"- {versions(*PACKAGES)}"
    yield f"- pictures above {megapixels} Mpx are shrunk to that; seconds are of detection and encoding"
    yield ""
    yield (
        "| photographs in | read | unreadable | faces dlib / onnx | boxes differ by | voted by | confidences by "
        "| encodings by | images/s dlib / onnx | ratio |"
    )
    yield "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|"
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
