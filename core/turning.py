"""Turning: pictures and boxes turned by quarter turns, and a face cut out upright."""

from __future__ import annotations

import math
from typing import cast

import numpy as np
from numpy.typing import NDArray

from .boxes import Boxes

MARGIN = 1.0
"""Sides of a face that are cut out around it, to encode it. Its chip is 1.5 sides wide: that leaves room for any tilt, for
jitters and for landmarks that put its centre elsewhere."""


def turned(pixels: NDArray[np.uint8], degrees: int) -> NDArray[np.uint8]:
    """Returns pixels, (height, width, 3), turned clockwise by 0, 90, 180 or 270 degrees; C-contiguous."""
    return np.ascontiguousarray(np.rot90(pixels, -degrees // 90))


def turned_boxes(boxes: Boxes, size: tuple[int, int], degrees: int) -> Boxes:
    """Returns the boxes in a picture of `size`, (width, height), as they lie after it is turned clockwise.

    To turn boxes back, give the size of the turned picture, and 360 - `degrees`.
    """
    width, height = np.float32(size[0]), np.float32(size[1])
    left, top, right, bottom = boxes.T
    edges = {
        0: (left, top, right, bottom),
        90: (height - bottom, left, height - top, right),
        180: (width - right, height - bottom, width - left, height - top),
        270: (top, width - right, bottom, width - left),
    }
    return cast("Boxes", np.stack(edges[degrees % 360], axis=1))


def upright(pixels: NDArray[np.uint8], box: Boxes, degrees: int) -> tuple[NDArray[np.uint8], Boxes]:
    """Returns the surroundings of a face turned upright, and its box, (1, 4), in them.

    Args:
        pixels: of the picture.
        box: (1, 4), in pixels of the picture.
        degrees: clockwise, that bring the face upright.
    """
    height, width, _ = pixels.shape
    [(left, top, right, bottom)] = box.tolist()
    margin = MARGIN * max(right - left, bottom - top) + 1  # a box at the edge may have no area
    x, y = max(0, math.floor(left - margin)), max(0, math.floor(top - margin))
    part = pixels[y : min(height, math.ceil(bottom + margin)), x : min(width, math.ceil(right + margin))]
    inside = box - np.array([x, y, x, y], np.float32)
    return turned(part, degrees), turned_boxes(inside, (part.shape[1], part.shape[0]), degrees)
