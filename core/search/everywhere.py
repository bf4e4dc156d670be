"""Everywhere: the search of every tile of every level."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .. import boxes as geometry
from .. import pyramid
from ..boxes import Boxes
from ..engines import Engine, Pixels
from ..faces import Faces
from ..parameters import DetectionParameters
from ..pyramid import Level
from ..tiles import TilePreparer


class Everywhere:
    """The Search over the whole pyramid.

    Args:
        engine: detects.
        detection: the pyramid's parameters.
        frugal: whether a tile is prepared only when the engine is done with the one before: less memory, more time.
    """

    def __init__(self, engine: Engine, detection: DetectionParameters, *, frugal: bool = False) -> None:
        self._engine = engine
        self._detection = detection
        self._tiles = TilePreparer(engine, ahead=not frugal)

    def candidates(self, image: Pixels, *, faces_from: float = 0) -> Faces:
        """Returns the detections in each tile; a face in several tiles or levels occurs several times."""
        height, width, _ = image.shape
        candidates: list[Faces] = []
        levels = self._levels(width, height, faces_from)
        for level, places, tiles in self._tiles.batches(image, levels):
            detected = self._engine.detect(tiles)
            tiles.clear()  # they take some 150 MB, and the next are being prepared
            for place, found in zip(places, detected, strict=True):
                origin = float(place[0]), float(place[1])
                # the box of a face that continues beyond its tile is whole; only the image's own edge cuts it off
                whole = geometry.to_image(found.voted, level.zoom, origin)
                candidates.append(
                    Faces.detected(
                        geometry.clip(whole, width, height),
                        found.confidences,
                        level=level.index,
                        inside=geometry.inside(whole, width, height),
                    )
                )
        return Faces.concatenate(candidates)

    def turns(self, image: Pixels, boxes: Boxes, *, faces_from: float = 0) -> NDArray[np.int32]:
        """Returns 0 for each box: every tile is searched as it stands."""
        del image, faces_from
        return np.zeros(len(boxes), np.int32)

    def finest_zoom(self, width: int, height: int, *, faces_from: float = 0) -> float:
        """Returns the zoom of the deepest level."""
        return max(max(level.zoom) for level in self._levels(width, height, faces_from))

    def _levels(self, width: int, height: int, faces_from: float) -> list[Level]:
        return pyramid.levels(width, height, self._detection, faces_from=faces_from)
