"""Crops round proposals: few scales, and 8-bit integers that decide where they leave no doubt."""

from __future__ import annotations

import numpy as np
import pytest

from pyraface.core import boxes as geometry
from pyraface.core.engines import Detections, EngineOptions
from pyraface.core.engines.onnx.detector import DOUBT
from pyraface.core.engines.onnx.engine import OnnxEngine


@pytest.fixture(scope="module")
def crop(astronaut: np.ndarray) -> np.ndarray:
    """A face of 88 px in a crop of 144."""
    return np.ascontiguousarray(astronaut[52:196, 150:294])


def detected(engine: OnnxEngine, crop: np.ndarray) -> Detections:
    [found] = engine.detect([engine.prepare(crop, 3)])
    return found


def test_a_face_of_the_expected_size_is_found_at_few_scales_as_at_all(
    onnx_engine: OnnxEngine, crop: np.ndarray
) -> None:
    [whole] = onnx_engine.detect([crop])
    few = detected(onnx_engine, crop)
    assert len(whole.boxes) == len(few.boxes) == 1
    assert geometry.iou(whole.voted, few.voted)[0, 0] > 0.9
    assert few.confidences[0] == pytest.approx(whole.confidences[0], abs=0.2)


def test_integers_decide_on_a_crop_and_float32_where_they_leave_doubt(
    onnx_engine: OnnxEngine, crop: np.ndarray
) -> None:
    if onnx_engine.gpu:
        pytest.skip("nothing is screened on a GPU")
    [exact] = detected(OnnxEngine(EngineOptions(screened=False)), crop).confidences.tolist()
    [rough] = detected(onnx_engine, crop).confidences.tolist()
    assert 0 < abs(rough - exact) < DOUBT
    for distance in (-0.05, 0.05):
        doubting = OnnxEngine(EngineOptions(threshold=exact + distance))
        confidences = detected(doubting, crop).confidences
        assert confidences.tolist() == [pytest.approx(exact, abs=1e-5)] * (distance < 0)
