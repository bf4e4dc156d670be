from __future__ import annotations

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
"""same from 0.5, doubtful from 0.2, one person below 0.6"""

ANN, ANN_AGAIN, BEN, UNKNOWN = 0.0, 0.5, 2.0, np.nan
"""Encodings that differ in one number: the distance of two is their difference."""


def candidates(*rows: tuple[Any, ...]) -> tuple[Faces, np.ndarray]:
    """rows of (left, top, right, bottom), confidence, person, and "cut" if the box ends at a seam; level 1 if cut."""
    n = len(rows)
    encodings = np.zeros((n, 128), np.float32)
    encodings[:, 0] = [row[2] for row in rows]
    cut = np.array(["cut" in row[3:] for row in rows], np.bool_)
    boxes = np.array([row[0] for row in rows], np.float32).reshape(n, 4)
    return Faces(boxes, np.array([row[1] for row in rows], np.float32), cut.astype(np.int32), encodings), cut


FACE = (100, 100, 200, 200)
INSIDE = (120, 120, 180, 180)  # a third of its area
LEFT_HALF = (100, 100, 150, 200)
BESIDE = (160, 100, 260, 200)  # covers 0.4 of it, intersection over union 0.25
TOUCHING = (185, 100, 285, 200)  # covers 0.15 of it
SHIFTED = (110, 100, 210, 200)  # intersection over union 0.82
APART = (300, 100, 400, 200)

# candidates, the most confident first: which are kept
CASES: dict[str, tuple[list[tuple[Any, ...]], list[int]]] = {
    "none": ([], []),
    "one": ([(FACE, 0.5, UNKNOWN)], [0]),
    "one half, of which nothing else was seen": ([(LEFT_HALF, 0.5, UNKNOWN, "cut")], [0]),
    "two apart": ([(FACE, 0.9, UNKNOWN), (APART, 0.5, UNKNOWN)], [0, 1]),
    "two touching": ([(FACE, 0.9, UNKNOWN), (TOUCHING, 0.5, UNKNOWN)], [0, 1]),
    "touching, of one person: in a mirror, say": ([(FACE, 0.9, ANN), (TOUCHING, 0.5, ANN)], [0, 1]),
    "seen at two levels": ([(FACE, 0.9, UNKNOWN), (SHIFTED, 0.5, UNKNOWN)], [0]),
    "seen at two levels in the same place": ([(FACE, 0.9, UNKNOWN), (FACE, 0.5, UNKNOWN)], [0]),
    "seen at two levels, though encodings differ": ([(FACE, 0.9, ANN), (SHIFTED, 0.5, BEN)], [0]),
    "half of it at a seam": ([(FACE, 0.9, UNKNOWN), (LEFT_HALF, 0.5, UNKNOWN, "cut")], [0]),
    "half of it at a seam, the surer one": ([(LEFT_HALF, 0.9, UNKNOWN, "cut"), (FACE, 0.5, UNKNOWN)], [1]),
    "a piece of it at a seam": ([(FACE, 0.9, UNKNOWN), (INSIDE, 0.5, UNKNOWN, "cut")], [0]),
    "whole at a seam, the surer one": ([(FACE, 0.9, UNKNOWN, "cut"), (SHIFTED, 0.5, UNKNOWN)], [1]),
    "cut at a seam, with a whole one inside": ([(FACE, 0.9, ANN, "cut"), (INSIDE, 0.5, BEN)], [1, 0]),
    "both cut, one in the other": ([(FACE, 0.9, UNKNOWN, "cut"), (INSIDE, 0.5, UNKNOWN, "cut")], [0]),
    "cut at a seam beside another": ([(FACE, 0.9, ANN), (BESIDE, 0.5, BEN, "cut")], [0, 1]),
    "one inside another, two people": ([(FACE, 0.9, ANN), (INSIDE, 0.5, BEN)], [0, 1]),
    "one inside another, one person": ([(FACE, 0.9, ANN), (INSIDE, 0.5, ANN_AGAIN)], [0]),
    "cheek to cheek, two people": ([(FACE, 0.9, ANN), (BESIDE, 0.5, BEN)], [0, 1]),
    "cheek to cheek, one person": ([(FACE, 0.9, ANN), (BESIDE, 0.5, ANN_AGAIN)], [0]),
    "a pair and what is seen twice of it": (
        [(FACE, 0.9, ANN), (BESIDE, 0.8, BEN), (SHIFTED, 0.7, ANN_AGAIN), (LEFT_HALF, 0.6, ANN, "cut")],
        [0, 1],
    ),
    "an empty box": ([(FACE, 0.9, UNKNOWN), ((150, 150, 150, 150), 0.5, UNKNOWN)], [0, 1]),
}


