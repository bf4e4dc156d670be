from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyraface.core import fusion
from pyraface.core.faces import Faces
from pyraface.core.parameters import FusionParameters

DEFAULT = FusionParameters()
"""same from 0.5, doubtful from 0.4, one person below 0.5"""

ANN, ANN_AGAIN, BEN, UNKNOWN = 0.0, 0.4, 2.0, np.nan
"""Encodings that differ in one number: the distance of two is their difference."""


def candidates(*rows: tuple[Any, ...]) -> Faces:
    """rows of (left, top, right, bottom), confidence, person, and the level, 0 where it is left out."""
    n = len(rows)
    encodings = np.zeros((n, 128), np.float32)
    encodings[:, 0] = [row[2] for row in rows]
    boxes = np.array([row[0] for row in rows], np.float32).reshape(n, 4)
    levels = np.array([row[3] if len(row) > 3 else 0 for row in rows], np.int32)
    confidences = np.array([row[1] for row in rows], np.float32)
    return dataclasses.replace(
        Faces.detected(boxes, confidences, level=0), levels=levels, encodings=encodings
    )


FACE = (100, 100, 200, 200)
MOUTH = (130, 150, 170, 190)  # 0.16 of it
TIGHT = (117, 117, 183, 183)  # the same centre, 0.44 of its area
SHIFTED = (110, 100, 210, 200)  # intersection over union 0.82
HALF_ON = (142, 100, 242, 200)  # 0.41
BESIDE = (155, 100, 255, 200)  # 0.29
TOUCHING = (185, 100, 285, 200)  # 0.08
APART = (300, 100, 400, 200)

# candidates: which are kept, in this order
CASES: dict[str, tuple[list[tuple[Any, ...]], list[int]]] = {
    "none": ([], []),
    "one": ([(FACE, 0.5, UNKNOWN)], [0]),
    "two apart": ([(FACE, 0.9, UNKNOWN), (APART, 0.5, UNKNOWN)], [0, 1]),
    "two touching": ([(FACE, 0.9, UNKNOWN), (TOUCHING, 0.5, UNKNOWN)], [0, 1]),
    "twins cheek to cheek, or one in a mirror": ([(FACE, 0.9, ANN), (BESIDE, 0.5, ANN)], [0, 1]),
    "seen at two levels": ([(FACE, 0.9, UNKNOWN), (SHIFTED, 0.5, UNKNOWN, 1)], [0]),
    "seen at two levels, the surer one at the deeper": (
        [(FACE, 0.5, UNKNOWN), (SHIFTED, 0.9, UNKNOWN, 1)],
        [1],
    ),
    "seen at two levels in the same place": ([(FACE, 0.9, UNKNOWN), (FACE, 0.5, UNKNOWN, 1)], [0]),
    "seen at two levels, though encodings differ": ([(FACE, 0.9, ANN), (SHIFTED, 0.5, BEN, 1)], [0]),
    "seen at two sizes": ([(FACE, 0.9, ANN), (TIGHT, 0.5, ANN_AGAIN, 1)], [0]),
    "one on the other's shoulder": ([(FACE, 0.9, ANN), (TIGHT, 0.5, BEN)], [0, 1]),
    "a mouth": ([(FACE, 0.9, ANN), (MOUTH, 0.5, BEN)], [0, 1]),
    "a poster half behind a head": ([(FACE, 0.9, ANN), (HALF_ON, 0.5, BEN)], [0, 1]),
    "half on, one person": ([(FACE, 0.9, ANN), (HALF_ON, 0.5, ANN_AGAIN)], [0]),
    "a pair and what is seen twice of it": (
        [(FACE, 0.9, ANN), (HALF_ON, 0.8, BEN), (SHIFTED, 0.7, ANN_AGAIN), (TIGHT, 0.6, ANN)],
        [0, 1],
    ),
    "an empty box": ([(FACE, 0.9, UNKNOWN), ((150, 150, 150, 150), 0.5, UNKNOWN)], [0, 1]),
}


@pytest.mark.parametrize(("rows", "kept"), CASES.values(), ids=CASES)
def test_each_face_is_kept_once(rows: list[tuple[Any, ...]], kept: list[int]) -> None:
    found = candidates(*rows)
    fused = fusion.fuse(found, DEFAULT)
    np.testing.assert_array_equal(fused.boxes, found.boxes[kept])
    np.testing.assert_array_equal(fused.confidences, found.confidences[kept])
    np.testing.assert_array_equal(fused.levels, found.levels[kept])
    np.testing.assert_array_equal(fused.encodings, found.encodings[kept])


DOUBTFUL: dict[str, tuple[list[tuple[Any, ...]], list[bool]]] = {
    "none": ([], []),
    "one": ([(FACE, 0.5, UNKNOWN)], [False]),
    "beside": ([(FACE, 0.9, UNKNOWN), (BESIDE, 0.5, UNKNOWN)], [False, False]),
    "the same place": ([(FACE, 0.9, UNKNOWN), (SHIFTED, 0.5, UNKNOWN)], [False, False]),
    "inside, and much smaller": ([(FACE, 0.9, UNKNOWN), (MOUTH, 0.5, UNKNOWN)], [False, False]),
    "inside": ([(FACE, 0.9, UNKNOWN), (TIGHT, 0.5, UNKNOWN)], [True, True]),
    "half on, and one apart": (
        [(FACE, 0.9, UNKNOWN), (APART, 0.8, UNKNOWN), (HALF_ON, 0.5, UNKNOWN)],
        [True, False, True],
    ),
}


