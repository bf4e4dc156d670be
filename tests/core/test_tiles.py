from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pyraface.core import parameters, pyramid, resampling
from pyraface.core.boxes import Boxes
from pyraface.core.engines import Detections, Pixels, Tile
from pyraface.core.engines.network.packed_pyramid import ImagePyramid
from pyraface.core.images.decode import Picture
from pyraface.core.pipeline import Pipeline
from pyraface.core.tiles import TILES_AHEAD, TilePreparer
from tests.core.zooming import zoomed
from tests.support import ROOT


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    """Tiles of 0.25 Mpx."""
    packaged = parameters.parse((ROOT / "parameters.xml").read_bytes())
    detection = replace(packaged.detection, search="everywhere", height=500, width=500, upsample=0, levels=1)
    return Pipeline(replace(packaged, detection=detection), "onnx")


class Batches:
    """The engine of a pipeline, which asks for so many tiles at a time and remembers how many it got."""

    def __init__(self, pipeline: Pipeline, size: int) -> None:
        self._engine = pipeline.engine
        self._size = size
        self.got: list[int] = []
        self.name, self.device, self.processor, self.libraries = "onnx", "cpu", "cpu", "batches"
        self.gpu = False

    def batch_size(self, height: int, width: int) -> int:
        del height, width
        return self._size

    def prepare(self, tile: Pixels, scales: int = 0) -> Tile:
        return self._engine.prepare(tile, scales)

    def detect(self, tiles: Sequence[Tile]) -> list[Detections]:
        self.got.append(len(tiles))
        return self._engine.detect(tiles)

    def encode(self, image: Pixels, boxes: Boxes) -> NDArray[np.float32]:
        return self._engine.encode(image, boxes)


@pytest.mark.parametrize(("size", "expected"), [(1, [1] * 21), (3, [1, 3, 1, 3, 3, 3, 3, 3, 1])])
def test_an_engine_gets_as_many_tiles_of_a_level_at_once_as_it_asks_for(
    size: int, expected: list[int], astronaut: np.ndarray, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    detection = replace(pipeline.parameters.detection, height=200, width=200, levels=3)
    parameters = replace(pipeline.parameters, detection=detection)
    engine, prepared = Batches(pipeline, size), []
    prepare = TilePreparer._prepare

    def counted(self: TilePreparer, image: Pixels, place: NDArray[np.int64], size: tuple[int, int]) -> Any:
        prepared.append(place)
        return prepare(self, image, place, size)

    def detect(tiles: Sequence[Tile]) -> list[Detections]:
        # what the engine has, and what is prepared meanwhile
        assert len(prepared) - sum(engine.got) <= size + max(TILES_AHEAD, size)
        return Batches.detect(engine, tiles)

    monkeypatch.setattr(TilePreparer, "_prepare", counted)
    monkeypatch.setattr(engine, "detect", detect)
    picture = Picture.whole(astronaut)
    faces = Pipeline(parameters, engine).find(picture)
    assert engine.got == expected
    assert len(prepared) == 21
    assert len(faces) == 1
    one_by_one = Pipeline(parameters, pipeline.engine).find(picture)
    assert np.allclose(faces.boxes, one_by_one.boxes, atol=1e-2)
    assert np.allclose(faces.encodings, one_by_one.encodings, atol=1e-5)


def test_tiles_are_whole_when_the_engine_gets_them(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resampling, "STRIP_PIXELS", 20_000)  # dozens of strips a tile, from several threads
    resample_rows = resampling.resample_rows

    def late(*arguments: Any) -> None:
        _, _, zoomed, rows = arguments
        if rows[1] == len(zoomed):
            time.sleep(0.1)  # the last strip is done last, however busy the other threads are
        resample_rows(*arguments)

    monkeypatch.setattr(resampling, "resample_rows", late)
    image = np.random.default_rng(0).integers(0, 256, (700, 900, 3), np.uint8)
    levels = pyramid.levels(900, 700, replace(pipeline.parameters.detection, levels=2))
    seen = 0
    for level, places, tiles in TilePreparer(pipeline.engine).batches(image, levels):
        for place, tile in zip(places, tiles, strict=True):
            left, top, right, bottom = place.tolist()
            # the engine would make the same of the zoomed pixels itself
            expected = pipeline.engine.prepare(zoomed(image, (left, top, right, bottom), level.size))
            assert isinstance(tile, ImagePyramid)
            assert isinstance(expected, ImagePyramid)
            for one, other in zip(tile.images, expected.images, strict=True):
                np.testing.assert_array_equal(one, other)
            seen += 1
    assert seen == 1 + 4
