"""Signatures: the format of an image file, from its first bytes. No image library is imported here."""

from __future__ import annotations

import re

from ..errors import FormatNotReadError, NotAnImageError

HEAD_BYTES = 256
"""Bytes at the beginning of a file that show its format: the longest list of brands that is looked at."""

READ = ("JPEG", "PNG", "WebP", "GIF", "TIFF", "BMP", "HEIC", "AVIF", "JPEG 2000")
"""The formats that are read."""

JPEG_XL = "JPEG XL"

RAW = ("camera raw", "Canon raw (CR2)", "Canon raw (CR3)")
"""The names of raw files of cameras. Others begin as a TIFF does: `tiff.is_raw` tells them."""

PHOTOGRAPHS = frozenset({*READ, JPEG_XL, *RAW})
"""The formats that hold photographs, read or not; the others in the table are documents, icons, films."""

_NO_PICTURES = ("PDF", "SVG or XML", "video")
"""The names in the table that stand for no picture of pixels."""

SAVE = "save it as JPEG, PNG or TIFF"
"""The remedy for a picture that is not read."""

DEVELOP = "save it as JPEG or TIFF in the camera's program"
"""The remedy for a raw file that is not read."""

_MAGIC = (
    (rb"\xff\xd8\xff", "JPEG"),
    (rb"\x89PNG\r\n\x1a\n", "PNG"),
    (rb"GIF8[79]a", "GIF"),
    (rb"RIFF....WEBP", "WebP"),
    (rb"II\*\0....CR\x02\0", "Canon raw (CR2)"),
    (rb"II[*+]\0|MM\0[*+]", "TIFF"),
    (rb"BM", "BMP"),
    (rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51", "JPEG 2000"),
    # not read, but named in the error: the user learns what the file is, and that it is not damaged
    (rb"\0\0\0\x0cJXL |\xff\x0a", JPEG_XL),
    (rb"FUJIFILMCCD-RAW|IIRO|IIRS|MMOR|IIU\0|\0MRM|FOVb|II\x1a\0\0\0HEAPCCDR", "camera raw"),
    (rb"II\xbc", "JPEG XR"),
    (rb"8BPS", "Photoshop"),
    (rb"gimp xcf", "GIMP"),
    (rb"\0\0[\1\2]\0.\0", "Windows icon"),
    (rb"icns", "Apple icon"),
    (rb"v/1\x01", "OpenEXR"),
    (rb"#\?(RADIANCE|RGBE)\n", "Radiance HDR"),
    (rb"P[1-7fF]\s", "Netpbm"),
    (rb"DDS ", "DDS"),
    (rb"qoif", "QOI"),
    (rb"BPG\xfb", "BPG"),
    (rb"\x0a[\0\2-\5]\x01[\1\2\4\x08]", "PCX"),
    (rb"\x01\xda[\0\1][\1\2]\0[\1-\3]", "SGI"),
    (rb"SIMPLE  =", "FITS"),
    (rb"%PDF", "PDF"),
    (rb"\s*<(\?xml|svg)", "SVG or XML"),
    (rb"....ftypcrx ", "Canon raw (CR3)"),
    (rb"....ftyp(isom|iso[2-9]|mp4|avc1|M4V|qt  |3gp)|RIFF....AVI |\x1aE\xdf\xa3", "video"),
)
_BRANDS = re.compile(rb"(hei[cxms]|hev[cxms])|(avi[fs])")
_BITMAP_HEADERS = (12, 16, 40, 52, 56, 64, 108, 124)
"""Lengths of the header of a BMP, of every version. Text can begin with BM, too."""


def format_of(data: bytes) -> str:
    """Returns the format of a file, one of READ, JPEG_XL or one of RAW, from its first bytes.

    Raises:
        FormatNotReadError: a picture in another format; the message names it.
        NotAnImageError: no picture; the message says what it is where that is known.
    """
    if not data:
        raise NotAnImageError("the file is empty")
    name = _format(data)
    if name in PHOTOGRAPHS:
        return name
    if name and name not in _NO_PICTURES:
        raise FormatNotReadError(f"{name} is not read: {SAVE}")
    known = f"{name} is not a supported format" if name else "not an image"
    raise NotAnImageError(f"{known}; supported formats: {', '.join(READ)}")


def is_photograph(head: bytes) -> bool:
    """Returns whether the first HEAD_BYTES of a file are those of a photograph, read or not."""
    name = _format(head)
    if name == "BMP":
        return int.from_bytes(head[14:18], "little") in _BITMAP_HEADERS
    return name in PHOTOGRAPHS


def _format(data: bytes) -> str:
    """Returns the name of a format in the table, "" if there is none that fits."""
    if data[4:8] == b"ftyp":
        # a box: its length, its name, the major brand, a version, then the brands the file is compatible with
        end = min(int.from_bytes(data[:4], "big"), HEAD_BYTES)
        brands = [data[8:12], *(data[at : at + 4] for at in range(16, end, 4))]
        for known in filter(None, map(_BRANDS.fullmatch, brands)):
            return "HEIC" if known[1] else "AVIF"
        if data[8:12] in (b"mif1", b"msf1"):
            return "HEIC"
    for magic, name in _MAGIC:
        if re.match(magic, data[:64], re.DOTALL):
            return name
    return ""
