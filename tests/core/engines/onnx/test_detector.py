from __future__ import annotations

from dataclasses import replace

import dlib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyraface.core.engines import EngineOptions
from pyraface.core.engines.network import packed_pyramid, weights
from pyraface.core.engines.onnx import detector as detectors
from pyraface.core.engines.onnx.detector import cells_of
from pyraface.core.engines.onnx.engine import OnnxEngine


def test_the_sizes_of_the_pyramid_are_dlibs_to_a_tenth_of_a_grey_level(
    onnx_engine: OnnxEngine, astronaut: np.ndarray
) -> None:
    """dlib adds up x from step to step in float32 where ONNX Runtime multiplies: a hundredth of a pixel at most."""
    tile = np.ascontiguousarray(astronaut[:201, :333])
    layout = packed_pyramid.layout(*tile.shape[:2])
    network = weights.load_detector()
    expected = (tile.astype(np.float32) - np.array(network.means, np.float32)).transpose(2, 0, 1)
    pictures = list(onnx_engine.detector._images(tile, layout))
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
) -> None:
    layout = packed_pyramid.layout(*astronaut.shape[:2])
    every = cells_of(layout.height), cells_of(layout.width)
    tiles = [onnx_engine.prepare(astronaut)] * len(corners)
    halves = onnx_engine.detector.float32
    whole = replace(halves, band_rows=0).scores(tiles, corners, size or every)
    in_bands = replace(halves, band_pixels=60_000, band_rows=17).scores(tiles, corners, size or every)
    assert whole.shape == in_bands.shape == (len(corners), *(size or every))
    assert np.allclose(whole, in_bands, atol=1e-5)


@given(
    pixels=st.sampled_from([240_000, EngineOptions.tile_pixels, 20_000_000]),
    share=st.floats(0.05, 1),
    shape=st.floats(1 / 2.9, 2.9),
)
def test_the_plan_holds_the_tiles_of_every_usual_shape(pixels: int, share: float, shape: float) -> None:
    band, features = detectors.shape_profiles(pixels, 32)
    height, width = int((pixels * share / shape) ** 0.5), int((pixels * share * shape) ** 0.5)
    layout = packed_pyramid.layout(height, width)
    rows, columns = cells_of(layout.height), cells_of(layout.width)
    assert features.hold((1, 32, rows, columns))
    assert band.hold((1, 3, detectors.pixels_under(1), detectors.pixels_under(columns)))
    assert band.hold((1, 3, detectors.pixels_under(detectors.BAND_ROWS), detectors.pixels_under(columns)))
    assert band.hold(band.usual)
    assert features.hold(features.usual)


def test_no_band_is_higher_than_the_plan(astronaut: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = OnnxEngine(EngineOptions(screened=False))
    tile = np.ascontiguousarray(np.tile(astronaut[:, 200:260], (3, 1, 1)))
    trunk = engine.detector.float32.trunk
    run, bands = trunk.run, []

    def recorded(feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
        bands.append(feeds["image"].shape)
        return run(feeds)

    monkeypatch.setattr(trunk, "run", recorded)
    engine.detect([tile])
    most, _ = detectors.shape_profiles(EngineOptions.tile_pixels, 32)
    assert len(bands) > 1
    assert all(most.hold(shape) for shape in bands)
