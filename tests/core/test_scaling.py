from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pyraface.core import pyramid

side = st.integers(1, 60_000)


@pytest.mark.parametrize(
    ("width", "height", "budget", "most", "expected"),
    [
        (1, 1, 1, 1, 1),
        (600, 400, 240_000, 4, 1),
        (1200, 800, 240_000, 4, 0.5),
        (300, 200, 240_000, 4, 2),
        (30, 20, 240_000, 4, 4),
        (600, 400, 240_000 * 16, 4, 4),
        (1, 60_000, 256, 4, 256 / 60_000),
    ],
)
def test_a_picture_is_zoomed_to_the_budget_and_no_further_than_allowed(
    width: int, height: int, budget: int, most: float, expected: float
) -> None:
    assert pyramid.zoom(width, height, budget=budget, most=most) == pytest.approx(expected)
    assert pyramid.zoom(height, width, budget=budget, most=most) == pytest.approx(expected)


@given(side, side, st.integers(256, 10_000_000), st.sampled_from([1.0, 2.0, 4.0, 16.0]))
def test_the_budget_is_never_exceeded_and_the_aspect_kept_within_a_pixel(
    width: int, height: int, budget: int, most: float
) -> None:
    factor = pyramid.zoom(width, height, budget=budget, most=most)
    zoomed = pyramid.zoomed_size(width, height, factor)
    assert min(zoomed) >= 1
    assert zoomed[0] * zoomed[1] <= budget
    assert abs(zoomed[0] - width * factor) <= 1
    assert abs(zoomed[1] - height * factor) <= 1
    assert factor <= most


@given(st.integers(300, 60_000), st.integers(300, 60_000), st.sampled_from([1.0, 2.0, 4.0]))
def test_the_budget_is_used_up_unless_the_picture_would_grow_blurry(
    width: int, height: int, most: float
) -> None:
    budget = 3_840_000
    factor = pyramid.zoom(width, height, budget=budget, most=most)
    zoomed = pyramid.zoomed_size(width, height, factor)
    assert factor == most or (zoomed[0] + 1) * (zoomed[1] + 1) > budget


@given(st.integers(1, 5000), st.integers(1, 5000))
@example(11, 15)
def test_a_size_that_comes_out_whole_stays_whole(width: int, wanted: int) -> None:
    assert pyramid.zoomed_size(width, 1, wanted / width)[0] == wanted
