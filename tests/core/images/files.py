"""Image files for tests of decoding: every format, any PNG, EXIF, and headers that claim to be huge."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pyraface.core.parameters import ImageLimits

Pixels = NDArray[np.uint8]
HOW_TO_SAVE: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 95, "subsampling": 0},
    "PNG": {"compress_level": 1},
    "WEBP": {"lossless": True, "method": 0},
    "GIF": {},
    "TIFF": {"compression": "tiff_lzw"},
    "BMP": {},
    "HEIF": {"quality": 90},
    "AVIF": {"quality": 90, "speed": 10},
    "JPEG2000": {},
}


def encoded(image: Image.Image | Pixels, format: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    image.save(stream, format, **{**HOW_TO_SAVE[format], **options})
    return stream.getvalue()


def png(width: int, height: int, depth: int, colour: int, rows: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    """Returns a PNG file; `rows` have their filter byte before them."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in parts
    )


def exif(value: int, kind: int = 3, order: str = "<") -> bytes:
    """Returns EXIF with two tags: a make, and the orientation as a value of a TIFF type."""
    packed = struct.pack(f"{order}{ {1: 'B', 3: 'H', 4: 'I'}[kind] }", value).ljust(4, b"\0")
    start = b"II*\0" if order == "<" else b"MM\0*"
    make = struct.pack(f"{order}HHI4s", 0x010F, 2, 4, b"abc\0")
    entry = struct.pack(f"{order}HHI", 0x0112, kind, 1) + packed
    return b"Exif\0\0" + start + struct.pack(f"{order}IH", 8, 2) + make + entry + b"\0" * 4


BOMBS = {
    "PNG": png(30_000, 30_000, 1, 0, zlib.compress(b"\0" * 100)),
    "GIF": b"GIF89a\xff\xff\xff\xff\x80\0\0\0\0\0\xff\xff\xff!\xf9\4\x09\0\0\0\0,\0\0\0\0\xff\xff\xff\xff\0\2\2\x44\1\0;",
    "WebP": b"RIFF\x16\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0\xff\x3f\0\xff\x3f\0",
    "WebP, lossless": b"RIFF\x16\0\0\0WEBPVP8L\x0a\0\0\0\x2f\xff\xff\xff\x0f" + b"\0" * 8,
    "WebP, lossy": b"RIFF\x16\0\0\0WEBPVP8 \x0a\0\0\0\0\0\0\x9d\x01\x2a\xff\x3f\xff\x3f" + b"\0" * 8,
    "BMP": struct.pack("<2sIIIIiiHHIIiiII", b"BM", 60, 0, 54, 40, 3_158_064, 48, 1, 24, 0, 0, 0, 0, 0, 0)
    + b"\0" * 6,
    "TIFF": b"II*\0\x08\0\0\0"
    + struct.pack("<H", 7)
    + b"".join(
        struct.pack("<HHII", tag, 4, 1, value)
        for tag, value in [(256, 50_000), (257, 50_000), (258, 8), (259, 1), (262, 1), (273, 200), (279, 100)]
    )
    + b"\0" * 200,
}


LIMITS = ImageLimits()


def difference(a: Pixels, b: Pixels) -> float:
    """Returns the mean absolute difference, 0 to 255."""
    assert a.shape == b.shape
    return float(np.abs(a.astype(np.int16) - b.astype(np.int16)).mean())


def assert_well_formed(pixels: Pixels) -> None:
    assert pixels.dtype == np.uint8
    assert pixels.ndim == 3
    assert pixels.shape[2] == 3
    assert pixels.flags.c_contiguous


def as_luma(portrait: Pixels) -> Pixels:
    return np.repeat(np.asarray(Image.fromarray(portrait).convert("L"))[..., None], 3, axis=2)


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
