"""The guided search, with YuNet and with proposers that say what a test wants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from pyraface.core import boxes as geometry
from pyraface.core import engines, parameters, turning
from pyraface.core.engines import EngineOptions, Pixels, Proposals
from pyraface.core.engines.network import yunet
from pyraface.core.parameters import DetectionParameters, Parameters
from pyraface.core.pipeline import Pipeline
from pyraface.core.search import Guided, guided, upright
from tests.support import ROOT

DETECTION = DetectionParameters(search="guided")


@pytest.fixture(scope="module")
def engine() -> engines.Engine:
    return engines.start("onnx", EngineOptions(threshold=DETECTION.guided_threshold))


@pytest.fixture(scope="module")
def packaged() -> Parameters:
    """Those of the package, with the search everywhere."""
    found = parameters.parse((ROOT / "parameters.xml").read_bytes())
    return replace(found, detection=replace(found.detection, search="everywhere"))


class Proposed:
    """Proposes these boxes in an image of some size, and nothing where it is zoomed; no turn is better than another."""

    score = 0.5

    def __init__(self, *boxes: tuple[float, float, float, float], size: tuple[int, int] = (512, 512)) -> None:
        self._size = size
        self._boxes = np.array(boxes, np.float32).reshape(-1, 4)

    def propose(self, tiles: Sequence[Pixels], threshold: float) -> list[Proposals]:
        assert threshold == guided.PROPOSED
        return [self._in(tile) for tile in tiles]

    def scores(self, tiles: Sequence[Pixels]) -> np.ndarray:
        return np.full(len(tiles), self.score, np.float32)

    def _in(self, tile: Pixels) -> Proposals:
        boxes = self._boxes if tile.shape[:2] == self._size else self._boxes[:0]
        return Proposals(boxes, np.full(len(boxes), 0.5, np.float32))


FACE = (178, 80, 266, 168)


def scaled(scale: float) -> tuple[float, float, float, float]:
    """A proposal of the face, so many times as large."""
    return 222 - 44 * scale, 124 - 44 * scale, 222 + 44 * scale, 124 + 44 * scale


@pytest.mark.usefixtures("yunet_weights")
def test_other_weights_make_another_fingerprint(
    engine: engines.Engine, packaged: Parameters, monkeypatch: pytest.MonkeyPatch
) -> None:
    searched = replace(packaged, detection=DETECTION)
    fingerprint = Pipeline(searched, engine).fingerprint
    assert fingerprint != Pipeline(packaged, engine).fingerprint
    monkeypatch.setattr(yunet, "WEIGHTS_SHA256", "another")
    monkeypatch.setattr(yunet, "checked_weights", lambda data, _: data)
    assert fingerprint != Pipeline(searched, engine).fingerprint


def test_the_detector_decides_what_a_proposal_is(engine: engines.Engine, astronaut: np.ndarray) -> None:
    proposer = Proposed(FACE, (20, 300, 100, 380))
    found = Guided(engine, proposer, DETECTION).candidates(astronaut)
    assert len(found) == 1
    assert geometry.iou(found.boxes, np.array([FACE], np.float32))[0, 0] > 0.7
    assert found.confidences[0] > 0.5


@pytest.mark.parametrize("scale", [0.9, 1.2])
def test_a_proposal_may_be_a_little_too_large_or_too_small(
    engine: engines.Engine, astronaut: np.ndarray, scale: float
) -> None:
    found = Guided(engine, Proposed(scaled(scale)), DETECTION).candidates(astronaut)
    assert geometry.iou(found.boxes, np.array([FACE], np.float32))[0, 0] > 0.7


@pytest.mark.parametrize(("score", "count"), [(0.8, 1), (0.7, 0)])
def test_a_likely_face_that_the_first_look_does_not_see_gets_a_second(
    engine: engines.Engine, astronaut: np.ndarray, score: float, count: int
) -> None:
    proposer = Proposed(scaled(0.8))
    proposer.score = score
    found = Guided(engine, proposer, DETECTION).candidates(astronaut)
    assert len(found) == count
    assert (geometry.iou(found.boxes, np.array([FACE], np.float32)) > 0.7).all()


@pytest.mark.parametrize(("turn", "looks"), [(0, 1), (90, 2)])
def test_a_turned_face_gets_a_second_look_in_any_case(
    engine: engines.Engine, astronaut: np.ndarray, turn: int, looks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Turned(Proposed):
        def scores(self, tiles: Sequence[Pixels]) -> np.ndarray:
            assert len(tiles) == 4
            return np.array([0.5, 0.9, 0.5, 0.5] if turn else [0.9, 0.5, 0.5, 0.5], np.float32)

    calls = []
    prepare = engine.prepare
    monkeypatch.setattr(engine, "prepare", lambda tile, scales: calls.append(scales) or prepare(tile, scales))
    image = turning.turned(astronaut, 360 - turn)
    [box] = turning.turned_boxes(np.array([FACE], np.float32), (512, 512), 360 - turn).tolist()
    found = Guided(engine, Turned(tuple(box)), DETECTION).candidates(image)
    assert calls == [guided.FIRST_SCALES, guided.SECOND_SCALES][:looks]
    assert found.turned.tolist() == [turn]
    assert geometry.iou(found.boxes, np.array([box], np.float32))[0, 0] > 0.7


def test_a_large_face_is_sampled_and_looks_the_same(astronaut: np.ndarray) -> None:
    large = np.asarray(Image.fromarray(astronaut).resize((2560, 2560)))
    small = guided.cut(astronaut, np.array(FACE, np.float32), 140)
    sampled = guided.cut(large, 5 * np.array(FACE, np.float32), 140)
    assert sampled.zoom == pytest.approx(small.zoom / 5, rel=0.01)
    assert np.abs(sampled.pixels.astype(int) - small.pixels).mean() < 8


def test_a_neighbour_in_the_crop_is_not_the_face_that_was_proposed(
    engine: engines.Engine, astronaut: np.ndarray
) -> None:
    beside = tuple(side + 60 * (index % 2 == 0) for index, side in enumerate(FACE))
    assert not len(Guided(engine, Proposed(beside), DETECTION).candidates(astronaut))


def test_crops_reach_beyond_the_edges_of_the_image(engine: engines.Engine, astronaut: np.ndarray) -> None:
    close = np.ascontiguousarray(astronaut[70:180, 165:280])
    moved = (FACE[0] - 165, FACE[1] - 70, FACE[2] - 165, FACE[3] - 70)
    outside = (
        (-300, -300, -200, -200),
        (-40, -40, 10, 10),
        (500, 20, 600, 120),
        (0, 0, 2000, 2000),
        (5, 5, 5.2, 5.2),
    )
    found = Guided(engine, Proposed(moved, *outside, size=(110, 115)), DETECTION).candidates(close)
    assert len(found) == 1
    assert geometry.iou(found.boxes, np.array([moved], np.float32))[0, 0] > 0.7
    assert (found.boxes >= 0).all()
    assert (found.boxes[:, 2:] <= [115, 110]).all()


def test_a_pixel_of_a_large_face_is_the_mean_of_several() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (2560, 2560, 3), np.uint8)
    sampled = guided.cut(noise, 5 * np.array(FACE, np.float32), 140)
    assert sampled.pixels.std() < noise.std() / 3


def test_nothing_proposed_is_nothing_found(engine: engines.Engine, astronaut: np.ndarray) -> None:
    assert not len(Guided(engine, Proposed(), DETECTION).candidates(astronaut))
    assert not len(
        Guided(engine, Proposed(FACE, size=(1, 1)), DETECTION).candidates(np.zeros((1, 1, 3), np.uint8))
    )


def test_more_crops_than_the_search_everywhere_costs_are_not_searched_one_by_one(
    engine: engines.Engine, astronaut: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guided, "cut", None)
    small = DetectionParameters(search="guided", levels=1)
    # it finds faces of 21 px
    places = [(float(x), float(y)) for x in range(0, 450, 30) for y in range(0, 450, 30)]
    many = Proposed(*((x, y, x + 22, y + 22) for x, y in places))
    found = Guided(engine, many, small).candidates(astronaut)
    assert len(found) == 1
    assert (found.confidences > small.threshold).all()
    strict = replace(small, threshold=2.0)
    assert not len(Guided(engine, many, strict).candidates(astronaut))


def test_what_the_search_everywhere_would_not_find_is_always_searched_in_crops(
    engine: engines.Engine, astronaut: np.ndarray
) -> None:
    # of the large image, it would find faces of 80 px and more
    coarse = DetectionParameters(height=400, width=400, upsample=0, levels=1)
    scene = np.full((400, 2000, 3), 120, np.uint8)
    scene[:256, :256] = np.asarray(Image.fromarray(astronaut).resize((256, 256)))
    # in the finest level, which is zoomed to 0.4
    faces = [(35.6 + x, 16.0, 53.2 + x, 33.6) for x in range(0, 600, 24)]
    found = Guided(engine, Proposed(*faces, size=(160, 800)), coarse).candidates(scene)
    assert len(faces) * guided.COST > 400 * 400
    assert len(found) == 1
    assert geometry.iou(found.boxes, np.array([[89, 40, 133, 84]], np.float32))[0, 0] > 0.7


def test_many_proposals_are_cut_out_in_groups(
    engine: engines.Engine, astronaut: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the tiles of a client that asks for small faces, thousands are affordable: their cuts would take gigabytes."""
    proposer = Proposed(
        (20, 300, 100, 380), (300, 300, 400, 400), FACE, (400, 20, 480, 100), (20, 20, 90, 90)
    )
    together = Guided(engine, proposer, DETECTION).candidates(astronaut)
    counts = []
    turns = upright.turns

    def counted(proposer: engines.Proposer, cuts: Sequence[Pixels]) -> object:
        counts.append(len(cuts))
        return turns(proposer, cuts)

    monkeypatch.setattr(guided, "TOGETHER", 2)
    monkeypatch.setattr(upright, "turns", counted)
    apart = Guided(engine, proposer, DETECTION).candidates(astronaut)
    assert counts == [2, 2, 1]
    np.testing.assert_array_equal(together.boxes, apart.boxes)


