from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from pyraface.core import boxes
from pyraface.core.boxes import Boxes

NONE = np.zeros((0, 4), np.float32)


def at(*rows: tuple[float, float, float, float]) -> Boxes:
    return np.array(rows, np.float32).reshape(-1, 4)


some_boxes = st_numpy.arrays(
    np.float32, st.tuples(st.integers(0, 6), st.just(4)), elements=st.integers(0, 50)
).map(lambda a: np.concatenate([np.minimum(a[:, :2], a[:, 2:]), np.maximum(a[:, :2], a[:, 2:])], axis=1))


@pytest.mark.parametrize("values", [[], [[]], NONE, np.zeros((0, 4), np.int64), ()], ids=repr)
def test_no_boxes_have_the_shape_0_4(values: Any) -> None:
    found = boxes.as_boxes(values)
    assert (found.shape, found.dtype) == ((0, 4), np.float32)


def test_boxes_are_copied() -> None:
    source = at((1, 2, 3, 4))
    found = boxes.as_boxes(source)
    found[:] = 0
    np.testing.assert_array_equal(source, at((1, 2, 3, 4)))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1, 2, 3, 4], r"shape \(n, 4\), not \(4,\)"),
        ([[1, 2, 3]], r"shape \(n, 4\), not \(1, 3\)"),
        (np.zeros((2, 4, 1)), r"shape \(n, 4\), not \(2, 4, 1\)"),
        (5, r"shape \(n, 4\), not \(\)"),
        ([[0, 0, np.nan, 1]], "finite"),
        ([[0, 0, np.inf, 1]], "finite"),
        ([[2, 0, 1, 1]], "right >= left"),
        ([[0, 2, 1, 1]], "bottom >= top"),
        ([[1, 2], [3]], "inhomogeneous"),
        ([["a", 0, 0, 0]], "could not convert"),
    ],
    ids=repr,
)
def test_what_are_no_boxes_is_refused_naming_expected_and_actual(values: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        boxes.as_boxes(values)


def test_a_box_may_be_empty() -> None:
    np.testing.assert_array_equal(boxes.as_boxes([[1, 1, 1, 1]]), at((1, 1, 1, 1)))


@pytest.mark.parametrize(
    ("rows", "expected"),
    [(NONE, []), (at((0, 0, 0, 5)), [0]), (at((1, 2, 4, 6), (-2, -2, 0, 0)), [12, 4])],
    ids=["none", "empty", "two"],
)
def test_areas_are_width_times_height(rows: Boxes, expected: list[float]) -> None:
    found = boxes.areas(rows)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.array(expected, np.float32))


PAIRS = {  # a, b: shared, intersection over union
    "equal": ((0, 0, 10, 10), (0, 0, 10, 10), 100, 1),
    "half beside": ((0, 0, 10, 10), (5, 0, 15, 10), 50, 1 / 3),
    "quarter at a corner": ((0, 0, 10, 10), (5, 5, 15, 15), 25, 1 / 7),
    "inside": ((0, 0, 10, 10), (2, 2, 4, 4), 4, 4 / 100),
    "touching": ((0, 0, 10, 10), (10, 0, 20, 10), 0, 0),
    "apart": ((0, 0, 10, 10), (11, 11, 20, 20), 0, 0),
    "apart on one side only": ((0, 0, 10, 10), (2, 30, 8, 40), 0, 0),
    "one empty": ((0, 0, 10, 10), (5, 5, 5, 8), 0, 0),
    "both empty": ((5, 5, 5, 5), (5, 5, 5, 5), 0, 0),
}


@pytest.mark.parametrize(("a", "b", "shared", "iou"), PAIRS.values(), ids=PAIRS)
def test_overlaps_of_two_boxes(a: Any, b: Any, shared: float, iou: float) -> None:
    for one, other in ((at(a), at(b)), (at(b), at(a))):
        np.testing.assert_array_equal(boxes.intersections(one, other), [[shared]])
        np.testing.assert_allclose(boxes.iou(one, other), [[iou]], rtol=1e-6)


