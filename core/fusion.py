"""Fusion: the candidates of all levels and tiles deduplicated, so that each face remains exactly once.

The intersection over union of two boxes and the thresholds in parameters.xml (`fusion`) decide whether they are one face:

1. At least `same_overlap`: one face.
2. Less than `doubtful_overlap`: two faces, even of one person: twins, a mirror, a poster behind a head.
3. In between the boxes leave doubt, and the encodings decide: one face if their distance is below `encoding_distance`.

A face seen in several tiles and levels has nearly the same box in all of them, even in a tile with half of it, because a
box may leave its tile (`Detections.voted`). Doubt is therefore rare: a wrong size, or cheeks that touch. docs/accuracy.md
has the figures.

Candidates are ranked by confidence. Each in turn is kept unless a kept one is the same face (greedy non-maximum
suppression), so the result depends neither on the order of tiles nor on the time they took.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from . import boxes
from .faces import Faces
from .parameters import FusionParameters


def doubtful(candidates: Faces, parameters: FusionParameters) -> NDArray[np.bool_]:
    """Returns which candidates, (n,) bool, overlap another so that only encodings tell whether they are one face."""
    return np.asarray(_doubt(_overlaps(candidates), parameters).any(axis=1), np.bool_)


def fuse(candidates: Faces, parameters: FusionParameters) -> Faces:
    """Returns each face once, the most confident first.

    Args:
        candidates: of all levels, in the frame of the image; the candidates that `doubtful` names have their encodings.

    Raises:
        ValueError: a doubtful candidate has no encoding.
    """
    overlaps = _overlaps(candidates)
    rows, columns = np.nonzero(_doubt(overlaps, parameters))
    if not candidates.encoded[rows].all():
        raise ValueError("every doubtful candidate needs an encoding")
    same = overlaps >= parameters.same_overlap
    apart = np.linalg.norm(candidates.encodings[rows] - candidates.encodings[columns], axis=1)
    same[rows, columns] = apart < parameters.encoding_distance

    kept: list[int] = []
    for candidate in _ranked(candidates):
        if not same[candidate, kept].any():
            kept.append(int(candidate))
    return candidates[np.array(kept, np.intp)]


def _ranked(candidates: Faces) -> NDArray[np.intp]:
    """Confident first; ties go by level and box, so the order is the same every time."""
    left, top, right, bottom = candidates.boxes.T
    return np.lexsort((right, bottom, left, top, candidates.levels, -candidates.confidences))


def _overlaps(candidates: Faces) -> NDArray[np.float32]:
    return boxes.iou(candidates.boxes, candidates.boxes)


def _doubt(overlaps: NDArray[np.float32], parameters: FusionParameters) -> NDArray[np.bool_]:
    """(n, n) bool: pairs that the boxes alone do not decide; never a candidate with itself."""
    doubt = (overlaps >= parameters.doubtful_overlap) & (overlaps < parameters.same_overlap)
    np.fill_diagonal(doubt, False)
    return doubt
