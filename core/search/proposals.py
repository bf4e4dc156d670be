"""Proposals: the places in an image where the proposer sees a face, over a pyramid of its own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import boxes as geometry
from .. import pyramid, resampling
from ..boxes import Boxes
from ..engines import Pixels, Proposer
from ..engines.network import yunet
from ..parameters import DetectionParameters
from ..pyramid import DETECTOR_WINDOW, Level

FINEST_FACE = 20.0
"""Pixels that the smallest face wanted has in the finest level. The proposer finds nearly all faces of 20 to 40 px, and
fewer of 10 to 20."""

LEAST_FINEST, MOST_FINEST, MOST_WANTED = 0.4, 1.0, 2.0
"""Zooms of the finest level: between the first two by default, so that a face of 25 px, which is comparable, has 10 px
there, and the image is not enlarged; up to the third for faces that are asked for."""

NATIVE = 0.9
"""Above this zoom, the image as it is serves better than a resampled one."""

STEP = 6.0
"""The most by which one level is zoomed further than the one above it: the proposer's range, 10 to 300 px, with a margin."""

TILE_PIXELS = 2_000_000
"""Of a tile after zooming: the proposer takes some 150 bytes for each."""

SURE_FACE = 20.0
"""Pixels: faces this large are found by a level, so that tiles of the one below need not hold any larger one whole."""

TINY_FACE, TINY_SCORE = 15.0, 0.5
"""Pixels of the tile, and the least score of a proposal smaller than that: of 640 proposals below both, on 124 photographs,
dlib's detector took 20 for faces. They were one in six of all crops."""

SEAM = 0.1
"""Sides of a box: one that is nearer to the edge of its tile, inside of the image, is that of a face cut off."""

MOST_PLACES = 2000
"""The most places of an image that are looked at, the best. Without a limit, an image that is full of faces, as an attacker
would make it, takes minutes, and gigabytes where boxes are compared with each other."""


class Proposed(NamedTuple):
    """Proposals of all levels, in pixels of the image.

    boxes: (n, 4) float32; scores: (n,) float32, 0 to 1; levels: (n,) int32, the index of the level of each.
    """

    boxes: Boxes
    scores: NDArray[np.float32]
    levels: NDArray[np.int32]

    def picked(self, which: NDArray[np.intp] | NDArray[np.bool_]) -> Proposed:
        """Returns the proposals that indices or a mask pick, in that order."""
        return Proposed(self.boxes[which], self.scores[which], self.levels[which])

    def once(self) -> Proposed:
        """Returns each place once, in the level where its score is best; the best first, MOST_PLACES of them at most."""
        return self.picked(yunet.strongest(self.boxes, self.scores)[:MOST_PLACES])


def zooms(width: int, height: int, finest: float) -> list[float]:
    """Returns the zooms of the levels down to the finest, the coarsest first: there, a face that fills the image is just in
    the proposer's range."""
    coarsest = min(finest, yunet.LARGEST / min(width, height))
    steps = math.ceil(math.log(finest / coarsest) / math.log(STEP) - 1e-9)
    return [finest * (coarsest / finest) ** ((steps - step) / max(1, steps)) for step in range(steps + 1)]


def levels(width: int, height: int, factors: Sequence[float]) -> list[Level]:
    """Returns the levels of an image at these zooms, the coarsest first."""
    found: list[Level] = []
    for index, factor in enumerate(factors):
        whole = 1.5 * SURE_FACE / factors[index - 1] if index else yunet.LARGEST / factor
        overlap = math.ceil((1 + 2 * SEAM) * whole)
        side = max(math.sqrt(TILE_PIXELS) / factor, 2.0 * overlap)
        lefts, tile_width = pyramid.spread(width, _count(width, overlap, side), overlap)
        tops, tile_height = pyramid.spread(height, _count(height, overlap, side), overlap)
        if width * height * factor**2 <= TILE_PIXELS:
            lefts, tops, tile_width, tile_height = [0], [0], width, height
        tiles = np.array([(x, y, x + tile_width, y + tile_height) for y in tops for x in lefts], np.int64)
        size = pyramid.zoomed_size(tile_width, tile_height, factor)
        # zooms that are all but equal may round to one size
        if not (found and size == found[-1].size and np.array_equal(tiles, found[-1].tiles)):
            found.append(Level(len(found), tiles, size, math.ceil(whole)))
    return found


def finest_zoom(width: int, height: int, detection: DetectionParameters, *, faces_from: float = 0) -> float:
    """Returns the zoom of the finest level."""
    if faces_from:
        wanted = min(FINEST_FACE / faces_from, MOST_WANTED)
        # as many tiles as a client may have everywhere; they overlap
        affordable = math.sqrt(detection.most_tiles * TILE_PIXELS / 2 / (width * height))
        return min(wanted, max(affordable, LEAST_FINEST))
    everywhere = max(max(level.zoom) for level in pyramid.levels(width, height, detection))
    wanted = FINEST_FACE * everywhere / DETECTOR_WINDOW
    return MOST_FINEST if wanted > NATIVE else max(wanted, LEAST_FINEST)


def propose(proposer: Proposer, image: Pixels, looked_at: list[Level], threshold: float) -> Proposed:
    """Returns the proposals of all levels; a face may be proposed in several of them, and by neighbouring tiles.

    Raises:
        EngineError: the proposer failed.
    """
    height, width, _ = image.shape
    boxes: list[Boxes] = []
    scores: list[NDArray[np.float32]] = []
    of_level: list[NDArray[np.int32]] = []
    for level in looked_at:
        for place in level.tiles:
            left, top, right, bottom = place.tolist()
            tile = zoomed(image, (left, top, right, bottom), level.size)
            [found] = proposer.propose([tile], threshold)
            in_image = geometry.to_image(found.boxes, level.zoom, (left, top))
            tiny = found.boxes[:, 2] - found.boxes[:, 0] < TINY_FACE
            kept = _inside_seams(in_image, place, width, height) & ~(tiny & (found.scores < TINY_SCORE))
            boxes.append(in_image[kept])
            scores.append(found.scores[kept])
            of_level.append(np.full(int(kept.sum()), level.index, np.int32))
    return Proposed(np.concatenate(boxes), np.concatenate(scores), np.concatenate(of_level))


def zoomed(image: Pixels, box: tuple[int, int, int, int], size: tuple[int, int]) -> Pixels:
    """Returns the part `box` of an image at `size`, (width, height)."""
    left, top, right, bottom = box
    if size == (right - left, bottom - top):
        return image[top:bottom, left:right]
    tile = np.empty((size[1], size[0], 3), np.uint8)
    for rows in resampling.strips(box, size):
        resampling.resample_rows(image, box, tile, rows)
    return tile


def _count(length: int, overlap: int, side: float) -> int:
    """How many tiles of this side, of which neighbours share `overlap`, cover a length."""
    return max(1, math.ceil((length - overlap) / (side - overlap)))


def _inside_seams(boxes: Boxes, place: NDArray[np.int64], width: int, height: int) -> NDArray[np.bool_]:
    """Which boxes, (n,), keep away from those edges of their tile that are not the image's."""
    margin = SEAM * (boxes[:, 2:] - boxes[:, :2]).max(axis=1, initial=0)
    left, top, right, bottom = place.tolist()
    inside = np.ones(len(boxes), np.bool_)
    for is_seam, room in (
        (left > 0, boxes[:, 0] - left),
        (top > 0, boxes[:, 1] - top),
        (right < width, right - boxes[:, 2]),
        (bottom < height, bottom - boxes[:, 3]),
    ):
        if is_seam:
            inside &= room >= margin
    return inside
