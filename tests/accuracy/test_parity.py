"""The onnx engine gives what dlib gives: the same faces, boxes within a pixel, the same numbers."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pyraface.core.engines import Detections, EngineOptions
from pyraface.core.engines.dlib import DlibEngine
from pyraface.core.engines.onnx.engine import OnnxEngine
from tests.portrait_crops import CROPS, resized


def check(dlib: Detections, onnx: Detections) -> None:
    assert len(dlib.boxes) == len(onnx.boxes)
    assert np.abs(dlib.boxes - onnx.boxes).max(initial=0) <= 1
    assert np.abs(dlib.voted - onnx.voted).max(initial=0) < 0.01
    assert np.abs(dlib.confidences - onnx.confidences).max(initial=0) < 1e-3


@pytest.mark.parametrize("name", CROPS)
def test_the_engines_agree_on_the_portrait(
    name: str, astronaut: np.ndarray, onnx_engine: OnnxEngine, dlib_engine: DlibEngine
) -> None:
    picture = np.ascontiguousarray(CROPS[name](astronaut))
    [dlib], [onnx] = dlib_engine.detect([picture]), onnx_engine.detect([picture])
    check(dlib, onnx)
    assert len(dlib.boxes) == (3 if "three" in name else 1)
    distances = np.linalg.norm(
        dlib_engine.encode(picture, dlib.boxes) - onnx_engine.encode(picture, dlib.boxes), axis=1
    )
    assert distances.max(initial=0) < 1e-4


@pytest.mark.parametrize(
    ("size", "threshold", "faces"),
    [(0.65, 0.0, 1), (0.65, 0.9, 0), (0.65, -0.9, 1), (0.55, 0.0, 0), (0.55, -1.0, 1)],
)
def test_the_engines_agree_on_what_is_above_another_threshold(
    size: float, threshold: float, faces: int, astronaut: np.ndarray
) -> None:
    """The face is 62 px then, and scores 0.77; or 52 px, and scores -0.99."""
    picture = resized(astronaut, size)
    [dlib] = DlibEngine(EngineOptions(threshold=threshold)).detect([picture])
    [onnx] = OnnxEngine(EngineOptions(threshold=threshold)).detect([picture])
    assert len(onnx.boxes) == faces
    check(dlib, onnx)


@pytest.mark.parametrize("kind", [DlibEngine, OnnxEngine])
def test_another_threshold_of_an_engine_is_that_of_an_engine_started_with_it(
    kind: type[DlibEngine | OnnxEngine], astronaut: np.ndarray
) -> None:
    picture = resized(astronaut, 0.55)
    engine = kind(EngineOptions())
    lower = engine.with_threshold(-1.0)
    [found], [expected] = lower.detect([picture]), kind(EngineOptions(threshold=-1.0)).detect([picture])
    assert len(found.boxes) == 1
    np.testing.assert_array_equal(found.voted, expected.voted)
    np.testing.assert_array_equal(found.confidences, expected.confidences)
    assert len(engine.detect([picture])[0].boxes) == 0


def test_a_large_face_has_the_same_encoding_whoever_is_beside_it(
    astronaut: np.ndarray, onnx_engine: OnnxEngine, dlib_engine: DlibEngine
) -> None:
    """dlib shrinks a face that is larger than its chip, and may shrink what holds all faces together."""
    picture = np.pad(resized(astronaut[30:200, 130:300], 4.3), ((31, 0), (57, 400), (0, 0)))
    boxes = np.array([[230, 200, 630, 600], [3, 5, 60, 62], [900, 300, 1000, 400]], np.float32)
    together = onnx_engine.encode(picture, boxes)
    for encoding, box in zip(together, boxes, strict=True):
        assert np.linalg.norm(encoding - onnx_engine.encode(picture, box[None])[0]) < 1e-4
    assert np.linalg.norm(together - dlib_engine.encode(picture, boxes), axis=1).max() < 1e-4


@pytest.mark.parametrize("side", [1, 2, 3, 5, 6, 7, 8, 9, 10, 11, 13, 16, 17, 20])
def test_neither_engine_fails_on_a_tiny_picture(
    side: int, astronaut: np.ndarray, onnx_engine: OnnxEngine, dlib_engine: DlibEngine
) -> None:
    for shape in ((side, side), (side, 40), (40, side)):
        picture = np.ascontiguousarray(astronaut[100 : 100 + shape[0], 200 : 200 + shape[1]])
        [dlib], [onnx] = dlib_engine.detect([picture]), onnx_engine.detect([picture])
        check(dlib, onnx)
        assert len(onnx.boxes) == 0


@pytest.mark.parametrize(
    ("file", "faces"),
    [
        ("dlib_faces/2007_007763.jpg", 0),
        ("dlib_faces/2008_001009.jpg", 2),
        ("dlib_faces/2008_002506.jpg", 3),
        ("compreface_samples/011_3.jpg", 2),
        ("deepface_pairs/images/img62.jpg", 2),
    ],
)
def test_the_engines_agree_on_photographs(
    file: str, faces: int, photos: Path, onnx_engine: OnnxEngine, dlib_engine: DlibEngine
) -> None:
    photograph = Image.open(io.BytesIO((photos / file).read_bytes())).convert("RGB")
    photograph.thumbnail((480, 480))
    picture = np.asarray(photograph)
    [dlib], [onnx] = dlib_engine.detect([picture]), onnx_engine.detect([picture])
    check(dlib, onnx)
    assert len(dlib.boxes) == faces
    distances = np.linalg.norm(
        dlib_engine.encode(picture, dlib.boxes) - onnx_engine.encode(picture, dlib.boxes), axis=1
    )
    assert distances.max(initial=0) < 1e-4


@pytest.mark.parametrize(("jitters", "landmarks"), [(1, 68), (40, 5)])
def test_the_engines_agree_on_other_ways_to_encode(
    jitters: int, landmarks: int, astronaut: np.ndarray, onnx_engine: OnnxEngine
) -> None:
    face = np.array([[176, 71, 266, 161]], np.float32)
    [plain] = onnx_engine.encode(astronaut, face)
    [onnx] = OnnxEngine(EngineOptions(jitters=jitters, landmarks=landmarks)).encode(astronaut, face)
    [dlib] = DlibEngine(EngineOptions(jitters=jitters, landmarks=landmarks)).encode(astronaut, face)
    # jitters are random: the mean of 40 is steady to a few hundredths
    assert np.linalg.norm(dlib - onnx) < (1e-5 if jitters == 1 else 0.06)
    assert 0.08 < np.linalg.norm(plain - onnx) < 0.3
