"""core/images/signatures.py: the format of a file is told by its first bytes."""

from __future__ import annotations

import pytest

from pyraface.core.errors import ErrorCode, NotAnImageError
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
        (b"8BPS\0\1" + b"\0" * 40, "Photoshop"),
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
    assert not data or "supported formats: JPEG, PNG, WebP, GIF, TIFF, BMP, HEIC, AVIF, JPEG 2000" in str(
        raised.value
    )
    assert raised.value.code is ErrorCode.NOT_AN_IMAGE


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
