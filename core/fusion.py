"""The candidates of all levels and tiles become faces, each exactly once.

Two boxes are the same face, or two faces, by these rules, with the thresholds of parameters.xml (`fusion`):

1. Their intersection over union is at least `same_overlap`: one face.
2. One of them is cut at a seam between tiles, and most of it lies inside the other: one face, half of it seen twice.
3. Their intersection over the smaller box is below `doubtful_overlap`: two faces.
4. In between the boxes leave doubt, and the encodings decide: one face if their distance is below `encoding_distance`.

Candidates are ranked: whole ones before cut ones, then by confidence. Each in turn is kept unless a kept one is the
same face (greedy non-maximum suppression), so the result depends neither on the order of tiles nor on the time they
took.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from . import boxes
from .faces import Faces
from .parameters import FusionParameters


def doubtful(candidates: Faces, cut: NDArray[np.bool_], parameters: FusionParameters) -> NDArray[np.bool_]:
    """Returns which candidates, (n,) bool, overlap another so that only encodings tell whether they are one face."""
    return _any(_doubtful_pairs(candidates, cut, parameters))


def fuse(candidates: Faces, cut: NDArray[np.bool_], parameters: FusionParameters) -> Faces:
    """Returns each face once, the whole and most confident first.

    Args:
        candidates: of all levels, in the frame of the image; those that `doubtful` names have their encodings.
        cut: (n,) bool: boxes that end at a seam between tiles (`pyramid.cut`).

    Raises:
        ValueError: a doubtful candidate has no encoding.
    """
    pairs = _doubtful_pairs(candidates, cut, parameters)
    if (_any(pairs) & ~candidates.encoded).any():
        raise ValueError("every doubtful candidate needs an encoding")
    same = _certain_pairs(candidates, cut, parameters)
    rows, columns = np.nonzero(pairs)
    apart = np.linalg.norm(candidates.encodings[rows] - candidates.encodings[columns], axis=1)
    same[rows, columns] = apart < parameters.encoding_distance

    kept: list[int] = []
    for candidate in _ranked(candidates, cut):
        if not same[candidate, kept].any():
            kept.append(int(candidate))
    return candidates[np.array(kept, np.intp)]


def _ranked(candidates: Faces, cut: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Whole before cut, then confident first; ties go by level and box, so the order is the same every time."""
    left, top, right, bottom = candidates.boxes.T
    return np.lexsort((right, bottom, left, top, candidates.levels, -candidates.confidences, cut))


def _certain_pairs(
    candidates: Faces, cut: NDArray[np.bool_], parameters: FusionParameters
) -> NDArray[np.bool_]:
    """(n, n) bool: pairs that the boxes alone say are one face."""
    same = boxes.iou(candidates.boxes, candidates.boxes) >= parameters.same_overlap
    covered = boxes.ios(candidates.boxes, candidates.boxes) >= parameters.same_overlap
    areas = boxes.areas(candidates.boxes)
    half = cut[:, None] & (areas[:, None] <= areas[None, :])
    same |= covered & (half | half.T)
    np.fill_diagonal(same, False)
    return same


def _doubtful_pairs(
    candidates: Faces, cut: NDArray[np.bool_], parameters: FusionParameters
) -> NDArray[np.bool_]:
    """(n, n) bool: pairs that the boxes alone do not decide."""
    doubt = boxes.ios(candidates.boxes, candidates.boxes) >= parameters.doubtful_overlap
    doubt &= ~_certain_pairs(candidates, cut, parameters)
    np.fill_diagonal(doubt, False)
    return doubt


def _any(pairs: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(n,) bool: which candidates are in a pair."""
    return np.asarray(pairs.any(axis=1), np.bool_)
