"""Search: accuracy and processor time of each search, beside face_recognition's two detectors, picture by picture.

    python -m benchmarks.search [TRUTH] [--every N] [--threads N] [--lost] [--markdown FILE] [--plot FILE]

All take turns in one process. The seconds are the processor's, of all threads: finding, fusing, encoding and measuring,
without decoding. face_recognition's CNN is run by the onnx engine, which gives its boxes and not its speed; its default
(HOG) is that library itself, and encodes, too. Another run of the guided search, at the lowest threshold, gives the table of
thresholds and the curve below the default. "Chosen" is the lowest threshold, in steps of 0.1, at which precision on every
second picture, from the first on, is PRECISION or more at it and at every higher one.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pyraface.core.engines import EngineOptions, start
from pyraface.core.faces import Faces
from pyraface.core.images.decode import Picture as Pixels
from pyraface.core.images.decode import decode
from pyraface.core.parameters import SEARCHES, ImageLimits

from . import drawings
from . import truth as truths
from .common import CNN, HOG, PACKAGES, machine, searching, today, versions
from .detectors import Detector, FaceRecognition, Hog
from .metrics import SIZES, SMALLEST_FACE, Found, Summary, Verdict, judge, summarize
from .reference import face_recognition
from .truth import Picture

OVERLAP = 0.4
PRECISION = 0.985
LOWEST = -1.0
THRESHOLDS = (0.0, -0.1, -0.2, -0.3, -0.4, -0.5, -0.6, -0.7, -0.8, -0.9)

LOWEST_GUIDED = "guided, lowest"


class Program(Protocol):
    """Something that finds faces: a `Pipeline`, or `Theirs`."""

    def decode(self, image: bytes) -> Pixels: ...

    def find(self, picture: Pixels) -> Faces | Found: ...


class Theirs:
    """face_recognition on its defaults.

    Args:
        encodes: whether it encodes the faces above its threshold, too, as everybody does who calls it.
    """

    def __init__(self, detector: Detector, *, encodes: bool) -> None:
        self._detector = detector
        self._encodes = encodes

    def decode(self, image: bytes) -> Pixels:
        return decode(image, ImageLimits())

    def find(self, picture: Pixels) -> Found:
        found = self._detector.detect(picture)
        if self._encodes:
            boxes = found.above(self._detector.threshold).boxes.astype(int).tolist()
            places = [(top, right, bottom, left) for left, top, right, bottom in boxes]
            face_recognition.face_encodings(picture.pixels, places)
        return found


@dataclass(frozen=True, eq=False)
class Seen:
    """What a program found in a picture, and the processor's seconds that it took. faces: where it was pyraface."""

    found: Found
    seconds: float
    faces: Faces | None

    def above(self, threshold: float) -> Seen:
        return replace(self, found=self.found.above(threshold), faces=None)


@dataclass(frozen=True, eq=False)
class Kept:
    """What became of the true faces of the search everywhere in another.

    kept: how many it has, too; lost: where it lacks one: the picture's name, the box and the confidence; apart: how far the
    encodings of faces that both call comparable are apart.
    """

    kept: int
    lost: list[tuple[str, NDArray[np.float32], float]]
    apart: list[float]

    def __str__(self) -> str:
        every = self.kept + len(self.lost)
        return f"{self.kept} of {every} ({self.kept / max(1, every):.1%})"


def look(pictures: Sequence[Picture], programs: dict[str, Program]) -> dict[str, list[Seen]]:
    """Returns what each program sees in every picture."""
    seen: dict[str, list[Seen]] = {name: [] for name in programs}
    for number, picture in enumerate(pictures, 1):
        print(f"\r\x1b[K{number}/{len(pictures)} {picture.name}", end="", file=sys.stderr, flush=True)
        for name, program in programs.items():
            pixels = program.decode(picture.path.read_bytes())
            if number == 1:
                program.find(pixels)  # what happens only once is not what is measured
            begin = time.process_time()
            found = program.find(pixels)
            seconds = time.process_time() - begin
            if isinstance(found, Faces):
                seen[name].append(Seen(Found(found.boxes, found.confidences), seconds, found))
            else:
                seen[name].append(Seen(found, seconds, None))
    print(file=sys.stderr)
    return seen


