"""Packed pyramid: one image that holds a tile at every size, as dlib's detector takes it; its layout, and the way back.

dlib shrinks a tile to 5/6 repeatedly, as long as it stays at least 5 px high, and packs all sizes into one image: the first
column downwards, starting with the tile itself; then upwards along the right edge. The padding between them is zero once
the means are subtracted. The layout determines the neighbour that a window at the edge of one size sees, so it is dlib's
to the pixel. (dlib 20.0: image_transforms/image_pyramid.h, dnn/input.h.)
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, pairwise, repeat

import numpy as np
from numpy.typing import NDArray

PADDING = 10
"""Pixels between two neighbouring sizes."""
OUTER_PADDING = 11
"""Pixels round the packed image."""
SHORTEST = 5
"""Pixels: the least height of a size."""
SMALLEST_TILE = (22, 20)
"""The (height, width) below which dlib's unsigned arithmetic wraps around: it packs wrongly, fails, or writes beyond its
memory. So small a tile cannot hold a face, because the detector's window is 80 px."""


@dataclass(frozen=True, eq=False)
class Layout:
    """The places of a tile's sizes in the packed image.

    height, width: of the packed image, in pixels.
    places: (n, 4) int64: left, top, right, bottom of each size, the largest first; right and bottom are exclusive.
    gaps: (m, 4) int64: the rectangles of padding between and round them, without overlap.
    """

    height: int
    width: int
    places: NDArray[np.int64]
    gaps: NDArray[np.int64]

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """(height, width) of each size, the tile itself first."""
        return [(bottom - top, right - left) for left, top, right, bottom in self.places.tolist()]

    def fill(
        self, window: NDArray[np.float32], top: int, left: int, images: list[NDArray[np.float32]]
    ) -> None:
        """Writes the part of the packed image that starts at (`left`, `top`) into `window`.

        Args:
            window: (3, rows, columns), overwritten.
            images: the tile at each of `sizes`, (3, h, w), less the means.
        """
        _, rows, columns = window.shape
        bottom, right = top + rows, left + columns
        places = zip(self.places.tolist(), images, strict=True)
        for (x, y, x_end, y_end), image in chain(places, zip(self.gaps.tolist(), repeat(None))):
            if y >= bottom or y_end <= top or x >= right or x_end <= left:
                continue
            first, last, start, end = max(y, top), min(y_end, bottom), max(x, left), min(x_end, right)
            window[:, first - top : last - top, start - left : end - left] = (
                0 if image is None else image[:, first - y : last - y, start - x : end - x]
            )

    def to_tile(self, centers: NDArray[np.int64], window: int) -> NDArray[np.int64]:
        """Returns the boxes of detector windows in the frame of the tile, unclipped.

        A window belongs to the size that contains its centre, or to the nearest one. For each step up in size, dlib
        multiplies a coordinate by 6/5 and adds 0.3; finally it rounds to whole pixels, halves away from zero.

        Args:
            centers: (n, 2): x, y in the packed image.
            window: the side of the window in pixels.

        Returns:
            (n, 4): left, top, right, bottom, the last pixels included, as in dlib.
        """
        places = self.places[None]
        nearest = np.clip(centers[:, None], places[..., :2], places[..., 2:] - 1)
        index = ((nearest - centers[:, None]) ** 2).sum(-1).argmin(1)
        half = (window - 1) / 2
        corners = np.concatenate([centers - half, centers + half], axis=1)
        corners -= np.tile(self.places[index, :2], 2)
        for size in range(1, len(self.places)):
            deeper = index >= size
            corners[deeper] = corners[deeper] * (6.0 / 5.0) + 0.3
        rounded: NDArray[np.float64] = np.copysign(np.floor(np.abs(corners) + 0.5), corners)
        return rounded.astype(np.int64)


@dataclass(frozen=True, eq=False)
class ImagePyramid:
    """A tile at every size of its layout: images of (3, h, w) float32, less the means, the tile itself first."""

    layout: Layout
    images: list[NDArray[np.float32]]

    @property
    def shape(self) -> tuple[int, int, int]:
        """The tile's own: (height, width, 3)."""
        return (*self.layout.sizes[0], 3)


@lru_cache(maxsize=64)
def layout(height: int, width: int, scales: int = 0) -> Layout:
    """Returns where dlib puts the sizes of a tile of `height` x `width` pixels.

    Args:
        scales: how many sizes, the tile itself first; 0: all that dlib makes.

    Raises:
        ValueError: the tile is smaller than SMALLEST_TILE.
    """
    if height < SMALLEST_TILE[0] or width < SMALLEST_TILE[1]:
        raise ValueError(f"a tile must be at least {SMALLEST_TILE} high and wide, not {(height, width)}")
    sizes = _sizes(height, width)[: scales or None]
    first_column, bottom = _first_column(sizes)
    places: list[tuple[int, int, int, int]] = []
    y = OUTER_PADDING
    for h, w in sizes[:first_column]:
        places.append((OUTER_PADDING, y, OUTER_PADDING + w, y + h))
        y += h + PADDING
    edge, y = OUTER_PADDING + width, y - PADDING
    for h, w in sizes[first_column:]:
        if y - h < places[0][3] and edge - w < places[0][2]:
            break  # the second column has grown up to the tile itself
        places.append((edge - w, y - h, edge, y))
        y -= h + PADDING
    height, width = bottom + 2 * OUTER_PADDING, width + 2 * OUTER_PADDING
    return Layout(height, width, np.array(places, np.int64), np.array(_gaps(places, height, width), np.int64))


def _gaps(
    places: list[tuple[int, int, int, int]], height: int, width: int
) -> list[tuple[int, int, int, int]]:
    """The rectangles, (left, top, right, bottom), of `height` x `width` pixels that are outside of all places."""
    rows = sorted({0, height, *(place[1] for place in places), *(place[3] for place in places)})
    gaps = []
    for top, bottom in pairwise(rows):
        covered = sorted(
            (left, right) for left, above, right, below in places if above < bottom and top < below
        )
        edges = [0, *(edge for span in covered for edge in span), width]
        gaps += [
            (start, top, end, bottom)
            for start, end in zip(edges[::2], edges[1::2], strict=True)
            if start < end
        ]
    return gaps


def _sizes(height: int, width: int) -> list[tuple[int, int]]:
    sizes = [(height, width)]
    while True:
        # as in dlib: the double nearest to 5/6, and a product that is truncated
        height, width = int(5.0 / 6.0 * height), int(5.0 / 6.0 * width)
        if height < SHORTEST or width == 0:
            return sizes
        sizes.append((height, width))


def _first_column(sizes: list[tuple[int, int]]) -> tuple[int, int]:
    """The number of sizes in the first column, and its height.

    The column ends where the next size fits beside the last one and half of the sizes after the tile, by height, are placed.
    """
    tile_height, tile_width = sizes[0]
    total = sum(h + PADDING for h, _ in sizes) - 2 * PADDING
    column, previous = 0, 0
    for count, (h, w) in enumerate(sizes):
        beside = tile_width - previous - PADDING
        if w <= beside and (column - tile_height) * 2 >= total - tile_height:
            return count, column - PADDING
        column += h + PADDING
        previous = w
    return len(sizes), column - PADDING
