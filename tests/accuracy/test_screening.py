"""Photographs at which 8-bit integers are farthest off: screening loses and changes no face of them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pyraface.core.engines import EngineOptions
from pyraface.core.engines.network import packed_pyramid
from pyraface.core.engines.onnx.detector import cells_of
from pyraface.core.engines.onnx.engine import OnnxEngine
from pyraface.core.engines.onnx.screening import MARGIN


@pytest.fixture(scope="module")
def float32_engine() -> OnnxEngine:
    return OnnxEngine(EngineOptions(screened=False))


@pytest.mark.parametrize(
    "file",
    [
        "dlib_faces/bald_guys.jpg",
        "deepface_pairs/images/img34.jpg",
        "dlib_johns/John_Salley/000183_02159543.jpg",
        "wider_face_val_subset/images/20--Family_Group/20_Family_Group_Family_Group_20_374.jpg",
    ],
)
def test_screening_changes_no_face_where_integers_were_farthest_off(
    file: str, photos: Path, onnx_engine: OnnxEngine, float32_engine: OnnxEngine
) -> None:
    photograph = Image.open(io.BytesIO((photos / file).read_bytes())).convert("RGB")
    photograph.thumbnail((1000, 1000))
    tile = np.asarray(photograph)
    [found], [expected] = onnx_engine.detect([tile]), float32_engine.detect([tile])
    assert len(expected.boxes) > 0
    assert np.array_equal(found.boxes, expected.boxes)
    assert np.abs(found.voted - expected.voted).max() < 1e-3
    assert np.abs(found.confidences - expected.confidences).max() < 1e-5
    detector = onnx_engine.detector
    if detector.int8 is None:
        pytest.skip("a GPU needs no screening")
    layout = packed_pyramid.layout(*tile.shape[:2])
    size = cells_of(layout.height), cells_of(layout.width)
    whole = ([onnx_engine.prepare(tile)], [(0, 0)], size)
    exact = detector.float32.scores(*whole)
    off = exact - detector.int8.scores(*whole)
    assert np.abs(off[exact > 0]).max() > 0
    assert off[exact > 0].max() < MARGIN / 2
