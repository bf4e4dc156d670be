"""Checks of the arrays that engines take, and of the encodings that they return."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..boxes import Boxes
from ..errors import EngineError
from ..faces import ENCODING_LENGTH
from .base import Pixels, Tile
from .network.packed_pyramid import ImagePyramid


def checked_tiles(tiles: Sequence[Tile]) -> tuple[list[Tile], int, int]:
    """Returns the tiles, C-contiguous, and their common height and width. There must be at least one tile.

    Raises:
        ValueError: a tile is not (h, w, 3) uint8 with h and w above 0, or the tiles differ in shape.
    """
    checked = [tile if isinstance(tile, ImagePyramid) else checked_pixels(tile) for tile in tiles]
    for tile in checked:
        if tile.shape != checked[0].shape:
            raise ValueError(f"all tiles must have one shape, not {checked[0].shape} and {tile.shape}")
    height, width, _ = checked[0].shape
    return checked, height, width


def checked_pixels(pixels: Pixels) -> Pixels:
    """Returns the picture, C-contiguous, as dlib and ONNX Runtime require.

    Raises:
        ValueError: the picture is not (h, w, 3) uint8 with h and w above 0.
    """
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8 or pixels.size == 0:
        raise ValueError(f"pixels must be (h, w, 3) uint8 and not empty, not {pixels.shape} {pixels.dtype}")
    return np.ascontiguousarray(pixels)


def whole_pixels(boxes: Boxes) -> list[tuple[int, int, int, int]]:
    """Returns the boxes, (left, top, right, bottom), in whole pixels.

    Raises:
        ValueError: the boxes are not of shape (n, 4), or not finite.
    """
    if boxes.ndim != 2 or boxes.shape[1] != 4 or not np.isfinite(boxes).all():
        raise ValueError(f"boxes must be finite and of shape (n, 4), not {boxes.shape}")
    return [(left, top, right, bottom) for left, top, right, bottom in np.rint(boxes).astype(int).tolist()]


def checked_encodings(encodings: ArrayLike, count: int) -> NDArray[np.float32]:
    """Returns encodings as (count, 128) float32.

    Raises:
        EngineError: a number is not finite, which happens with broken GPU libraries.
    """
    array = np.asarray(encodings, np.float32).reshape(count, ENCODING_LENGTH)
    if not np.isfinite(array).all():
        raise EngineError(
            "the engine computed an encoding that is not a number: its device or one of its libraries is broken"
        )
    return array
