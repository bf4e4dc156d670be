"""core/images/packets.py: XMP and orientation of every format, wherever they stand, and any bytes cost little."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from pyraface.core.errors import FormatNotReadError, ImageError, NotAnImageError
from pyraface.core.images import packets
from pyraface.core.images.decode import decode
from pyraface.core.images.packets import Metadata, metadata_of
from pyraface.core.images.signatures import PHOTOGRAPHS, format_of
from tests.conftest import photos_folder
from tests.core.images.files import BOMBS, LIMITS, encoded, exif, png

XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/">found</x:xmpmeta>'
SIZE = (24, 16)


def read(data: bytes) -> Metadata:
    count = 0

    def at(place: int, length: int) -> bytes:
        nonlocal count
        count += 1
        assert length <= packets.MOST_BYTES
        return data[place : place + length]

    found = metadata_of(at)
    assert count <= packets.MOST_READS + 70
    return found


def picture(mode: str = "RGB") -> Image.Image:
    return Image.new(mode, SIZE)


def segment(kind: int, body: bytes) -> bytes:
    return bytes([0xFF, kind]) + struct.pack(">H", len(body) + 2) + body


def jpeg(*segments: bytes) -> bytes:
    data = encoded(picture(), "JPEG")
    return data[:2] + b"".join(segments) + data[2:]


def app1(data: bytes = XMP) -> bytes:
    return segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + data)


def extended(digest: bytes, part: bytes, whole: int, place: int) -> bytes:
    head = b"http://ns.adobe.com/xmp/extension/\0" + digest + struct.pack(">II", whole, place)
    return segment(0xE1, head + part)


def text(name: bytes, body: bytes, kind: bytes = b"iTXt") -> bytes:
    return png(*SIZE, 8, 2, bytes(SIZE[1] * (1 + 3 * SIZE[0])), (kind, name + b"\0" + body))


def raw_profile(data: bytes) -> bytes:
    lines = data.hex().encode()
    return (
        b"\nxmp\n" + b"%8d\n" % len(data) + b"\n".join(lines[at : at + 72] for at in range(0, len(lines), 72))
    )


def big_tiff() -> bytes:
    stream = io.BytesIO()
    pixels = np.zeros((SIZE[1], SIZE[0]), np.uint8)
    tifffile.imwrite(stream, pixels, bigtiff=True, metadata=None, extratags=[(700, 1, len(XMP), XMP, True)])
    return stream.getvalue()


WITH_XMP: dict[str, Callable[[], bytes]] = {
    "JPEG": lambda: jpeg(app1()),
    "JPEG behind others": lambda: jpeg(
        segment(0xE2, bytes(65533)), segment(0xFE, b"x"), exif_segment(1), app1()
    ),
    "JPEG with fill bytes": lambda: jpeg(b"\xff\xff" + app1()),
    "PNG": lambda: text(b"XML:com.adobe.xmp", b"\0\0\0\0" + XMP),
    "PNG, compressed": lambda: text(b"XML:com.adobe.xmp", b"\1\0en\0x\0" + zlib.compress(XMP)),
    "PNG of ImageMagick": lambda: text(
        b"Raw profile type xmp", b"\0" + zlib.compress(raw_profile(XMP)), b"zTXt"
    ),
    "PNG of ImageMagick, uncompressed": lambda: text(b"Raw profile type xmp", raw_profile(XMP), b"tEXt"),
    "WebP": lambda: encoded(picture(), "WEBP", xmp=XMP),
    "WebP of odd length": lambda: encoded(picture(), "WEBP", xmp=XMP + b"\n", exif=exif(1)),
    "TIFF": lambda: encoded(picture(), "TIFF", tiffinfo={700: XMP}),
    "BigTIFF": big_tiff,
}


def exif_segment(orientation: int) -> bytes:
    return segment(0xE1, exif(orientation))


@pytest.mark.parametrize("name", WITH_XMP)
def test_xmp_is_found(name: str) -> None:
    found = read(WITH_XMP[name]())
    assert [packet.strip() for packet in found.xmp] == [XMP]
    assert (found.stored, found.problems, found.looked_inside) == (SIZE, (), True)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_is_the_one_that_decoding_applies(orientation: int) -> None:
    for data in (
        jpeg(exif_segment(orientation)),
        jpeg(app1(XMP.replace(b"found", b"<r tiff:Orientation='%d'/>" % orientation).replace(b"'", b'"'))),
        encoded(picture(), "PNG", exif=exif(orientation)),
        encoded(picture(), "WEBP", exif=exif(orientation)),
        encoded(picture(), "TIFF", tiffinfo={274: orientation}),
        encoded(picture(), "TIFF", tiffinfo={274: orientation}, big_tiff=True),
    ):
        found, pixels = read(data), decode(data, LIMITS)
        assert found.orientation == pixels.orientation == orientation
        assert found.upright == (pixels.width, pixels.height)


def test_exif_comes_before_the_orientation_in_xmp() -> None:
    assert read(jpeg(app1(b'<r tiff:Orientation="3"/>'), exif_segment(6))).orientation == 6


def test_parts_of_extended_xmp_are_joined_in_their_order() -> None:
    digest = b"0123456789ABCDEF" * 2
    main = XMP.replace(b"found", digest)
    found = read(jpeg(extended(digest, b"def", 6, 3), app1(main), extended(digest, b"abc", 6, 0)))
    assert found.xmp == (main, b"abcdef")


def test_extended_xmp_that_no_packet_names_is_left_out() -> None:
    assert read(jpeg(app1(), extended(b"F" * 32, b"abc", 3, 0))).xmp == (XMP,)


def test_a_file_that_ends_in_a_packet_has_those_before() -> None:
    data = jpeg(app1(), app1(XMP * 100))
    assert read(data[:2000]).xmp == (XMP,)
    assert read(WITH_XMP["PNG"]()[:60]).xmp == ()


@pytest.mark.parametrize("format", ["HEIF", "AVIF"])
def test_a_container_is_not_opened(format: str) -> None:
    found = read(encoded(Image.new("RGB", (64, 64)), format, xmp=XMP))
    assert (found.xmp, found.orientation, found.looked_inside) == ((), 1, False)
    assert found.upright == (64, 64)


@pytest.mark.parametrize("format", ["GIF", "BMP", "JPEG2000"])
def test_a_format_without_regions_has_a_size_alone(format: str) -> None:
    found = read(encoded(picture("L"), format))
    assert (found.xmp, found.upright, found.looked_inside) == ((), SIZE, True)


def test_what_is_no_picture_is_an_error() -> None:
    with pytest.raises(NotAnImageError, match="the file is empty"):
        read(b"")
    with pytest.raises(FormatNotReadError, match="Photoshop"):
        read(b"8BPS" + bytes(300))


LIMIT = "metadata of more than 16 MiB is not read"

HOSTILE: dict[str, tuple[Callable[[], bytes], str | None]] = {
    "PNG with a text of 100 MB": (
        lambda: text(b"XML:com.adobe.xmp", b"\1\0\0\0" + zlib.compress(bytes(100_000_000))),
        LIMIT,
    ),
    "PNG with texts of 16 MB each": (
        lambda: (
            text(b"XML:com.adobe.xmp", b"\0\0\0\0" + bytes(9 << 20))[:-12]
            + text(b"XML:com.adobe.xmp", b"\0\0\0\0" + bytes(9 << 20))[33:]
        ),
        LIMIT,
    ),
    "PNG with a damaged text": (
        lambda: text(b"XML:com.adobe.xmp", b"\1\0\0\0junk"),
        "the PNG text 'XML:com.adobe.xmp' is damaged",
    ),
    "PNG with a profile of no numbers": (
        lambda: text(b"Raw profile type xmp", b"\n\n\nxyz", b"tEXt"),
        "the PNG text 'Raw profile type xmp' is damaged",
    ),
    "PNG of 5000 chunks": (
        lambda: text(b"x", b"")[:33] + (struct.pack(">I", 5000) + b"IDAT" + bytes(5004)) * 5000,
        "the metadata behind 4096 parts of the file is not read",
    ),
    "JPEG with 20 MB of XMP": (lambda: jpeg(app1(bytes(65000)) * 320), LIMIT),
    "JPEG with a segment of no length": (lambda: b"\xff\xd8\xff\xe1\0\0" + bytes(100), None),
    "JPEG with a segment that is too short": (lambda: jpeg(segment(0xE1, b"http"), segment(0xE1, b"")), None),
    "TIFF whose directories form a ring": (
        lambda: b"II*\0\x08\0\0\0" + struct.pack("<HHHIII", 1, 256, 4, 1, 1, 8),
        None,
    ),
    "TIFF with XMP of 4 GB": (
        lambda: b"II*\0\x08\0\0\0" + struct.pack("<HHHIII", 1, 700, 1, 0xFFFFFFFF, 8, 0),
        LIMIT,
    ),
    "BigTIFF far away": (
        lambda: b"II+\0\x08\0\0\0" + struct.pack("<QQ", 0xFFFFFFFFFFFFFFFF, 0),
        None,
    ),
    "BigTIFF of 2^60 entries": (
        lambda: b"II+\0\x08\0\0\0" + struct.pack("<QQ", 16, 1 << 60) + bytes(4000),
        None,
    ),
    "WebP with a chunk of 4 GB": (
        lambda: b"RIFF\xff\xff\xff\xffWEBPXMP \xff\xff\xff\xff" + bytes(100),
        LIMIT,
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_costs_a_line_at_most_and_little_memory(name: str) -> None:
    make, problem = HOSTILE[name]
    data = make()
    tracemalloc.start()
    found = read(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.problems == (() if problem is None else (problem,))
    assert peak < 60 << 20


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_of_pixels_is_not_decoded(name: str) -> None:
    assert read(BOMBS[name]).problems == ()


@pytest.mark.skipif(photos_folder() is None, reason="no photographs: PYRAFACE_PHOTOS names their folder")
def test_each_file_that_is_decoded_has_the_size_and_orientation_that_decoding_says() -> None:
    folder = photos_folder()
    assert folder is not None
    compared = 0
    for path in sorted((folder / "derived_formats").iterdir()):
        data = Path(path).read_bytes()
        if path.suffix == ".csv" or len(data) > 400_000 or "huge" in path.name:
            continue
        try:
            pixels = decode(data, LIMITS)
        except ImageError:  # a damaged file is for other tests
            continue
        found = read(data)
        if format_of(data) in ("HEIC", "AVIF"):
            continue
        assert (found.orientation, found.upright) == (pixels.orientation, (pixels.width, pixels.height)), (
            path.name
        )
        compared += 1
    assert compared > 15


def test_every_format_is_looked_into_or_left_for_a_reason() -> None:
    assert set(packets._READERS) | packets._CLOSED | {"GIF", "BMP", "JPEG 2000"} == PHOTOGRAPHS
