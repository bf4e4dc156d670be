from __future__ import annotations

import numpy as np
import pytest

from pyraface.core.engines import checks
from pyraface.core.errors import EngineError


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_what_is_no_rgb_picture_is_refused(pixels: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"\(h, w, 3\) uint8"):
        checks.checked_pixels(pixels)


def test_a_view_of_a_picture_becomes_contiguous() -> None:
    view = np.arange(300, dtype=np.uint8).reshape(10, 10, 3)[:, ::-1]
    assert checks.checked_pixels(view).flags.c_contiguous
    assert np.array_equal(checks.checked_pixels(view), view)


def test_tiles_of_two_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="one shape"):
        checks.checked_tiles([np.zeros((4, 5, 3), np.uint8), np.zeros((5, 4, 3), np.uint8)])


def test_boxes_become_whole_pixels() -> None:
    assert checks.whole_pixels(np.array([[0.4, 0.6, 9.2, 10.9]], np.float32)) == [(0, 1, 9, 11)]


@pytest.mark.parametrize("boxes", [np.zeros(4), np.zeros((2, 3)), np.full((1, 4), np.nan)])
def test_boxes_that_are_none_are_refused(boxes: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"\(n, 4\)"):
        checks.whole_pixels(boxes)


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_an_encoding_that_is_not_a_number_is_an_engine_error(number: float) -> None:
    encodings = np.zeros((2, 128), np.float32)
    encodings[1, 5] = number
    with pytest.raises(EngineError, match="not a number"):
        checks.checked_encodings(encodings, 2)


def test_no_encodings_keep_their_shape() -> None:
    assert checks.checked_encodings([], 0).shape == (0, 128)
