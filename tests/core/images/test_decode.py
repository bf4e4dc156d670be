"""core/images/decode.py: an image file gives the upright picture, or an error of one line."""

from __future__ import annotations

import os
import resource
import struct
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pyraface.core.errors import (
    ErrorCode,
    FormatNotReadError,
    ImageError,
    ImageTooLargeError,
    NotAnImageError,
    TruncatedImageError,
)
from pyraface.core.images.decode import claim_pillow, decode
from pyraface.core.parameters import ImageLimits
from tests.core.images.files import (
    BOMBS,
    HOW_TO_SAVE,
    LIMITS,
    Pixels,
    assert_well_formed,
    difference,
    encoded,
    exif,
    png,
)
from tests.core.images.modes import COLOUR


@pytest.mark.parametrize(
    "data",
    [
        png(0, 3, 8, 0, b""),
        b"GIF89a\0\0\3\0\0\0\0,\0\0\0\0\0\0\3\0\0\2\2\x44\1\0;",
        b"RIFF\x16\0\0\0WEBPVP8 \x0a\0\0\0\0\0\0\x9d\x01\x2a\0\0\3\0",
    ],
    ids=["PNG", "GIF", "WebP"],
)
def test_an_image_without_pixels_is_none(data: bytes) -> None:
    with pytest.raises(NotAnImageError, match="without pixels"):
        decode(data, LIMITS)


@pytest.mark.parametrize("format", HOW_TO_SAVE)
@pytest.mark.parametrize("share", [0.05, 0.6, 0.9])
def test_a_file_that_is_cut_off_is_told_so(format: str, share: float, portrait: Pixels) -> None:
    data = encoded(portrait, format)
    with pytest.raises(TruncatedImageError, match="truncated, damaged") as raised:
        decode(data[: int(share * len(data))], LIMITS)
    assert str(raised.value).isprintable()
    assert raised.value.code is ErrorCode.IMAGE_TRUNCATED
    assert raised.value.__cause__ is not None


@pytest.mark.parametrize(("bits", "compression"), [(24, 4), (32, 5), (24, 6), (64, 0)])
def test_a_variant_that_the_decoder_does_not_read_is_told_from_damage(bits: int, compression: int) -> None:
    header = struct.pack(
        "<2sIIIIiiHHIIiiII", b"BM", 60, 0, 54, 40, 48, 32, 1, bits, compression, 0, 0, 0, 0, 0
    )
    with pytest.raises(
        FormatNotReadError, match=r"a variant of BMP .* save it as JPEG, PNG or TIFF"
    ) as raised:
        decode(header + bytes(48 * 32 * 8), LIMITS)
    assert (raised.value.code, raised.value.elsewhere) == (ErrorCode.FORMAT_NOT_READ, False)


@pytest.mark.parametrize("format", HOW_TO_SAVE)
def test_an_image_of_just_the_limits_is_decoded_and_one_beyond_is_not(format: str, portrait: Pixels) -> None:
    data = encoded(portrait, format)
    assert decode(data, ImageLimits(max_pixels=180 * 240, max_side=240)).height == 240
    with pytest.raises(
        ImageTooLargeError, match=r"180 x 240 are 43200 pixels: .* 43199; .*params/images/max_pixels"
    ):
        decode(data, ImageLimits(max_pixels=180 * 240 - 1, max_side=240))
    with pytest.raises(ImageTooLargeError, match=r"180 x 240 pixels: .* 239; .*params/images/max_side"):
        decode(data, ImageLimits(max_pixels=180 * 240, max_side=239))


@pytest.mark.parametrize("name", BOMBS)
def test_an_image_that_claims_to_be_huge_is_too_large(name: str) -> None:
    with pytest.raises(ImageTooLargeError) as raised:
        decode(BOMBS[name], LIMITS)
    assert raised.value.code is ErrorCode.IMAGE_TOO_LARGE


def test_a_process_that_claims_pillow_has_one_limit_and_no_warnings(
    monkeypatch: pytest.MonkeyPatch, portrait: Pixels
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10_000)
    # a tag whose data lies beyond the end of the file
    damaged = encoded(portrait, "TIFF", compression=None, tiffinfo={33432: "a copyright"})
    at = damaged.index(struct.pack("<HH", 33432, 2))
    damaged = damaged[: at + 8] + struct.pack("<I", 1 << 30) + damaged[at + 12 :]
    webp = encoded(portrait, "WEBP")
    with warnings.catch_warnings():
        with pytest.raises(
            ImageTooLargeError,
            match=r"pixels, more than an image may have; raise params/images/max_pixels .* PIL\.Image\.MAX",
        ):
            decode(webp, LIMITS)
        with pytest.raises(TruncatedImageError, match="Truncated File Read"):
            decode(damaged, LIMITS)
        claim_pillow(ImageLimits(max_pixels=180 * 240))
        assert decode(webp, LIMITS).width == 180
        assert difference(decode(damaged, LIMITS).pixels, portrait) == 0
    assert Image.MAX_IMAGE_PIXELS == 180 * 240 // 2


