"""JPEG: the check of a file's structure before decoding, and the decoder for most files."""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from ..errors import FormatNotReadError
from .signatures import SAVE

MAX_SCANS = 100
"""Programs write up to about 20 scans into a progressive JPEG. A decoder processes the whole picture for each, even where a
scan is a few bytes: a file of 100 KB with 1000 scans kept it busy for eight seconds, for 9 million pixels."""

_MARKER = re.compile(rb"\xff[\x02-\xcf\xd8-\xfe]")
"""Any marker but a zero, which follows a 0xff among pixels, and the restart markers (ITU T.81, B.1.1.2)."""

END = b"\xff\xd9"
_END, _SCAN = 0xD9, 0xDA
_LS = 0xF7
"""Frame of JPEG-LS (ITU T.87)."""
_HIERARCHICAL = (0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF)
_SEQUENTIAL = (0xC0, 0xC1)
_MOST_PICTURES = 1000
_PICTURES, _ENTRIES = 0xB001, 0xB002
_CLASS, _THUMBNAIL = 0xFF0000, 0x010000
"""Number and table of the pictures in an MPO, and the class of a picture's type (CIPA DC-007, 5.2.3)."""

_GAIN_MAP = re.compile(rb"gain ?map|hdrgm:|iso:ts:21496", re.IGNORECASE)
"""Names in the header of a picture that brightens another on a bright display: Google's, Apple's and ISO's."""
_HEADER = 1 << 16

_OTHER_FRAMES = (0xC2, 0xC3, *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0))


def check(data: bytes) -> None:
    """Checks that the first frame of a file is of a kind that the decoder reads. A file without a frame passes.

    Raises:
        FormatNotReadError: it is not; the message names the kind.
    """
    at = 2
    while marker := _MARKER.search(data, at):
        kind, at = data[marker.start() + 1], marker.end()
        if kind in (_END, _SCAN):
            return
        if kind == _LS:
            raise FormatNotReadError(f"JPEG-LS is not read: {SAVE}")
        if kind in _HIERARCHICAL:
            raise FormatNotReadError(f"a hierarchical JPEG is not read: {SAVE}")
        if kind in (*_SEQUENTIAL, *_OTHER_FRAMES):
            depth = data[at + 2 : at + 3]
            if depth and depth[0] not in (0, 8):
                raise FormatNotReadError(f"a JPEG of {depth[0]} bits a sample is not read: {SAVE}")
            return
        at += max(2, int.from_bytes(data[at : at + 2], "big"))


def scans(data: bytes) -> int:
    """Returns the number of scans that a decoder reads for the first picture in a file, counted up to MAX_SCANS + 1.

    A sequential picture whose first scan has all its components ends there: the bytes after it are not counted.
    """
    found, at = 0, 2
    components = None
    while found <= MAX_SCANS and (marker := _MARKER.search(data, at)):
        kind, at = data[marker.start() + 1], marker.end()
        body = data[at : at + 8]
        if kind == _END or len(body) < 8:
            break
        if kind in _SEQUENTIAL:
            components = body[7]
        elif kind in _OTHER_FRAMES:
            components = None
        elif kind == _SCAN:
            found += 1
            if body[2] == components:
                break
        at += max(2, int.from_bytes(body[:2], "big"))
    return found


def decoded(data: bytes, width: int, height: int) -> NDArray[np.uint8] | None:
    """Returns the pixels of a JPEG in colour, (height, width, 3) uint8, RGB, as Pillow would, in half the time.

    Both use libjpeg-turbo, but here it writes the pixels into the result itself, in 3 bytes each. None where the
    decoder reports an error or a warning: Pillow then decodes the file, and its outcome counts.
    """
    try:
        rows, columns, colours, _ = simplejpeg.decode_jpeg_header(data)
        if (rows, columns) != (height, width) or colours not in ("YCbCr", "RGB"):
            return None
        pixels = np.empty((height, width, 3), np.uint8)
        simplejpeg.decode_jpeg(data, "RGB", buffer=pixels)
    except ValueError:
        return None
    return pixels


def has_end(data: bytes) -> bool:
    """Returns whether an end marker follows the last scan. Some telephones and old cameras write none."""
    return data.endswith(END) or data.rfind(END) > data.rfind(b"\xff\xda")


def is_complete(data: bytes) -> bool:
    """Returns whether a file to which an end marker was added has all its pixels: the decoder has no warning."""
    try:
        colours = simplejpeg.decode_jpeg_header(data)[3]
        simplejpeg.decode_jpeg(data, "CMYK" if colours in ("CMYK", "YCCK") else "GRAY")
    except ValueError:
        return False
    return True


def share(data: bytes) -> float:
    """Returns the share of the pixels that a file holds before it is cut off, 0 to 1; 1 where only later scans are missing.

    The decoder continues the colour of the last block to the end of the picture: blocks of that colour at the end are
    counted as missing.
    """
    try:
        blocks = simplejpeg.decode_jpeg(data + END, "GRAY", min_factor=8, strict=False).ravel()
    except ValueError:
        return 0.0
    others = np.flatnonzero(blocks != blocks[-1])
    there = float(others[-1] + 1) / len(blocks) if len(others) else 0.0
    return 1.0 if there > 0.99 and scans(data) > 1 else there


def pictures(data: bytes, info: Mapping[str | tuple[int, int], object]) -> int:
    """Returns the number of pictures in a JPEG: more than 1 in an MPO (CIPA DC-007), thumbnails and gain maps not counted.

    Args:
        info: Pillow's information about the file, which has the index of an MPO.
    """
    index, start = info.get("mp"), info.get("mpoffset")
    if not (isinstance(index, bytes) and isinstance(start, int)):
        return 1
    try:
        order = {b"II*\0": "<", b"MM\0*": ">"}[index[:4]]
        (at,) = struct.unpack_from(f"{order}I", index, 4)
        (entries,) = struct.unpack_from(f"{order}H", index, at)
        values = {}
        for place in range(at + 2, at + 2 + 12 * entries, 12):
            tag, _, size, value = struct.unpack_from(f"{order}HHII", index, place)
            values[tag] = (size, value)
        table, first = values[_ENTRIES]
        count = 1
        for place in range(
            first + 16, first + min(table, 16 * _MOST_PICTURES, 16 * values[_PICTURES][1]), 16
        ):
            kind, size, offset = struct.unpack_from(f"{order}III", index, place)
            header = data[start + offset : start + offset + min(size, _HEADER)]
            count += kind & _CLASS != _THUMBNAIL and not _GAIN_MAP.search(header)
    except (struct.error, KeyError):
        return 1  # damaged
    return count
