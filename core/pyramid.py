"""Pyramid: the parts of an image that the detector searches, and the zoom of each.

Level 0 is the whole image; level k cuts it into 2^k x 2^k tiles. Every tile of every level is zoomed to the same pixel
budget, so the deeper a level, the smaller the faces it finds, and the memory it needs stays the same.

The tiles of a level overlap. They guarantee: at level k > 0, every square within the image whose side is at
most `Level.whole` lies wholly inside at least one tile. `whole` is 1.5 detector windows of the next coarser level, so a
face is either whole in one tile, or large enough for the coarser level to have found it there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .parameters import DetectionParameters
from .parameters.schema import MAX_LEVELS, MAX_UPSAMPLE

DETECTOR_WINDOW = 80
"""Pixels: the side of the window both engines' detector slides; a face smaller than this in a tile is not found."""

OVERLAP_WINDOWS = 1.5
"""Faces of this many windows at the coarser level are still kept whole: at exactly one window detection is not sure."""

LEAST_GAIN = 1.05
"""A level that zooms less than this much further is skipped: the detector's own steps are 6/5, and less finds no more."""


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


@dataclass(frozen=True, eq=False)
class Level:
    """The tiles of one level.

    Attributes:
        index: 0 for the whole image, k for 2^k x 2^k tiles, or fewer where the image is too small for as many.
        tiles: (n, 4) int64: left, top, right, bottom in pixels of the image, right and bottom exclusive; all tiles
            have one size.
        size: (width, height) of each tile after zooming, in pixels.
        whole: side in pixels of the image up to which every square lies wholly inside a tile.
    """

    index: int
    tiles: NDArray[np.int64]
    size: tuple[int, int]
    whole: int

    @property
    def zoom(self) -> tuple[float, float]:
        """(x, y) pixels of a zoomed tile per pixel of the image."""
        left, top, right, bottom = self.tiles[0]
        return self.size[0] / float(right - left), self.size[1] / float(bottom - top)


def levels(width: int, height: int, detection: DetectionParameters, *, faces_from: float = 0) -> list[Level]:
    """Returns the levels for an image of `width` x `height` pixels, the coarsest first; at least the whole image.

    A level that would not zoom further than the one above it is left out: a small photograph is at full zoom already.

    Args:
        faces_from: the smallest face wanted, in pixels of the image: the levels are those needed to zoom such a face to
            a detector window, within `most_tiles`. 0: `levels` and `upsample` decide.

    Raises:
        ValueError: a side is not positive.
    """
    if width < 1 or height < 1:
        raise ValueError(f"an image has at least one pixel, not {width} x {height}")
    most, count, allowed = 2.0**detection.upsample, detection.levels, 4**MAX_LEVELS
    if faces_from:
        most, count = min(DETECTOR_WINDOW / faces_from, 2.0**MAX_UPSAMPLE), MAX_LEVELS
        allowed = detection.most_tiles
    found: list[Level] = []
    coarser = 0.0
    for index in range(count):
        whole = math.ceil(OVERLAP_WINDOWS * DETECTOR_WINDOW / coarser) if found else max(width, height)
        lefts, tile_width = spread(width, 2**index, whole)
        tops, tile_height = spread(height, 2**index, whole)
        factor = zoom(tile_width, tile_height, budget=detection.tile_pixels, most=most)
        if found and factor < LEAST_GAIN * coarser:
            continue
        tiles = np.array(
            [(x, y, x + tile_width, y + tile_height) for y in tops for x in lefts], np.int64
        ).reshape(-1, 4)
        allowed -= len(tiles)
        if found and allowed < 0:
            break
        found.append(Level(index, tiles, zoomed_size(tile_width, tile_height, factor), whole))
        coarser = factor
    return found


@dataclass(frozen=True)
class Work:
    """The cost of an image: its tiles, and the pixels of all tiles after zooming."""

    tiles: int
    pixels: int


def work(levels: list[Level]) -> Work:
    """Returns the detector's work for these levels."""
    return Work(
        sum(len(level.tiles) for level in levels),
        sum(len(level.tiles) * level.size[0] * level.size[1] for level in levels),
    )


def spread(length: int, count: int, overlap: int) -> tuple[list[int], int]:
    """Returns where `count` tiles of one side start so that neighbours share at least `overlap` pixels, and that side.

    n tiles that overlap by o cover n * side - (n - 1) * o; the side that just covers the length follows. Where the
    image is too small for that, the tiles are the whole image, and one is enough.
    """
    if count == 1 or overlap >= length:
        return [0], length
    side = math.ceil((length + (count - 1) * overlap) / count)
    # rounding a start moves a gap by at most one step up to the next whole number, which side - overlap already is
    starts = [round(i * (length - side) / (count - 1)) for i in range(count)]
    # with fewer pixels to spare than there are steps, some starts are the same
    return list(dict.fromkeys(starts)), side
