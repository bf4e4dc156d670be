"""core/images/signatures.py: the format of a file is told by its first bytes."""

from __future__ import annotations

import pytest

from pyraface.core.errors import ErrorCode, FormatNotReadError, NotAnImageError
from pyraface.core.images.decode import decode
from pyraface.core.images.formats import FORMATS
from pyraface.core.images.signatures import HEAD_BYTES, READ, format_of, is_photograph
from tests.core.images.files import HOW_TO_SAVE, LIMITS, Pixels, encoded


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", "empty"),
        (b"\x89PNG\r", "not an image"),
        (b"Once upon a time.", "not an image"),
        (b"PK\3\4" + b"\0" * 40, "not an image"),
        (b"%PDF-1.7\n", "PDF"),
        (b'\n<svg xmlns="http://www.w3.org/2000/svg"/>', "SVG"),
        (b"\0\0\0\x18ftypmp42" + b"\0" * 40, "video"),
        (b"\0\0\0\x18ftypqt  " + b"\0" * 40, "video"),
    ],
)
def test_a_file_that_is_no_image_is_told_by_its_kind(data: bytes, kind: str) -> None:
    with pytest.raises(NotAnImageError) as raised:
        decode(data, LIMITS)
    assert kind in str(raised.value)
    assert not data or "supported formats: JPEG, PNG, WebP, GIF, TIFF, BMP, HEIC, AVIF, JPEG 2000" in str(
        raised.value
    )
    assert raised.value.code is ErrorCode.NOT_AN_IMAGE
    assert not raised.value.elsewhere


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"8BPS\0\1" + b"\0" * 40, "Photoshop"),
        (b"8BPS\0\2" + b"\0" * 40, "Photoshop"),
        (b"\0\0\1\0\1\0", "Windows icon"),
        (b"icns\0\0\1\0", "Apple icon"),
        (b"gimp xcf v011\0", "GIMP"),
        (b"II\xbc\1\x08\0\0\0", "JPEG XR"),
        (b"v/1\1\2\0\0\0", "OpenEXR"),
        (b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n", "Radiance HDR"),
        (b"P6\n48 32\n255\n", "Netpbm"),
        (b"Pf\n48 32\n-1\n", "Netpbm"),
        (b"DDS \x7c\0\0\0", "DDS"),
        (b"qoif\0\0\0\x30", "QOI"),
        (b"BPG\xfb\x20\0", "BPG"),
        (b"\x0a\5\1\x08\0\0\0\0", "PCX"),
        (b"\1\xda\1\1\0\3\0\x30", "SGI"),
        (b"SIMPLE  =                    T", "FITS"),
    ],
)
def test_a_picture_that_is_not_read_is_told_by_its_kind_and_with_a_remedy(data: bytes, kind: str) -> None:
    with pytest.raises(FormatNotReadError, match="save it as JPEG, PNG or TIFF") as raised:
        decode(data, LIMITS)
    assert kind in str(raised.value)
    assert raised.value.code is ErrorCode.FORMAT_NOT_READ


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"\xff\x0a" + b"\0" * 40, "JPEG XL"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
        (b"\0\0\0\x18ftypcrx \0\0\0\1crx isom" + b"\0" * 40, "Canon raw (CR3)"),
        (b"II*\0\x10\0\0\0CR\2\0" + b"\0" * 40, "Canon raw (CR2)"),
        (b"FUJIFILMCCD-RAW 0201", "camera raw"),
        (b"IIRS\x08\0\0\0", "camera raw"),
        (b"MMOR\0\0\0\x08", "camera raw"),
        (b"IIU\0\x18\0\0\0", "camera raw"),
        (b"\0MRM\0\0\0\x10", "camera raw"),
        (b"FOVb\2\0\2\0", "camera raw"),
        (b"II\x1a\0\0\0HEAPCCDR\2\0", "camera raw"),
    ],
)
def test_a_format_that_a_package_reads_is_told_by_its_name(data: bytes, kind: str) -> None:
    assert format_of(data) == kind
    assert is_photograph(data)


def test_each_format_that_is_read_has_a_parser() -> None:
    assert set(FORMATS) == set(READ)


@pytest.mark.parametrize("format", HOW_TO_SAVE)
def test_the_first_bytes_suffice(format: str, portrait: Pixels) -> None:
    data = encoded(portrait, format)
    assert format_of(data[:HEAD_BYTES]) == format_of(data)
    assert is_photograph(data[:HEAD_BYTES])


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"II*\0\x10\0\0\0CR\2\0", True),
        (b"FUJIFILMCCD-RAW 0201", True),
        (b"\xff\x0a", True),
        (b"BM is how this text begins", False),
        (b"%PDF-1.7", False),
        (b"\0\0\0\x18ftypqt  ", False),
        (b"", False),
    ],
)
def test_photographs_are_told_from_documents_and_films(head: bytes, expected: bool) -> None:
    assert is_photograph(head) is expected
