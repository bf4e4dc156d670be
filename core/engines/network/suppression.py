"""Non-maximum suppression: from all responses of the detector to one tile to a single box for each face.

The detector responds to a face at a dozen neighbouring places and sizes. dlib keeps the strongest response. Where two are
nearly equal, the last bit of a pixel may decide between them, and the box jumps by a step of the pyramid, 6/5. The mean of
all responses to the face, which is returned as well, does not jump.
"""

from __future__ import annotations

from typing import cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...boxes import Boxes
from ..detections import Detections


def detections(
    boxes: NDArray[np.int64],
    confidences: NDArray[np.float32],
    tile: tuple[int, int],
    *,
    threshold: float,
    overlap: float,
    covered: float,
) -> Detections:
    """Returns each face once, out of all responses.

    Args:
        boxes: (n, 4) left, top, right, bottom of every response, the last pixels included; they may leave the tile.
        confidences: (n,), above `threshold`.
        tile: height and width in pixels.
        threshold: the weight of a response's vote is its distance above the threshold.
        overlap, covered: as in `weights.DetectorWeights`.
    """
    order = np.argsort(-confidences, kind="stable")
    boxes, confidences = boxes[order], confidences[order]
    strongest = suppressed_by(boxes, overlap, covered)
    kept, group = np.unique(strongest, return_inverse=True)
    return Detections(
        clipped(boxes[kept], *tile),
        confidences[kept],
        _means(boxes, confidences - threshold, group, len(kept)).astype(np.float32),
    )


def clipped(boxes: ArrayLike, height: int, width: int) -> Boxes:
    """Returns detector boxes (left, top, right, bottom), cut off at the edges of the tile as in face_recognition."""
    inside = np.clip(np.array(boxes, np.float64).reshape(-1, 4), 0, [width, height, width, height])
    return inside.astype(np.float32)


def suppressed_by(boxes: NDArray[np.int64], overlap: float, covered: float) -> NDArray[np.intp]:
    """Returns for each box, (n,), the index of the box that suppresses it, or its own index where none does.

    Boxes are sorted by confidence, the highest first. A box is suppressed by the first kept box that it overlaps: their
    intersection is above `overlap` of the box that encloses both, or above `covered` of either. A box's right and bottom
    are its last pixels. (dlib 20.0: image_processing/box_overlap_testing.h and to_label in dnn/loss.h.)
    """
    areas = _areas(boxes)
    strongest = np.arange(len(boxes))
    waiting = np.arange(len(boxes))
    while len(waiting):
        best = waiting[0]
        a, b = boxes[best], boxes[waiting]
        shared = _areas(np.hstack([np.maximum(a[:2], b[:, :2]), np.minimum(a[2:], b[:, 2:])]))
        enclosing = _areas(np.hstack([np.minimum(a[:2], b[:, :2]), np.maximum(a[2:], b[:, 2:])]))
        smaller = np.minimum(areas[best], areas[waiting])
        hit = (shared > overlap * enclosing) | (shared > covered * smaller)
        hit[0] = True
        strongest[waiting[hit]] = best
        waiting = waiting[~hit]
    return strongest


def _means(
    boxes: NDArray[np.int64], votes: NDArray[np.float32], group: NDArray[np.intp], groups: int
) -> NDArray[np.float64]:
    """The mean box of each group, (groups, 4): the weighted mean of the centres, and the geometric mean of the sizes,
    because the detector's windows grow by a factor. A response just above the threshold has almost no weight.

    (Box voting: Gidaris and Komodakis, "Object detection via a multi-region and semantic segmentation-aware CNN model",
    ICCV 2015, section 5; there the coordinates are averaged.)
    """
    weights = votes.astype(np.float64)
    total = np.bincount(group, weights, groups)

    def mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.bincount(group, weights * values, groups) / total

    left, top, right, bottom = boxes.astype(np.float64).T
    x, y = mean((left + right) / 2), mean((top + bottom) / 2)
    half_width = np.exp(mean(np.log(right - left + 1))) / 2 - 0.5
    half_height = np.exp(mean(np.log(bottom - top + 1))) / 2 - 0.5
    return np.stack([x - half_width, y - half_height, x + half_width, y + half_height], axis=1)


def _areas(boxes: NDArray[np.int64]) -> NDArray[np.int64]:
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2] + 1, 0)
    return cast("NDArray[np.int64]", sides[:, 0] * sides[:, 1])
