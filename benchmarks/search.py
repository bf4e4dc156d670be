"""What each search finds and costs: everywhere and guided, picture by picture, in turns in one process.

    python -m benchmarks.search [TRUTH] [--every N] [--threads N] [--lost] [--markdown FILE]

The seconds are the processor's, of all threads: finding, fusing, encoding and measuring, without decoding. A third run of
the guided search, at the lowest threshold, gives the rows of other thresholds. "Chosen" is the lowest threshold, in steps of
0.1, at which precision on every second picture, from the first on, is PRECISION or more; the rows are of the others.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pyraface.core.faces import Faces
from pyraface.core.parameters import DetectionParameters
from pyraface.core.pipeline import Pipeline

from . import truth as truths
from .common import PACKAGES, machine, packaged_parameters, today, versions
from .metrics import Found, Summary, Verdict, judge, summarize
from .truth import Picture

OVERLAP = 0.4
PRECISION = 0.985
LOWEST = -1.0
THRESHOLDS = tuple(round(-0.1 * step, 1) for step in range(10))

EVERYWHERE = DetectionParameters(search="everywhere")
GUIDED = DetectionParameters(search="guided")


@dataclass(frozen=True, eq=False)
class Seen:
    """What a search found in a picture, and the processor's seconds that it took."""

    faces: Faces
    seconds: float

    @property
    def found(self) -> Found:
        return Found(self.faces.boxes, self.faces.confidences)


@dataclass(frozen=True, eq=False)
class Kept:
    """What became of the true faces of the search everywhere in another.

    kept: how many it has, too; lost: where it lacks one: the picture's name, the box and the confidence; apart: how far the
    encodings of faces that both call comparable are apart.
    """

    kept: int
    lost: list[tuple[str, NDArray[np.float32], float]]
    apart: list[float]

    @property
    def share(self) -> float:
        return self.kept / max(1, self.kept + len(self.lost))


def look(pictures: Sequence[Picture], pipelines: dict[str, Pipeline]) -> dict[str, list[Seen]]:
    """Returns what each pipeline sees in every picture."""
    seen: dict[str, list[Seen]] = {name: [] for name in pipelines}
    for number, picture in enumerate(pictures, 1):
        print(f"\r\x1b[K{number}/{len(pictures)} {picture.name}", end="", file=sys.stderr, flush=True)
        for name, pipeline in pipelines.items():
            pixels = pipeline.decode(picture.path.read_bytes())
            if number == 1:
                pipeline.find(pixels)  # what happens only once is not what is measured
            begin = time.process_time()
            faces = pipeline.find(pixels)
            seen[name].append(Seen(faces, time.process_time() - begin))
    print(file=sys.stderr)
    return seen


def compared(pictures: Sequence[Picture], one: Sequence[Seen], other: Sequence[Seen]) -> Kept:
    """Returns which true faces of one search the other has."""
    kept, lost, apart = 0, [], []
    for picture, a, b in zip(pictures, one, other, strict=True):
        verdicts, faces = judge(picture.truth, a.found, OVERLAP)
        others, other_faces = judge(picture.truth, b.found, OVERLAP)
        for index in np.flatnonzero(verdicts == Verdict.RIGHT):
            same = np.flatnonzero((other_faces == faces[index]) & (others == Verdict.RIGHT))
            if not len(same):
                lost.append((picture.name, a.faces.boxes[index], float(a.faces.confidences[index])))
                continue
            kept += 1
            if a.faces.comparable[index] and b.faces.comparable[same[0]]:
                apart.append(float(np.linalg.norm(a.faces.encodings[index] - b.faces.encodings[same[0]])))
    return Kept(kept, lost, apart)


def summary(pictures: Sequence[Picture], seen: Sequence[Seen], threshold: float = -np.inf) -> Summary:
    pairs = [(picture.truth, one.found.above(threshold)) for picture, one in zip(pictures, seen, strict=True)]
    return summarize(pairs, overlap=OVERLAP)


