"""Crops round proposals: few scales, and 8-bit integers that decide."""

from __future__ import annotations

import numpy as np
import pytest

from pyraface.core import boxes as geometry
from pyraface.core.engines import Detections, EngineOptions
from pyraface.core.engines.onnx.engine import OnnxEngine


@pytest.fixture(scope="module")
def crop(astronaut: np.ndarray) -> np.ndarray:
    """A face of 88 px in a crop of 144."""
    return np.ascontiguousarray(astronaut[52:196, 150:294])


def detected(engine: OnnxEngine, crop: np.ndarray, scales: int = 3) -> Detections:
    [found] = engine.detect([engine.prepare(crop, scales)])
    return found


def test_a_face_of_the_expected_size_is_found_at_few_scales_as_at_all(
    onnx_engine: OnnxEngine, crop: np.ndarray
) -> None:
    [whole] = onnx_engine.detect([crop])
    few = detected(onnx_engine, crop)
    assert len(whole.boxes) == len(few.boxes) == 1
    assert geometry.iou(whole.voted, few.voted)[0, 0] > 0.9
    assert few.confidences[0] == pytest.approx(whole.confidences[0], abs=0.2)


@pytest.mark.parametrize("scales", [1, 3])
def test_integers_decide_on_a_crop(onnx_engine: OnnxEngine, crop: np.ndarray, scales: int) -> None:
    if onnx_engine.gpu:
        pytest.skip("nothing is screened on a GPU")
    [exact] = detected(OnnxEngine(EngineOptions(screened=False)), crop, scales).confidences.tolist()
    [rough] = detected(onnx_engine, crop, scales).confidences.tolist()
    assert 0 < abs(rough - exact) < 0.15
    for distance in (-0.01, 0.01):
        near = OnnxEngine(EngineOptions(threshold=rough + distance))
        assert detected(near, crop, scales).confidences.tolist() == [rough] * (distance < 0)
