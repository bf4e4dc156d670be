"""core/images/jpeg_xl.py: a JPEG XL of any depth gives its first frame; its size is known before it is decoded."""

from __future__ import annotations

import io
import struct
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pyraface.core.errors import FormatNotReadError, ImageError, ImageTooLargeError, TruncatedImageError
from pyraface.core.images import formats
from pyraface.core.images.decode import decode
from pyraface.core.images.memory import DECODING
from pyraface.core.parameters import ImageLimits
from tests.core.images.files import LIMITS, Pixels, exif

imagecodecs = pytest.importorskip("imagecodecs", reason="imagecodecs is not installed: pip install '.[test]'")
jpeg_xl = pytest.importorskip("pyraface.core.images.jpeg_xl")


def gradient(width: int = 48, height: int = 32) -> Pixels:
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 255 // width, y * 255 // height, (x + y) % 256], -1).astype(np.uint8)


def encoded(pixels: Any, **options: Any) -> bytes:
    return bytes(imagecodecs.jpegxl_encode(pixels, lossless=True, **options))


def container(*boxes: tuple[bytes, bytes]) -> bytes:
    start = b"\0\0\0\x0cJXL \r\n\x87\n" + b"\0\0\0\x14ftypjxl \0\0\0\0jxl "
    return start + b"".join(struct.pack(">I4s", len(body) + 8, kind) + body for kind, body in boxes)


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_whole_numbers_of_each_depth_are_scaled_by_their_range(bits: int, channels: int) -> None:
    shown = np.dstack([gradient(), gradient()[..., :1]])[..., :channels].squeeze()
    values = (shown.astype(int) * (2**bits - 1) // 255).astype(np.uint8 if bits == 8 else np.uint16)
    picture = decode(encoded(np.ascontiguousarray(values), bitspersample=bits), LIMITS)
    colours = shown[..., None] if channels == 1 else shown[..., :1] if channels == 2 else shown[..., :3]
    assert (picture.width, picture.height, picture.orientation) == (48, 32, 1)
    assert np.abs(picture.pixels.astype(int) - colours).max() <= 1


@pytest.mark.parametrize("kind", [np.float16, np.float32])
def test_floats_are_from_0_to_1(kind: type) -> None:
    values = (gradient() / 255).astype(kind)
    values[0, 0] = 2, -1, np.nan if kind is np.float32 else 0
    pixels = decode(encoded(values), LIMITS).pixels
    assert pixels[0, 0].tolist() == [255, 0, 0]
    assert np.abs(pixels.astype(int) - gradient())[1:].max() <= 1


@pytest.mark.parametrize(
    "size", [(1, 1), (8, 16), (48, 48), (96, 80), (160, 90), (3, 3000), (4000, 2), (1000, 1500), (257, 513)]
)
@pytest.mark.parametrize("whole", [True, False], ids=["container", "codestream"])
def test_the_header_says_the_size(size: tuple[int, int], whole: bool) -> None:
    found = jpeg_xl.header(encoded(gradient(*size), usecontainer=whole))
    assert (found.width, found.height, found.bits) == (*size, 8)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_decoder_turns_the_picture_itself(orientation: int) -> None:
    stream = io.BytesIO()
    Image.fromarray(gradient()).save(stream, "JPEG", quality=100, subsampling=0)
    plain = stream.getvalue()
    segment = exif(orientation)
    turned = plain[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + plain[2:]
    data = bytes(imagecodecs.jpegxl_encode_jpeg(turned, usecontainer=True))
    picture = decode(data, LIMITS)
    assert picture.orientation == 1
    assert np.abs(picture.pixels.astype(int) - decode(turned, LIMITS).pixels).max() <= 4


def test_of_an_animation_the_first_frame_is_taken() -> None:
    frames = np.stack([gradient(), gradient()[::-1], gradient()[:, ::-1]])
    np.testing.assert_array_equal(decode(encoded(frames, photometric="rgb"), LIMITS).pixels, gradient())


def test_a_codestream_in_parts_is_put_together() -> None:
    stream = encoded(gradient())
    parts = [
        (b"jxlp", struct.pack(">I", number) + stream[3 * number : 3 * number + 3]) for number in range(4)
    ]
    data = container(
        (b"Exif", bytes(4) + exif(6)[6:]), *parts, (b"jxlp", struct.pack(">I", 2**31 + 4) + stream[12:])
    )
    np.testing.assert_array_equal(decode(data, LIMITS).pixels, gradient())


def test_the_limits_are_checked_before_a_pixel_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jpeg_xl, "jpegxl_decode", None)
    data = encoded(gradient())
    with pytest.raises(ImageTooLargeError):
        decode(data, ImageLimits(max_pixels=48 * 32 - 1))
    with pytest.raises(ImageTooLargeError):
        decode(data, ImageLimits(max_side=47))


def test_pixels_are_admitted_before_they_are_decoded() -> None:
    admitted: list[int] = []
    decode(encoded(gradient()), LIMITS, admit=admitted.append)
    assert admitted == [48 * 32 * DECODING["JPEG XL"]]


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\x0a",
        b"\xff\x0a\xff\xff",
        container(),
        container((b"jxlc", b"")),
        container((b"jxlc", b"no codestream")),
        container(*[(b"free", b"")] * 2000, (b"jxlc", b"\xff\x0a")),
        b"\0\0\0\x0cJXL \r\n\x87\n" + b"\0\0\0\1jxlc" + b"\xff" * 8,
    ],
)
def test_a_file_without_a_header_is_damaged(data: bytes) -> None:
    with pytest.raises(TruncatedImageError, match="a JPEG XL that is truncated"):
        decode(data, LIMITS)


@pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 0.95])
def test_a_file_that_is_cut_off_is_told_so(share: float, portrait: Pixels) -> None:
    data = bytes(imagecodecs.jpegxl_encode(portrait, level=90))
    with pytest.raises(TruncatedImageError):
        decode(data[: int(share * len(data))], LIMITS)


def test_cmyk_is_refused_by_name() -> None:
    # all values beside one extra channel, K, are the usual ones: bits from the lowest on
    bits = "0" + "00" + f"{31:09b}"[::-1] + "000" + "00" + f"{47:09b}"[::-1]  # 32 rows, 48 columns
    bits += "0" + "0"  # not all the usual, no extra fields
    bits += "0" + "00" + "1"  # 8 bits, 16 in between
    bits += "10"  # one extra channel
    bits += "0" + "01" + f"{2:04b}"[::-1] + "0" + "00" + "00" + "00"  # kind 4
    value = int(bits[::-1], 2)
    data = b"\xff\x0a" + value.to_bytes(len(bits) // 8 + 1, "little") + bytes(20)
    with pytest.raises(FormatNotReadError, match="CMYK is not read: save it as"):
        decode(data, LIMITS)


@given(st.binary(max_size=200))
def test_any_header_is_a_header_or_an_error(data: bytes) -> None:
    for start in (b"\xff\x0a", container()):
        try:
            found = jpeg_xl.header(start + data)
        except ImageError:
            continue
        assert min(found.width, found.height) >= 1
        assert 0 <= found.bits <= 64


@pytest.fixture
def without_imagecodecs(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    formats._installed.cache_clear()
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    yield
    formats._installed.cache_clear()


@pytest.mark.usefixtures("without_imagecodecs")
def test_without_imagecodecs_another_server_may_read_it() -> None:
    with pytest.raises(FormatNotReadError, match="pip install imagecodecs") as raised:
        decode(b"\xff\x0a" + bytes(40), LIMITS)
    assert (raised.value.package, raised.value.elsewhere) == ("imagecodecs", True)
