"""core/images/decode.py: every kind of file gives the upright picture, or says in one line why not."""

from __future__ import annotations

import io
import os
import resource
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from pyraface.core.errors import (
    ErrorCode,
    ImageError,
    ImageTooLargeError,
    NotAnImageError,
    TruncatedImageError,
)
from pyraface.core.images.decode import claim_pillow, decode
from pyraface.core.images.pixels import STRIP_PIXELS
from pyraface.core.parameters import ImageLimits
from tests.core.images.files import BOMBS, HOW_TO_SAVE, Pixels, encoded, exif, png

LIMITS = ImageLimits()


@pytest.fixture(scope="session", autouse=True)
def heif_can_be_written() -> None:
    """The tests write HEIC with Pillow's save; decode() needs no registration, as test_nothing_is_imported... shows."""
    pillow_heif.register_heif_opener()


def difference(a: Pixels, b: Pixels) -> float:
    """Returns the mean absolute difference, 0 to 255."""
    assert a.shape == b.shape
    return float(np.abs(a.astype(np.int16) - b.astype(np.int16)).mean())


def assert_well_formed(pixels: Pixels) -> None:
    assert pixels.dtype == np.uint8
    assert pixels.ndim == 3
    assert pixels.shape[2] == 3
    assert pixels.flags.c_contiguous


# formats and modes


@pytest.mark.parametrize(
    ("format", "tolerance"),
    [("JPEG", 2), ("PNG", 0), ("WEBP", 0), ("GIF", 5), ("TIFF", 0), ("BMP", 0), ("HEIF", 3), ("AVIF", 3)],
)
def test_every_format_gives_the_picture(format: str, tolerance: float, portrait: Pixels) -> None:
    picture = decode(encoded(portrait, format), LIMITS)
    assert (picture.width, picture.height, picture.orientation) == (180, 240, 1)
    assert_well_formed(picture.pixels)
    assert difference(picture.pixels, portrait) <= tolerance


def as_luma(portrait: Pixels) -> Pixels:
    return np.repeat(np.asarray(Image.fromarray(portrait).convert("L"))[..., None], 3, axis=2)


def with_alpha(portrait: Pixels) -> Image.Image:
    alpha = np.tile(np.arange(180, dtype=np.uint8), (240, 1))
    return Image.fromarray(np.dstack([portrait, alpha]), "RGBA")


def gray16(portrait: Pixels) -> NDArray[np.uint16]:
    return as_luma(portrait)[..., 0].astype(np.uint16) * 257


def ycck(portrait: Pixels) -> bytes:
    """A JPEG in YCCK, as Photoshop writes them: Adobe's transform 2, and values inverted."""
    y, cb, cr = Image.fromarray(255 - portrait).convert("YCbCr").split()
    channels = [channel.point(lambda value: 255 - value) for channel in (y, cb, cr)]
    data = encoded(Image.merge("CMYK", [*channels, Image.new("L", y.size)]), "JPEG")
    at = data.index(b"Adobe") + 11
    assert data[at] == 0
    return data[:at] + b"\x02" + data[at + 1 :]


def rgb16_png(portrait: Pixels) -> bytes:
    rows = (portrait.astype(np.uint16) << 8 | 0x80).astype(">u2").reshape(240, -1)
    return png(180, 240, 16, 2, b"".join(b"\0" + row.tobytes() for row in rows))


def gray_alpha_16_png(portrait: Pixels) -> bytes:
    gray = gray16(portrait).astype(">u2")
    rows = np.dstack([gray, np.full_like(gray, 1000)]).reshape(240, -1)
    return png(180, 240, 16, 4, b"".join(b"\0" + row.tobytes() for row in rows))


def palette_with_alpha(portrait: Pixels) -> bytes:
    """Transparency as a byte an entry: converting such a picture makes Pillow warn, and a warning is an error here."""
    return encoded(Image.fromarray(portrait).quantize(256), "PNG", transparency=bytes(range(256)))


def float_tiff(portrait: Pixels) -> bytes:
    values = as_luma(portrait)[..., 0].astype(np.float32) / 255
    values[0, :3] = np.nan, np.inf, -np.inf
    return encoded(Image.fromarray(values), "TIFF")


COLOUR = {
    "RGB with alpha": (lambda p: encoded(with_alpha(p), "PNG"), 0),
    "RGB with alpha in WebP": (lambda p: encoded(with_alpha(p), "WEBP", exact=True), 0),
    "RGB of 16 bits": (rgb16_png, 0),
    "CMYK": (lambda p: encoded(Image.fromarray(p).convert("CMYK"), "JPEG"), 3),
    "CMYK in TIFF": (lambda p: encoded(Image.fromarray(p).convert("CMYK"), "TIFF"), 0),
    "YCCK": (ycck, 3),
    "YCbCr in TIFF": (lambda p: encoded(Image.fromarray(p).convert("YCbCr"), "TIFF"), 2),
    "palette": (lambda p: encoded(Image.fromarray(p).quantize(256), "PNG"), 6),
    "palette with alpha": (palette_with_alpha, 6),
    "progressive": (lambda p: encoded(p, "JPEG", progressive=True), 2),
}
GRAY = {
    "gray": (lambda p: encoded(Image.fromarray(p).convert("L"), "JPEG"), 2),
    "gray with alpha": (lambda p: encoded(with_alpha(p).convert("LA"), "PNG"), 0),
    "gray of 16 bits": (lambda p: encoded(Image.fromarray(gray16(p)), "PNG"), 0),
    "gray of 16 bits in TIFF": (lambda p: encoded(Image.fromarray(gray16(p)), "TIFF"), 0),
    "gray of 16 bits, big-endian": (
        lambda p: encoded(
            Image.frombytes("I;16B", (180, 240), gray16(p).astype(">u2").tobytes()), "TIFF", compression=None
        ),
        0,
    ),
    "gray of 16 bits with alpha": (gray_alpha_16_png, 0),
    "gray of 32 bits": (lambda p: encoded(Image.fromarray(gray16(p).astype(np.int32) * 9000), "TIFF"), 3),
    "gray as floats, some not numbers": (float_tiff, 3),
}


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


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG", "TIFF", "AVIF", "HEIF"])
def test_of_several_pictures_the_first_is_taken(format: str, portrait: Pixels) -> None:
    others = [Image.new("RGB", (180, 240), colour) for colour in ("white", "black")]
    data = encoded(portrait, format, save_all=True, append_images=others)
    assert difference(decode(data, LIMITS).pixels, portrait) <= 6


