"""core/compare.py: one with one, one with many, many with many."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import pyraface
from pyraface.core.compare import compare, distance, iou
from pyraface.core.faces import Faces


def faces() -> Faces:
    """Three faces: the second is 0.5 from the first, the third 1.0."""
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 20], [100, 100, 110, 110]], np.float32)
    encodings = np.zeros((3, 128), np.float32)
    encodings[1, 3], encodings[2, 0] = 0.5, 1.0
    return Faces.detected(boxes, np.ones(3, np.float32), level=0).with_encodings(encodings)


def test_one_and_one_give_a_number() -> None:
    one, other, third = faces()
    assert distance(one, other) == 0.5
    assert type(distance(one, one)) is float
    assert compare(one, other) is True
    assert compare(one, third) is False
    assert compare(one, other, tolerance=0.5) is True
    assert compare(one, other, tolerance=0.49) is False
    assert iou(one, other) == 0.5
    assert iou(one, third) == 0.0


def test_one_and_many_give_a_number_for_each_in_either_order() -> None:
    every = faces()
    for found in (
        distance(every, every[0]),
        distance(every[0], every.encodings),
        distance([*every.encodings], every[0]),
    ):
        assert isinstance(found, np.ndarray)
        assert found.tolist() == [0, 0.5, 1]
    same = compare(every, every[0].encoding)
    assert isinstance(same, np.ndarray)
    assert (same.tolist(), same.dtype) == ([True, True, False], np.bool_)
    overlap = iou(every, [0, 0, 10, 10])
    assert isinstance(overlap, np.ndarray)
    assert overlap.tolist() == [1, 0.5, 0]


def test_many_and_many_give_a_row_for_each_of_the_first() -> None:
    every = faces()
    apart = distance(every[:2], every)
    assert isinstance(apart, np.ndarray)
    np.testing.assert_allclose(apart, [[0, 0.5, 1], [0.5, 0, np.sqrt(1.25)]], rtol=1e-6)
    assert np.shape(iou(every, every[1:])) == (3, 2)


@pytest.mark.parametrize("function", [distance, compare, iou])
def test_no_faces_give_no_numbers(function: Any) -> None:
    none, every = Faces.empty(), faces()
    assert np.shape(function(none, every[0])) == (0,)
    assert np.shape(function(every[0], none)) == (0,)
    assert np.shape(function(none, every)) == (0, 3)
    assert np.shape(function([], every[0])) == (0,)


def test_a_face_without_an_encoding_is_like_no_other() -> None:
    bare = Faces.detected(faces().boxes, faces().confidences, level=0)
    assert np.isnan(distance(bare[0], bare[0]))
    assert compare(bare[0], bare[0]) is False


@pytest.mark.parametrize(
    ("function", "wrong", "says"),
    [
        (distance, np.zeros(127), r"encodings must have the shape \(128,\) or \(n, 128\), not \(127,\)"),
        (distance, np.zeros((1, 2, 128)), r"not \(1, 2, 128\)"),
        (distance, 3.0, r"not \(\)"),
        (iou, [1, 2, 3], r"boxes must have the shape \(4,\) or \(n, 4\), not \(3,\)"),
        (iou, [5, 5, 1, 1], "right >= left"),
    ],
)
def test_another_shape_is_an_error_that_names_both(function: Any, wrong: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        function(faces()[0], wrong)


def test_the_three_are_public() -> None:
    assert (pyraface.distance, pyraface.compare, pyraface.iou) == (distance, compare, iou)
