"""How far a picture is zoomed so that it fits a pixel budget, and the zooming itself."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SHRINKING, GROWING = (Image.Resampling.HAMMING, 1.0), (Image.Resampling.BICUBIC, 2.0)
"""The filter, and how many pixels it sees to each side; when a picture shrinks, pixels of the result. A picture that shrinks
has pixels enough for each of the result: the narrower filter takes 0.6 of the time, and the detector finds as much
(benchmarks/zooming.py)."""

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

    Args:
        pixels: (height, width, 3) uint8.
        box: left, top, right, bottom in pixels of the picture; right and bottom are exclusive.
        size: (width, height) wanted.

    Returns:
        (size[1], size[0], 3) uint8.
    """
    zoomed = np.empty((size[1], size[0], 3), np.uint8)
    for rows in strips(box, size):
        resample_rows(pixels, box, zoomed, rows)
    return zoomed


def strips(box: tuple[int, int, int, int], size: tuple[int, int]) -> list[tuple[int, int]]:
    """Returns the rows of the result, (first, end) each, that are zoomed at a time, in any order or by several threads.

    Pillow keeps a picture in 4 bytes a pixel of its own, beside the 3 it is given: of a strip it is little.
    """
    left, top, right, bottom = box
    width, height = size
    step = (bottom - top) / height
    rows = max(1, min(STRIP_PIXELS // width, int(STRIP_PIXELS / ((right - left) * step))))
    return [(first, min(first + rows, height)) for first in range(0, height, rows)]


def resample_rows(
    pixels: NDArray[np.uint8],
    box: tuple[int, int, int, int],
    zoomed: NDArray[np.uint8],
    rows: tuple[int, int],
) -> None:
    """Writes some rows of the part `box` of a picture, zoomed to the size of `zoomed`, into `zoomed`: see `resample`."""
    left, top, right, bottom = box
    height, width, _ = zoomed.shape
    across, down = (right - left) / width, (bottom - top) / height
    # where one side shrinks and the other grows, by less than a pixel, the one for growing is right for both
    sampling, pixels_seen = SHRINKING if min(across, down) > 1 else GROWING
    # the filter sees this far to every side, outside of the box too
    reach = math.ceil(pixels_seen * max(1.0, across, down)) + 1
    before, after = max(0, left - reach), right + reach
    first, end = rows
    upper, lower = top + first * down, min(top + end * down, bottom)
    start = max(0, math.floor(upper) - reach)
    strip = Image.fromarray(pixels[start : math.ceil(lower) + reach, before:after])
    # first to the side, then down: left to itself, Pillow decides by the strip's size, and rounds in between
    part = (left - before, 0, right - before, strip.height)
    strip = strip.resize((width, strip.height), sampling, box=part)
    part = (0, upper - start, width, lower - start)
    zoomed[first:end] = np.asarray(strip.resize((width, end - first), sampling, box=part))
