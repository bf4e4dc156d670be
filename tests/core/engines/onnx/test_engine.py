from __future__ import annotations

from dataclasses import replace

import dlib
import numpy as np
import pytest

from pyraface.core.engines import EngineOptions
from pyraface.core.engines.network import packed_pyramid, weights
from pyraface.core.engines.onnx import engine as onnx_module
from pyraface.core.engines.onnx.engine import CHIPS_AT_ONCE, OnnxEngine, screening
from pyraface.core.errors import EngineError

FACE = np.array([[168, 69, 263, 164]], np.float32)


def test_the_sizes_of_the_pyramid_are_dlibs_to_a_tenth_of_a_grey_level(
    onnx_engine: OnnxEngine, astronaut: np.ndarray
) -> None:
    """dlib adds up x from step to step in float32 where ONNX Runtime multiplies: a hundredth of a pixel at most."""
    tile = np.ascontiguousarray(astronaut[:201, :333])
    layout = packed_pyramid.layout(*tile.shape[:2])
    network = weights.load_detector()
    expected = (tile.astype(np.float32) - np.array(network.means, np.float32)).transpose(2, 0, 1)
    pictures = list(onnx_engine._pictures(tile, layout))
    assert np.array_equal(pictures[0], expected)
    assert len(pictures) == len(layout.sizes) > 10
    for picture, (height, width) in zip(pictures[1:], layout.sizes[1:], strict=True):
        expected = np.stack(
            [dlib.resize_image(np.ascontiguousarray(plane), height, width) for plane in expected]
        )
        assert picture.shape == (3, height, width)
        assert np.abs(picture - expected).max() < 0.1


@pytest.mark.parametrize(("corners", "size"), [([(0, 0)], None), ([(3, 5), (40, 0)], (30, 20))])
def test_bands_give_the_scores_of_the_whole(
    corners: list[tuple[int, int]],
    size: tuple[int, int] | None,
    onnx_engine: OnnxEngine,
    astronaut: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    layout = packed_pyramid.layout(*astronaut.shape[:2])
    every = onnx_module._cells(layout.height), onnx_module._cells(layout.width)
    tiles = [onnx_engine.prepare(astronaut)] * len(corners)
    networks = onnx_engine._trunk, onnx_engine._head
    whole = onnx_engine._through(*networks, tiles, corners, size or every)
    monkeypatch.setattr(onnx_module, "BAND_PIXELS", 60_000)
    in_bands = onnx_engine._through(*networks, tiles, corners, size or every)
    assert whole.shape == in_bands.shape == (len(corners), *(size or every))
    assert np.allclose(whole, in_bands, atol=1e-5)


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
    run, batches = engine._run, []

    def counted(session: object, feeds: dict[str, np.ndarray]) -> np.ndarray:
        if session is (engine._screen_trunk if screened else engine._trunk):
            batches.append(len(feeds["image"]))
        return run(session, feeds)

    monkeypatch.setattr(engine, "_run", counted)
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
    with pytest.raises(EngineError, match="no numbers"):
        OnnxEngine(EngineOptions(threads=1)).detect([astronaut])


def test_a_failure_of_the_runtime_is_an_engine_error(
    onnx_engine: OnnxEngine, monkeypatch: pytest.MonkeyPatch, astronaut: np.ndarray
) -> None:
    class FiveChannels:
        def run(self, outputs: None, feeds: object) -> list[np.ndarray]:
            del outputs, feeds
            return [np.zeros((1, 5, 8, 8), np.float32)]  # where the head has 32

    monkeypatch.setattr(onnx_engine, "_trunk", FiveChannels())
    monkeypatch.setattr(onnx_engine, "_screen_trunk", FiveChannels())
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
    assert weights.digest()[:16] in engine.fingerprint
