from __future__ import annotations

from dataclasses import replace

import dlib
import numpy as np
import pytest

from pyraface.core.engines import EngineOptions
from pyraface.core.engines.network import weights
from pyraface.core.engines.onnx import screening
from pyraface.core.engines.onnx.engine import OnnxEngine
from pyraface.core.engines.onnx.runtime import onnxruntime
from pyraface.core.errors import EngineError

FACE = np.array([[168, 69, 263, 164]], np.float32)


def test_tiles_of_a_level_give_what_each_gives_alone(onnx_engine: OnnxEngine, astronaut: np.ndarray) -> None:
    tiles = [np.ascontiguousarray(astronaut[30:250, left : left + 200]) for left in (100, 140, 300)]
    together = onnx_engine.detect(tiles)
    alone = [onnx_engine.detect([tile])[0] for tile in tiles]
    assert [len(found.boxes) for found in together] == [1, 1, 0]
    for one, other in zip(together, alone, strict=True):
        assert np.array_equal(one.boxes, other.boxes)
        assert np.array_equal(one.confidences, other.confidences)


@pytest.mark.parametrize("screened", [True, False])
def test_tiles_in_batches_give_what_each_gives_alone(
    screened: bool, astronaut: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = OnnxEngine(EngineOptions(screened=screened))
    tiles = [np.ascontiguousarray(astronaut[20:260, left : left + 200]) for left in (100, 140, 300, 130)]
    monkeypatch.setattr(screening, "WORTHWHILE", 0)
    alone = [engine.detect([tile])[0] for tile in tiles]
    halves = engine.detector.int8 if screened else engine.detector.float32
    assert halves is not None
    run, batches = halves.trunk.run, []

    def counted(feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
        batches.append(len(feeds["image"]))
        return run(feeds)

    monkeypatch.setattr(halves.trunk, "run", counted)
    monkeypatch.setattr(engine, "batch_size", lambda height, width: 3 if (height, width) == (240, 200) else 1)
    together = engine.detect(tiles)
    assert set(batches[:-1]) == {3}
    assert batches[-1] == 1
    assert [len(found.boxes) for found in together] == [1, 1, 0, 1]
    for one, other in zip(together, alone, strict=True):
        assert np.array_equal(one.boxes, other.boxes)
        assert np.allclose(one.voted, other.voted, atol=1e-3)
        assert np.allclose(one.confidences, other.confidences, atol=1e-5)


def test_a_cpu_has_one_tile_at_a_time(onnx_engine: OnnxEngine) -> None:
    assert onnx_engine.batch_size(1600, 2400) == 1
    if not onnx_engine.gpu:
        assert onnx_engine.batch_size(40, 60) == 1


def test_the_most_confident_face_comes_first(onnx_engine: OnnxEngine, astronaut: np.ndarray) -> None:
    face = astronaut[30:200, 130:300]
    [found] = onnx_engine.detect([np.concatenate([face // 3 + 90, face, face[:, ::-1]], axis=1)])
    assert len(found.boxes) == 3
    assert found.confidences.tolist() == sorted(found.confidences.tolist(), reverse=True)
    assert found.boxes.dtype == found.confidences.dtype == np.float32


@pytest.mark.parametrize("shape", [(1, 1), (6, 40), (40, 9), (7, 10), (20, 20), (1, 3000)])
def test_a_picture_too_small_for_a_face_has_none(onnx_engine: OnnxEngine, shape: tuple[int, int]) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (*shape, 3), np.uint8)
    [found] = onnx_engine.detect([noise])
    assert found.boxes.shape == (0, 4)
    assert found.confidences.shape == (0,)


def test_no_tiles_give_no_detections(onnx_engine: OnnxEngine) -> None:
    assert onnx_engine.detect([]) == []


def test_tiles_that_may_not_be_written_to_or_are_views_are_fine(
    onnx_engine: OnnxEngine, astronaut: np.ndarray
) -> None:
    locked = np.ascontiguousarray(astronaut[:200])
    locked.setflags(write=False)
    [found] = onnx_engine.detect([locked])
    [flipped] = onnx_engine.detect([locked[:, ::-1]])
    assert len(found.boxes) == len(flipped.boxes) == 1
    assert onnx_engine.encode(locked[:, ::-1], flipped.boxes).shape == (1, 128)


def test_a_network_that_computes_no_number_is_an_engine_error(
    monkeypatch: pytest.MonkeyPatch, astronaut: np.ndarray
) -> None:
    encoder = weights.load_encoder()
    broken = replace(encoder, projection=np.full_like(encoder.projection, np.nan))
    monkeypatch.setattr(weights, "load_encoder", lambda: broken)
    with pytest.raises(EngineError, match="not a number"):
        OnnxEngine(EngineOptions(threads=1)).encode(astronaut, FACE)


def test_scores_that_are_no_numbers_are_an_engine_error_and_not_an_empty_photograph(
    monkeypatch: pytest.MonkeyPatch, astronaut: np.ndarray
) -> None:
    detector = weights.load_detector()
    last = replace(detector.convolutions[-1], bias=np.full(1, np.nan, np.float32))
    broken = replace(detector, convolutions=(*detector.convolutions[:-1], last))
    monkeypatch.setattr(weights, "load_detector", lambda: broken)
    with pytest.raises(EngineError, match="are not numbers: cpu"):
        OnnxEngine(EngineOptions(threads=1)).detect([astronaut])


def test_a_failure_of_the_runtime_is_an_engine_error(
    onnx_engine: OnnxEngine, monkeypatch: pytest.MonkeyPatch, astronaut: np.ndarray
) -> None:
    class FiveChannels:
        def run(self, outputs: None, feeds: object) -> list[np.ndarray]:
            del outputs, feeds
            return [np.zeros((1, 5, 8, 8), np.float32)]  # where the head has 32

    detector = onnx_engine.detector
    for halves in filter(None, [detector.float32, detector.int8]):
        monkeypatch.setattr(halves.trunk, "_started", FiveChannels())
    with pytest.raises(EngineError, match="ONNX Runtime failed on cpu"):
        onnx_engine.detect([astronaut])


def test_a_network_that_the_runtime_refuses_is_an_engine_error(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = weights.load_encoder()
    odd = replace(encoder, projection=np.zeros((200, 128), np.float32))  # the network ends in 256 channels
    monkeypatch.setattr(weights, "load_encoder", lambda: odd)
    with pytest.raises(EngineError, match="cannot be started"):
        OnnxEngine(EngineOptions(threads=1))


def test_the_engine_says_what_it_runs_on() -> None:
    engine = OnnxEngine(EngineOptions(threads=1))
    assert engine.name == "onnx"
    assert engine.device in ("cpu, 1 thread",) or engine.device.startswith("cuda:0")
    assert engine.processor.partition(", ")[0] in ("cpu", "cuda", "tensorrt")
    assert engine.libraries == f"onnxruntime {onnxruntime.__version__}, dlib {dlib.__version__}"
