from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from pyraface.core import resampling
from tests.core.zooming import zoomed


def picture(height: int, width: int) -> np.ndarray:
    """Red grows to the right, green downwards: where a pixel of a part came from can be read off it."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[..., 0] = np.arange(width)
    pixels[..., 1] = np.arange(height)[:, None]
    return pixels


@pytest.mark.parametrize("box", [(0, 0, 60, 40), (10, 5, 11, 6), (10, 5, 30, 35), (59, 39, 60, 40)])
def test_a_part_is_cut_out_where_the_box_says(box: tuple[int, int, int, int]) -> None:
    left, top, right, bottom = box
    found = zoomed(picture(40, 60), box, (right - left, bottom - top))
    assert (found.shape, found.dtype) == ((bottom - top, right - left, 3), np.uint8)
    np.testing.assert_array_equal(found[..., 0], np.tile(np.arange(left, right), (bottom - top, 1)))
    np.testing.assert_array_equal(found[..., 1], np.tile(np.arange(top, bottom)[:, None], (1, right - left)))


@pytest.mark.parametrize("size", [(80, 30), (20, 90), (1, 1), (7, 200)])
def test_a_part_is_zoomed_to_the_size_wanted_and_stays_upright(size: tuple[int, int]) -> None:
    found = zoomed(picture(40, 60), (10, 5, 50, 35), size)
    assert found.shape == (size[1], size[0], 3)
    # a pixel's centre comes from the same place of the part, but for the filter's reach at the edges
    expected_red = 10 + (np.arange(size[0]) + 0.5) * 40 / size[0] - 0.5
    expected_green = 5 + (np.arange(size[1]) + 0.5) * 30 / size[1] - 0.5
    np.testing.assert_allclose(found[..., 0], np.tile(expected_red, (size[1], 1)), atol=2.5)
    np.testing.assert_allclose(found[..., 1], np.tile(expected_green[:, None], (1, size[0])), atol=2.5)


def test_a_tile_shows_what_the_whole_picture_zoomed_shows_there(astronaut: np.ndarray) -> None:
    whole = zoomed(astronaut, (0, 0, 512, 512), (1024, 1024))
    np.testing.assert_array_equal(
        zoomed(astronaut, (100, 200, 228, 264), (256, 128)), whole[400:528, 200:456]
    )


def test_it_is_zoomed_in_one_step_that_averages_every_pixel() -> None:
    # a chequerboard of single pixels is even grey when every one of them counts
    pixels = ((np.indices((256, 256)).sum(axis=0) % 2) * 255).astype(np.uint8)
    board = np.repeat(pixels[..., None], 3, axis=2)
    found = zoomed(board, (0, 0, 256, 256), (32, 32)).astype(int)
    assert abs(found[2:-2, 2:-2] - 127.5).max() <= 2


def test_detail_survives_that_two_steps_would_lose(astronaut: np.ndarray) -> None:
    once = zoomed(astronaut, (0, 0, 512, 512), (400, 400)).astype(float)
    small = zoomed(astronaut, (0, 0, 512, 512), (200, 200))
    twice = zoomed(small, (0, 0, 200, 200), (400, 400)).astype(float)
    assert np.abs(np.diff(once, axis=1)).mean() > 1.2 * np.abs(np.diff(twice, axis=1)).mean()


@pytest.mark.parametrize(
    ("box", "size"),
    [
        ((0, 0, 512, 512), (200, 170)),
        ((0, 0, 512, 512), (900, 1100)),
        ((13, 7, 301, 500), (64, 331)),
        ((100, 90, 140, 510), (333, 40)),
    ],
)
def test_strips_are_seamless(
    box: tuple[int, int, int, int],
    size: tuple[int, int],
    astronaut: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = zoomed(astronaut, box, size)
    # what Pillow itself makes of it; it may round in between where we do not, and the other way round
    shrinks = size[0] < box[2] - box[0] and size[1] < box[3] - box[1]
    if shrinks:
        expected = np.asarray(Image.fromarray(astronaut).crop(box).resize(size, Image.Resampling.BILINEAR))
        # at the edges libvips repeats the last pixel, and to a quarter it shrinks in two steps
        off = np.abs(whole.astype(int) - expected)
        assert off.mean() < 0.6
        assert off[1:-1, 1:-1].max() <= (1 if size[0] > 100 else 8)
    else:
        expected = np.asarray(Image.fromarray(astronaut).resize(size, Image.Resampling.BICUBIC, box=box))
        assert np.abs(whole.astype(int) - expected).max() <= 4
    monkeypatch.setattr(resampling, "STRIP_PIXELS", 5000)
    in_strips = zoomed(astronaut, box, size)
    # a strip's edge is a float32 in Pillow
    assert np.abs(in_strips.astype(int) - whole).max() <= 1
    assert (in_strips != whole).mean() < 0.001
