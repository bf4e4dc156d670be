"""Comparison of faces: distances of encodings, and overlap of boxes, of one face or of many.

The functions take a `Face`, a `Faces`, or arrays. One and one give a number; one and many, in either order,
give (n,); many and many give (n, m), a row for each face of the first.
"""

from __future__ import annotations

from typing import Union

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import boxes
from .faces import ENCODING_LENGTH, Face, Faces

TOLERANCE = 0.6
"""Up to this distance face_recognition takes two faces for one person. docs/accuracy.md has the figures for it."""

Encodings = Union[Face, Faces, ArrayLike]  # noqa: UP007  Python 3.10 cannot join these with |
"""A face, faces, or encodings of shape (128,) or (n, 128)."""

Places = Union[Face, Faces, ArrayLike]  # noqa: UP007
"""A face, faces, or boxes of shape (4,) or (n, 4): left, top, right, bottom."""


def distance(a: Encodings, b: Encodings) -> float | NDArray[np.float32]:
    """Returns the Euclidean distance of encodings: two faces of one person are usually closer than 0.6.

    Encodings of faces that are not `comparable` tell little.

    Returns:
        a float, (n,) float32, or (n, m) float32; NaN where a face has no encoding.

    Raises:
        ValueError: an array of another shape.
    """
    one = a.encoding if isinstance(a, Face) else a.encodings if isinstance(a, Faces) else a
    other = b.encoding if isinstance(b, Face) else b.encodings if isinstance(b, Faces) else b
    rows, columns = _rows(one, "encodings", ENCODING_LENGTH), _rows(other, "encodings", ENCODING_LENGTH)
    apart = np.empty((len(rows), len(columns)), np.float32)
    for row, encoding in zip(apart, rows, strict=True):
        row[:] = np.linalg.norm(columns - encoding, axis=1)
    return _shaped(apart, one, other)


def compare(a: Encodings, b: Encodings, tolerance: float = TOLERANCE) -> bool | NDArray[np.bool_]:
    """Returns whether faces are of one person: whether their `distance` is at most `tolerance`.

    Returns:
        a bool, (n,) bool, or (n, m) bool; False where a face has no encoding.

    Raises:
        ValueError: an array of another shape.
    """
    same = distance(a, b) <= tolerance
    return same if isinstance(same, bool) else np.asarray(same, np.bool_)


def iou(a: Places, b: Places) -> float | NDArray[np.float32]:
    """Returns the overlap of boxes: intersection over union, 0 to 1.

    Returns:
        a float, (n,) float32, or (n, m) float32.

    Raises:
        ValueError: an array of another shape, or no boxes.
    """
    one = a.box if isinstance(a, Face) else a.boxes if isinstance(a, Faces) else a
    other = b.box if isinstance(b, Face) else b.boxes if isinstance(b, Faces) else b
    shared = boxes.iou(boxes.as_boxes(_rows(one, "boxes", 4)), boxes.as_boxes(_rows(other, "boxes", 4)))
    return _shaped(shared, one, other)


def _rows(values: ArrayLike, what: str, length: int) -> NDArray[np.float32]:
    """Returns (n, length) float32 of one row or of many; a list of none has no rows."""
    array = np.asarray(values, np.float32)
    if array.shape == (0,):
        return array.reshape(0, length)
    if array.ndim not in (1, 2) or array.shape[-1] != length:
        raise ValueError(f"{what} must have the shape ({length},) or (n, {length}), not {array.shape}")
    return array.reshape(-1, length)


def _shaped(pairs: NDArray[np.float32], one: ArrayLike, other: ArrayLike) -> float | NDArray[np.float32]:
    """Returns (n, m) pairs without the axis of each argument that was a single face."""
    alone = [np.ndim(values) == 1 and np.size(values) > 0 for values in (one, other)]
    if all(alone):
        return float(pairs[0, 0])
    return np.asarray(pairs[0] if alone[0] else pairs[:, 0] if alone[1] else pairs, np.float32)
