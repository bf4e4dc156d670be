"""What the output says of a face, and what it leaves open."""

from __future__ import annotations

import json

import numpy as np

from pyraface.client.console.progress import Progress
from pyraface.core.computed_by import ComputedBy
from pyraface.core.faces import Faces
from pyraface.core.protocol.messages import Found
from pyraface.core.results import Result

BY = ComputedBy("onnx", "cpu, int8", "0.1.0, onnxruntime 1.32.0, dlib 20.0.1")


def result(faces: Faces) -> Result:
    about = Result("a.jpg", "sha256:00", size=3, modified=7)
    return about.answered("attic", "0123456789abcdef", BY, Found(1, faces, 300, 200, 1, 0.5))


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