def test_an_mpo_gives_its_first_picture(portrait: Pixels) -> None:
    stream = io.BytesIO()
    Image.fromarray(portrait).save(stream, "MPO", save_all=True, append_images=[Image.new("RGB", (90, 120))])
    assert difference(decode(stream.getvalue(), LIMITS).pixels, portrait) <= 4


# orientation


def stored(upright: Pixels, orientation: int) -> Pixels:
    """Returns what a camera stores, from the words of EXIF 2.32: where row 0 and column 0 are in the scene."""
    return np.ascontiguousarray(
        {
            1: upright,  # row 0 is the top, column 0 the left
            2: upright[:, ::-1],  # top, right
            3: upright[::-1, ::-1],  # bottom, right
            4: upright[::-1],  # bottom, left
            5: upright.transpose(1, 0, 2),  # left, top
            6: upright[:, ::-1].transpose(1, 0, 2),  # right, top
            7: upright[::-1, ::-1].transpose(1, 0, 2),  # right, bottom
            8: upright[::-1].transpose(1, 0, 2),  # left, bottom
        }[orientation]
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


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_larger_than_a_strip_is_turned_whole(orientation: int, portrait: Pixels) -> None:
    upright = np.tile(portrait, (6, 9, 1))
    upright[::7] //= 2
    assert upright.shape[0] * upright.shape[1] > 2 * STRIP_PIXELS
    data = encoded(stored(upright, orientation), "PNG", exif=exif(orientation))
    assert (decode(data, LIMITS).pixels == upright).all()


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


# what is refused


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", "empty"),
        (b"\x89PNG\r", "not an image"),
        (b"Once upon a time.", "not an image"),
        (b"PK\3\4" + b"\0" * 40, "not an image"),
        (b"8BPS\0\1" + b"\0" * 40, "Photoshop"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
        (b"\xff\x4f\xff\x51" + b"\0" * 40, "JPEG 2000"),
        (b"\xff\x0a" + b"\0" * 40, "JPEG XL"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
        (b"%PDF-1.7\n", "PDF"),
        (b"\0\0\1\0\1\0", "Windows icon"),
        (b'\n<svg xmlns="http://www.w3.org/2000/svg"/>', "SVG"),
        (b"\0\0\0\x18ftypmp42" + b"\0" * 40, "video"),
        (b"\0\0\0\x18ftypqt  " + b"\0" * 40, "video"),
        (b"\0\0\0\x18ftypcrx \0\0\0\1crx isom" + b"\0" * 40, "Canon raw (CR3)"),
        (b"II*\0\x10\0\0\0CR\2\0" + b"\0" * 40, "Canon raw (CR2)"),
        (b"FUJIFILMCCD-RAW 0201", "camera raw"),
    ],
)
def test_a_file_that_is_no_image_is_told_by_its_kind(data: bytes, kind: str) -> None:
    with pytest.raises(NotAnImageError) as raised:
        decode(data, LIMITS)
    assert kind in str(raised.value)
    assert not data or "supported formats: JPEG, PNG, WebP, GIF, TIFF, BMP, HEIC, AVIF" in str(raised.value)
    assert raised.value.code is ErrorCode.NOT_AN_IMAGE


@pytest.mark.parametrize("tags", [{254: 1}, {50706: b"\1\4\0\0"}], ids=["preview first", "DNG"])
def test_the_preview_in_a_raw_file_is_not_taken_for_the_photograph(
    tags: dict[int, Any], portrait: Pixels
) -> None:
    with pytest.raises(NotAnImageError, match="raw file"):
        # uncompressed: handed a tag it does not know, the libtiff encoder of some Pillows ends the process
        decode(encoded(portrait, "TIFF", tiffinfo=tags, compression="raw"), LIMITS)


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


def test_text_that_unpacks_without_end_is_an_error() -> None:
    bomb = b"Comment\0\0" + zlib.compress(b"a" * (1 << 21))
    with pytest.raises(TruncatedImageError, match="too large"):
        decode(png(1, 1, 8, 0, b"\0\0", (b"zTXt", bomb)), LIMITS)


# limits


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


# the process around it


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
        with pytest.raises(ImageTooLargeError, match="Pillow"):
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


# whatever the bytes


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


# real files

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
    "pillow_png_decompression_dos.png": TruncatedImageError,
    "pillow_truncated_image.png": TruncatedImageError,
    "pillow_truncated_jpeg.jpg": TruncatedImageError,
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


@pytest.mark.parametrize("name", ["gray.jpg", "gray16.png"])
def test_one_photograph_is_the_same_in_gray(name: str, photos: Path) -> None:
    plain = decode((photos / "dlib_faces" / "2008_002506.jpg").read_bytes(), LIMITS)
    picture = decode((photos / "derived_formats" / name).read_bytes(), LIMITS)
    assert difference(picture.pixels, as_luma(plain.pixels)) <= 2


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
