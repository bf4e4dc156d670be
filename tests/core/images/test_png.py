"""core/images/png.py: nothing beside the pixels of a PNG stops it, and what is cut off is told."""

from __future__ import annotations

import random
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from pyraface.core.errors import TruncatedImageError
from pyraface.core.images import png as module
from pyraface.core.images.decode import decode
from tests.core.images.files import LIMITS, Pixels, encoded, exif, png

LONG = zlib.compress(b"<x>" + b" " * (3 << 20))


def with_chunk(
    portrait: Pixels, kind: bytes, body: bytes, *, checksum: int | None = None, behind: bool = False
) -> bytes:
    data = encoded(portrait, "PNG")
    at = len(data) - 12 if behind else 33
    found = zlib.crc32(kind + body) if checksum is None else checksum
    return data[:at] + struct.pack(">I", len(body)) + kind + body + struct.pack(">I", found) + data[at:]


@pytest.mark.parametrize("behind", [False, True], ids=["before the pixels", "behind the pixels"])
@pytest.mark.parametrize(
    ("kind", "body", "checksum"),
    [
        pytest.param(b"zTXt", b"Comment\0\0" + LONG, None, id="long text"),
        pytest.param(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + LONG, None, id="long XMP"),
        pytest.param(b"iCCP", b"a profile\0\0" + LONG, None, id="long profile"),
        pytest.param(b"zTXt", b"Comment\0\7" + LONG, None, id="unknown compression"),
        pytest.param(b"iCCP", b"a profile\0\0no profile", None, id="profile that is none"),
        pytest.param(b"tEXt", b"Comment\0hello", 1, id="wrong checksum"),
        pytest.param(b"pHYs", b"\0", None, id="too short"),
        pytest.param(b"eXIf", b"MM", 7, id="EXIF that is none"),
        pytest.param(b"acTL", b"\0\0\0\0\0\0\0\0", None, id="animation without frames"),
    ],
)
def test_nothing_beside_the_pixels_stops_a_picture(
    kind: bytes, body: bytes, checksum: int | None, behind: bool, portrait: Pixels
) -> None:
    data = with_chunk(portrait, kind, body, checksum=checksum, behind=behind)
    np.testing.assert_array_equal(decode(data, LIMITS).pixels, portrait)


@pytest.mark.parametrize("missing", [1, 4, 5, 11, 12])
def test_an_end_that_is_cut_off_is_not_missed(missing: int, portrait: Pixels) -> None:
    np.testing.assert_array_equal(decode(encoded(portrait, "PNG")[:-missing], LIMITS).pixels, portrait)


XMP = b'<rdf tiff:Orientation="8"/>'
HEXADECIMAL = b"\nexif\n99\n" + exif(8).hex().encode()


@pytest.mark.parametrize("behind", [False, True], ids=["before the pixels", "behind the pixels"])
@pytest.mark.parametrize(
    ("kind", "body"),
    [
        pytest.param(b"eXIf", exif(8)[6:], id="eXIf"),
        pytest.param(b"iTXt", b"XML:com.adobe.xmp\0\0\0en\0\0" + XMP, id="XMP"),
        pytest.param(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0XMP\0" + zlib.compress(XMP), id="XMP, compressed"),
        pytest.param(
            b"iTXt",
            b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(XMP + b" " * (3 << 20)),
            id="XMP that is long",
        ),
        pytest.param(b"tEXt", b"Raw profile type exif\0" + HEXADECIMAL, id="ImageMagick's text"),
        pytest.param(
            b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(HEXADECIMAL), id="ImageMagick's zTXt"
        ),
    ],
)
def test_an_orientation_is_found_wherever_it_stands(
    kind: bytes, body: bytes, behind: bool, portrait: Pixels
) -> None:
    picture = decode(with_chunk(portrait, kind, body, behind=behind), LIMITS)
    assert picture.orientation == 8
    np.testing.assert_array_equal(picture.pixels, np.rot90(portrait))


@pytest.mark.parametrize("share", [0.25, 0.5, 0.75])
@pytest.mark.parametrize("mode", ["RGB", "L", "P", "1"])
def test_the_share_that_is_there_is_told(mode: str, share: float) -> None:
    noise = random.Random(1).randbytes(200 * 200 * 3)
    data = encoded(Image.frombytes("RGB", (200, 200), noise).convert(mode), "PNG")
    part = data[: int(len(data) * share)]
    with pytest.raises(TruncatedImageError, match=r"about \d+% of the picture is there"):
        decode(part, LIMITS)
    assert module.share(part) == pytest.approx(share, abs=0.1)
    assert module.share(data) == 1


def test_no_share_is_told_of_pixels_that_are_all_there_and_damaged(portrait: Pixels) -> None:
    data = bytearray(encoded(portrait, "PNG"))
    data[29] ^= 1  # of the checksum of the header
    with pytest.raises(TruncatedImageError, match=r"PNG .*[^;]*$") as raised:
        decode(bytes(data), LIMITS)
    assert "missing" not in str(raised.value)
    assert "%" not in str(raised.value)


def test_the_share_of_an_interlaced_picture_is_that_of_its_passes() -> None:
    # of 3 x 3 pixels: (columns, rows) of the passes that have any, with a filter byte before each row
    size = sum(rows * (1 + columns) for columns, rows in [(1, 1), (1, 1), (2, 1), (1, 2), (3, 1)])
    interlaced = bytearray(png(3, 3, 8, 0, b"\0" * size))
    interlaced[28] = 1
    half = bytearray(png(3, 3, 8, 0, b"\0" * (size // 2)))
    half[28] = 1
    assert module.share(bytes(interlaced)) == 1
    assert module.share(bytes(half)) == (size // 2) / size


def test_a_chunk_that_cannot_be_read_is_for_pillow_to_judge(portrait: Pixels) -> None:
    data = encoded(portrait, "PNG")
    with pytest.raises(TruncatedImageError, match="PNG"):
        decode(data[:33] + b"\0\0\0\1!!!!" + data[33:], LIMITS)
    unknown = with_chunk(portrait, b"CgBI", b"\0\0\0\0")
    assert module.essential(unknown).count(b"CgBI") == 1
