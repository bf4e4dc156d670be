from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyraface.core import turning

TURNS = [0, 90, 180, 270]


def marked(size: tuple[int, int], box: tuple[int, int, int, int]) -> np.ndarray:
    """A black picture of `size`, (width, height), white in the box."""
    pixels = np.zeros((size[1], size[0], 3), np.uint8)
    pixels[box[1] : box[3], box[0] : box[2]] = 255
    return pixels


def box_of_mark(pixels: np.ndarray) -> list[int]:
    rows, columns = np.flatnonzero(pixels.any(axis=(1, 2))), np.flatnonzero(pixels.any(axis=(0, 2)))
    return [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]


@st.composite
def boxes_in_pictures(draw: st.DrawFn) -> tuple[tuple[int, int], tuple[int, int, int, int]]:
    width, height = draw(st.integers(1, 60)), draw(st.integers(1, 60))
    left, top = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    return (width, height), (
        left,
        top,
        draw(st.integers(left + 1, width)),
        draw(st.integers(top + 1, height)),
    )


def test_a_turn_is_clockwise() -> None:
    pixels = marked((3, 2), (0, 0, 1, 1))
    assert box_of_mark(turning.turned(pixels, 90)) == [1, 0, 2, 1]
    assert turning.turned(pixels, 90).shape == (3, 2, 3)


@given(boxes_in_pictures(), st.sampled_from(TURNS))
def test_boxes_turn_with_the_pixels_and_back(
    picture: tuple[tuple[int, int], tuple[int, int, int, int]], degrees: int
) -> None:
    size, box = picture
    pixels = turning.turned(marked(size, box), degrees)
    assert pixels.flags.c_contiguous
    boxes = turning.turned_boxes(np.array([box], np.float32), size, degrees)
    assert boxes.dtype == np.float32
    assert boxes[0].tolist() == box_of_mark(pixels)
    back = turning.turned_boxes(boxes, (pixels.shape[1], pixels.shape[0]), 360 - degrees)
    assert back[0].tolist() == list(box)


def test_no_boxes_turn_into_none() -> None:
    assert turning.turned_boxes(np.zeros((0, 4), np.float32), (5, 7), 90).shape == (0, 4)


@given(boxes_in_pictures(), st.sampled_from(TURNS))
def test_a_face_is_cut_out_with_its_surroundings_and_turned(
    picture: tuple[tuple[int, int], tuple[int, int, int, int]], degrees: int
) -> None:
    (width, height), (left, top, right, bottom) = picture
    pixels = marked((width, height), (left, top, right, bottom))
    part, box = turning.upright(pixels, np.array([picture[1]], np.float32), degrees)
    assert box[0].tolist() == box_of_mark(part)
    margin = int(turning.MARGIN * max(right - left, bottom - top)) + 1
    expected = (
        min(width, right + margin) - max(0, left - margin),
        min(height, bottom + margin) - max(0, top - margin),
    )
    assert (part.shape[1], part.shape[0]) == (expected if degrees % 180 == 0 else expected[::-1])


def test_the_surroundings_of_a_box_without_area_have_pixels() -> None:
    part, _ = turning.upright(marked((20, 10), (0, 0, 5, 5)), np.array([[20, 3, 20, 3]], np.float32), 90)
    assert part.size > 0


@pytest.mark.parametrize("degrees", TURNS)
def test_a_box_that_leaves_the_picture_is_cut_out_as_far_as_that_reaches(degrees: int) -> None:
    part, box = turning.upright(
        marked((20, 10), (0, 0, 5, 5)), np.array([[-3.5, -2, 5, 5]], np.float32), degrees
    )
    assert part.size > 0
    assert (box[0, 2] - box[0, 0], box[0, 3] - box[0, 1]) == ((8.5, 7) if degrees % 180 == 0 else (7, 8.5))
