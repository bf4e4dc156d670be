"""Sizes: the width and height of a stored picture, from a few reads of its file. No image library is imported here.

The formats are told apart by `signatures`. Each is read only as far as its header: what is damaged further on shows when the
file is decoded.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

ReadAt = Callable[[int, int], bytes]
"""Takes a place and a length, and returns the bytes there: fewer at the end of the file, never more."""

WINDOW = 4096
"""Bytes read at a time: the headers of most files, in one request to a network disk."""

MOST_READS = 64
"""Limit on the reads of a file. A JPEG of a telephone takes three or four: its EXIF with a thumbnail is skipped."""

MOST_STEPS = 20_000
"""Limit on the entries, segments and boxes of a file: a few milliseconds."""

MOST_DIRECTORIES = 100
"""Limit on the directories of a TIFF that are looked through for its first picture."""

_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_ALONE = frozenset({0x01, *range(0xD0, 0xD9)})
"""Markers without a segment (ITU T.81, B.1.1.3)."""


class _UnknownError(Exception):
    """The file ends too early, is damaged, or has too much before its size."""


def size_of(format: str, read: ReadAt) -> tuple[int, int] | None:
    """Returns (width, height) as stored, before any turn; None where the header of the file does not say it.

    Args:
        format: one of `signatures.READ`.
        read: called at most MOST_READS times, for at most WINDOW bytes each; what it raises is passed on.
    """
    reader = _READERS.get(format)
    if reader is None:
        return None
    try:
        size = reader(_File(read))
    except (_UnknownError, struct.error, OverflowError):
        return None
    return size if size is not None and min(size) > 0 else None


def webp_size(head: bytes) -> tuple[int, int] | None:
    """Returns (width, height) from the first 30 bytes of a WebP, None where they are damaged (RFC 9649, 2.5 to 2.7)."""
    kind, body = head[12:16], head[20:30]
    if kind == b"VP8X" and len(body) == 10:
        return int.from_bytes(body[4:7], "little") + 1, int.from_bytes(body[7:10], "little") + 1
    if kind == b"VP8 " and body[3:6] == b"\x9d\x01\x2a" and len(body) == 10:
        width, height = struct.unpack("<HH", body[6:10])
        return width & 0x3FFF, height & 0x3FFF
    if kind == b"VP8L" and body[:1] == b"\x2f" and len(body) >= 5:
        bits = int.from_bytes(body[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    return None


class _File:
    """Bytes of a file, read window by window, with limits on the reads and the steps."""

    def __init__(self, read: ReadAt) -> None:
        self._read = read
        self._start = 0
        self._window = b""
        self._reads = self._steps = 0

    def take(self, at: int, length: int) -> bytes:
        """Returns `length` bytes, at most WINDOW.

        Raises:
            _UnknownError: the file ends before them, or a limit is reached.
        """
        self._steps += 1
        if self._steps > MOST_STEPS:
            raise _UnknownError
        if not self._start <= at <= self._start + len(self._window) - length:
            self._reads += 1
            if self._reads > MOST_READS or at >= 1 << 62:
                raise _UnknownError
            self._start, self._window = at, self._read(at, WINDOW)
            if len(self._window) < length:
                raise _UnknownError
        return self._window[at - self._start :][:length]

    def numbers(self, code: str, at: int) -> tuple[int, ...]:
        """Returns the integers at a place, by their code in `struct`."""
        return struct.unpack(code, self.take(at, struct.calcsize(code)))


def _jpeg(file: _File) -> tuple[int, int] | None:
    at = 2
    while True:
        start, kind = file.numbers(">BB", at)
        if start != 0xFF:
            return None
        if kind == 0xFF:  # a fill byte
            at += 1
        elif kind in _ALONE:
            at += 2
        elif kind in _START_OF_FRAME:
            height, width = file.numbers(">HH", at + 5)
            return width, height
        else:
            (length,) = file.numbers(">H", at + 2)
            if length < 2 or kind in (0xD9, 0xDA):
                return None
            at += 2 + length


def _png(file: _File) -> tuple[int, int] | None:
    width, height = file.numbers(">II", 16)
    return (width, height) if file.take(12, 4) == b"IHDR" else None


def _gif(file: _File) -> tuple[int, int]:
    width, height = file.numbers("<HH", 6)
    return width, height


def _webp(file: _File) -> tuple[int, int] | None:
    return webp_size(file.take(0, 30))


def _bmp(file: _File) -> tuple[int, int]:
    (header,) = file.numbers("<I", 14)
    width, height = file.numbers("<HH" if header == 12 else "<ii", 18)
    return abs(width), abs(height)  # a negative height: the first row is the top one


def _tiff(file: _File) -> tuple[int, int] | None:
    """Returns the size of the first picture that is not a reduced copy of another (TIFF 6.0, section 2)."""
    order = "<" if file.take(0, 2) == b"II" else ">"
    big = file.numbers(order + "H", 2) == (43,)
    offset, number, entry = ("Q", "Q", 20) if big else ("I", "H", 12)
    (at,) = file.numbers(order + offset, 8 if big else 4)
    for _ in range(MOST_DIRECTORIES):
        if not at:
            break
        (count,) = file.numbers(order + number, at)
        start = at + struct.calcsize(order + number)
        tags: dict[int, int] = {}
        for place in range(start, start + entry * count, entry):
            tag, kind = file.numbers(order + "HH", place)
            if tag > 257:  # entries stand in the order of their tags
                break
            code = {1: "B", 3: "H", 16: "Q"}.get(kind, "I")
            (tags[tag],) = file.numbers(order + code, place + 4 + struct.calcsize(order + offset))
        if 256 in tags and 257 in tags and not tags.get(254, 0) & 1 and tags.get(255) != 2:
            return tags[256], tags[257]
        (at,) = file.numbers(order + offset, start + entry * count)
    return None


def _heif(file: _File) -> tuple[int, int] | None:
    """Returns the largest size of its items (ISO 23008-12, 6.5.3): thumbnails, tiles and other layers are no larger.

    An encoder may have filled up its last block, with up to 63 rows and columns that another property takes off.
    """
    sizes = [(0, 0)]
    for start, end in _boxes(file, 0, 1 << 62, b"meta"):
        for inner in _boxes(file, start + 4, end, b"iprp"):
            for properties in _boxes(file, *inner, b"ipco"):
                for place, _ in _boxes(file, *properties, b"ispe"):
                    width, height = file.numbers(">II", place + 4)
                    sizes.append((width, height))
        break
    return max(sizes, key=lambda size: size[0] * size[1])


def _jpeg2000(file: _File) -> tuple[int, int] | None:
    at = 0
    if file.take(0, 4) != b"\xff\x4f\xff\x51":
        for start, _ in _boxes(file, 0, 1 << 62, b"jp2c"):
            at = start
            break
    right, bottom, left, top = file.numbers(">4I", at + 8)  # ITU T.800, A.5.1
    return right - left, bottom - top


def _boxes(file: _File, at: int, end: int, wanted: bytes) -> Iterator[tuple[int, int]]:
    """Yields (start, end) of the body of each box of a kind (ISO 14496-12, 4.2)."""
    while at + 8 <= end:
        length, kind = struct.unpack(">I4s", file.take(at, 8))
        start = at + 8
        if length == 1:
            (length,) = file.numbers(">Q", start)
            start += 8
        following = at + length if length else end
        if following < start:
            return
        if kind == wanted:
            yield start, min(following, end)
        at = following


_READERS: dict[str, Callable[[_File], tuple[int, int] | None]] = {
    "JPEG": _jpeg,
    "PNG": _png,
    "GIF": _gif,
    "WebP": _webp,
    "TIFF": _tiff,
    "BMP": _bmp,
    "HEIC": _heif,
    "AVIF": _heif,
    "JPEG 2000": _jpeg2000,
}
