"""Formats: the supported image formats, their recognition by a file's first bytes, and the one parser that opens each.

Images come from strangers, so each file reaches only one parser: the first bytes select one of eight formats, and only that
format's plugin class is called. `Image.open` would offer the bytes to every plugin, import forty of them, and apply
`Image.MAX_IMAGE_PIXELS`, a global that an embedding application may rely on and that a thread cannot change for itself.
"""

from __future__ import annotations

import importlib
import io
import re
import struct
from typing import cast

from PIL import Image, ImageFile
from PIL.JpegImagePlugin import JpegImageFile

from ..errors import NotAnImageError

FORMATS = {
    "JPEG": (__name__, "_Jpeg"),  # an MPO too: its first picture is an ordinary JPEG
    "PNG": ("PIL.PngImagePlugin", "PngImageFile"),
    "WebP": ("PIL.WebPImagePlugin", "WebPImageFile"),
    "GIF": ("PIL.GifImagePlugin", "GifImageFile"),
    "TIFF": ("PIL.TiffImagePlugin", "TiffImageFile"),
    "BMP": ("PIL.BmpImagePlugin", "BmpImageFile"),
    "HEIC": ("pillow_heif", "HeifImageFile"),
    "AVIF": ("PIL.AvifImagePlugin", "AvifImageFile"),
}
"""The formats that are read, and the class that reads each; its module is imported with the first image of that format."""

_MAGIC = (
    (rb"\xff\xd8\xff", "JPEG"),
    (rb"\x89PNG\r\n\x1a\n", "PNG"),
    (rb"GIF8[79]a", "GIF"),
    (rb"RIFF....WEBP", "WebP"),
    (rb"II\*\0....CR", "Canon raw (CR2)"),
    (rb"II[*+]\0|MM\0[*+]", "TIFF"),
    (rb"BM", "BMP"),
    # not read, but named in the error: the user learns what the file is, and that it is not damaged
    (rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51", "JPEG 2000"),
    (rb"\0\0\0\x0cJXL |\xff\x0a", "JPEG XL"),
    (rb"8BPS", "Photoshop"),
    (rb"%PDF", "PDF"),
    (rb"\0\0[\1\2]\0", "Windows icon"),
    (rb"FUJIFILMCCD-RAW|IIRO|IIU\0", "camera raw"),
    (rb"gimp xcf", "GIMP"),
    (rb"\s*<(\?xml|svg)", "SVG or XML"),
    (rb"....ftypcrx ", "Canon raw (CR3)"),
    (rb"....ftyp(isom|iso[2-9]|mp4|avc1|M4V|qt  |3gp)|RIFF....AVI |\x1aE\xdf\xa3", "video"),
)
_BRANDS = re.compile(rb"(hei[cxms]|hev[cxms])|(avi[fs])")

_IMPORTED_LATE = ("PIL.ImageCms", "PIL.ImageColor", "PIL.ImagePalette", "PIL.TiffImagePlugin", "mmap")
"""Modules that Pillow imports inside functions, on the way from a file to RGB."""


def format_of(data: bytes) -> str:
    """Returns the format of a file, a key of FORMATS, from its first bytes.

    Raises:
        NotAnImageError: an unsupported format; the message names it where it is known.
    """
    if not data:
        raise NotAnImageError("the file is empty")
    if data[4:8] == b"ftyp":
        # a box: its length, its name, the major brand, a version, then the brands the file is compatible with
        end = min(int.from_bytes(data[:4], "big"), 256)
        brands = [data[8:12], *(data[at : at + 4] for at in range(16, end, 4))]
        for known in filter(None, map(_BRANDS.fullmatch, brands)):
            return "HEIC" if known[1] else "AVIF"
        if data[8:12] in (b"mif1", b"msf1"):
            return "HEIC"
    for magic, name in _MAGIC:
        if re.match(magic, data[:64], re.DOTALL):
            if name in FORMATS:
                return name
            raise NotAnImageError(f"{name} is not a supported format; {supported_formats()}")
    raise NotAnImageError(f"not an image; {supported_formats()}")


def opened(name: str, data: bytes) -> ImageFile.ImageFile:
    """Returns the image, its header read by the parser of the format `name`, its pixels not decoded."""
    module, kind = FORMATS[name]
    opener = getattr(importlib.import_module(module), kind)
    return cast("ImageFile.ImageFile", opener(io.BytesIO(data)))


def supported_formats() -> str:
    """Returns the supported formats, to end an error message."""
    return f"supported formats: {', '.join(FORMATS)}"


def webp_size(data: bytes) -> tuple[int, int] | None:
    """Returns (width, height) from a WebP header, None where it is damaged (RFC 9649, sections 2.5 to 2.7)."""
    kind, body = data[12:16], data[20:30]
    if kind == b"VP8X" and len(body) == 10:
        return int.from_bytes(body[4:7], "little") + 1, int.from_bytes(body[7:10], "little") + 1
    if kind == b"VP8 " and body[3:6] == b"\x9d\x01\x2a" and len(body) == 10:
        width, height = struct.unpack("<HH", body[6:10])
        return width & 0x3FFF, height & 0x3FFF
    if kind == b"VP8L" and body[:1] == b"\x2f" and len(body) >= 5:
        bits = int.from_bytes(body[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    return None


def load_decoders() -> None:
    """Imports every module that `decode` may need later: for a process that is about to lose the right to open files."""
    for module in (*(module for module, _ in FORMATS.values()), *_IMPORTED_LATE):
        importlib.import_module(module)


class _Jpeg(JpegImageFile):
    """A JPEG whose EXIF is not parsed: the plugin would parse all of it to find a resolution, and warn about its faults."""

    def getexif(self) -> Image.Exif:
        return Image.Exif()
