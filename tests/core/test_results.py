"""What the output says of a face, and what it leaves open."""

from __future__ import annotations

import base64
import dataclasses
import json
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyraface.client.console.progress import Progress
from pyraface.core.computed_by import ComputedBy
from pyraface.core.errors import ErrorCode
from pyraface.core.faces import Faces
from pyraface.core.pages import Page
from pyraface.core.protocol.messages import Found
from pyraface.core.results import KEYS, Result, path_as_json, path_from_json
from tests.output_lines import checked_line

BY = ComputedBy("onnx", "cpu, int8", "0.1.0, onnxruntime 1.32.0, dlib 20.0.1")


def result(faces: Faces) -> Result:
    about = Result("a.jpg", "sha256:" + 64 * "0", size=3, modified=7)
    return about.answered(
        "attic", "0123456789abcdef", BY, Found(1, faces, (Page(0, 300, 200, 1),), (), (), 1, 0.5)
    )


def failure(code: ErrorCode, message: str) -> Result:
    return dataclasses.replace(result(Faces.empty()), error=(code, message))


def qualities(faces: Faces) -> list[object]:
    line = json.loads(json.dumps(result(faces).as_json()))
    return [face["quality"] for face in line["faces"]]


def test_a_line_says_which_network_decided_and_how_a_face_is_turned() -> None:
    boxes = np.array([[10, 20, 110, 120]], np.float32)
    found = [
        Faces.detected(boxes, np.ones(1, np.float32), level=0),
        Faces.detected(boxes, np.ones(1, np.float32), level=0, detector="yunet", turned=270),
    ]
    line = json.loads(json.dumps(result(Faces.concatenate(found)).as_json()))
    told = [(face["detector"], face["turned"]) for face in line["faces"]]
    assert told == [("cnn", 0), ("yunet", 270)]


def test_a_line_says_what_was_asked_for_and_what_computed_it() -> None:
    line = result(Faces.empty()).as_json()
    assert line["fingerprint"] == "0123456789abcdef"
    assert line["computed_by"] == {
        "engine": "onnx",
        "device": "cpu, int8",
        "version": "0.1.0, onnxruntime 1.32.0, dlib 20.0.1",
    }
    assert list(line).index("computed_by") < list(line).index("faces")
    unanswered = Result("a.jpg").as_json()
    assert unanswered["fingerprint"] is unanswered["computed_by"] is None


def test_a_line_has_the_quality_of_each_face_in_numbers_that_read_back_the_same() -> None:
    sharpness = np.array([0.612345678, 0.7, 0.1], np.float32)
    boxes = np.array([[10, 20, 110.126, 120], [0, 0, 24, 30.5], [50, 50, 150, 150]], np.float32)
    faces = (
        Faces.detected(
            boxes, np.ones(3, np.float32), level=0, inside=np.array([1, 0.9, 0.333333343], np.float32)
        )
        .with_encodings(np.zeros((3, 128), np.float32))
        .with_quality(sharpness, np.array([True, False, False]))
    )
    found = qualities(faces)
    assert found == [
        {"size": 100, "sharpness": found[0]["sharpness"], "inside": 1, "comparable": True},  # type: ignore[index]
        {"size": 24, "sharpness": found[1]["sharpness"], "inside": 0.899999976, "comparable": False},  # type: ignore[index]
        {"size": 100, "sharpness": found[2]["sharpness"], "inside": 0.333333343, "comparable": False},  # type: ignore[index]
    ]
    read = np.array([one["sharpness"] for one in found], np.float32)  # type: ignore[index]
    np.testing.assert_array_equal(read, sharpness)
    with Progress(quiet=True) as progress:
        progress.add(result(faces))
        assert progress.summary().startswith("1 image, 3 faces (2 not comparable), 0 failed, in ")


def test_every_line_has_every_key_in_one_order_whether_there_are_faces_or_an_error() -> None:
    boxes = np.array([[10, 20, 110, 120]], np.float32)
    face = Faces.detected(boxes, np.ones(1, np.float32), level=0).with_encodings(
        np.zeros((1, 128), np.float32)
    )
    face = face.with_quality(np.full(1, 0.5, np.float32), np.array([True]))
    failed = failure(ErrorCode.IMAGE_TRUNCATED, "it is cut off")
    lines = [
        result(face),
        result(Faces.empty()),
        failed,
        Result("a.jpg", error=(ErrorCode.UNREADABLE, "gone")),
    ]
    for line in lines:
        assert tuple(checked_line(json.dumps(line.as_json()))) == KEYS
    line = failed.as_json()
    assert line["faces"] == []
    assert {key for key, value in line.items() if value is None} == {
        *("path_bytes", "width", "height", "orientation", "pictures", "seconds")
    }
    assert list(line)[-2:] == ["error", "faces"]
    assert result(face).as_json()["error"] is None


