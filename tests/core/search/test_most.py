"""The search for most faces: what YuNet decides alone, and what it leaves to the detector."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageFilter

from pyraface.core import boxes as geometry
from pyraface.core import engines, parameters
from pyraface.core.engines import EngineOptions, Pixels, Proposals
from pyraface.core.images.decode import Picture
from pyraface.core.parameters import DetectionParameters
from pyraface.core.pipeline import Pipeline
from pyraface.core.search import Most, most, proposals
from pyraface.core.search.proposals import Proposed
from tests.support import ROOT

DETECTION = DetectionParameters()
SIDE = 400
FACE = (100.0, 100.0, 160.0, 160.0)


def proposed(*rows: tuple[float, float, float, float, float, int]) -> Proposed:
    """Proposals: left, top, right, bottom, score, level."""
    table = np.array(rows, np.float32).reshape(-1, 6)
    return Proposed(table[:, :4], table[:, 4], table[:, 5].astype(np.int32))


class Seen:
    """Proposes one box of an image of SIDE, with a score for each side of the zoomed image."""

    def __init__(self, box: ArrayLike = FACE, **scores: float) -> None:
        self._box = np.array(box, np.float32)
        self._scores = {int(zoomed.removeprefix("at_")): score for zoomed, score in scores.items()}

    def propose(self, tiles: Sequence[Pixels], threshold: float) -> list[Proposals]:
        return [self._in(tile, threshold) for tile in tiles]

    def scores(self, tiles: Sequence[Pixels]) -> NDArray[np.float32]:
        return np.full((len(tiles) // 4, 4), [0.1, 0.1, 0.1, 0.9], np.float32).ravel()

    def _in(self, tile: Pixels, threshold: float) -> Proposals:
        score = self._scores.get(tile.shape[0], 0.0)
        box = self._box[None][: int(score >= threshold)]
        return Proposals(box * np.float32(tile.shape[0] / SIDE), np.full(len(box), score, np.float32))


@pytest.fixture(scope="module")
def engine() -> engines.Engine:
    return engines.start("onnx", EngineOptions(threshold=DETECTION.guided_threshold))


@pytest.fixture(scope="module")
def wall() -> Pixels:
    return np.full((SIDE, SIDE, 3), 120, np.uint8)


def test_what_the_detector_refuses_is_a_face_where_yunet_is_sure_at_two_zooms(
    engine: engines.Engine, wall: Pixels
) -> None:
    found = Most(engine, Seen(at_400=0.8, at_800=0.7), DETECTION).candidates(wall)
    assert found.detectors.tolist() == ["yunet"]
    assert found.confidences == pytest.approx([0.75])
    assert found.boxes[0] == pytest.approx(FACE, abs=0.5)
    assert found.turned.tolist() == [270]


def test_of_a_box_that_the_edge_cuts_the_share_inside_is_known(engine: engines.Engine, wall: Pixels) -> None:
    seen = Seen((-20, 100, 60, 180), at_400=0.8, at_800=0.7)
    found = Most(engine, seen, DETECTION).candidates(wall)
    assert found.boxes[0] == pytest.approx([0, 100, 60, 180], abs=0.5)
    assert found.inside == pytest.approx([0.75], abs=0.01)


@pytest.mark.parametrize("scores", [{"at_400": 0.9}, {"at_800": 0.9}, {"at_400": 0.75, "at_800": 0.6}])
def test_what_only_one_zoom_shows_is_left_to_the_detector(
    engine: engines.Engine, wall: Pixels, scores: dict[str, float]
) -> None:
    assert not len(Most(engine, Seen(**scores), DETECTION).candidates(wall))


def test_a_face_that_both_find_is_the_detector_s(engine: engines.Engine, astronaut: np.ndarray) -> None:
    whole = np.ascontiguousarray(np.asarray(Image.fromarray(astronaut[:300, 72:372]).resize((SIDE, SIDE))))
    face = np.array([[106, 80, 194, 168]], np.float32) * np.float32(SIDE / 300)
    seen = Seen(face[0], at_300=0.9, at_400=0.9, at_800=0.9)
    found = Most(engine, seen, DETECTION).candidates(whole)
    assert found.detectors.tolist() == ["cnn"]
    assert geometry.iou(found.boxes, face)[0, 0] > 0.7


def test_the_agreement_is_the_mean_of_the_two_best_levels_scores() -> None:
    found = proposed(
        (0, 0, 10, 10, 0.9, 0),
        (0, 1, 10, 11, 0.5, 1),
        (0, 0, 10, 9, 0.7, 2),
        (0, 0, 10, 9.5, 0.6, 2),
        (50, 50, 60, 60, 0.8, 1),
    )
    once = found.once()
    assert once.scores.tolist() == pytest.approx([0.9, 0.8])
    assert most.agreement(once, found) == pytest.approx([0.8, 0.4])
    assert most.agreement(proposed(), proposed()).shape == (0,)


def test_a_crowd_in_which_all_levels_agree_takes_little_memory() -> None:
    corner = np.random.default_rng(0).uniform(0, 9000, (3000, 2)).astype(np.float32)
    boxes = np.concatenate([corner, corner + 20], axis=1)
    crowd = Proposed(boxes, np.full(3000, 0.9, np.float32), np.zeros(3000, np.int32))
    tracemalloc.start()
    assert most.agreement(crowd, crowd) == pytest.approx(np.full(3000, 0.45))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5e6  # a number for each pair would take 36 MB


def test_yunet_adds_no_face_that_the_detector_has_and_no_part_of_one_that_it_has_itself() -> None:
    boxes = proposed(
        (0, 0, 10, 10, 0, 0),
        (30, 30, 40, 40, 0, 0),
        (31, 31, 35, 35, 0, 0),
        (60, 0, 70, 10, 0, 0),
        (5, 6, 15, 16, 0, 0),
        (90, 90, 99, 99, 0, 0),
    ).boxes
    agreed = np.array([0.9, 0.8, 0.85, 0.95, 0.72, 0.69], np.float32)
    decided = proposed((62, 2, 72, 12, 0, 0)).boxes
    # the part is surer than the whole; the fifth only touches the first; the last is not sure
    assert most.alone(boxes, agreed, decided).tolist() == [0, 2, 4]
    assert most.alone(boxes[:0], agreed[:0], decided).tolist() == []


@pytest.mark.parametrize(
    ("size", "faces_from", "zoom"),
    [((1200, 800), 0, 2.0), ((7000, 5000), 0, 0.8), ((1200, 800), 40, 1.0), ((1200, 800), 5, 2.0)],
)
def test_the_finest_level_is_zoomed_twice_as_far_as_the_guided_search_s_and_no_more_than_twice(
    engine: engines.Engine, size: tuple[int, int], faces_from: int, zoom: float
) -> None:
    search = Most(engine, Seen(), DETECTION)
    guided = proposals.finest_zoom(*size, DETECTION, faces_from=faces_from)
    ratio = search.finest_zoom(*size, faces_from=faces_from) / search._guided.finest_zoom(
        *size, faces_from=faces_from
    )
    assert guided * ratio == pytest.approx(zoom)


@pytest.mark.usefixtures("yunet_weights")
def test_a_face_too_blurred_for_the_detector_is_found_and_encoded(astronaut: np.ndarray) -> None:
    pipeline = Pipeline(parameters.parse((ROOT / "parameters.xml").read_bytes()), "onnx")
    scene = np.full((600, 800, 3), 120, np.uint8)
    blurred = Image.fromarray(astronaut).filter(ImageFilter.GaussianBlur(8))
    scene[200:456, 300:556] = np.asarray(blurred.resize((256, 256)))
    assert not len(pipeline.find(Picture.whole(scene), search="guided"))
    [face] = pipeline.find(Picture.whole(scene), search="most")
    assert face.detector == "yunet"
    assert most.SURE <= face.confidence <= 1
    assert not np.isnan(face.encoding).any()
    assert not face.quality.comparable
    truth = np.array([[389, 240, 433, 284]], np.float32)
    assert geometry.iou(face.box[None], truth)[0, 0] > 0.5
