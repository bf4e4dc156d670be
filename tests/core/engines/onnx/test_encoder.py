from __future__ import annotations

import numpy as np
import pytest

from pyraface.core.engines.onnx.encoder import CHIPS_AT_ONCE
from pyraface.core.engines.onnx.engine import OnnxEngine

FACE = np.array([[168, 69, 263, 164]], np.float32)


def test_more_faces_than_one_batch_holds_are_encoded_in_order(
    onnx_engine: OnnxEngine, astronaut: np.ndarray
) -> None:
    count = CHIPS_AT_ONCE + 5
    boxes = FACE + np.arange(count, dtype=np.float32)[:, None]
    encodings = onnx_engine.encode(astronaut, boxes)
    assert encodings.shape == (count, 128)
    for index in (0, CHIPS_AT_ONCE - 1, CHIPS_AT_ONCE, count - 1):
        alone = onnx_engine.encode(astronaut, boxes[index : index + 1])
        assert np.allclose(encodings[index], alone[0], atol=1e-5)
    assert not np.allclose(encodings[0], encodings[-1], atol=1e-2)


def test_no_faces_give_no_encodings(onnx_engine: OnnxEngine, astronaut: np.ndarray) -> None:
    encodings = onnx_engine.encode(astronaut, np.zeros((0, 4), np.float32))
    assert encodings.shape == (0, 128)
    assert encodings.dtype == np.float32


@pytest.mark.parametrize("box", [[-60, -50, 20, 30], [500, 500, 600, 620], [100, 100, 100, 100]])
def test_a_box_at_or_beyond_the_edge_is_encoded(
    onnx_engine: OnnxEngine, astronaut: np.ndarray, box: list[float]
) -> None:
    assert np.isfinite(onnx_engine.encode(astronaut, np.array([box], np.float32))).all()
