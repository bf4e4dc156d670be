"""Boxes as arrays: shape (n, 4), float32, columns left, top, right, bottom, in pixels, x to the right and y downwards.

Every function takes any n, 0 included, and returns a new array; none changes its arguments.
"""

from __future__ import annotations

from typing import cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

Boxes = NDArray[np.float32]

DECIMALS = 2
"""Of a box in the outputs: a hundredth of a pixel. A box is exact to a few pixels."""

PAIRS_AT_ONCE = 1 << 16
"""Pairs of boxes whose overlaps are computed at once: they stay in the processor's cache, and of a crowd's millions of pairs
only the result is in memory."""


def as_boxes(values: ArrayLike) -> Boxes:
    """Returns `values` as a new (n, 4) float32 array.

    Raises:
        ValueError: the values do not form rows of four, or a right or bottom lies before its left or top.
    """
    boxes = np.array(values, dtype=np.float32)
    if boxes.size == 0:
        return np.zeros((0, 4), np.float32)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f"boxes must have the shape (n, 4), not {boxes.shape}")
    if not np.isfinite(boxes).all():
        raise ValueError("boxes must be finite")
    if (boxes[:, 2:] < boxes[:, :2]).any():
        raise ValueError("boxes must be left, top, right, bottom, with right >= left and bottom >= top")
    return boxes


def areas(boxes: Boxes) -> NDArray[np.float32]:
    """Returns the areas, shape (n,), in square pixels."""
    return cast("NDArray[np.float32]", (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]))


def intersections(a: Boxes, b: Boxes) -> NDArray[np.float32]:
    """Returns the areas that each box of `a` shares with each of `b`, shape (len(a), len(b))."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    sides = np.maximum(high - low, 0)
    return cast("NDArray[np.float32]", sides[..., 0] * sides[..., 1])


def iou(a: Boxes, b: Boxes) -> NDArray[np.float32]:
    """Returns intersection over union of each pair, shape (len(a), len(b)), 0 to 1; 0 where both are empty."""
    result = np.zeros((len(a), len(b)), np.float32)
    area = areas(b)[None, :]
    rows = max(1, PAIRS_AT_ONCE // max(1, len(b)))
    for start in range(0, len(a), rows):
        some = a[start : start + rows]
        shared = intersections(some, b)
        union = areas(some)[:, None] + area - shared
        np.divide(shared, union, out=result[start : start + rows], where=union > 0)
    return result


def inside(boxes: Boxes, width: float, height: float) -> NDArray[np.float32]:
    """Returns the share of each box's area, (n,), that lies in a picture of `width` x `height`; 0 for an empty box."""
    whole, seen = areas(boxes), areas(clip(boxes, width, height))
    return cast("NDArray[np.float32]", np.divide(seen, whole, out=np.zeros_like(whole), where=whole > 0))


def to_image(boxes: Boxes, scale: tuple[float, float], origin: tuple[float, float]) -> Boxes:
    """Returns boxes of a tile in the frame of the image it was cut from.

    Args:
        boxes: in pixels of the tile after zooming.
        scale: (x, y) pixels of the zoomed tile per pixel of the image.
        origin: (left, top) of the tile in the image.
    """
    factors = np.array([scale[0], scale[1]] * 2, np.float32)
    offsets = np.array([origin[0], origin[1]] * 2, np.float32)
    return cast("Boxes", boxes / factors + offsets)


def from_image(boxes: Boxes, scale: tuple[float, float]) -> Boxes:
    """Returns boxes of an image in the frame of the same image zoomed by `scale`, (x, y)."""
    return boxes * np.array([scale[0], scale[1]] * 2, np.float32)


def recordable(boxes: Boxes, found: Boxes, scale: tuple[float, float]) -> Boxes:
    """Returns boxes that are the same whole pixels of a picture after they were recorded in hundredths.

    A face is cut out in whole pixels: 11.496 is 11, and 11.5, as which it would be recorded, is 12. Such an edge, about one
    of a hundred, is moved to the nearest hundredth that is not: 11.49. All others stay as they are.

    Args:
        boxes: of an image.
        found: the same in a picture that is the image zoomed by `scale`, (x, y), where they are cut out.
    """
    whole = np.rint(found)

    def cut_alike(edges: Boxes) -> NDArray[np.bool_]:
        read = from_image(edges, scale)
        alike = (read == found) | ((np.rint(read) == whole) & (read - np.floor(read) != 0.5))
        return cast("NDArray[np.bool_]", alike)

    hundredths = np.round(boxes.astype(np.float64), DECIMALS)
    kept = boxes.copy()
    left = ~(cut_alike(boxes) & cut_alike(hundredths.astype(np.float32)))
    for steps in (1, -1, 2, -2):
        if not left.any():
            break
        moved = (hundredths + steps * 10**-DECIMALS).astype(np.float32)
        better = left & cut_alike(moved)
        kept[better] = moved[better]
        left &= ~better
    return cast("Boxes", kept)


def clip(boxes: Boxes, width: float, height: float) -> Boxes:
    """Returns the boxes cut off at the edges of a picture of `width` x `height`."""
    limits = np.array([width, height, width, height], np.float32)
    return cast("Boxes", np.clip(boxes, np.float32(0), limits))
