"""Scans of a JPEG, counted as a decoder would go over them; and pixels, as Pillow decodes them."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pyraface.core.errors import FormatNotReadError, TruncatedImageError
from pyraface.core.images.decode import decode
from pyraface.core.images.jpeg import MAX_SCANS, decoded, scans, share
from pyraface.core.parameters import ImageLimits
from tests.core.images.files import LIMITS, Pixels, difference
from tests.hostile import bombs


def saved(astronaut: np.ndarray, **options: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(astronaut).save(stream, "JPEG", **options)  # type: ignore[arg-type]
    return stream.getvalue()


def test_a_sequential_picture_has_one_scan_whatever_follows(astronaut: np.ndarray) -> None:
    jpeg = saved(astronaut, restart_marker_rows=1)
    assert scans(jpeg) == 1
    assert scans(jpeg + jpeg[2:] * 200) == 1


def test_a_progressive_picture_has_those_of_its_script(astronaut: np.ndarray) -> None:
    jpeg = saved(astronaut, progressive=True)
    assert scans(jpeg) == 10  # libjpeg's script for three components
    assert scans(jpeg + jpeg[2:] * 200) == 10
    # what looks like a scan in a comment is none
    assert scans(bombs.with_segment(jpeg, 0xFE, b"\xff\xda\0\2" * 1000)) == 10


@pytest.mark.parametrize("more", [89, 90, 91, 500])
def test_counting_stops_beyond_the_most(more: int) -> None:
    jpeg = bombs.many_scans(more, side=64)
    base = scans(bombs.many_scans(0, side=64))
    assert scans(jpeg) == min(base + more, MAX_SCANS + 1)


def test_a_picture_of_too_many_scans_is_refused_before_they_are_decoded(astronaut: np.ndarray) -> None:
    limits = ImageLimits()
    with pytest.raises(FormatNotReadError, match="more than 100 scans"):
        decode(bombs.many_scans(101, side=64), limits)
    assert decode(bombs.many_scans(50, side=64), limits).width == 64
    assert decode(saved(astronaut, progressive=True), limits).width == 512


@given(st.binary(max_size=300), st.integers(0, 3000))
def test_whatever_the_bytes_are_there_is_a_count(noise: bytes, at: int) -> None:
    jpeg = bombs.many_scans(3, side=64)
    assert 0 <= scans(jpeg[:at] + noise + jpeg[at:]) <= MAX_SCANS + 1
    assert 0 <= scans(noise) <= MAX_SCANS + 1
    assert 0 <= scans(jpeg[:at]) <= MAX_SCANS + 1


SOUND: list[dict[str, object]] = [
    {"quality": 92},
    {"quality": 30},
    {"subsampling": "4:4:4"},
    {"subsampling": "4:2:2"},
    {"subsampling": "4:2:0", "quality": 75},
    {"progressive": True},
    {"restart_marker_rows": 1},
    {"optimize": True},
    {"keep_rgb": True},
]


@pytest.mark.parametrize("options", SOUND, ids=str)
def test_a_sound_jpeg_is_decoded_as_pillow_decodes_it(
    options: dict[str, object], astronaut: np.ndarray
) -> None:
    odd = np.ascontiguousarray(astronaut[:301, :227])  # no whole number of blocks
    data = saved(odd, **options)
    expected = np.asarray(Image.open(io.BytesIO(data)))
    pixels = decoded(data, 227, 301)
    assert pixels is not None
    np.testing.assert_array_equal(pixels, expected)
    np.testing.assert_array_equal(decode(data, ImageLimits()).pixels, expected)


def test_real_jpegs_are_decoded_as_pillow_decodes_them(photos: Path) -> None:
    files = sorted(photos.rglob("*.jp*g"))[::7]
    assert len(files) > 40
    taken = 0
    for file in files:
        data = file.read_bytes()
        try:
            expected = np.asarray(Image.open(io.BytesIO(data)))
        except OSError:
            continue  # a damaged one
        height, width = expected.shape[:2]
        if (pixels := decoded(data, width, height)) is not None:
            np.testing.assert_array_equal(pixels, expected, err_msg=str(file))
            taken += 1
    assert taken > 0.8 * len(files)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda jpeg: jpeg[: len(jpeg) // 2], id="cut off"),
        pytest.param(lambda jpeg: jpeg[:3000] + b"\xff\xd3" + jpeg[3000:], id="a restart that is none"),
        pytest.param(lambda jpeg: jpeg[:-2] + b"\0" * 50 + jpeg[-2:], id="bytes too many"),
    ],
)
def test_what_is_odd_about_a_jpeg_is_for_pillow_to_judge(
    change: Callable[[bytes], bytes], astronaut: np.ndarray
) -> None:
    data = change(saved(astronaut))
    assert decoded(data, 512, 512) is None
    try:
        expected = np.asarray(Image.open(io.BytesIO(data)))
    except OSError:
        with pytest.raises(TruncatedImageError):
            decode(data, ImageLimits())
    else:
        np.testing.assert_array_equal(decode(data, ImageLimits()).pixels, expected)


def test_no_other_size_than_what_the_limits_have_seen_is_decoded(astronaut: np.ndarray) -> None:
    assert decoded(saved(astronaut), 512, 511) is None
    assert decoded(saved(astronaut), 511, 512) is None
    assert decoded(saved(astronaut), 600, 600) is None


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_other_colours_are_left_to_pillow(mode: str, astronaut: np.ndarray) -> None:
    stream = io.BytesIO()
    Image.fromarray(astronaut).convert(mode).save(stream, "JPEG")
    assert decoded(stream.getvalue(), 512, 512) is None
    expected = np.asarray(Image.open(io.BytesIO(stream.getvalue())).convert("RGB"))
    np.testing.assert_array_equal(decode(stream.getvalue(), ImageLimits()).pixels, expected)


def saved_as(astronaut: np.ndarray, mode: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(astronaut).convert(mode).save(stream, "JPEG", quality=85, **options)
    return stream.getvalue()


KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "baseline": ("RGB", {}),
    "progressive": ("RGB", {"progressive": True}),
    "gray": ("L", {}),
    "CMYK": ("CMYK", {}),
    "restarts": ("RGB", {"restart_marker_rows": 1}),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reduced", [1, 2])
@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda jpeg: jpeg[:-2], id="no end"),
        pytest.param(lambda jpeg: jpeg[:-1], id="half an end"),
        pytest.param(lambda jpeg: jpeg[:-2] + b"\0" * 500, id="zeros instead of an end"),
        pytest.param(lambda jpeg: jpeg + b"trailer" * 100, id="bytes behind the end"),
        pytest.param(lambda jpeg: jpeg + jpeg[:1000], id="a second picture, cut off, behind the end"),
    ],
)
def test_a_jpeg_that_has_all_its_pixels_is_whole(
    change: Callable[[bytes], bytes], reduced: int, kind: str, astronaut: np.ndarray
) -> None:
    mode, options = KINDS[kind]
    data = saved_as(astronaut, mode, **options)
    pictures = [
        decode(file, ImageLimits(), reduction=lambda *_: reduced).pixels for file in (data, change(data))
    ]
    np.testing.assert_array_equal(pictures[0], pictures[1])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lost", [3, 20, 2000])
@pytest.mark.parametrize("behind", [b"", b"\0" * 40], ids=["nothing", "zeros"])
def test_a_jpeg_that_lacks_pixels_is_cut_off(
    kind: str, lost: int, behind: bytes, astronaut: np.ndarray
) -> None:
    mode, options = KINDS[kind]
    with pytest.raises(TruncatedImageError, match=r"picture is there|only finer detail is missing"):
        decode(saved_as(astronaut, mode, **options)[: -2 - lost] + behind, ImageLimits())


@pytest.mark.parametrize("kind", ["baseline", "gray", "restarts"])
@pytest.mark.parametrize("part", [0.3, 0.6, 0.9])
def test_the_share_that_is_there_is_told(kind: str, part: float) -> None:
    mode, options = KINDS[kind]
    noise = np.random.default_rng(1).integers(0, 256, (512, 512, 3), np.uint8)
    data = saved_as(noise, mode, **options)
    assert share(data[: int(len(data) * part)]) == pytest.approx(part, abs=0.05)
    with pytest.raises(TruncatedImageError, match=r"about \d+% of the picture is there"):
        decode(data[: int(len(data) * part)], ImageLimits())


def test_a_progressive_jpeg_that_lacks_its_last_scans_lacks_only_detail(astronaut: np.ndarray) -> None:
    data = saved_as(astronaut, "RGB", progressive=True)
    with pytest.raises(TruncatedImageError, match="only finer detail is missing"):
        decode(data[: len(data) * 2 // 3], ImageLimits())


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a JPEG of 12 bits", lambda wide: imagecodecs.jpeg8_encode(wide >> 4, bitspersample=12)),
        (
            "a JPEG of 16 bits",
            lambda wide: imagecodecs.jpeg8_encode(wide, bitspersample=16, lossless=True),
        ),
        ("JPEG-LS", lambda wide: imagecodecs.jpegls_encode(wide.astype(np.uint8))),
        ("a hierarchical JPEG", lambda _: b"\xff\xd8\xff\xc5\0\x11\x08" + bytes(40)),
    ],
)
def test_other_kinds_of_jpeg_are_refused_by_name(name: str, data: Any, portrait: Pixels) -> None:
    with pytest.raises(FormatNotReadError, match=f"{name}.* is not read: save it as") as raised:
        decode(data(portrait.astype(np.uint16) * 257), LIMITS)
    assert not raised.value.elsewhere


def test_a_lossless_jpeg_of_8_bits_is_read(portrait: Pixels) -> None:
    data = imagecodecs.jpeg8_encode(portrait, lossless=True, colorspace="rgb", outcolorspace="rgb")
    np.testing.assert_array_equal(decode(data, LIMITS).pixels, portrait)


def mpo(*pictures: Image.Image) -> bytes:
    stream = io.BytesIO()
    pictures[0].save(stream, "MPO", save_all=True, append_images=pictures[1:])
    return stream.getvalue()


def with_types(data: bytes, *types: int) -> bytes:
    """The MPO with other types of its pictures after the first (CIPA DC-007, 5.2.3.3.1)."""
    index = data.index(b"MPF\0") + 4
    order = "<" if data[index : index + 2] == b"II" else ">"
    table = data.index(struct.pack(f"{order}HH", 0xB002, 7), index)
    (first,) = struct.unpack_from(f"{order}I", data, table + 8)
    changed = bytearray(data)
    for number, kind in enumerate(types, 1):
        struct.pack_into(f"{order}I", changed, index + first + 16 * number, kind)
    return bytes(changed)


def test_the_pictures_of_an_mpo_are_counted(portrait: Pixels) -> None:
    image = Image.fromarray(portrait)
    for count in (2, 3, 8):
        picture = decode(mpo(*[image] * count), LIMITS)
        assert (picture.page, picture.pictures) == (0, count)
    assert decode(with_types(mpo(image, image), 0x020002), LIMITS).pictures == 2
    assert decode(with_types(mpo(image, image, image), 0x020001, 0x020003), LIMITS).pictures == 3


def test_the_thumbnails_of_an_mpo_are_not_counted(portrait: Pixels) -> None:
    image = Image.fromarray(portrait)
    assert decode(with_types(mpo(image, image, image), 0x010001, 0x010002), LIMITS).pictures == 1


@pytest.mark.parametrize(
    "xmp",
    [
        b'<x hdrgm:Version="1.0"/>',
        b"<apdi:AuxiliaryImageType>urn:com:apple:photo:2020:aux:hdrgainmap</apdi:AuxiliaryImageType>",
        b"urn:iso:std:iso:ts:21496:-1",
    ],
)
def test_the_gain_map_of_an_ultra_hdr_is_not_counted(xmp: bytes, portrait: Pixels) -> None:
    image = Image.fromarray(portrait)
    whole = mpo(image, image)
    second = whole.rindex(b"\xff\xd8\xff")
    segment = b"http://ns.adobe.com/xap/1.0/\0" + xmp
    marked = (
        whole[: second + 2]
        + b"\xff\xe1"
        + struct.pack(">H", len(segment) + 2)
        + segment
        + whole[second + 2 :]
    )
    assert decode(whole, LIMITS).pictures == 2
    assert decode(marked, LIMITS).pictures == 1


def test_a_damaged_index_of_an_mpo_costs_no_picture(portrait: Pixels) -> None:
    whole = mpo(Image.fromarray(portrait), Image.fromarray(portrait))
    start = whole.index(b"MPF\0") + 4
    for at in range(start, start + 80):
        for value in (0, 255):
            picture = decode(whole[:at] + bytes([value]) + whole[at + 1 :], LIMITS)
            assert 1 <= picture.pictures <= 1001
            assert difference(picture.pixels, portrait) <= 4
