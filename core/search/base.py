"""Search: the Protocol that every way of searching an image implements."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..boxes import Boxes
from ..engines import Pixels
from ..faces import Faces


class Search(Protocol):
    """Finds candidates: faces that may be in the image several times, and are not encoded yet. Not thread-safe.

    `faces_from` is the side of the smallest face wanted, in pixels of the image that is searched; 0: the parameters decide.
    """

    def candidates(self, image: Pixels, *, faces_from: float = 0) -> Faces:
        """Returns the candidates, boxes in pixels of the image.

        Raises:
            EngineError: the engine failed.
        """
        ...

    def turns(self, image: Pixels, boxes: Boxes, *, faces_from: float = 0) -> NDArray[np.int32]:
        """Returns the degrees clockwise, (n,), 0, 90, 180 or 270, that bring the face in each box upright.

        It decides as `candidates` does for a face there; a search that turns nothing answers 0.

        Args:
            boxes: (n, 4), in pixels of the image.

        Raises:
            EngineError: the proposer failed.
        """
        ...

    def finest_zoom(self, width: int, height: int, *, faces_from: float = 0) -> float:
        """Returns the largest factor by which the search zooms any part of an image of this size.

        Below 1, the search needs less detail than the image has: it may be decoded at a fraction of its size. Any
        thread may call this.
        """
        ...
