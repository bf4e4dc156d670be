"""Metrics: the verdict on each detection against the truth, and the figures derived from it.

The protocol is WIDER FACE's (Yang et al., "WIDER FACE: A Face Detection Benchmark", 2016, and its evaluation code), which is
PASCAL VOC's with regions to ignore:

- Detections are judged the most confident first. Each belongs to the true face with which its intersection over union
  is largest, if that is at least `overlap`.
- The first that belongs to a face is right, every further one a duplicate. One that belongs to no face is wrong.
- One that belongs to an ignored face (invalid, or too small to ask for) is neither right nor wrong; nor is missing that
  face.

By size, the faces of the other sizes are ignored, and so are detections of other sizes that belong to no face. The size
of a box is its shorter side.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from pyraface.core import boxes as geometry
from pyraface.core.boxes import Boxes

SMALLEST_FACE = 10
"""Pixels: true faces smaller than this are ignored, as is usual with WIDER FACE."""

SIZES = ((10.0, 20.0), (20.0, 40.0), (40.0, 80.0), (80.0, np.inf))
"""Pixels: from, up to but without."""


class Verdict(IntEnum):
    """The verdict on a detection."""

    WRONG = 0
    RIGHT = 1
    DUPLICATE = 2
    IGNORED = 3


@dataclass(frozen=True, eq=False)
class Truth:
    """The faces of one image. boxes: (n, 4) float32, left, top, right, bottom; ignored: (n,) bool."""

    boxes: Boxes
    ignored: NDArray[np.bool_]

    def only(self, low: float, high: float) -> Truth:
        """Returns the same faces, those of other sizes than `low` up to `high` pixels ignored, too."""
        return Truth(self.boxes, self.ignored | ~within(self.boxes, low, high))


@dataclass(frozen=True, eq=False)
class Found:
    """What a detector found in one image. boxes: (n, 4) float32; scores: (n,) float32, higher is surer."""

    boxes: Boxes
    scores: NDArray[np.float32]

    def above(self, threshold: float) -> Found:
        """Returns what has at least this score."""
        kept = self.scores >= threshold
        return Found(self.boxes[kept], self.scores[kept])


def sizes(boxes: Boxes) -> NDArray[np.float32]:
    """Returns the shorter side of each box in pixels, (n,)."""
    shorter: NDArray[np.float32] = (boxes[:, 2:] - boxes[:, :2]).min(axis=1, initial=np.inf)
    return shorter


def within(boxes: Boxes, low: float, high: float) -> NDArray[np.bool_]:
    """Returns which boxes, (n,) bool, are `low` pixels large or larger, and smaller than `high`."""
    side = sizes(boxes)
    return (side >= low) & (side < high)


def judge(
    truth: Truth, found: Found, overlap: float, span: tuple[float, float] = (SMALLEST_FACE, np.inf)
) -> tuple[NDArray[np.int8], NDArray[np.intp]]:
    """Returns the `Verdict` of every detection, (n,), and the index of the true face it belongs to, (n,), -1 for none.

    Args:
        overlap: the least intersection over union with a true face.
        span: sizes in pixels that count, from and up to; the others are ignored.
    """
    truth = truth.only(*span)
    verdicts = np.full(len(found.boxes), Verdict.WRONG, np.int8)
    faces = np.full(len(found.boxes), -1, np.intp)
    other_size = (
        ~within(found.boxes, *span) if span != (SMALLEST_FACE, np.inf) else np.zeros(len(faces), bool)
    )
    verdicts[other_size] = Verdict.IGNORED
    if not len(truth.boxes):
        return verdicts, faces
    overlaps = geometry.iou(found.boxes, truth.boxes)
    taken = np.zeros(len(truth.boxes), bool)
    for index in np.argsort(-found.scores, kind="stable"):
        face = int(overlaps[index].argmax())
        if overlaps[index, face] < overlap:
            continue
        faces[index] = face
        if truth.ignored[face]:
            verdicts[index] = Verdict.IGNORED
        else:
            verdicts[index] = Verdict.DUPLICATE if taken[face] else Verdict.RIGHT
            taken[face] = True
    return verdicts, faces


@dataclass(frozen=True, eq=False)
class Curve:
    """Precision and recall at every distinct score, the highest first; each (n,)."""

    scores: NDArray[np.float32]
    precision: NDArray[np.float64]
    recall: NDArray[np.float64]

    @property
    def average_precision(self) -> float:
        """The area under the curve after every precision is raised to the best at an equal or higher recall.

        (PASCAL VOC from 2010 on, and WIDER FACE but for its 1000 steps of score.) NaN where there are no faces.
        """
        if np.isnan(self.recall).any():
            return float("nan")
        best = np.maximum.accumulate(self.precision[::-1])[::-1]
        return float((np.diff(self.recall, prepend=0.0) * best).sum())


@dataclass(frozen=True)
class Summary:
    """The figures of a detector on a set of images, at one overlap and span of sizes.

    faces: true ones that count; right, wrong, duplicates: detections; curve: over their scores.
    """

    images: int
    faces: int
    right: int
    wrong: int
    duplicates: int
    curve: Curve

    @property
    def recall(self) -> float:
        return _share(self.right, self.faces)

    @property
    def precision(self) -> float:
        return _share(self.right, self.right + self.wrong + self.duplicates)

    @property
    def average_precision(self) -> float:
        return self.curve.average_precision if self.faces else float("nan")


def summarize(
    pairs: Iterable[tuple[Truth, Found]],
    *,
    overlap: float,
    threshold: float = -np.inf,
    span: tuple[float, float] = (SMALLEST_FACE, np.inf),
) -> Summary:
    """Returns the figures of the detections in a set of images.

    Args:
        pairs: an image's truth and what was found in it.
        overlap: the least intersection over union with a true face.
        threshold: right, wrong and duplicates count from this score on; the curve goes below it.
        span: sizes in pixels that count, from and up to.
    """
    images = faces = 0
    scores: list[NDArray[np.float32]] = [np.zeros(0, np.float32)]
    verdicts: list[NDArray[np.int8]] = [np.zeros(0, np.int8)]
    for truth, found in pairs:
        images += 1
        faces += int((~truth.only(*span).ignored).sum())
        verdict, _ = judge(truth, found, overlap, span)
        scores.append(found.scores)
        verdicts.append(verdict)
    score, verdict = np.concatenate(scores), np.concatenate(verdicts)
    score, verdict = score[verdict != Verdict.IGNORED], verdict[verdict != Verdict.IGNORED]
    counted = verdict[score >= threshold]
    return Summary(
        images,
        faces,
        int((counted == Verdict.RIGHT).sum()),
        int((counted == Verdict.WRONG).sum()),
        int((counted == Verdict.DUPLICATE).sum()),
        curve(score, verdict == Verdict.RIGHT, faces),
    )


def curve(scores: NDArray[np.float32], right: NDArray[np.bool_], faces: int) -> Curve:
    """Returns precision and recall over the scores of detections, (n,) each, of so many true faces."""
    order = np.argsort(-scores, kind="stable")
    scores, right = scores[order], right[order]
    # detections of one score come and go together
    last = (
        np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1) if len(scores) else np.zeros(0, np.intp)
    )
    hits = np.cumsum(right)[last]
    precision = hits / (last + 1)
    recall = hits / faces if faces else np.full(len(last), np.nan)
    return Curve(scores[last], precision, recall)


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")
