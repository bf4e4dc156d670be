"""Faces that the edge cuts or that are blurred: the same quality, whatever engine finds them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageFilter

from pyraface.core import parameters
from pyraface.core.images.decode import Picture
from pyraface.core.parameters import DetectionParameters, EncodingParameters
from pyraface.core.pipeline import Pipeline
from tests.support import ROOT

FACE = np.array([[176, 71, 266, 161]], np.float32)
"""The box of the portrait's face, 90 px."""


def cut(astronaut: np.ndarray, side: str, share: float) -> np.ndarray:
    """The portrait without a share of the face's box at its side."""
    left, top, right, bottom = FACE[0]
    rows, columns = slice(0, 512), slice(0, 512)
    missing = round(90 * share)
    if side in ("left", "right"):
        columns = slice(int(left) + missing, 512) if side == "left" else slice(0, int(right) - missing)
    else:
        rows = slice(int(top) + missing, 512) if side == "top" else slice(0, int(bottom) - missing)
    return np.ascontiguousarray(astronaut[rows, columns])


@pytest.fixture(scope="module", params=["onnx", "dlib", "guided"])
def searching(request: pytest.FixtureRequest) -> Pipeline:
    """A pipeline of each engine that searches the picture at its own size, and one that is guided."""
    packaged = parameters.parse((ROOT / "parameters.xml").read_bytes())
    if request.param == "guided":
        request.getfixturevalue("yunet_weights")
        return Pipeline(replace(packaged, detection=DetectionParameters(search="guided")), "onnx")
    detection = replace(packaged.detection, search="everywhere", upsample=0, levels=1)
    return Pipeline(replace(packaged, detection=detection), request.param)


@pytest.mark.parametrize("side", ["left", "top", "right", "bottom"])
def test_a_face_that_the_edge_cuts_in_half_is_not_comparable_and_one_that_lacks_a_fifth_is(
    side: str, searching: Pipeline, astronaut: np.ndarray
) -> None:
    astronaut = astronaut[:300, :380]  # soon searched
    whole = searching.find(Picture.whole(astronaut))
    assert whole.comparable.tolist() == [True]
    assert whole.inside.tolist() == [1]
    [little] = searching.find(Picture.whole(cut(astronaut, side, 0.2)))
    assert little.quality.comparable
    assert 0.75 < little.quality.inside < 0.95
    assert np.linalg.norm(little.encoding - whole.encodings[0]) < 0.45
    half = searching.find(Picture.whole(cut(astronaut, side, 0.5)))
    # where even the detector sees no face in half of one, there is nothing to mark
    assert half.comparable.tolist() in ([], [False])
    assert (half.inside < EncodingParameters().least_inside).all()


def test_the_share_inside_is_that_of_the_box_which_the_edge_cuts_off(
    searching: Pipeline, astronaut: np.ndarray
) -> None:
    [found] = searching.find(Picture.whole(cut(astronaut[:300, :380], "left", 0.2)))
    left, top, right, bottom = found.box.tolist()
    assert left == 0
    assert found.quality.inside == pytest.approx((right - left) / (bottom - top), abs=0.01)  # it was a square
    assert found.quality.size == pytest.approx(right - left)


@pytest.mark.parametrize(("radius", "comparable"), [(0, True), (3.5, False)], ids=["sharp", "blurred"])
def test_both_engines_say_the_same_of_a_face(radius: float, comparable: bool, astronaut: np.ndarray) -> None:
    packaged = parameters.parse((ROOT / "parameters.xml").read_bytes())
    detection = replace(packaged.detection, search="everywhere", upsample=0, levels=1)
    blurred = Image.fromarray(astronaut).filter(ImageFilter.GaussianBlur(radius))
    picture = Picture.whole(np.asarray(blurred)[20:240, 100:320])
    onnx, dlib = [
        Pipeline(replace(packaged, detection=detection), name).find(picture) for name in ("onnx", "dlib")
    ]
    assert len(onnx) == len(dlib) == 1
    assert onnx.comparable.tolist() == dlib.comparable.tolist() == [comparable]
    np.testing.assert_allclose(onnx.sharpness, dlib.sharpness, atol=1e-6)
    np.testing.assert_allclose(onnx.sizes, dlib.sizes, atol=1e-2)
    np.testing.assert_allclose(onnx.sizes, 90, atol=10)
