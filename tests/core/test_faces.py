from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pyraface.core.faces import ENCODING_LENGTH, Faces

ARRAYS = (
    "boxes",
    "confidences",
    "levels",
    "detectors",
    "turned",
    "encodings",
    "sharpness",
    "inside",
    "comparable",
    "pages",
)


def faces(n: int, start: int = 0) -> Faces:
    """n faces that differ in every array; face i has the confidence start + i."""
    number = np.arange(start, start + n, dtype=np.float32)
    return Faces(
        np.stack([number, number, number + 1, number + 1], axis=1).reshape(n, 4),
        number,
        number.astype(np.int32),
        np.where(number % 2 == 1, "yunet", "cnn").astype("U5"),
        (number % 4 * 90).astype(np.int32),
        np.repeat(number, ENCODING_LENGTH).reshape(n, ENCODING_LENGTH),
        number / 10,
        1 - number / 16,
        number % 2 == 1,
        (number // 2).astype(np.int32),
    )


def assert_same(found: Faces, expected: Faces) -> None:
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


@pytest.mark.parametrize("empty", [Faces.empty(), Faces.concatenate([]), faces(3)[np.zeros(3, np.bool_)]])
def test_no_faces_have_arrays_of_length_0(empty: Faces) -> None:
    assert len(empty) == 0
    shapes = [(0, 4), (0,), (0,), (0,), (0,), (0, 128), (0,), (0,), (0,), (0,)]
    assert [getattr(empty, name).shape for name in ARRAYS] == shapes
    assert empty.encoded.shape == empty.sizes.shape == (0,)
    assert empty.encoded.dtype == np.bool_


WRONG: dict[str, tuple[str, Any, str]] = {
    "boxes of 3 columns": (
        "boxes",
        np.zeros((2, 3), np.float32),
        r"float32 of shape \(2, 4\), not float32 of shape \(2, 3\)",
    ),
    "boxes in one row": (
        "boxes",
        np.zeros(4, np.float32),
        r"float32 of shape \(4, 4\), not float32 of shape \(4,\)",
    ),
    "boxes of float64": ("boxes", np.zeros((2, 4)), "float32 .*not float64"),
    "boxes big-endian": ("boxes", np.zeros((2, 4), ">f4"), "float32 .*not >f4"),
    "too many confidences": ("confidences", np.zeros(3, np.float32), r"shape \(2,\), not .*\(3,\)"),
    "confidences in a column": ("confidences", np.zeros((2, 1), np.float32), r"shape \(2,\), not .*\(2, 1\)"),
    "levels of int64": ("levels", np.zeros(2, np.int64), "int32 .*not int64"),
    "no levels": ("levels", np.zeros(0, np.int32), r"shape \(2,\), not .*\(0,\)"),
    "detectors in bytes": ("detectors", np.zeros(2, "S5"), "<U5 .*not .S5"),
    "detectors too short for their names": ("detectors", np.zeros(2, "U3"), "<U5 .*not <U3"),
    "too few detectors": ("detectors", np.zeros(1, "U5"), r"shape \(2,\), not .*\(1,\)"),
    "turned of int64": ("turned", np.zeros(2, np.int64), "int32 .*not int64"),
    "too many turned": ("turned", np.zeros(3, np.int32), r"shape \(2,\), not .*\(3,\)"),
    "sharpness of float64": ("sharpness", np.zeros(2), "float32 .*not float64"),
    "too few sharpnesses": ("sharpness", np.zeros(1, np.float32), r"shape \(2,\), not .*\(1,\)"),
    "inside of float64": ("inside", np.zeros(2), "float32 .*not float64"),
    "too many inside": ("inside", np.zeros(3, np.float32), r"shape \(2,\), not .*\(3,\)"),
    "pages of int64": ("pages", np.zeros(2, np.int64), "int32 .*not int64"),
    "too few pages": ("pages", np.zeros(1, np.int32), r"shape \(2,\), not .*\(1,\)"),
    "comparable as numbers": ("comparable", np.zeros(2, np.uint8), "bool .*not uint8"),
    "short encodings": ("encodings", np.zeros((2, 127), np.float32), r"shape \(2, 128\), not .*\(2, 127\)"),
}


@pytest.mark.parametrize(("name", "array", "message"), WRONG.values(), ids=WRONG)
def test_arrays_that_do_not_belong_together_are_named_with_expected_and_actual(
    name: str, array: Any, message: str
) -> None:
    arrays = {one: getattr(faces(2), one) for one in ARRAYS}
    with pytest.raises(ValueError, match=message) as caught:
        Faces(**{**arrays, name: array})
    if name != "boxes":
        assert str(caught.value).startswith(name)


PICKS: dict[str, tuple[Any, list[int]]] = {
    "mask": (np.array([True, False, True]), [0, 2]),
    "mask of none": (np.zeros(3, np.bool_), []),
    "indices in another order": (np.array([2, 0]), [2, 0]),
    "no indices": (np.array([], np.intp), []),
    "slice": (slice(1, None), [1, 2]),
    "list of indices": ([2, 0], [2, 0]),
    "list of bools": ([False, True, False], [1]),
    "empty list": ([], []),
    "indices from behind": (np.array([-1]), [2]),
}


@pytest.mark.parametrize(("index", "expected"), PICKS.values(), ids=PICKS)
def test_a_mask_indices_or_a_slice_pick_faces_in_their_order(index: Any, expected: list[int]) -> None:
    found = faces(3)[index]
    assert_same(found, Faces.concatenate([faces(1, i) for i in expected]))


def test_faces_are_a_sequence_of_single_faces() -> None:
    found = faces(3)
    assert isinstance(found, Sequence)
    assert [face.confidence for face in found] == [0, 1, 2]
    assert [face.confidence for face in reversed(found)] == [2, 1, 0]
    one = found[np.int64(1)]
    assert one.box.tolist() == [1, 1, 2, 2]
    assert (one.confidence, one.level, one.encoding.shape) == (1.0, 1, (128,))
    assert one.quality == (1.0, pytest.approx(0.1), 0.9375, True)
    assert (one.quality.size, one.quality.inside, one.quality.comparable) == (1.0, 0.9375, True)
    assert found[-1].confidence == 2
    assert found.index(one) == 1
    assert one in found
    assert faces(1, 7)[0] not in found
    assert len({*found, one}) == 3


def test_a_single_face_is_a_view_and_no_copy() -> None:
    found = faces(2)
    assert np.shares_memory(found[1].encoding, found.encodings)


@pytest.mark.parametrize("number", [3, -4])
def test_a_face_that_is_not_there_is_named_with_how_many_there_are(number: int) -> None:
    with pytest.raises(IndexError, match=f"no face {number} among 3 faces"):
        faces(3)[number]


@pytest.mark.parametrize("index", ["0", 1.0, None, [0.5], np.zeros((3, 1), np.bool_)], ids=repr)
def test_what_picks_no_faces_is_a_type_error_that_says_what_does(index: Any) -> None:
    with pytest.raises(TypeError, match="a number, a slice, a mask"):
        faces(3)[index]


def test_a_mask_of_another_length_is_an_index_error() -> None:
    with pytest.raises(IndexError):
        faces(3)[np.array([True, False])]


def test_locations_are_as_face_recognition_writes_them_in_whole_numbers() -> None:
    boxes = np.array([[10.4, 20.6, 40, 61], [0, 0, 7, 9]], np.float32)
    found = Faces.detected(boxes, np.ones(2, np.float32), level=0)
    assert found.locations == [(21, 40, 61, 10), (0, 7, 9, 0)]
    assert found[0].location == (21, 40, 61, 10)
    assert all(type(edge) is int for location in found.locations for edge in location)
    assert Faces.empty().locations == []


@pytest.mark.parametrize("sizes", [[0], [0, 0], [2, 0, 3], [1, 4]])
def test_faces_of_several_parts_stay_in_their_order(sizes: list[int]) -> None:
    starts = np.cumsum([0, *sizes])
    parts = [faces(n, int(start)) for n, start in zip(sizes, starts, strict=False)]
    assert_same(Faces.concatenate(parts), faces(sum(sizes)))


def test_detected_faces_have_a_level_and_no_encodings_yet() -> None:
    one = faces(2)
    found = Faces.detected(one.boxes, one.confidences, level=3)
    assert found.levels.tolist() == [3, 3]
    assert found.encoded.tolist() == [False, False]
    assert (found.detectors.tolist(), found.turned.tolist()) == (["cnn", "cnn"], [0, 0])
    turned = Faces.detected(one.boxes, one.confidences, level=3, detector="yunet", turned=90)
    assert (turned.detectors.tolist(), turned.turned.tolist()) == (["yunet", "yunet"], [90, 90])
    assert Faces.concatenate([found, turned]).detectors.tolist() == ["cnn", "cnn", "yunet", "yunet"]
    cut = Faces.detected(one.boxes, one.confidences, level=3, inside=np.array([0.5, 1], np.float32))
    assert Faces.concatenate([found, cut]).inside.tolist() == [1, 1, 0.5, 1]


def test_faces_that_differ_in_detector_or_turn_are_not_equal() -> None:
    one = faces(2)
    assert one[0] == faces(2)[0]
    assert one[0] != replace(one, detectors=one.detectors[::-1])[0]
    assert one[0] != replace(one, turned=one.turned[::-1])[0]


def test_encodings_are_added_to_a_copy() -> None:
    one = faces(2)
    found = Faces.detected(one.boxes, one.confidences, level=0)
    encodings = np.stack([np.full(128, np.nan), np.ones(128)]).astype(np.float32)
    assert found.with_encodings(encodings).encoded.tolist() == [False, True]
    assert found.encoded.tolist() == [False, False]
    with pytest.raises(ValueError, match="encodings"):
        found.with_encodings(encodings[:1])


def test_quality_is_added_to_a_copy_and_stays_with_its_face() -> None:
    found = Faces.detected(faces(3).boxes, faces(3).confidences, level=0)
    assert np.isnan(found.sharpness).all()
    assert not found.comparable.any()
    measured = found.with_quality(np.array([0.5, 0.25, 0], np.float32), np.array([True, False, True]))
    assert np.isnan(found.sharpness).all()
    picked = measured[np.array([2, 1])]
    assert picked.sharpness.tolist() == [0, 0.25]
    assert picked.comparable.tolist() == [True, False]
    assert Faces.concatenate([picked, measured]).sharpness.tolist() == [0, 0.25, 0.5, 0.25, 0]
    with pytest.raises(ValueError, match="comparable"):
        found.with_quality(measured.sharpness, measured.comparable[:1])


def test_the_size_of_a_face_is_the_shorter_side_of_its_box() -> None:
    boxes = np.array([[10, 20, 40, 60], [0, 0, 7, 90], [5, 5, 5, 5]], np.float32)
    assert Faces.detected(boxes, np.ones(3, np.float32), level=0).sizes.tolist() == [30, 7, 0]
