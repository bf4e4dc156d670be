"""Resampling: a part of a picture zoomed to the size of a tile."""

from __future__ import annotations

import math

import numpy as np
import pyvips
from numpy.typing import NDArray
from PIL import Image

SHRINKING, GROWING = "linear", Image.Resampling.BICUBIC
"""The filters, of libvips and of Pillow. libvips shrinks five times as fast as Pillow, but enlarges no faster; a picture
that shrinks has enough pixels for each one of the result, so its narrower filter finds as many faces
(benchmarks/zooming.py)."""

STRIP_PIXELS = 1 << 20
"""Pixels of the result that Pillow zooms at a time."""


def strips(box: tuple[int, int, int, int], size: tuple[int, int]) -> list[tuple[int, int]]:
    """Returns the strips of the result, rows (first, end) each, that `resample_rows` makes in any order, in any threads.

    Pillow copies a picture into 4 bytes a pixel, beside the 3 of its input: for a strip, this is little. libvips divides a
    picture into strips and threads itself.

    Args:
        box: left, top, right, bottom in pixels of the picture; right and bottom are exclusive.
        size: (width, height) of the result.
    """
    width, height = size
    if _shrinks(box, size):
        return [(0, height)]
    rows = max(1, STRIP_PIXELS // width)
    return [(first, min(first + rows, height)) for first in range(0, height, rows)]


def resample_rows(
    pixels: NDArray[np.uint8],
    box: tuple[int, int, int, int],
    zoomed: NDArray[np.uint8],
    rows: tuple[int, int],
) -> None:
    """Zooms the part `box` of a picture to the size of `zoomed`, and writes some rows of that into `zoomed`.

    Where it enlarges, the result is the same as if the whole picture were zoomed and then cut. Where it shrinks, pixels
    beyond the part have no share in the outermost pixels of the result.

    Args:
        pixels: (height, width, 3) uint8, C-contiguous.
        box: left, top, right, bottom in pixels of the picture; right and bottom are exclusive.
        zoomed: (height, width, 3) uint8.
        rows: (first, end), one of `strips`.
    """
    height, width, _ = zoomed.shape
    first, end = rows
    if _shrinks(box, (width, height)):
        zoomed[first:end] = _shrunk(pixels, box, (width, height))[first:end]
    else:
        zoomed[first:end] = _grown(pixels, box, (width, height), rows)


def _shrinks(box: tuple[int, int, int, int], size: tuple[int, int]) -> bool:
    # where one side shrinks and the other grows, by less than a pixel, both take the filter for growing
    left, top, right, bottom = box
    return right - left > size[0] and bottom - top > size[1]


def _shrunk(
    pixels: NDArray[np.uint8], box: tuple[int, int, int, int], size: tuple[int, int]
) -> NDArray[np.uint8]:
    left, top, right, bottom = box
    across, down = size[0] / (right - left), size[1] / (bottom - top)
    whole = pyvips.Image.new_from_memory(pixels.data, pixels.shape[1], pixels.shape[0], 3, "uchar")
    part = whole.crop(left, top, right - left, bottom - top)
    shrunk: NDArray[np.uint8] = part.resize(across, vscale=down, kernel=SHRINKING).numpy()
    whole.invalidate()  # else libvips caches the operation, and with it the picture
    return shrunk


def _grown(
    pixels: NDArray[np.uint8],
    box: tuple[int, int, int, int],
    size: tuple[int, int],
    rows: tuple[int, int],
) -> NDArray[np.uint8]:
    left, top, right, bottom = box
    width, height = size
    across, down = (right - left) / width, (bottom - top) / height
    # the filter reaches this far to every side, outside the box too
    reach = math.ceil(2 * max(1.0, across, down)) + 1
    before, after = max(0, left - reach), right + reach
    first, end = rows
    upper, lower = top + first * down, min(top + end * down, bottom)
    start = max(0, math.floor(upper) - reach)
    strip = Image.fromarray(pixels[start : math.ceil(lower) + reach, before:after])
    # across first, then down: left to itself, Pillow chooses the order by the strip's size, and rounds in between
    strip = strip.resize((width, strip.height), GROWING, box=(left - before, 0, right - before, strip.height))
    strip = strip.resize((width, end - first), GROWING, box=(0, upper - start, width, lower - start))
    return np.asarray(strip)
