from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pyraface.core import boxes, engines, parameters, pyramid
from pyraface.core.engines import Detections, EngineOptions
from pyraface.core.images.decode import Picture
from pyraface.core.parameters import DetectionParameters
from pyraface.core.pipeline import Pipeline
from pyraface.core.pyramid import Level
from pyraface.core.search import adaptive
from tests.support import ROOT

WIDTH, HEIGHT = 2000, 1500
WHOLE, QUADRANTS, SIXTEENTHS = pyramid.levels(WIDTH, HEIGHT, DetectionParameters(levels=3))


def closer(level: Level, *hints: tuple[float, float, float, float], faces: int = 1, **more: Any) -> Level:
    coarser = WHOLE if level is QUADRANTS else QUADRANTS
    settings = {"zoom": min(coarser.zoom), "image": (WIDTH, HEIGHT), "budget": 3_840_000, **more}
    return adaptive.closer(level, np.array(hints, np.float32).reshape(-1, 4), faces=faces, **settings)


areas = st.tuples(st.floats(0, 190), st.floats(0, 90), st.floats(0, 30), st.floats(0, 20)).map(
    lambda a: (a[0], a[1], min(a[0] + a[2], 200), min(a[1] + a[3], 100))
)


@settings(max_examples=300)
@given(st.lists(areas, max_size=40))
def test_every_area_lies_wholly_in_a_tile_and_every_tile_in_the_image(rows: list[Any]) -> None:
    some = np.array(rows, np.float64).reshape(-1, 4)
    tiles = adaptive.cover(some, 40, 30, 200, 100)
    assert len(tiles) <= len(some)
    assert tiles.dtype == np.int64
    assert (tiles[:, :2] >= 0).all()
    assert (tiles[:, 2:] <= [200, 100]).all()
    assert (tiles[:, 2:] - tiles[:, :2] == [40, 30]).all()
    for left, top, right, bottom in some:
        inside = (
            (tiles[:, 0] <= left) & (tiles[:, 1] <= top) & (right <= tiles[:, 2]) & (bottom <= tiles[:, 3])
        )
        assert inside.any()


def test_areas_that_one_tile_holds_share_it() -> None:
    near = np.array([(0, 0, 10, 10), (25, 15, 35, 25), (150, 50, 160, 60)], np.float64)
    assert len(adaptive.cover(near, 40, 30, 200, 100)) == 2


def test_a_level_is_laid_round_a_hint_as_far_as_people_stand() -> None:
    hint = (1000, 700, 1040, 740)
    level = closer(QUADRANTS, hint)
    assert level.zoom == pytest.approx(QUADRANTS.zoom, rel=0.01)
    assert level.index == 1
    assert pyramid.work([level]).pixels < pyramid.work([QUADRANTS]).pixels / 3
    (left, top, right, bottom) = level.tiles[0]
    for x, y in ((1020 - 160, 720 - 160), (1020 + 160, 720 + 160)):
        assert left <= x <= right
        assert top <= y <= bottom


def test_deeper_levels_look_at_the_hint_and_hardly_further() -> None:
    level = closer(SIXTEENTHS, (1000, 700, 1020, 720))
    assert len(level.tiles) == 1
    assert pyramid.work([level]).pixels <= adaptive.TILE_SIDE**2


def test_where_nothing_is_seen_nothing_is_looked_at_unless_there_is_no_face_at_all() -> None:
    assert len(closer(QUADRANTS).tiles) == 0
    assert len(closer(SIXTEENTHS, faces=0).tiles) == 0
    assert closer(QUADRANTS, faces=0) is QUADRANTS
    assert closer(QUADRANTS, (1000, 700, 1040, 740), faces=0) is QUADRANTS


def test_a_large_face_needs_no_closer_look() -> None:
    side = 1.25 * pyramid.DETECTOR_WINDOW / min(WHOLE.zoom)
    assert len(closer(QUADRANTS, (500, 500, 501 + side, 501 + side)).tiles) == 0
    assert len(closer(QUADRANTS, (500, 500, 499 + side, 499 + side)).tiles) > 0


