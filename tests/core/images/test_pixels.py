"""core/images/pixels.py: pictures of every mode become upright RGB."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pyraface.core.images.decode import decode
from pyraface.core.images.pixels import STRIP_PIXELS
from tests.core.images.files import (
    LIMITS,
    Pixels,
    as_luma,
    assert_well_formed,
    difference,
    encoded,
    exif,
    stored,
)
from tests.core.images.modes import COLOUR, GRAY


@pytest.mark.parametrize("name", COLOUR)
def test_every_kind_of_colour_becomes_rgb(name: str, portrait: Pixels) -> None:
    make, tolerance = COLOUR[name]
    picture = decode(make(portrait), LIMITS)
    assert_well_formed(picture.pixels)
    assert difference(picture.pixels, portrait) <= tolerance


@pytest.mark.parametrize("name", GRAY)
def test_every_kind_of_gray_becomes_rgb(name: str, portrait: Pixels) -> None:
    make, tolerance = GRAY[name]
    picture = decode(make(portrait), LIMITS)
    assert_well_formed(picture.pixels)
    assert difference(picture.pixels, as_luma(portrait)) <= tolerance


def test_one_bit_becomes_black_and_white(portrait: Pixels) -> None:
    bits = Image.fromarray(portrait).convert("1")
    pixels = decode(encoded(bits, "PNG"), LIMITS).pixels
    assert (pixels == np.where(np.asarray(bits)[..., None], 255, 0)).all()


@pytest.mark.parametrize("value", [7.0, np.nan, np.inf])
def test_floats_without_a_range_become_black(value: float) -> None:
    data = encoded(Image.fromarray(np.full((3, 4), value, np.float32)), "TIFF")
    assert (decode(data, LIMITS).pixels == 0).all()


def test_an_image_of_one_pixel_is_a_picture() -> None:
    assert decode(encoded(np.full((1, 1, 3), 9, np.uint8), "PNG"), LIMITS).pixels.tolist() == [[[9, 9, 9]]]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_larger_than_a_strip_is_turned_whole(orientation: int, portrait: Pixels) -> None:
    upright = np.tile(portrait, (6, 9, 1))
    upright[::7] //= 2
    assert upright.shape[0] * upright.shape[1] > 2 * STRIP_PIXELS
    data = encoded(stored(upright, orientation), "PNG", exif=exif(orientation))
    assert (decode(data, LIMITS).pixels == upright).all()


@pytest.mark.parametrize("name", ["gray.jpg", "gray16.png"])
def test_one_photograph_is_the_same_in_gray(name: str, photos: Path) -> None:
    plain = decode((photos / "dlib_faces" / "2008_002506.jpg").read_bytes(), LIMITS)
    picture = decode((photos / "derived_formats" / name).read_bytes(), LIMITS)
    assert difference(picture.pixels, as_luma(plain.pixels)) <= 2
