"""Adaptive search: a deeper level reduced to a few tiles round the responses of the level above.

A detector rejects a face at half the size it was trained for, but less firmly than it rejects a wall. A deeper level
searches the surroundings of such weak responses (`hints`), and of small faces, beside which smaller faces may be. People
stand together, so the first level searches some sides further. A crowd of tiny faces gives no response: a picture without
any face at level 0 has its next level searched whole. docs/accuracy.md has the figures.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..boxes import Boxes
from ..pyramid import DETECTOR_WINDOW, Level, zoomed_size

HINT = -0.9
"""Responses above this score are hints. A wall gives less than -1, a face that is found about 1."""

SURE = 0.0
"""Above this score a response is a face, however low the threshold."""

LARGEST_HINT = 1.25
"""Detector windows: a larger response gains nothing from a deeper level."""

REACH = (4.0, 1.0)
"""The distance from a hint's centre that the next level searches, in sides of the hint: level 1, and the levels below it."""

TILE_SIDE = 704
"""Pixels, zoomed, of the tiles that are laid round hints: smaller tiles contain less useless area, but overlap more."""


def closer(
    level: Level, hints: Boxes, *, zoom: float, faces: int, image: tuple[int, int], budget: int
) -> Level:
    """Returns a level with only the tiles worth searching: at most its own pixels, and no tiles without a hint.

    Args:
        level: one below the first, with all its tiles.
        hints: (n, 4) of the level above, in pixels of the image.
        zoom: of the level above.
        faces: the number found there, above SURE.
        image: (width, height) of the image.
        budget: the most pixels of a tile after zooming.
    """
    if level.index == 1 and not faces:
        return level
    width, height = image
    sides = hints[:, 2] - hints[:, 0]
    small = sides * zoom < LARGEST_HINT * DETECTOR_WINDOW
    factor = min(level.zoom)
    side = max(1, int(min(TILE_SIDE, math.sqrt(budget)) / factor))
    tile_width, tile_height = min(side, width), min(side, height)
    around = _around(hints[small], REACH[min(level.index, len(REACH)) - 1], (tile_width, tile_height))
    around = np.clip(around, 0, np.array([width, height] * 2))
    tiles = cover(around, tile_width, tile_height, width, height)
    size = zoomed_size(tile_width, tile_height, factor)
    if len(tiles) * size[0] * size[1] >= len(level.tiles) * level.size[0] * level.size[1]:
        return level
    return replace(level, tiles=tiles, size=size)


def cover(
    areas: NDArray[np.float64], tile_width: int, tile_height: int, width: int, height: int
) -> NDArray[np.int64]:
    """Returns tiles inside the image, (n, 4), so that each area, no larger than one, lies wholly in a tile.

    Their number is small, but not always minimal: each next tile is the one that contains most of the remaining areas.
    """
    tiles = []
    left = np.concatenate([np.floor(areas[:, :2]), np.ceil(areas[:, 2:])], axis=1).astype(np.int64)
    while len(left):
        # the best place begins where some area does, in each direction
        xs = np.minimum(np.unique(left[:, 0]), width - tile_width)
        ys = np.minimum(np.unique(left[:, 1]), height - tile_height)
        across = (xs[:, None] <= left[:, 0]) & (left[:, 2] <= xs[:, None] + tile_width)
        down = (ys[:, None] <= left[:, 1]) & (left[:, 3] <= ys[:, None] + tile_height)
        held = across.astype(np.float32) @ down.T.astype(np.float32)
        x, y = np.unravel_index(int(held.argmax()), held.shape)
        tiles.append((xs[x], ys[y], xs[x] + tile_width, ys[y] + tile_height))
        left = left[~(across[x] & down[y])]
    return np.array(tiles, np.int64).reshape(-1, 4)


def _around(hints: Boxes, reach: float, tile: tuple[int, int]) -> NDArray[np.float64]:
    """(n, 4) squares that reach so far round each hint, a little less than a tile at most."""
    boxes = hints.astype(np.float64)
    centers = (boxes[:, :2] + boxes[:, 2:]) / 2
    # whole pixels take up to one of each side
    half = np.minimum(reach * (boxes[:, 2:] - boxes[:, :2]), (np.array(tile) - 2) / 2)
    return np.concatenate([centers - half, centers + half], axis=1)
