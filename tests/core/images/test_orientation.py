"""core/images/orientation.py: the orientation in EXIF, XMP or a tag is applied once, and nonsense is ignored."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pyraface.core.images.decode import decode
from tests.core.images.files import (
    LIMITS,
    Pixels,
    assert_well_formed,
    difference,
    encoded,
    exif,
    png,
    stored,
)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(("format", "tolerance"), [("JPEG", 2), ("PNG", 0), ("WEBP", 0), ("TIFF", 0)])
def test_an_exif_orientation_is_applied_once(
    format: str, tolerance: float, orientation: int, portrait: Pixels
) -> None:
    tags = Image.Exif()
    tags[0x0112] = orientation
    picture = decode(encoded(stored(portrait, orientation), format, exif=tags), LIMITS)
    assert picture.orientation == orientation
    assert_well_formed(picture.pixels)
    assert difference(picture.pixels, portrait) <= tolerance


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["HEIF", "AVIF"])
def test_a_container_that_turns_its_picture_is_not_turned_again(
    format: str, orientation: int, portrait: Pixels
) -> None:
    picture = decode(encoded(stored(portrait, orientation), format, exif=exif(orientation)[6:]), LIMITS)
    assert picture.orientation == 1
    assert difference(picture.pixels, portrait) <= 3


def test_exif_beside_a_container_that_says_nothing_is_ignored(portrait: Pixels) -> None:
    # its name twice keeps the library that writes this file from seeing the orientation in it
    data = encoded(portrait, "HEIF", exif=b"Exif\0\0" + exif(6))
    picture = decode(data, LIMITS)
    assert exif(6) in data
    assert picture.orientation == 1
    assert difference(picture.pixels, portrait) <= 3


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        (exif(6), 6),
        (exif(6, order=">"), 6),
        (exif(6, kind=1), 6),
        (exif(6, kind=4, order=">"), 6),
        (b"Exif\0\0" + exif(6), 6),
        (exif(0), 1),
        (exif(9), 1),
        (exif(65535), 1),
        (exif(6)[:-6], 6),  # what is missing is behind it
        (exif(6)[:-7], 1),
        (exif(6)[:20], 1),
        (exif(6)[:10], 1),
        (b"Exif\0\0", 1),
        (b"Exif\0\0II*\0\xff\xff\xff\xff", 1),
        (b"Exif\0\0II*\0\x08\0\0\0\xff\xff", 1),
        (b"Exif\0\0XX*\0\x08\0\0\0\x01\0", 1),
        (b"Exif\0\0" + b"\0" * 60, 1),
    ],
)
def test_nonsense_in_exif_is_no_orientation(metadata: bytes, expected: int, portrait: Pixels) -> None:
    assert decode(encoded(portrait, "JPEG", exif=metadata), LIMITS).orientation == expected


XMP = '<x:xmpmeta><rdf:Description {}tiff:Orientation="{}"/></x:xmpmeta>'


@pytest.mark.parametrize(
    ("chunk", "expected"),
    [
        ((b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP.format("", 3).encode()), 3),
        ((b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP.format("", 9).encode()), 1),
        ((b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0<x:"), 1),
        ((b"tEXt", b"Raw profile type exif\0\nexif\n      44\n" + exif(8).hex().encode() + b"\n"), 8),
        ((b"tEXt", b"Raw profile type exif\0\nexif\n      44\nno hex"), 1),
        ((b"eXIf", exif(5)[6:]), 5),
    ],
    ids=["XMP", "XMP out of range", "XMP cut off", "ImageMagick's EXIF", "ImageMagick's, damaged", "EXIF"],
)
def test_a_png_may_say_its_orientation_in_other_ways(chunk: tuple[bytes, bytes], expected: int) -> None:
    assert decode(png(2, 3, 8, 0, b"\0\1\2" * 3, chunk), LIMITS).orientation == expected


def test_exif_is_believed_before_xmp(portrait: Pixels) -> None:
    data = encoded(portrait, "JPEG", exif=exif(1), xmp=XMP.format("", 3).encode())
    assert decode(data, LIMITS).orientation == 1


@pytest.mark.parametrize(
    ("name", "orientation"),
    [
        ("pillow_exif_imagemagick_orientation.png", 3),
        ("pillow_xmp_tags_orientation.png", 3),
        ("pillow_hopper_orientation_3.jpg", 3),
        ("pillow_hopper_orientation_6.jpg", 6),
        ("pillow_hopper_orientation_8.jpg", 8),
        ("pillow_hopper_bad_exif.jpg", 1),
        ("pillow_rot1mir1.avif", 1),
    ],
)
def test_real_files_say_their_orientation(name: str, orientation: int, photos: Path) -> None:
    assert decode((photos / "odd_formats" / name).read_bytes(), LIMITS).orientation == orientation


@pytest.mark.parametrize("value", [3, 6, 8])
def test_a_stale_orientation_beside_that_of_the_container_is_ignored(value: int, portrait: Pixels) -> None:
    xmp = XMP.format("", value).encode()
    picture = decode(encoded(portrait, "AVIF", xmp=xmp), LIMITS)
    assert picture.orientation == 1
    assert difference(picture.pixels, portrait) < 5


def test_an_avif_with_stale_xmp_of_another_program_stays_as_it_is(cases: Path) -> None:
    picture = decode((cases / "avif_stale_xmp6.avif").read_bytes(), LIMITS)
    assert (picture.width, picture.height) == (48, 32)
    assert np.abs(picture.pixels[16, [8, 24, 40]].astype(int) - 255 * np.eye(3, dtype=int)).max() <= 12