def test_pillows_own_limit_is_left_alone_and_does_not_limit(
    monkeypatch: pytest.MonkeyPatch, portrait: Pixels
) -> None:
    large = encoded(Image.fromarray(portrait).resize((2000, 3000)), "JPEG")
    # twice a million: what is cut out on the way may be one million
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2_000_000)
    assert decode(large, LIMITS).width == 2000
    assert Image.MAX_IMAGE_PIXELS == 2_000_000


def test_running_out_of_memory_is_a_picture_too_large() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    with open("/proc/self/statm") as stream:
        used = int(stream.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    data = png(20_000, 5_000, 8, 2, b"\0" * 1000)
    try:
        resource.setrlimit(resource.RLIMIT_AS, (used + (64 << 20), hard))
        with pytest.raises(ImageTooLargeError, match="memory"):
            decode(data, LIMITS)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def test_threads_decode_at_the_same_time(portrait: Pixels) -> None:
    files = [encoded(portrait, format) for format in HOW_TO_SAVE] + [
        make(portrait) for make, _ in COLOUR.values()
    ]
    alone = [decode(data, LIMITS).pixels for data in files]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda data: decode(data, LIMITS).pixels, files * 4))
    for pixels, expected in zip(together, alone * 4, strict=True):
        assert (pixels == expected).all()


def outcome(data: bytes) -> None:
    try:
        picture = decode(data, ImageLimits(max_pixels=4_000_000, max_side=20_000))
    except ImageError as error:
        assert str(error).isprintable()  # noqa: PT017 - either outcome is right, and each has its rules
        return
    assert_well_formed(picture.pixels)
    assert picture.orientation in range(1, 9)


def small(format: str) -> bytes:
    """A picture with structure, and with metadata where the format has some."""
    rows, columns = np.mgrid[0:48, 0:64]
    pixels = np.dstack([rows * 5, columns * 3, (rows * columns) % 256]).astype(np.uint8)
    return encoded(pixels, format, **({} if format in ("GIF", "BMP") else {"exif": exif(6)[6:]}))


@settings(max_examples=200, deadline=None)
@given(
    st.binary(max_size=200),
    st.sampled_from([b"", *(data[:12] for data in BOMBS.values()), b"\xff\xd8\xff\xe1"]),
)
def test_random_bytes_give_a_picture_or_an_image_error(data: bytes, start: bytes) -> None:
    outcome(start + data)


@pytest.mark.parametrize("format", HOW_TO_SAVE)
def test_damaged_files_give_a_picture_or_an_image_error(format: str) -> None:
    whole = small(format)

    @settings(max_examples=150, deadline=None)
    @given(
        edits=st.lists(
            st.tuples(st.integers(0, len(whole) - 1), st.binary(min_size=1, max_size=4)), max_size=6
        ),
        front=st.booleans(),
        end=st.integers(len(whole) // 8, 2 * len(whole)),
    )
    def check(edits: list[tuple[int, bytes]], front: bool, end: int) -> None:
        data = bytearray(whole)
        for at, bytes_there in edits:
            at = at % 200 if front else at  # headers are where most harm can be done
            data[at : at + len(bytes_there)] = bytes_there
        outcome(bytes(data[:end]))

    check()


NOT_PICTURES = {
    "67-0_length_string.jpg": None,
    "corrupted.png": TruncatedImageError,
    "empty.png": NotAnImageError,
    "huge_30000x30000_1bit.png": ImageTooLargeError,
    "pigallery2_corrupted_city.jpg": TruncatedImageError,
    "pigallery2_truncated_4608x2128.jpg": TruncatedImageError,
    "pillow_broken_data_stream.png": TruncatedImageError,
    "pillow_decompression_bomb.gif": ImageTooLargeError,
    "pillow_l2rgb_read.bmp": ImageTooLargeError,
    "pillow_png_decompression_dos.png": None,
    "pillow_truncated_image.png": TruncatedImageError,
    "pillow_truncated_jpeg.jpg": None,
    "pillow_ultrahdr.jpg": TruncatedImageError,
    "pillow_zero_width.gif": NotAnImageError,
    "text_named.jpg": NotAnImageError,
    "truncated.jpg": TruncatedImageError,
    "truncated_60pct.jpg": TruncatedImageError,
    "truncated_header.jpg": TruncatedImageError,
    "zero_bytes.jpg": NotAnImageError,
}


@pytest.mark.parametrize("folder", ["odd_formats", "derived_formats"])
def test_every_odd_file_gives_a_picture_or_its_error(folder: str, photos: Path) -> None:
    found = {}
    for path in sorted((photos / folder).iterdir()):
        if path.suffix in (".csv", ".ini"):
            continue
        try:
            assert_well_formed(decode(path.read_bytes(), LIMITS).pixels)
        except ImageError as error:
            found[path.name] = type(error)
    names = {path.name for path in (photos / folder).iterdir()}
    assert found == {name: kind for name, kind in NOT_PICTURES.items() if kind and name in names}
