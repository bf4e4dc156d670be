"""Tiles: zoomed and prepared by threads, ahead of the engine."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import groupby, islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import resampling
from .engines import Engine, Pixels, Tile, devices
from .pyramid import Level

TILES_AHEAD = 1
"""Tiles that are zoomed and prepared before the engine asks for them; where it takes larger batches, one batch."""

ZOOMING_THREADS = 4
"""At most. Pillow zooms without the interpreter's lock, so threads finish the first tile sooner, when nothing else runs."""


class Batch(NamedTuple):
    """Tiles of one level, for one call of the engine.

    places: left, top, right, bottom of each tile in the image, (4,) int64.
    tiles: prepared. Empty this list as soon as the engine has worked on it: a prepared tile takes some 150 MB.
    """

    level: Level
    places: list[NDArray[np.int64]]
    tiles: list[Tile]


class TilePreparer:
    """Cuts images into tiles, in batches of the size that the engine takes. Not thread-safe.

    Args:
        engine: prepares the tiles, and says how many of them make a batch.
        ahead: whether the next batch is prepared while the engine has the last one, which takes the memory of two.
    """

    def __init__(self, engine: Engine, *, ahead: bool = True) -> None:
        self._engine = engine
        self._ahead = ahead
        self._threads = ThreadPoolExecutor(min(devices.cores(), ZOOMING_THREADS), "zoom")

    def batches(self, image: Pixels, levels: Sequence[Level]) -> Iterator[Batch]:
        """Yields the tiles of these levels, in their order."""
        for level, tiles in groupby(self._prepared(image, levels), key=lambda item: item[0]):
            while some := list(islice(tiles, self._batch_size(level))):
                batch = Batch(level, [place for _, place, _ in some], [tile for _, _, tile in some])
                some.clear()  # the batch alone holds its tiles, so that emptying it frees them
                yield batch

    def _batch_size(self, level: Level) -> int:
        width, height = level.size
        return self._engine.batch_size(height, width)

    def _prepared(
        self, image: Pixels, levels: Sequence[Level]
    ) -> Iterator[tuple[Level, NDArray[np.int64], Tile]]:
        """Yields every tile with its level and its place.

        No more than one batch is prepared ahead: the deepest levels have dozens of tiles, and all of them together would
        take dozens of times the memory.
        """
        ahead = max(TILES_AHEAD, *map(self._batch_size, levels)) if self._ahead else 0
        upcoming = ((level, place) for level in levels for place in level.tiles)
        preparing: deque[tuple[Level, NDArray[np.int64], Future[Tile]]] = deque()
        while True:
            # the tile asked for, and the tiles ahead of it
            for level, place in islice(upcoming, 1 + ahead - len(preparing)):
                preparing.append((level, place, self._prepare(image, place, level.size)))
            if not preparing:
                return
            yield _ready(*preparing.popleft())

    def _prepare(self, image: Pixels, place: NDArray[np.int64], size: tuple[int, int]) -> Future[Tile]:
        """Starts the zooming of a tile, strip by strip, and its preparation by the engine."""
        left, top, right, bottom = place.tolist()
        box = left, top, right, bottom
        zoomed = np.empty((size[1], size[0], 3), np.uint8)
        submit = self._threads.submit
        strips = [
            submit(resampling.resample_rows, image, box, zoomed, rows)
            for rows in resampling.strips(box, size)
        ]

        def prepared() -> Tile:
            for (
                strip
            ) in strips:  # they entered the threads' queue before this: none of them waits for this thread
                strip.result()
            return self._engine.prepare(zoomed)

        return submit(prepared)


def _ready(
    level: Level, place: NDArray[np.int64], prepared: Future[Tile]
) -> tuple[Level, NDArray[np.int64], Tile]:
    # a separate function: its variables hold the tile only until it returns
    return level, place, prepared.result()