def compared(pictures: Sequence[Picture], one: Sequence[Seen], other: Sequence[Seen]) -> Kept:
    """Returns which true faces of one program another has."""
    kept, lost, apart = 0, [], []
    for picture, a, b in zip(pictures, one, other, strict=True):
        verdicts, faces = judge(picture.truth, a.found, OVERLAP)
        others, other_faces = judge(picture.truth, b.found, OVERLAP)
        for index in np.flatnonzero(verdicts == Verdict.RIGHT):
            same = np.flatnonzero((other_faces == faces[index]) & (others == Verdict.RIGHT))
            if not len(same):
                lost.append((picture.name, a.found.boxes[index], float(a.found.scores[index])))
                continue
            kept += 1
            if a.faces is None or b.faces is None:
                continue
            if a.faces.comparable[index] and b.faces.comparable[same[0]]:
                apart.append(float(np.linalg.norm(a.faces.encodings[index] - b.faces.encodings[same[0]])))
    return Kept(kept, lost, apart)


def summary(
    pictures: Sequence[Picture],
    seen: Sequence[Seen],
    threshold: float = -np.inf,
    span: tuple[float, float] = (SMALLEST_FACE, np.inf),
) -> Summary:
    pairs = [(picture.truth, one.found.above(threshold)) for picture, one in zip(pictures, seen, strict=True)]
    return summarize(pairs, overlap=OVERLAP, span=span)


def chosen(pictures: Sequence[Picture], seen: Sequence[Seen]) -> float:
    """Returns the lowest threshold at which this and every higher one is precise enough; 0 where none is."""
    best = 0.0
    for threshold in THRESHOLDS:
        if summary(pictures, seen, threshold).precision < PRECISION:
            break
        best = threshold
    return best


def table(pictures: list[Picture], seen: dict[str, list[Seen]], part: slice) -> Iterator[str]:
    """Yields a row a program, of the pictures of a part."""
    some, everywhere = pictures[part], seen["everywhere"][part]
    yield (
        "| | recall | precision | duplicates | false positives | of the true faces of everywhere, kept | their encodings "
        "are apart by (median) | CPU s an image, median | mean |"
    )
    yield "|---|--:|--:|--:|--:|--:|--:|--:|--:|"
    baseline = np.array([one.seconds for one in everywhere])
    for name in (*SEARCHES, HOG, CNN):
        rows = seen[name][part]
        total, kept = (
            summary(some, at_default(name, rows)),
            compared(some, everywhere, at_default(name, rows)),
        )
        seconds = np.array([one.seconds for one in rows])
        costs = [
            f"{figure(seconds):.3f} (1/{figure(baseline) / figure(seconds):.1f})"
            for figure in (np.median, np.mean)
        ]
        cells = [
            f"{total.recall:.3f}",
            f"{total.precision:.3f}",
            f"{total.duplicates}",
            f"{total.wrong}",
            f"{kept}",
            f"{np.median(kept.apart):.3f}" if kept.apart else "-",
            *(["-", "-"] if name == CNN else costs),
        ]
        yield f"| {name} | {' | '.join(cells)} |"


def at_default(name: str, seen: Sequence[Seen]) -> list[Seen]:
    """Returns what was seen from the program's own default threshold on."""
    return [one.above(Hog.threshold) for one in seen] if name == HOG else list(seen)


def by_size(pictures: list[Picture], seen: dict[str, list[Seen]]) -> Iterator[str]:
    """Yields a row a program: the recall of faces of each size, and how many are missed in all."""
    names = [f"{low:g} px and more" if np.isinf(high) else f"{low:g} to {high:g} px" for low, high in SIZES]
    counts = [summary(pictures, seen["everywhere"], span=span).faces for span in SIZES]
    heads = [f"{name} ({count} faces)" for name, count in zip(names, counts, strict=True)]
    yield f"| recall | {' | '.join(heads)} | missed, of {sum(counts)} |"
    yield f"|---|{'--:|' * (len(SIZES) + 1)}"
    for name in (*SEARCHES, HOG, CNN):
        rows = at_default(name, seen[name])
        each = [summary(pictures, rows, span=span) for span in SIZES]
        whole = summary(pictures, rows)
        cells = [*(f"{one.recall:.3f}" for one in each), f"{whole.faces - whole.right}"]
        yield f"| {name} | {' | '.join(cells)} |"