def test_a_gpu_gets_batches_of_one_size(
    engine: engines.Engine, astronaut: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    proposer = Proposed(FACE, (20, 300, 100, 380), (300, 300, 400, 400))
    alone = Guided(engine, proposer, DETECTION).candidates(astronaut)
    sizes = []

    def detect(tiles: Sequence[engines.Tile]) -> list[engines.Detections]:
        sizes.append(len(tiles))
        return [found for tile in tiles for found in type(engine).detect(engine, [tile])]

    monkeypatch.setattr(engine, "detect", detect)
    monkeypatch.setattr(engine, "batch_size", lambda *_: 2)
    together = Guided(engine, proposer, DETECTION).candidates(astronaut)
    assert sizes == [2, 2]
    np.testing.assert_array_equal(alone.boxes, together.boxes)


def test_the_search_is_chosen_in_parameters_xml_and_only_then_part_of_the_text(packaged: Parameters) -> None:
    xml = (ROOT / "parameters.xml").read_bytes()
    assert xml.count(b"<search>auto</search>") == 1
    chosen = parameters.parse(xml.replace(b"<search>auto", b"<search>guided")).detection
    assert replace(chosen, search="everywhere") == packaged.detection
    assert chosen.as_text() != packaged.detection.as_text()
    other = replace(packaged.detection, guided_threshold=-0.2)
    assert other.as_text() == packaged.detection.as_text()
