"""How far a picture is zoomed so that it fits a pixel budget, and the zooming itself."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

BICUBIC_REACH = 2.0
"""Pixels that a bicubic filter sees to each side; when a picture shrinks, pixels of the result."""

STRIP_PIXELS = 1 << 20
"""Pixels, of the picture or of the result, that are zoomed at a time."""


def zoom(width: int, height: int, *, budget: int, most: float) -> float:
    """Returns the factor, the same for both sides, that brings `width` x `height` pixels to at most `budget`.

    It never exceeds `most`: beyond that a picture only grows blurrier. One zoom straight from the original keeps more
    detail than scaling down to a small size and then up again.
    """
    # the last term counts only where the shorter side would come out below one pixel, and is then made one
    return min(most, math.sqrt(budget / (width * height)), budget / max(width, height))


def zoomed_size(width: int, height: int, factor: float) -> tuple[int, int]:
    """Returns (width, height) in whole pixels after zooming, each at least 1, rounded down to stay in the budget."""
    # the tolerance keeps 400 * (600 / 400) from becoming 599
    return max(1, math.floor(width * factor + 1e-6)), max(1, math.floor(height * factor + 1e-6))


def resample(
    pixels: NDArray[np.uint8], box: tuple[int, int, int, int], size: tuple[int, int]
) -> NDArray[np.uint8]:
    """Returns the part `box` of a picture zoomed to `size`, the same as if the whole picture were zoomed and then cut.

    Strip by strip: Pillow keeps a picture in 4 bytes a pixel of its own, beside the 3 it is given.

    Args:
        pixels: (height, width, 3) uint8.
        box: left, top, right, bottom in pixels of the picture; right and bottom are exclusive.
        size: (width, height) wanted.

    Returns:
        (size[1], size[0], 3) uint8.
    """
    left, top, right, bottom = box
    width, height = size
    zoomed = np.empty((height, width, 3), np.uint8)
    step = (bottom - top) / height
    # the filter sees this far to every side, outside of the box too
    reach = math.ceil(BICUBIC_REACH * max(1.0, step, (right - left) / width)) + 1
    first, last = max(0, left - reach), right + reach
    rows = max(1, min(STRIP_PIXELS // width, int(STRIP_PIXELS / ((right - left) * step))))
    for row in range(0, height, rows):
        end = min(row + rows, height)
        upper, lower = top + row * step, min(top + end * step, bottom)
        start = max(0, math.floor(upper) - reach)
        strip = Image.fromarray(pixels[start : math.ceil(lower) + reach, first:last])
        # first to the side, then down: left to itself, Pillow decides by the strip's size, and rounds in between
        across = (left - first, 0, right - first, strip.height)
        strip = strip.resize((width, strip.height), Image.Resampling.BICUBIC, box=across)
        down = (0, upper - start, width, lower - start)
        zoomed[row:end] = np.asarray(strip.resize((width, end - row), Image.Resampling.BICUBIC, box=down))
    return zoomed