def thresholds(pictures: list[Picture], seen: dict[str, list[Seen]]) -> Iterator[str]:
    """Yields a row a threshold of the guided search: the pictures that it is chosen on, and the others."""
    parts = ("the choosing half", slice(None, None, 2)), ("the other half", slice(1, None, 2))
    heads = [f"{name}: recall | precision | duplicates | false positives" for name, _ in parts]
    yield f"| guided, from | {' | '.join(heads)} | of the true faces of everywhere, kept (all) |"
    yield "|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|"
    for threshold in THRESHOLDS:
        cells = []
        for _, part in parts:
            total = summary(pictures[part], seen[LOWEST_GUIDED][part], threshold)
            cells += [
                f"{total.recall:.3f}",
                f"{total.precision:.3f}",
                f"{total.duplicates}",
                f"{total.wrong}",
            ]
        rows = [one.above(threshold) for one in seen[LOWEST_GUIDED]]
        yield f"| {threshold:g} | {' | '.join(cells)} | {compared(pictures, seen['everywhere'], rows)} |"


def drawn(pictures: list[Picture], seen: dict[str, list[Seen]]) -> Iterator[drawings.Series]:
    """Yields the curve of each program, and its default on it."""
    for name in (*SEARCHES, HOG, CNN):
        default = summary(pictures, at_default(name, seen[name]))
        every = summary(pictures, seen[LOWEST_GUIDED if name == "guided" else name])
        yield drawings.Series(name, every.curve, (default.recall, default.precision))


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.search", description=(__doc__ or "").partition("\n")[0]
    )
    truths.add_arguments(parser)
    parser.add_argument("--threads", type=int, default=0, help="of the onnx engine; 0: one a core")
    parser.add_argument("--lost", action="store_true", help="list the faces of everywhere that guided lacks")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="where to write the tables, too")
    parser.add_argument(
        "--plot", type=Path, metavar="FILE", help="draw the curves to this file (needs matplotlib)"
    )
    options = parser.parse_args()
    try:
        pictures = truths.chosen(options)
    except truths.TruthError as error:
        parser.error(str(error))
    engine = start("onnx", EngineOptions(threads=options.threads))
    programs: dict[str, Program] = {name: searching(name, threads=options.threads) for name in SEARCHES}
    programs[LOWEST_GUIDED] = searching("guided", threads=options.threads, guided_threshold=LOWEST)
    programs[HOG] = Theirs(Hog(HOG), encodes=True)
    programs[CNN] = Theirs(FaceRecognition(CNN, engine, 1), encodes=False)
    seen = look(pictures, programs)
    lines = [f"{today()}; {machine()}; {versions(*PACKAGES)}"]
    for title, part in (
        ("All", slice(None)),
        ("The half that thresholds are chosen on", slice(None, None, 2)),
        ("The other half", slice(1, None, 2)),
    ):
        if pictures[part]:
            lines += ["", f"{title}, {len(pictures[part])} pictures:", "", *table(pictures, seen, part)]
    lines += ["", *by_size(pictures, seen), "", *thresholds(pictures, seen)]
    lines += ["", f"Chosen: {chosen(pictures[::2], seen[LOWEST_GUIDED][::2]):g}"]
    if options.lost:
        lines += ["", "Lost:", ""]
        for name, box, confidence in compared(pictures, seen["everywhere"], seen["guided"]).lost:
            lines.append(f"- {name}: {', '.join(f'{side:.0f}' for side in box)}, confidence {confidence:.2f}")
    print("\n".join(lines))
    if options.markdown:
        options.markdown.write_text("\n".join(lines) + "\n")
    if options.plot:
        drawings.curves(
            list(drawn(pictures, seen)), options.plot, f"{len(pictures)} photographs, IoU {OVERLAP}"
        )


if __name__ == "__main__":
    main()
