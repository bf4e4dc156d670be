"""Modes: a picture in every mode and depth of colour and of gray."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.core.images.files import Pixels, as_luma, encoded, png


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