@pytest.mark.parametrize("overlap", [boxes.intersections, boxes.iou])
@pytest.mark.parametrize(("n", "m"), [(0, 0), (0, 3), (3, 0), (2, 3)])
def test_overlaps_are_a_row_for_each_of_a_and_a_column_for_each_of_b(overlap: Any, n: int, m: int) -> None:
    found = overlap(np.ones((n, 4), np.float32), np.ones((m, 4), np.float32))
    assert (found.shape, found.dtype) == ((n, m), np.float32)


@given(some_boxes, some_boxes)
def test_overlaps_are_between_0_and_1_and_do_not_depend_on_the_order(a: Boxes, b: Boxes) -> None:
    iou = boxes.iou(a, b)
    assert ((iou >= 0) & (iou <= 1)).all()
    np.testing.assert_array_equal(iou, boxes.iou(b, a).T)


def test_a_box_of_a_tile_comes_back_to_where_the_tile_was_cut() -> None:
    found = boxes.to_image(at((20, 30, 40, 60)), (2, 3), (100, 200))
    np.testing.assert_array_equal(found, at((110, 210, 120, 220)))
    assert found.dtype == np.float32
    assert boxes.to_image(NONE, (2, 3), (100, 200)).shape == (0, 4)


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((1, 2, 3, 4), (1, 2, 3, 4)),
        ((-5, -6, 30, 40), (0, 0, 20, 10)),
        ((-5, -6, -1, -2), (0, 0, 0, 0)),
        ((25, 11, 30, 15), (20, 10, 20, 10)),
    ],
)
def test_a_box_is_cut_off_at_the_edges(box: Any, expected: Any) -> None:
    found = boxes.clip(at(box), 20, 10)
    np.testing.assert_array_equal(found, at(expected))
    assert found.dtype == np.float32


def test_no_boxes_are_cut_off() -> None:
    assert boxes.clip(NONE, 20, 10).shape == (0, 4)
    assert boxes.inside(NONE, 20, 10).shape == (0,)


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((1, 2, 3, 4), 1),
        ((0, 0, 20, 10), 1),
        ((-5, 0, 5, 10), 0.5),
        ((15, 5, 25, 15), 0.25),
        ((-10, -10, 30, 20), 0.1666667),
        ((25, 11, 30, 15), 0),
        ((5, 5, 5, 9), 0),
    ],
)
def test_the_share_of_a_box_that_lies_inside(box: Any, expected: float) -> None:
    found = boxes.inside(at(box), 20, 10)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [expected], rtol=1e-6)


@given(some_boxes)
def test_no_more_than_all_of_a_box_lies_inside(a: Boxes) -> None:
    share = boxes.inside(a / np.float32(3) - np.float32(2.3), 11.7, 9.1)
    assert ((share >= 0) & (share <= 1)).all()


def test_no_function_changes_its_arguments() -> None:
    a = at((1, 2, 30, 40), (5, 5, 6, 6))
    a.flags.writeable = False
    (
        boxes.areas(a),
        boxes.iou(a, a),
        boxes.to_image(a, (2, 2), (1, 1)),
        boxes.clip(a, 9, 9),
        boxes.inside(a, 9, 9),
    )


def test_of_millions_of_pairs_the_result_alone_is_in_memory() -> None:
    corner = np.random.default_rng(0).uniform(0, 100, (2000, 2)).astype(np.float32)
    many = np.concatenate([corner, corner + 20], axis=1)
    tracemalloc.start()
    found = boxes.iou(many, many[:1500])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1.5 * found.nbytes
    shared = boxes.intersections(many[-1:], many[:1500])
    np.testing.assert_allclose(found[-1:], shared / (400 + 400 - shared), rtol=1e-6)
