"""Everywhere: the search of every tile of every level, or, where it is adaptive, of the tiles that promise a face."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .. import boxes, pyramid
from ..boxes import Boxes
from ..engines import Engine, Pixels
from ..faces import Faces
from ..parameters import DetectionParameters
from ..pyramid import Level
from ..tiles import TilePreparer
from . import adaptive


class Everywhere:
    """The Search over the whole pyramid.

    Args:
        engine: for an adaptive search, one that returns hints above `adaptive.HINT`.
        detection: the pyramid's parameters.
    """

    def __init__(self, engine: Engine, detection: DetectionParameters) -> None:
        self._engine = engine
        self._detection = detection
        self._tiles = TilePreparer(engine)

    def candidates(self, image: Pixels, *, faces_from: float = 0) -> Faces:
        """Returns the detections in each tile; a face in several tiles or levels occurs several times."""
        height, width, _ = image.shape
        levels = self._levels(width, height, faces_from)
        if not self._detection.adaptive:
            return self._detect(image, levels)[0]
        candidates: list[Faces] = []
        hints = np.zeros((0, 4), np.float32)
        for index, level in enumerate(levels):
            if index:
                level = adaptive.closer(
                    level,
                    hints,
                    zoom=min(levels[index - 1].zoom),
                    faces=int((candidates[-1].confidences > adaptive.SURE).sum()),
                    image=(width, height),
                    budget=self._detection.tile_pixels,
                )
            found, hints = self._detect(image, [level])
            candidates.append(found)
        return Faces.concatenate(candidates)

    def finest_zoom(self, width: int, height: int, *, faces_from: float = 0) -> float:
        """Returns the zoom of the deepest level."""
        return max(max(level.zoom) for level in self._levels(width, height, faces_from))

    def _levels(self, width: int, height: int, faces_from: float) -> list[Level]:
        return pyramid.levels(width, height, self._detection, faces_from=faces_from)

    def _detect(self, image: Pixels, levels: Sequence[Level]) -> tuple[Faces, Boxes]:
        """Returns the candidates in the tiles of these levels, and the hints, (n, 4), both in pixels of the image."""
        height, width, _ = image.shape
        candidates: list[Faces] = []
        hints: list[Boxes] = [np.zeros((0, 4), np.float32)]
        for level, places, tiles in self._tiles.batches(image, levels):
            detected = self._engine.detect(tiles)
            tiles.clear()  # they take some 150 MB, and the next are being prepared
            for place, found in zip(places, detected, strict=True):
                origin = float(place[0]), float(place[1])
                # the box of a face that continues beyond its tile is whole; only the image's own edge cuts it off
                in_image = boxes.clip(boxes.to_image(found.voted, level.zoom, origin), width, height)
                candidates.append(Faces.detected(in_image, found.confidences, level=level.index))
                hints.append(boxes.to_image(found.hints, level.zoom, origin))
        return Faces.concatenate(candidates), np.concatenate(hints)