def chosen(pictures: Sequence[Picture], seen: Sequence[Seen]) -> float:
    """Returns the lowest threshold at which this and every higher one is precise enough; 0 where none is."""
    best = 0.0
    for threshold in THRESHOLDS:
        if summary(pictures, seen, threshold).precision < PRECISION:
            break
        best = threshold
    return best


def table(pictures: list[Picture], seen: dict[str, list[Seen]], part: slice) -> Iterator[str]:
    """Yields a row a search, and a row a threshold of the guided one, of the pictures of a part."""
    some = pictures[part]
    everywhere = seen["everywhere"][part]
    yield (
        "| search | recall | precision | duplicates | false positives | of the true faces of everywhere, kept | their "
        "encodings are apart by (median) | CPU s an image, median | mean |"
    )
    yield "|---|--:|--:|--:|--:|--:|--:|--:|--:|"
    baseline = np.array([one.seconds for one in everywhere])
    for name in ("everywhere", "guided"):
        rows = seen[name][part]
        seconds = np.array([one.seconds for one in rows])
        costs = [
            f"{figure(seconds):.3f} (1/{figure(baseline) / figure(seconds):.1f})"
            for figure in (np.median, np.mean)
        ]
        yield _row(name, some, everywhere, rows, costs)
    for threshold in THRESHOLDS:
        rows = [
            replace(one, faces=one.faces[one.faces.confidences > threshold]) for one in seen["lowest"][part]
        ]
        yield _row(f"guided, from {threshold:g}", some, everywhere, rows, ["", ""])


def _row(
    name: str, pictures: list[Picture], everywhere: list[Seen], seen: list[Seen], costs: list[str]
) -> str:
    total, kept = summary(pictures, seen), compared(pictures, everywhere, seen)
    apart = f"{np.median(kept.apart):.3f}" if kept.apart else "-"
    cells = [
        f"{total.recall:.3f}",
        f"{total.precision:.3f}",
        f"{total.duplicates}",
        f"{total.wrong}",
        f"{kept.kept} of {kept.kept + len(kept.lost)} ({kept.share:.1%})",
        apart,
        *costs,
    ]
    return f"| {name} | {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.search", description=(__doc__ or "").partition("\n")[0]
    )
    truths.add_arguments(parser)
    parser.add_argument("--threads", type=int, default=0, help="of the onnx engine; 0: one a core")
    parser.add_argument("--lost", action="store_true", help="list the faces of everywhere that guided lacks")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="where to write the tables, too")
    options = parser.parse_args()
    try:
        pictures = truths.chosen(options)
    except truths.TruthError as error:
        parser.error(str(error))
    packaged = packaged_parameters()
    packaged = replace(packaged, daemon=replace(packaged.daemon, engine_threads=options.threads))
    lowest = replace(GUIDED, guided_threshold=LOWEST)
    pipelines = {
        name: Pipeline(replace(packaged, detection=detection), "onnx")
        for name, detection in (("everywhere", EVERYWHERE), ("guided", GUIDED), ("lowest", lowest))
    }
    seen = look(pictures, pipelines)
    lines = [f"{today()}; {machine()}; {versions(*PACKAGES)}"]
    for title, part in (
        ("All", slice(None)),
        ("Those that thresholds are chosen on", slice(None, None, 2)),
        ("The others", slice(1, None, 2)),
    ):
        if pictures[part]:
            lines += ["", f"{title}, {len(pictures[part])} pictures:", "", *table(pictures, seen, part)]
    lines += ["", f"Chosen: {chosen(pictures[::2], seen['lowest'][::2]):g}"]
    if options.lost:
        lines += ["", "Lost:", ""]
        for name, box, confidence in compared(pictures, seen["everywhere"], seen["guided"]).lost:
            lines.append(f"- {name}: {', '.join(f'{side:.0f}' for side in box)}, confidence {confidence:.2f}")
    print("\n".join(lines))
    if options.markdown:
        options.markdown.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