@pytest.mark.parametrize(("rows", "kept"), CASES.values(), ids=CASES)
def test_each_face_is_kept_once(rows: list[tuple[Any, ...]], kept: list[int]) -> None:
    found, cut = candidates(*rows)
    fused = fusion.fuse(found, cut, DEFAULT)
    np.testing.assert_array_equal(fused.boxes, found.boxes[kept])
    np.testing.assert_array_equal(fused.confidences, found.confidences[kept])
    np.testing.assert_array_equal(fused.levels, found.levels[kept])
    np.testing.assert_array_equal(fused.encodings, found.encodings[kept])


DOUBTFUL: dict[str, tuple[list[tuple[Any, ...]], list[bool]]] = {
    "none": ([], []),
    "one": ([(FACE, 0.5, UNKNOWN)], [False]),
    "touching": ([(FACE, 0.9, UNKNOWN), (TOUCHING, 0.5, UNKNOWN)], [False, False]),
    "the same place": ([(FACE, 0.9, UNKNOWN), (SHIFTED, 0.5, UNKNOWN)], [False, False]),
    "half at a seam": ([(FACE, 0.9, UNKNOWN), (LEFT_HALF, 0.5, UNKNOWN, "cut")], [False, False]),
    "one inside another": ([(FACE, 0.9, UNKNOWN), (INSIDE, 0.5, UNKNOWN)], [True, True]),
    "a whole one inside a cut one": ([(FACE, 0.9, UNKNOWN, "cut"), (INSIDE, 0.5, UNKNOWN)], [True, True]),
    "cheek to cheek, and one apart": (
        [(FACE, 0.9, UNKNOWN), (APART, 0.8, UNKNOWN), (BESIDE, 0.5, UNKNOWN)],
        [True, False, True],
    ),
}


@pytest.mark.parametrize(("rows", "expected"), DOUBTFUL.values(), ids=DOUBTFUL)
def test_only_what_boxes_leave_in_doubt_needs_encodings(
    rows: list[tuple[Any, ...]], expected: list[bool]
) -> None:
    found = fusion.doubtful(*candidates(*rows), DEFAULT)
    assert found.dtype == np.bool_
    assert found.tolist() == expected


@pytest.mark.parametrize("without", [0, 1])
def test_a_doubtful_face_without_an_encoding_is_refused(without: int) -> None:
    people = [ANN, ANN]
    people[without] = UNKNOWN
    with pytest.raises(ValueError, match="needs an encoding"):
        fusion.fuse(*candidates((FACE, 0.9, people[0]), (INSIDE, 0.5, people[1])), DEFAULT)


def test_the_thresholds_are_those_of_the_parameters() -> None:
    pair = candidates((FACE, 0.9, ANN), (BESIDE, 0.5, ANN_AGAIN))  # IoU 0.25, IoS 0.4, distance 0.5
    kept = {
        FusionParameters(0.25, 0.2, 0.6): 1,  # the same by overlap
        FusionParameters(0.26, 0.2, 0.6): 1,  # by encoding
        FusionParameters(0.26, 0.2, 0.5): 2,  # at the distance itself: two
        FusionParameters(0.5, 0.41, 0.6): 2,  # too little overlap to ask
        FusionParameters(0.5, 0.4, 0.6): 1,
    }
    for parameters, expected in kept.items():
        assert len(fusion.fuse(*pair, parameters)) == expected, parameters
    couple = candidates((FACE, 0.9, ANN), (BESIDE, 0.5, BEN))
    assert len(fusion.fuse(*couple, FusionParameters(0.25, 0.2, 0.6))) == 1
    assert len(fusion.fuse(*couple, FusionParameters(0.26, 0.2, 0.6))) == 2