@pytest.mark.parametrize(("rows", "expected"), DOUBTFUL.values(), ids=DOUBTFUL)
def test_only_what_boxes_leave_in_doubt_needs_encodings(
    rows: list[tuple[Any, ...]], expected: list[bool]
) -> None:
    found = fusion.doubtful(candidates(*rows), DEFAULT)
    assert found.dtype == np.bool_
    assert found.tolist() == expected


@pytest.mark.parametrize("without", [0, 1])
def test_a_doubtful_face_without_an_encoding_is_refused(without: int) -> None:
    people = [ANN, ANN]
    people[without] = UNKNOWN
    with pytest.raises(ValueError, match="needs an encoding"):
        fusion.fuse(candidates((FACE, 0.9, people[0]), (TIGHT, 0.5, people[1])), DEFAULT)


def test_the_thresholds_are_those_of_the_parameters() -> None:
    quarter = (160, 100, 260, 200)  # 40 of 160 columns are in both: exactly 0.25
    pair = candidates((FACE, 0.9, ANN), (quarter, 0.5, 0.5))
    kept = {
        FusionParameters(0.25, 0.2, 0.6): 1,  # the same by overlap
        FusionParameters(0.26, 0.2, 0.6): 1,  # by encoding
        FusionParameters(0.26, 0.25, 0.6): 1,
        FusionParameters(0.26, 0.2, 0.5): 2,  # at the distance itself: two
        FusionParameters(0.5, 0.26, 0.6): 2,  # too little overlap to ask
    }
    for parameters, expected in kept.items():
        assert len(fusion.fuse(pair, parameters)) == expected, parameters
    couple = candidates((FACE, 0.9, ANN), (quarter, 0.5, BEN))
    assert len(fusion.fuse(couple, FusionParameters(0.25, 0.2, 0.6))) == 1
    assert len(fusion.fuse(couple, FusionParameters(0.26, 0.2, 0.6))) == 2


def test_faces_come_by_confidence() -> None:
    found = candidates((APART, 0.3, UNKNOWN), ((500, 0, 550, 50), 0.9, UNKNOWN), (FACE, 0.7, UNKNOWN))
    assert fusion.fuse(found, DEFAULT).confidences.tolist() == pytest.approx([0.9, 0.7, 0.3])


def test_a_doubtful_face_does_not_join_two_people() -> None:
    # the middle one is near both; the two outer ones are not near each other
    rows = ((0, 0, 100, 100), 0.9, 0.0), ((42, 0, 142, 100), 0.5, 0.4), ((84, 0, 184, 100), 0.8, 0.8)
    assert fusion.fuse(candidates(*rows), DEFAULT).confidences.tolist() == pytest.approx([0.9, 0.8])


@pytest.mark.parametrize("rows", [rows for rows, _ in CASES.values() if len(rows) > 1])
def test_the_order_of_candidates_does_not_matter(rows: list[tuple[Any, ...]]) -> None:
    expected = fusion.fuse(candidates(*rows), DEFAULT)
    for order in itertools.permutations(rows):
        found = fusion.fuse(candidates(*order), DEFAULT)
        np.testing.assert_array_equal(found.boxes, expected.boxes)
        np.testing.assert_array_equal(found.confidences, expected.confidences)


# a small grid and few confidences: many overlaps, many ties
row = st.tuples(
    st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(1, 4), st.integers(1, 4)).map(
        lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3])
    ),
    st.sampled_from([0.5, 0.75]),
    st.sampled_from([ANN, ANN_AGAIN, BEN]),
    st.integers(0, 2),
)


def one_place_one_person(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """What is cut out of one place has one encoding."""
    people: dict[Any, float] = {}
    return [
        (box, confidence, people.setdefault(box, person), level) for box, confidence, person, level in rows
    ]


@settings(max_examples=300)
@given(st.lists(row, max_size=9).map(one_place_one_person), st.randoms(use_true_random=False))
def test_no_order_of_any_candidates_matters(rows: list[tuple[Any, ...]], rng: Any) -> None:
    expected = fusion.fuse(candidates(*rows), DEFAULT)
    shuffled = rng.sample(rows, len(rows))
    found = fusion.fuse(candidates(*shuffled), DEFAULT)
    for name in ("boxes", "confidences", "levels", "encodings"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


@settings(max_examples=300)
@given(st.lists(row, max_size=9))
def test_fused_faces_are_candidates_that_nothing_more_can_be_fused_of(rows: list[tuple[Any, ...]]) -> None:
    fused = fusion.fuse(candidates(*rows), DEFAULT)
    assert (len(fused) > 0) == (len(rows) > 0)
    again = fusion.fuse(fused, DEFAULT)
    np.testing.assert_array_equal(again.boxes, fused.boxes)


def test_nothing_is_changed_in_the_candidates() -> None:
    found = candidates((FACE, 0.5, ANN), (TIGHT, 0.9, BEN), (SHIFTED, 0.7, ANN))
    for array in (found.boxes, found.confidences, found.levels, found.encodings):
        array.flags.writeable = False
    fusion.fuse(found, DEFAULT)
