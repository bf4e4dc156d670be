"""The quarter turn of proposals, by scores and by YuNet's look at a face."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from pyraface.core import boxes as geometry
from pyraface.core import parameters, turning
from pyraface.core.engines import Pixels, Proposals
from pyraface.core.images.decode import Picture
from pyraface.core.parameters import DetectionParameters
from pyraface.core.pipeline import Pipeline
from pyraface.core.search import upright
from tests.support import ROOT

CLEAR, WEAK = [0.5, 0.9, 0.4, 0.4], [0.5, 0.56, 0.4, 0.4]
"""Scores of a face that lies on its side, and of one of which that is hardly to be told."""
STANDING = [0.9, 0.6, 0.5, 0.6]


@pytest.fixture(scope="module")
def pipeline(yunet_weights: bytes) -> Pipeline:
    del yunet_weights
    packaged = parameters.parse((ROOT / "parameters.xml").read_bytes())
    return Pipeline(replace(packaged, detection=DetectionParameters(search="guided")), "onnx")


def decided(*scores: Sequence[float]) -> list[int]:
    return upright.decided(np.array(scores, np.float32).reshape(-1, 4)).tolist()


def test_a_face_is_turned_to_its_best_score() -> None:
    assert decided(STANDING) == [0]
    for index in range(1, 4):
        assert decided(np.roll(STANDING, index).tolist()) == [index]


def test_a_score_that_is_hardly_better_turns_no_face_alone() -> None:
    assert decided([0.5, 0.52, 0.4, 0.4]) == [0]
    assert decided([0.95, 0.955, 0.4, 0.4]) == [0]


def test_faces_of_one_photograph_are_turned_alike_where_one_leaves_doubt() -> None:
    assert decided(WEAK, CLEAR, CLEAR) == [1, 1, 1]
    assert decided(WEAK, STANDING, STANDING) == [0, 0, 0]


def test_a_face_that_is_clear_is_turned_against_the_others() -> None:
    assert decided(CLEAR, STANDING, STANDING) == [1, 0, 0]
    assert decided(STANDING, CLEAR, CLEAR) == [0, 1, 1]


def test_half_of_the_faces_do_not_speak_for_the_photograph() -> None:
    others = [np.roll(STANDING, 2).tolist(), np.roll(STANDING, 3).tolist()]
    assert decided(WEAK, CLEAR, CLEAR, *others) == [0, 1, 1, 2, 3]
    assert decided(WEAK, CLEAR, CLEAR, others[0]) == [1, 1, 1, 2]


def test_proposals_that_are_hardly_faces_have_no_say() -> None:
    noise = [0.1, 0.5, 0.1, 0.1]
    assert decided([0.62, 0.66, 0.5, 0.5], *[noise] * 5) == [0, 1, 1, 1, 1, 1]


@pytest.mark.parametrize("scores", [[0, 0, 0, 0], [1, 1, 1, 1], [0, 1, 0, 0]])
def test_any_score_can_be_compared(scores: list[float]) -> None:
    with np.errstate(all="raise"):
        assert decided(scores, scores) == [int(np.argmax(scores))] * 2


def test_no_proposals_have_no_turns() -> None:
    class Silent:
        def propose(self, tiles: Sequence[Pixels], threshold: float) -> list[Proposals]:
            raise NotImplementedError

        def scores(self, tiles: Sequence[Pixels]) -> np.ndarray:
            raise NotImplementedError

    turned, scores = upright.turns(Silent(), [])
    assert (turned.shape, scores.shape) == ((0,), (0,))
    assert decided() == []


def test_a_face_in_every_turn_is_recognised_in_one_call(pipeline: Pipeline, astronaut: np.ndarray) -> None:
    cut = np.asarray(Image.fromarray(astronaut[50:200, 145:295]).resize((140, 140)))
    cuts = [turning.turned(cut, degrees) for degrees in upright.TURNS]
    turned, scores = upright.turns(pipeline.engine.proposer(), cuts)
    assert turned.tolist() == [0, 270, 180, 90]
    assert (scores > 0.8).all()


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_photograph_on_its_side_or_head_has_the_faces_of_the_upright_one(
    pipeline: Pipeline, astronaut: np.ndarray, degrees: int
) -> None:
    standing = pipeline.find(Picture.whole(astronaut))
    found = pipeline.find(Picture.whole(turning.turned(astronaut, degrees)))
    assert len(standing) == len(found) == 1
    assert standing.turned.tolist() == [0]
    assert found.turned.tolist() == [360 - degrees]
    place = turning.turned_boxes(standing.boxes, (512, 512), degrees)
    assert geometry.iou(found.boxes, place)[0, 0] > 0.7
    assert found.confidences[0] > 0.9
    assert found.comparable[0]
    assert np.linalg.norm(found.encodings - standing.encodings) < 0.15


def test_one_face_may_lie_among_others_that_stand(pipeline: Pipeline, astronaut: np.ndarray) -> None:
    portrait = astronaut[0:256, 100:356]
    wall = np.full((512, 768, 3), 120, np.uint8)
    wall[:256, :256] = wall[:256, 512:] = wall[256:, 256:512] = portrait
    wall[256:, :256] = turning.turned(portrait, 90)
    found = pipeline.find(Picture.whole(wall))
    lying = (found.boxes[:, 0] < 256) & (found.boxes[:, 1] > 256)
    assert sorted(found.turned.tolist()) == [0, 0, 0, 270]
    assert found.turned[lying].tolist() == [270]
    apart = np.linalg.norm(found.encodings - found.encodings[lying], axis=1)
    assert (apart < 0.2).all()