def test_a_line_names_the_pages_that_were_searched_and_those_that_could_not_be_read() -> None:
    boxes = np.array([[10, 20, 110, 120]], np.float32)
    face = Faces.detected(boxes, np.ones(1, np.float32), level=0).with_encodings(
        np.zeros((1, 128), np.float32)
    )
    face = face.with_quality(np.full(1, 0.5, np.float32), np.array([True]))
    faces = Faces.concatenate([face.on_page(1), face.on_page(3)])
    answer = Found(1, faces, (Page(1, 300, 200, 6), Page(3, 40, 50, 1)), (0, 2), ("cut off", "\n"), 9, 0.5)
    found = Result("a.tif", "sha256:" + 64 * "0", size=3, modified=7).answered("attic", "f", BY, answer)
    line = checked_line(json.dumps(found.as_json()))
    assert (line["width"], line["height"], line["orientation"], line["pictures"]) == (300, 200, 6, 9)
    assert line["pages"] == [
        {"page": 1, "width": 300, "height": 200, "orientation": 6},
        {"page": 3, "width": 40, "height": 50, "orientation": 1},
    ]
    assert line["unread"] == [{"page": 0, "reason": "cut off"}, {"page": 2, "reason": "\n"}]
    assert [one["page"] for one in line["faces"]] == [1, 3] == [one.page for one in found.faces]


@given(st.binary(max_size=20).filter(lambda name: b"\0" not in name))
def test_a_path_of_any_bytes_is_valid_unicode_and_reads_back_the_same(name: bytes) -> None:
    path = os.fsdecode(name)
    line = json.loads(json.dumps(path_as_json(path)))
    assert path_from_json(line) == path
    shown = line["path"].encode("utf-8")
    if line["path_bytes"] is None:
        assert shown == name
    else:
        assert base64.b64decode(line["path_bytes"]) == name != shown
        assert "\ufffd" in line["path"]


@pytest.mark.parametrize("name", [b"\xff.jpg", b"\xed\xa0\x80.jpg", b"\xc3", b"a\x80b\xe2\x82"])
def test_of_a_name_that_is_not_utf_8_the_bytes_are_in_the_line(name: bytes) -> None:
    line = checked_line(json.dumps(Result(os.fsdecode(name), error=(ErrorCode.UNREADABLE, "")).as_json()))
    assert base64.b64decode(line["path_bytes"]) == name


def test_two_names_that_look_the_same_are_told_apart() -> None:
    one, other = path_as_json("\udcfe.jpg"), path_as_json("\udcff.jpg")
    assert one["path"] == other["path"] == "\ufffd.jpg"
    assert path_from_json(one) != path_from_json(other)
    assert path_as_json("\ufffd.jpg")["path_bytes"] is None


def test_a_name_that_no_file_can_have_is_shown() -> None:
    line = checked_line(json.dumps(Result("\ud800.jpg", error=(ErrorCode.UNREADABLE, "x")).as_json()))
    assert line["path"].endswith("\ufffd.jpg")
    assert base64.b64decode(line["path_bytes"]) == b"\xed\xa0\x80.jpg"


@pytest.mark.parametrize("year", [1, 1600, 1905, 1970, 2107, 2300, 2446, 9999])
def test_a_time_of_any_year_is_a_number_of_64_bits(year: int) -> None:
    exact = (year - 1970) * 31_556_952 * 10**9 + 1
    line = checked_line(json.dumps(dataclasses.replace(result(Faces.empty()), modified=exact).as_json()))
    assert line["modified"] == min(max(exact, -(2**63)), 2**63 - 1)
    assert (line["modified"] == exact) == (1677 < year < 2262)


def test_a_message_is_valid_unicode() -> None:
    line = checked_line(json.dumps(failure(ErrorCode.UNREADABLE, "no \udcff.jpg").as_json()))
    assert line["error"]["message"] == "no ?.jpg"


def test_a_path_of_an_earlier_version_has_lone_surrogates() -> None:
    assert path_from_json({"path": "\udcff.jpg"}) == "\udcff.jpg"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ({}, "no path"),
        ({"path": None}, "no path"),
        ({"path": 3}, "no path"),
        ({"path": "a\0b"}, "NUL"),
        ({"path": "\ud800"}, "surrogates"),
        ({"path": "a", "path_bytes": 3}, "no path"),
        ({"path": "a", "path_bytes": "?"}, "base64"),
        ({"path": "a", "path_bytes": "AA"}, "padding"),
        ({"path": "a", "path_bytes": "YQBi"}, "NUL"),
    ],
)
def test_a_line_without_a_path_that_a_file_can_have_is_an_error(line: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        path_from_json(line)
