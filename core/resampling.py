"""The zooming itself: pixels of a picture to pixels of a tile."""

from __future__ import annotations

import math

import numpy as np
import pyvips
from numpy.typing import NDArray
from PIL import Image

SHRINKING, GROWING = "linear", Image.Resampling.BICUBIC
"""The filter: libvips's, and Pillow's. libvips shrinks five times as fast as Pillow, but grows no faster; a picture that
shrinks has pixels enough for each of the result, so that the narrower filter finds as many faces (benchmarks/zooming.py)."""

STRIP_PIXELS = 1 << 20
"""Pixels of the result that Pillow zooms at a time."""


def resample(
    pixels: NDArray[np.uint8], box: tuple[int, int, int, int], size: tuple[int, int]
) -> NDArray[np.uint8]:
    """Returns the part `box` of a picture zoomed to `size`.

    Where it grows, the same as if the whole picture were zoomed and then cut. Where it shrinks, what is beyond the part has
    no share in the outermost pixels.

    Args:
        pixels: (height, width, 3) uint8, C-contiguous.
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

    Pillow keeps a picture in 4 bytes a pixel of its own, beside the 3 it is given: of a strip it is little. libvips goes
    over a picture in strips and threads of its own.
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
    """Writes some rows of the part `box` of a picture, zoomed to the size of `zoomed`, into `zoomed`: see `resample`."""
    height, width, _ = zoomed.shape
    first, end = rows
    if _shrinks(box, (width, height)):
        zoomed[first:end] = _shrunk(pixels, box, (width, height))[first:end]
    else:
        zoomed[first:end] = _grown(pixels, box, (width, height), rows)


def _shrinks(box: tuple[int, int, int, int], size: tuple[int, int]) -> bool:
    # where one side shrinks and the other grows, by less than a pixel, the filter for growing is right for both
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
    whole.invalidate()  # libvips remembers what it has done, and with it the picture
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
    # the filter sees this far to every side, outside of the box too
    reach = math.ceil(2 * max(1.0, across, down)) + 1
    before, after = max(0, left - reach), right + reach
    first, end = rows
    upper, lower = top + first * down, min(top + end * down, bottom)
    start = max(0, math.floor(upper) - reach)
    strip = Image.fromarray(pixels[start : math.ceil(lower) + reach, before:after])
    # first to the side, then down: left to itself, Pillow decides by the strip's size, and rounds in between
    strip = strip.resize((width, strip.height), GROWING, box=(left - before, 0, right - before, strip.height))
    strip = strip.resize((width, end - first), GROWING, box=(0, upper - start, width, lower - start))
    return np.asarray(strip)
