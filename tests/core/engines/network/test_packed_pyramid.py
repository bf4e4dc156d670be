from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyraface.core.engines.network.packed_pyramid import OUTER_PADDING, PADDING, SMALLEST_TILE, layout

heights = st.integers(SMALLEST_TILE[0], 3000)
widths = st.integers(SMALLEST_TILE[1], 3000)


def test_the_default_tile_fills_two_columns_as_in_dlib() -> None:
    """The largest tile of the default parameters; the figures were computed apart, loop by loop as dlib does it."""
    packed = layout(1600, 2400)
    assert (packed.height, packed.width) == (5800, 2422)
    assert packed.sizes[:4] == [(1600, 2400), (1333, 2000), (1110, 1666), (925, 1388)]
    assert packed.places[:5].tolist() == [
        [11, 11, 2411, 1611],
        [11, 1621, 2011, 2954],
        [11, 2964, 1677, 4074],
        [11, 4084, 1399, 5009],
        [11, 5019, 1167, 5789],
    ]
    assert packed.places[5:7].tolist() == [[1448, 5148, 2411, 5789], [1609, 4604, 2411, 5138]]
    assert packed.sizes[-1] == (5, 8)


@given(height=heights, width=widths)
def test_each_size_is_five_sixths_of_the_one_before_rounded_down(height: int, width: int) -> None:
    sizes = layout(height, width).sizes
    assert sizes[0] == (height, width)
    for (h, w), (next_h, next_w) in pairwise(sizes):
        assert h * 5 / 6 - 1 < next_h <= h * 5 / 6
        assert w * 5 / 6 - 1 < next_w <= w * 5 / 6
        assert next_h >= 5


@given(height=heights, width=widths)
def test_every_size_lies_inside_the_margin(height: int, width: int) -> None:
    packed = layout(height, width)
    assert (packed.places[:, :2] >= OUTER_PADDING).all()
    assert (packed.places[:, 2] <= packed.width - OUTER_PADDING).all()
    assert (packed.places[:, 3] <= packed.height - OUTER_PADDING).all()


@given(height=heights, width=widths)
def test_sizes_never_overlap(height: int, width: int) -> None:
    places = layout(height, width).places
    gaps = np.maximum(places[:, None, :2] - places[None, :, 2:], places[None, :, :2] - places[:, None, 2:])
    apart = gaps.max(axis=2)
    np.fill_diagonal(apart, PADDING)
    assert (apart >= 0).all()


@pytest.mark.parametrize("shape", [(21, 100), (100, 19), (1, 1)])
def test_a_tile_too_small_for_dlib_is_refused(shape: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="at least"):
        layout(*shape)


@pytest.mark.parametrize(("rows", "columns"), [(1, 1000), (7, 1000), (64, 33), (10_000, 1), (40, 40)])
def test_windows_of_any_size_make_up_one_packed_image(rows: int, columns: int) -> None:
    packed = layout(90, 120)
    pictures = [np.full((3, *size), number, np.float32) for number, size in enumerate(packed.sizes, start=1)]
    for picture in pictures:
        picture += np.linspace(0, 0.4, picture.size, dtype=np.float32).reshape(picture.shape)
    whole = np.empty((3, packed.height, packed.width), np.float32)
    packed.fill(whole, 0, 0, pictures)
    for top in range(0, packed.height, rows):
        for left in range(0, packed.width, columns):
            size = min(rows, packed.height - top), min(columns, packed.width - left)
            window = np.full((3, *size), np.nan, np.float32)
            packed.fill(window, top, left, pictures)
            assert np.array_equal(window, whole[:, top : top + rows, left : left + columns])
    whole = np.floor(whole)
    for number, (height, width) in enumerate(packed.sizes, start=1):
        assert (whole == number).sum() == 3 * height * width
    assert (whole[:, : packed.places[0, 1]] == 0).all()


def test_a_window_in_the_tile_itself_only_loses_the_margin() -> None:
    boxes = layout(300, 400).to_tile(np.array([[OUTER_PADDING + 100, OUTER_PADDING + 50]]), 80)
    assert boxes.tolist() == [[61, 11, 140, 90]]  # 60.5, 10.5, 139.5, 89.5: halves go away from zero


def test_halves_below_zero_are_rounded_away_from_zero() -> None:
    boxes = layout(300, 400).to_tile(np.array([[OUTER_PADDING, OUTER_PADDING]]), 80)
    assert boxes.tolist() == [[-40, -40, 40, 40]]


def test_a_window_in_a_smaller_size_is_scaled_up_step_by_step() -> None:
    packed = layout(300, 400)
    left, top, _, _ = packed.places[2].tolist()
    boxes = packed.to_tile(np.array([[left + 100, top + 60]]), 80)
    # ((60.5 * 1.2 + 0.3) * 1.2 + 0.3, and so on
    assert boxes.tolist() == [[88, 30, 202, 144]]


def test_a_window_in_the_padding_belongs_to_the_nearest_size() -> None:
    packed = layout(300, 400)
    below_the_tile = int(packed.places[0, 3])
    near, far = packed.to_tile(np.array([[200, below_the_tile + 2], [200, below_the_tile + 8]]), 80)
    assert near[2] - near[0] == 79
    assert far[2] - far[0] in (94, 95)


def test_no_windows_give_no_boxes() -> None:
    assert layout(300, 400).to_tile(np.zeros((0, 2), np.int64), 80).shape == (0, 4)


def test_a_layout_of_few_scales_has_the_first_sizes_of_the_whole() -> None:
    few, whole = layout(144, 144, 3), layout(144, 144)
    assert few.sizes == whole.sizes[:3] == [(144, 144), (120, 120), (100, 100)]
    assert few.height * few.width < 0.8 * whole.height * whole.width
    assert layout(144, 144, 99).sizes == whole.sizes
