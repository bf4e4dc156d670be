"""core/images/formats.py: each format is read by its parser, and every other file is an error with its kind."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from pyraface.core.errors import (
    FormatNotReadError,
)
from pyraface.core.images.decode import decode
from tests.core.images.files import (
    LIMITS,
    Pixels,
    assert_well_formed,
    difference,
    encoded,
)


@pytest.mark.parametrize(
    ("format", "tolerance"),
    [
        ("JPEG", 2),
        ("PNG", 0),
        ("WEBP", 0),
        ("GIF", 5),
        ("TIFF", 0),
        ("BMP", 0),
        ("HEIF", 3),
        ("AVIF", 3),
        ("JPEG2000", 0),
    ],
)
def test_every_format_gives_the_picture(format: str, tolerance: float, portrait: Pixels) -> None:
    picture = decode(encoded(portrait, format), LIMITS)
    assert (picture.width, picture.height, picture.orientation) == (180, 240, 1)
    assert_well_formed(picture.pixels)
    assert difference(picture.pixels, portrait) <= tolerance


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG", "TIFF", "AVIF", "HEIF"])
def test_of_several_pictures_the_first_is_taken(format: str, portrait: Pixels) -> None:
    others = [Image.new("RGB", (180, 240), colour) for colour in ("white", "black")]
    data = encoded(portrait, format, save_all=True, append_images=others)
    assert difference(decode(data, LIMITS).pixels, portrait) <= 6


def test_an_mpo_gives_its_first_picture(portrait: Pixels) -> None:
    stream = io.BytesIO()
    Image.fromarray(portrait).save(stream, "MPO", save_all=True, append_images=[Image.new("RGB", (90, 120))])
    assert difference(decode(stream.getvalue(), LIMITS).pixels, portrait) <= 4


def test_an_ultra_hdr_photograph_gives_its_ordinary_picture(portrait: Pixels) -> None:
    height, width, _ = portrait.shape
    light = np.ones((height, width, 4), np.float16)
    light[..., :3] = (portrait / 255) ** 2.2
    data = bytes(imagecodecs.ultrahdr_encode(light))
    assert data.count(b"\xff\xd8\xff") > 1, "it has a gain map"
    picture = decode(data, LIMITS)
    assert (picture.width, picture.height) == (width, height)
    with Image.open(io.BytesIO(data)) as ordinary:
        assert difference(picture.pixels, np.asarray(ordinary.convert("RGB"))) <= 1
    assert difference(picture.pixels, portrait) <= 30, "it is brighter than its gain map"


@pytest.mark.parametrize("tags", [{254: 1}, {50706: b"\1\4\0\0"}], ids=["preview first", "DNG"])
def test_the_preview_in_a_raw_file_is_not_taken_for_the_photograph(
    tags: dict[int, Any], portrait: Pixels
) -> None:
    with pytest.raises(FormatNotReadError, match="raw file"):
        # uncompressed: handed a tag it does not know, the libtiff encoder of some Pillows ends the process
        decode(encoded(portrait, "TIFF", tiffinfo=tags, compression="raw"), LIMITS)


@pytest.mark.parametrize(
    ("name", "orientation", "tolerance"),
    [
        *((f"orient_{number}.jpg", number, 2) for number in range(1, 9)),
        ("irot_and_exif6.heic", 1, 2),
        ("photo.heic", 1, 2),
        ("photo.avif", 1, 2),
        ("photo.webp", 1, 2),
        ("photo_lzw.tif", 1, 2),
        ("png_named.jpg", 1, 2),
        ("progressive.jpg", 1, 2),
        ("cmyk.jpg", 1, 2),
        ("rgb16.png", 1, 2),
        ("rgba.png", 1, 2),
        ("palette.png", 1, 4),
        ("anim_photo_first.gif", 1, 4),
        ("anim_photo_first.webp", 1, 3),
    ],
)
def test_one_photograph_is_the_same_in_every_format(
    name: str, orientation: int, tolerance: float, photos: Path
) -> None:
    plain = decode((photos / "dlib_faces" / "2008_002506.jpg").read_bytes(), LIMITS)
    picture = decode((photos / "derived_formats" / name).read_bytes(), LIMITS)
    assert picture.orientation == orientation
    assert difference(picture.pixels, plain.pixels) <= tolerance
