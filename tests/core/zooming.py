"""A part of a picture zoomed in one call, to compare with."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pyraface.core import resampling


def zoomed(
    pixels: NDArray[np.uint8], box: tuple[int, int, int, int], size: tuple[int, int]
) -> NDArray[np.uint8]:
    """Returns the part `box` of a picture zoomed to (width, height)."""
    tile = np.empty((size[1], size[0], 3), np.uint8)
    for rows in resampling.strips(box, size):
        resampling.resample_rows(pixels, box, tile, rows)
    return tile
