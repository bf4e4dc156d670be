"""core/images/sizes.py: the size that a header says is the size that is decoded, and any bytes take few reads."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from pyraface.core.errors import ImageError
from pyraface.core.images import sizes
from pyraface.core.images.decode import decode
from pyraface.core.images.orientation import ON_ITS_SIDE
from pyraface.core.images.signatures import READ, format_of
from tests.core.images.files import BOMBS, LIMITS, encoded, exif

WIDTH, HEIGHT = 61, 37

BLOCKS = 128, 64
"""Size of a HEIC that its encoder does not pad."""


def reader(data: bytes) -> tuple[Callable[[int, int], bytes], list[int]]:
    reads: list[int] = []

    def read(at: int, length: int) -> bytes:
        reads.append(at)
        return data[at : at + length]

    return read, reads


def size_of(data: bytes) -> tuple[int, int] | None:
    return sizes.size_of(format_of(data), reader(data)[0])


def picture(mode: str = "RGB") -> Image.Image:
    return Image.fromarray(np.zeros((HEIGHT, WIDTH, 3), np.uint8)).convert(mode)


FILES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "JPEG": ("RGB", "JPEG", {}),
    "JPEG, progressive": ("RGB", "JPEG", {"progressive": True}),
    "JPEG, gray": ("L", "JPEG", {"exif": exif(6)}),
    "JPEG, long metadata": ("RGB", "JPEG", {"icc_profile": bytes(300_000), "comment": bytes(60_000)}),
    "PNG": ("RGBA", "PNG", {}),
    "WebP, lossy": ("RGB", "WEBP", {"lossless": False}),
    "WebP, lossless": ("RGB", "WEBP", {}),
    "WebP, extended": ("RGBA", "WEBP", {"lossless": False, "exif": exif(6)}),
    "GIF": ("P", "GIF", {}),
    "TIFF": ("RGB", "TIFF", {}),
    "BigTIFF": ("RGB", "TIFF", {"big_tiff": True}),
    "BMP": ("RGB", "BMP", {}),
    "AVIF": ("RGB", "AVIF", {}),
    "JPEG 2000": ("RGB", "JPEG2000", {}),
    "JPEG 2000, codestream": ("RGB", "JPEG2000", {"no_jp2": True}),
}


@pytest.mark.parametrize("kind", FILES)
def test_the_size_is_found_in_each_format(kind: str) -> None:
    mode, format, options = FILES[kind]
    assert size_of(encoded(picture(mode), format, **options)) == (WIDTH, HEIGHT)


def test_the_size_of_a_heic_is_found_with_the_rows_that_its_encoder_adds() -> None:
    """Up to 63 of them, which another box takes off."""
    assert size_of(encoded(picture().resize(BLOCKS), "HEIF", exif=exif(6))) == BLOCKS
    assert size_of(encoded(picture(), "HEIF")) == (64, 64)


def test_each_format_that_is_read_has_a_size() -> None:
    assert set(READ) == set(sizes._READERS)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("big", [False, True])
def test_a_thumbnail_before_the_picture_does_not_count(order: Any, big: bool) -> None:
    stream = io.BytesIO()
    with tifffile.TiffWriter(stream, byteorder=order, bigtiff=big) as file:
        file.write(np.zeros((5, 7), np.uint8), subfiletype=1, metadata=None)
        file.write(np.zeros((HEIGHT, WIDTH), np.uint16), metadata=None)
    assert size_of(stream.getvalue()) == (WIDTH, HEIGHT)


def test_photographs_have_the_size_that_is_decoded(photos: Path) -> None:
    checked = 0
    for path in sorted([*photos.glob("odd_formats/*"), *photos.glob("derived_formats/*")]):
        data = path.read_bytes()
        try:
            decoded = decode(data, LIMITS)
        except ImageError:
            continue
        found = size_of(data)
        assert found is not None, path
        upright = found[::-1] if decoded.orientation in ON_ITS_SIDE else found
        # a HEIC or an AVIF is turned by its container, and a HEIC may be padded
        sides = sorted(found) if format_of(data) in ("HEIC", "AVIF") else list(upright)
        seen = (decoded.width, decoded.height)
        seen = sorted(seen) if format_of(data) in ("HEIC", "AVIF") else list(seen)
        assert all(0 <= side - real < 64 for side, real in zip(sides, seen, strict=True)), path
        checked += 1
    assert checked > 40


def test_large_pictures_have_a_size_before_they_are_refused() -> None:
    for data in BOMBS.values():
        found = size_of(data)
        # the file ends before the 30 bytes that are read of a WebP
        assert found is None or found[0] * found[1] > 100_000_000


@pytest.mark.parametrize("kind", FILES)
def test_a_file_that_is_cut_off_has_no_size_or_the_right_one(kind: str) -> None:
    mode, format, options = FILES[kind]
    data = encoded(picture(mode), format, **options)
    for length in range(min(len(data), 600)):
        assert sizes.size_of(format_of(data), reader(data[:length])[0]) in (None, (WIDTH, HEIGHT))


BOX = b"\0\0\0\x18ftypheic" + bytes(12)
ENTRY = b"\xfe\0\x04\0\x01\0\0\0\x01\0\0\0"
ENDLESS = {
    "JPEG, short segments": b"\xff\xd8" + b"\xff\xfe\x00\x02" * 100_000,
    "JPEG, fill bytes": b"\xff\xd8" + b"\xff" * 1_000_000,
    "JPEG, long segments": b"\xff\xd8" + (b"\xff\xfe\xff\xff" + bytes(65533)) * 300,
    "HEIC, short boxes": BOX + b"\0\0\0\x08free" * 100_000,
    "HEIC, a box without a length": BOX + b"\0\0\0\x01free" + bytes(100),
    "JPEG 2000, short boxes": b"\0\0\0\x0cjP  \r\n\x87\n" + b"\0\0\0\x08free" * 100_000,
    "TIFF, many entries": b"II*\0\x08\0\0\0\xff\xff" + ENTRY * 70_000,
    "TIFF, a circle": b"II*\0\x08\0\0\0\x01\0" + ENTRY + b"\x08\0\0\0",
    "BigTIFF, no places": b"II+\0\x08\0\0\0" + b"\xff" * 100,
}


@pytest.mark.parametrize("kind", ENDLESS)
def test_a_file_without_an_end_is_given_up_soon(kind: str) -> None:
    read, reads = reader(ENDLESS[kind])
    started = time.process_time()
    assert sizes.size_of(format_of(ENDLESS[kind]), read) is None
    assert time.process_time() - started < 0.5
    assert len(reads) <= sizes.MOST_READS


def test_a_file_takes_few_reads(photos: Path) -> None:
    for path in photos.glob("*/*.jpg"):
        read, reads = reader(path.read_bytes())
        if path.read_bytes()[:3] == b"\xff\xd8\xff":
            sizes.size_of("JPEG", read)
            assert len(reads) <= 12, path