def test_faces_come_whole_ones_first_then_by_confidence() -> None:
    found, cut = candidates(
        (APART, 0.3, UNKNOWN),
        ((500, 0, 550, 50), 0.9, UNKNOWN, "cut"),
        (FACE, 0.7, UNKNOWN),
        ((500, 500, 550, 550), 0.2, UNKNOWN, "cut"),
    )
    assert fusion.fuse(found, cut, DEFAULT).confidences.tolist() == pytest.approx([0.7, 0.3, 0.9, 0.2])


def test_a_doubtful_face_does_not_join_two_people() -> None:
    # the middle one is near both; the two outer ones are not near each other
    rows = ((0, 0, 100, 100), 0.9, 0.0), ((60, 0, 160, 100), 0.5, 0.5), ((120, 0, 220, 100), 0.8, 1.0)
    assert fusion.fuse(*candidates(*rows), DEFAULT).confidences.tolist() == pytest.approx([0.9, 0.8])


@pytest.mark.parametrize("rows", [rows for rows, _ in CASES.values() if len(rows) > 1])
def test_the_order_of_candidates_does_not_matter(rows: list[tuple[Any, ...]]) -> None:
    expected = fusion.fuse(*candidates(*rows), DEFAULT)
    for order in itertools.permutations(rows):
        found = fusion.fuse(*candidates(*order), DEFAULT)
        np.testing.assert_array_equal(found.boxes, expected.boxes)
        np.testing.assert_array_equal(found.confidences, expected.confidences)


# a small grid and few confidences: many overlaps, many ties
row = st.tuples(
    st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(1, 4), st.integers(1, 4)).map(
        lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3])
    ),
    st.sampled_from([0.5, 0.75]),
    st.sampled_from([ANN, ANN_AGAIN, BEN]),
    st.sampled_from(["cut", ""]),
)


def one_place_one_person(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """What is cut out of one place has one encoding."""
    people: dict[Any, float] = {}
    return [(box, confidence, people.setdefault(box, person), cut) for box, confidence, person, cut in rows]


@settings(max_examples=300)
@given(st.lists(row, max_size=9).map(one_place_one_person), st.randoms(use_true_random=False))
def test_no_order_of_any_candidates_matters(rows: list[tuple[Any, ...]], rng: Any) -> None:
    expected = fusion.fuse(*candidates(*rows), DEFAULT)
    shuffled = rng.sample(rows, len(rows))
    found = fusion.fuse(*candidates(*shuffled), DEFAULT)
    for name in ("boxes", "confidences", "levels", "encodings"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


@settings(max_examples=300)
@given(st.lists(row, max_size=9))
def test_fused_faces_are_candidates_that_nothing_more_can_be_fused_of(rows: list[tuple[Any, ...]]) -> None:
    found, cut = candidates(*rows)
    fused = fusion.fuse(found, cut, DEFAULT)
    assert (len(fused) > 0) == (len(rows) > 0)
    # cut ones have level 1 here
    again = fusion.fuse(fused, fused.levels == 1, DEFAULT)
    np.testing.assert_array_equal(again.boxes, fused.boxes)


def test_nothing_is_changed_in_the_candidates() -> None:
    found, cut = candidates((FACE, 0.5, ANN), (INSIDE, 0.9, BEN), (SHIFTED, 0.7, ANN))
    for array in (found.boxes, found.confidences, found.levels, found.encodings, cut):
        array.flags.writeable = False
    fusion.fuse(found, cut, DEFAULT)
