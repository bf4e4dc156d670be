"""Detections: an engine's output for one tile."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..boxes import Boxes


class Detections(NamedTuple):
    """The faces that a detector found in one tile, the most confident first.

    boxes: (n, 4) float32, whole pixels of the tile, inside it: the strongest response to each face, which is the box that
        face_recognition gives.
    confidences: (n,) float32, of that response.
    voted: (n, 4) float32, in pixels of the tile: the mean of all responses to each face. It is as good a box, does not move
        when a single pixel changes, and may leave the tile: by the detector's estimate, where the edge cuts a face off.
    """

    boxes: Boxes
    confidences: NDArray[np.float32]
    voted: Boxes


def no_detections() -> Detections:
    """Returns the detections of a tile without faces."""
    none = np.zeros((0, 4), np.float32)
    return Detections(none, np.zeros(0, np.float32), none)