def test_a_crowd_costs_no_more_than_the_whole_level() -> None:
    crowd = [(x, y, x + 30, y + 30) for x in range(0, WIDTH, 100) for y in range(0, HEIGHT, 100)]
    assert closer(QUADRANTS, *crowd) is QUADRANTS


def test_tiles_keep_a_small_budget() -> None:
    level = closer(QUADRANTS, (1000, 700, 1040, 740), budget=90_000)
    assert level.size[0] * level.size[1] <= 90_000


def test_a_hint_at_the_edge_and_a_picture_smaller_than_a_tile_are_looked_at_inside_the_picture() -> None:
    level = closer(QUADRANTS, (-20, -20, 20, 20), (1990, 1490, 2010, 1510))
    assert (level.tiles[:, :2] >= 0).all()
    assert (level.tiles[:, 2:] <= [WIDTH, HEIGHT]).all()


@pytest.fixture(scope="module")
def scene(astronaut: np.ndarray) -> np.ndarray:
    """A face that level 0 finds, and one that it only gives a hint of, far apart, before a wall."""
    wall = np.full((900, 1400, 3), 120, np.uint8)
    for left, top, side in ((60, 60, 512), (1130, 630, 260)):
        head = np.asarray(Image.fromarray(astronaut).resize((side, side)))
        wall[top : top + side, left : left + side] = head
    return wall


class Watched:
    """The onnx engine, and the pixels it looked at."""

    name = device = fingerprint = "watched"
    gpu = False

    def __init__(self, hints: float | None) -> None:
        self.engine = engines.start("onnx", EngineOptions(hints=hints))
        self.pixels = 0
        self.hinted = 0

    def batch_size(self, height: int, width: int) -> int:
        return self.engine.batch_size(height, width)

    def prepare(self, tile: Any, scales: int = 0) -> Any:
        return self.engine.prepare(tile, scales)

    def detect(self, tiles: Any) -> list[Detections]:
        self.pixels += sum(tile.shape[0] * tile.shape[1] for tile in tiles)
        found = self.engine.detect(tiles)
        self.hinted += sum(len(one.hints) for one in found)
        return found

    def encode(self, image: Any, faces: Any) -> Any:
        return self.engine.encode(image, faces)


def test_the_same_faces_are_found_at_a_part_of_the_pixels(scene: np.ndarray) -> None:
    packaged = parameters.parse((ROOT / "parameters.xml").read_bytes())
    found, pixels = [], []
    for choice in (False, True):
        detection = replace(packaged.detection, height=400, width=300, levels=2, adaptive=choice)
        engine = Watched(adaptive.HINT if choice else None)
        faces = Pipeline(replace(packaged, detection=detection), engine).find(Picture.whole(scene))
        assert (engine.hinted > 0) == choice
        found.append(faces)
        pixels.append(engine.pixels)
    assert len(found[0]) == len(found[1]) == 2
    detection = replace(packaged.detection, height=400, width=300, levels=1)
    assert (
        len(Pipeline(replace(packaged, detection=detection), Watched(None)).find(Picture.whole(scene))) == 1
    )
    assert (boxes.iou(found[0].boxes, found[1].boxes).max(axis=1) > 0.8).all()
    assert pixels[1] < 0.6 * pixels[0]


def test_parameters_xml_turns_it_on_and_the_pipeline_then_asks_for_hints(astronaut: np.ndarray) -> None:
    xml = (ROOT / "parameters.xml").read_bytes()
    assert xml.count(b"<adaptive>0</adaptive>") == 1
    packaged = parameters.parse(xml.replace(b"<adaptive>0</adaptive>", b"<adaptive>1</adaptive>"))
    [found] = Pipeline(packaged, "onnx").engine.detect([astronaut])
    assert len(found.hints) >= len(found.boxes) == 1
    assert boxes.iou(found.boxes, found.hints).max() > 0.9
