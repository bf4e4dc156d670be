"""YuNet in ONNX Runtime against OpenCV's FaceDetectorYN, whose numbers stand here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from pyraface.core.engines.base import Engine, Pixels, Proposer
from pyraface.core.engines.network import yunet
from pyraface.core.engines.onnx import proposer as onnx_proposer
from pyraface.core.engines.onnx.proposer import YuNet
from pyraface.core.engines.onnx.providers import CPU
from pyraface.core.engines.onnx.session import Placement
from pyraface.core.errors import EngineError

OPENCV = {
    # left, top, width, height, score: cv2.FaceDetectorYN 5.0.0, score_threshold 0.04, nms_threshold 0.4
    (512, 512): [
        (178.167282, 62.908260, 89.899513, 113.332390, 0.932327330),
        (153.442444, 48.279713, 44.494400, 66.955569, 0.058536142),
        (328.677826, 171.390000, 85.459648, 128.153076, 0.046909582),
        (129.268967, 435.304138, 82.950012, 81.619263, 0.042856925),
    ],
    (300, 263): [
        (177.318237, 67.444771, 87.169830, 108.857025, 0.929261506),
        (153.911240, 49.598515, 43.299477, 65.513527, 0.055768047),
    ],
}


@pytest.fixture(scope="module", params=["onnx_engine", "dlib_engine"])
def proposer(request: pytest.FixtureRequest, yunet_weights: bytes) -> Proposer:
    """Beside either engine."""
    del yunet_weights
    engine: Engine = request.getfixturevalue(request.param)
    return engine.proposer()


@pytest.mark.parametrize("size", OPENCV)
def test_boxes_and_scores_are_those_of_opencv(
    proposer: Proposer, astronaut: np.ndarray, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(yunet, "as_dlib", lambda boxes: boxes)
    tile = np.ascontiguousarray(astronaut[: size[0], : size[1]])
    [found] = proposer.propose([tile], 0.04)
    expected = np.array(OPENCV[size])
    measures = np.concatenate([found.boxes[:, :2], found.boxes[:, 2:] - found.boxes[:, :2]], axis=1)
    np.testing.assert_allclose(measures, expected[:, :4], atol=1e-3)
    np.testing.assert_allclose(found.scores, expected[:, 4], atol=2e-7)


def test_each_tile_of_a_batch_gets_its_own_proposals(proposer: Proposer, astronaut: np.ndarray) -> None:
    tiles = [astronaut, np.ascontiguousarray(astronaut[:, ::-1]), np.zeros_like(astronaut)]
    together = proposer.propose(tiles, 0.3)
    for tile, found in zip(tiles, together, strict=True):
        [alone] = proposer.propose([tile], 0.3)
        np.testing.assert_allclose(found.boxes, alone.boxes, atol=1e-3)
        np.testing.assert_allclose(found.scores, alone.scores, atol=1e-6)
    assert [len(found.scores) for found in together] == [1, 1, 0]
    assert together[0].boxes[0, 0] == pytest.approx(512 - together[1].boxes[0, 2], abs=6)
    assert proposer.propose([], 0.3) == []


def test_a_face_in_the_middle_of_a_tile_has_the_score_of_its_proposal(
    proposer: Proposer, astronaut: np.ndarray
) -> None:
    face, beside = astronaut[28:220, 126:318], astronaut[28:220, 30:222]
    [found] = proposer.propose([np.ascontiguousarray(face)], 0.3)
    scores = proposer.scores([face, beside, np.roll(face, 96, axis=0), np.zeros_like(face)])
    assert scores.shape == (4,)
    assert scores[0] == pytest.approx(found.scores[0], abs=1e-6)
    assert (scores[1:] < 0.1).all()
    assert proposer.scores([]).shape == (0,)


@pytest.mark.parametrize(("gpu", "sizes"), [(False, [6, 6, 2]), (True, [6, 6, 6])], ids=["cpu", "gpu"])
def test_scores_of_many_tiles_come_from_batches_which_are_all_of_one_size_on_a_gpu(
    proposer: Proposer, astronaut: np.ndarray, monkeypatch: pytest.MonkeyPatch, gpu: bool, sizes: list[int]
) -> None:
    tiles = [np.roll(astronaut[28:220, 126:318], shift, axis=1) for shift in range(14)]
    expected = [proposer.scores([tile])[0] for tile in tiles]
    outputs, got = YuNet._outputs, []

    def counted(self: YuNet, tiles: Sequence[Pixels]) -> Any:
        got.append(len(tiles))
        return outputs(self, tiles)

    monkeypatch.setattr(YuNet, "_outputs", counted)
    monkeypatch.setattr(proposer, "_gpu", gpu)
    monkeypatch.setattr(onnx_proposer, "SCORED_AT_ONCE", 6)
    np.testing.assert_allclose(proposer.scores(tiles), expected, atol=1e-6)
    assert got == sizes


def test_a_network_that_does_not_start_is_an_engine_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yunet, "load_weights", lambda: b"")
    monkeypatch.setattr(onnx_proposer, "any_size", lambda _: b"no network")
    with pytest.raises(EngineError, match=r"YuNet cannot be started on cpu, 1 thread: "):
        onnx_proposer.YuNet(Placement(CPU, 1))
