"""Packets: the metadata that a picture's file holds beside its pixels. No image library is imported here.

XMP (ISO 16684-3), and the orientation out of EXIF or XMP, of JPEG, PNG, WebP and TIFF. Whatever a file says of itself, the
bytes and the reads that it costs have limits.
"""

from __future__ import annotations

import contextlib
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from ..text import plural
from .orientation import ON_ITS_SIDE, TAG, orientation_of
from .signatures import HEAD_BYTES, JPEG_XL, RAW, format_of
from .sizes import ReadAt, size_of

MOST_BYTES = 16 << 20
"""Limit on the metadata of a file. Cameras that keep depths and second pictures in XMP write up to 10 MB."""

MOST_READS = 4096
"""Limit on the reads of a file: a PNG of 32 MB in chunks of 8 KiB, with its XMP behind them."""

MOST_DIRECTORIES = 100
"""As in `tiff`."""

WINDOW = 4096
"""Bytes of a read that looks for the next packet."""

_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_EXTENDED = b"http://ns.adobe.com/xmp/extension/\0"
_EXIF = b"Exif\0\0"
_ALONE = frozenset({0x01, *range(0xD0, 0xD9)})
"""Markers without a segment (ITU T.81, B.1.1.3)."""

_CLOSED = frozenset({"HEIC", "AVIF", JPEG_XL, *RAW})
"""Formats that are left to a confined process: containers of boxes, items and layers, and the makers' own raw files."""

_GUID = 32
"""Characters that join the parts of extended XMP."""


@dataclass(frozen=True)
class Metadata:
    """What the file of a picture says beside its pixels.

    Attributes:
        format: one of `signatures.PHOTOGRAPHS`.
        stored: (width, height) of the pixels as they are stored; None where the header does not say it.
        orientation: 1 to 8, of EXIF or XMP; 1 where there is none.
        xmp: the XMP packets, each a document; in the order of the file.
        problems: one line each: what was left out, and why.
        looked_inside: False for HEIC, AVIF, JPEG XL and makers' raw files: they are opened in a confined process alone.
    """

    format: str
    stored: tuple[int, int] | None = None
    orientation: int = 1
    xmp: tuple[bytes, ...] = ()
    problems: tuple[str, ...] = ()
    looked_inside: bool = True

    @property
    def upright(self) -> tuple[int, int] | None:
        """(width, height) of the upright picture; None where the header does not say it."""
        if self.stored is None or self.orientation not in ON_ITS_SIDE:
            return self.stored
        return self.stored[1], self.stored[0]


class _EndError(Exception):
    """The file ends too early, or is damaged: what was found before stands."""


class _LimitError(Exception):
    """The file has more than the limits allow; the message says which."""


@dataclass
class _Found:
    """What has been found so far: the readers below add to it until the file ends."""

    xmp: list[bytes] = field(default_factory=list)
    exif: bytes = b""
    tag: int | None = None
    problems: list[str] = field(default_factory=list)


def metadata_of(read: ReadAt) -> Metadata:
    """Returns the metadata of a picture's file.

    Args:
        read: called at most MOST_READS times, and `sizes.MOST_READS` times more for the size; what it raises is passed on.

    Raises:
        ImageError: the file is no picture of a format that is read (`signatures.format_of`).
    """
    format = format_of(read(0, HEAD_BYTES))
    found = _Found()
    reader = _READERS.get(format)
    if reader is not None:
        try:
            # a damaged file has an error of its own where its pixels are decoded
            with contextlib.suppress(_EndError, struct.error):
                reader(_File(read), found)
        except _LimitError as error:
            found.problems.append(str(error))
    info: dict[str | tuple[int, int], object] = {"exif": found.exif, "xmp": b"\n".join(found.xmp)}
    return Metadata(
        format,
        size_of(format, read),
        orientation_of(info, found.tag),
        tuple(found.xmp),
        tuple(found.problems),
        looked_inside=format not in _CLOSED,
    )


class _File:
    """Bytes of a file, with limits on the reads and on the bytes of packets."""

    def __init__(self, read: ReadAt) -> None:
        self._read = read
        self._start = 0
        self._window = b""
        self._reads = 0
        self._left = MOST_BYTES

    def take(self, at: int, length: int) -> bytes:
        """Returns `length` bytes, at most WINDOW, of the file's structure.

        Raises:
            _EndError: the file ends before them.
            _LimitError: too many reads.
        """
        if not self._start <= at <= self._start + len(self._window) - length:
            self._start, self._window = at, self._bytes(at, WINDOW)
            if len(self._window) < length:
                raise _EndError
        return self._window[at - self._start :][:length]

    def numbers(self, code: str, at: int) -> tuple[int, ...]:
        """Returns the integers at a place, by their code in `struct`."""
        return struct.unpack(code, self.take(at, struct.calcsize(code)))

    def packet(self, at: int, length: int) -> bytes:
        """Returns the bytes of a packet, which count.

        Raises:
            _EndError: the file ends before them.
            _LimitError: the packets have more than MOST_BYTES.
        """
        self._left -= length
        if self._left < 0:
            raise _LimitError(f"metadata of more than {MOST_BYTES >> 20} MiB is not read")
        data = self._bytes(at, length)
        if len(data) < length:
            raise _EndError
        return data

    def _bytes(self, at: int, length: int) -> bytes:
        self._reads += 1
        if self._reads > MOST_READS:
            raise _LimitError(f"the metadata behind {plural(MOST_READS, 'part')} of the file is not read")
        if at >= 1 << 62:
            raise _EndError
        return self._read(at, length)


def _jpeg(file: _File, found: _Found) -> None:
    extended: dict[bytes, dict[int, bytes]] = {}
    try:
        for kind, at, length in _segments(file):
            if kind != 0xE1:
                continue
            head = file.take(at, min(length, len(_EXTENDED) + _GUID + 8))
            if head.startswith(_XMP):
                found.xmp.append(file.packet(at + len(_XMP), length - len(_XMP)))
            elif head.startswith(_EXIF) and not found.exif:
                found.exif = file.packet(at, length)
            elif head.startswith(_EXTENDED) and len(head) == len(_EXTENDED) + _GUID + 8:
                # XMP specification 3, 1.1.3.1: a digest, the length of the whole, the place of this part in it
                digest = head[len(_EXTENDED) :][:_GUID]
                (place,) = struct.unpack(">I", head[-4:])
                extended.setdefault(digest, {})[place] = file.packet(at + len(head), length - len(head))
    finally:
        for digest, parts in extended.items():
            # that of another picture may be left over: the main packet names its own
            if any(digest in packet for packet in found.xmp):
                found.xmp.append(b"".join(parts[place] for place in sorted(parts)))


def _segments(file: _File) -> Iterator[tuple[int, int, int]]:
    """Yields (kind, start, length) of each segment before the pixels."""
    at = 2
    while True:
        start, kind = file.numbers(">BB", at)
        if start != 0xFF or kind in (0xD9, 0xDA):
            return
        if kind == 0xFF:  # a fill byte
            at += 1
        elif kind in _ALONE:
            at += 2
        else:
            (length,) = file.numbers(">H", at + 2)
            if length < 2:
                return
            yield kind, at + 4, length - 2
            at += 2 + length


def _png(file: _File, found: _Found) -> None:
    at = 8
    while True:
        length, kind = struct.unpack(">I4s", file.take(at, 8))
        if kind == b"IEND":
            return
        if kind == b"eXIf":
            found.exif = file.packet(at + 8, length)
        elif kind in (b"iTXt", b"zTXt", b"tEXt"):
            name = file.take(at + 8, min(length, 80)).partition(b"\0")[0]
            if name in _TEXTS:
                _text(kind, name, file.packet(at + 8, length)[len(name) + 1 :], found)
        at += 12 + length


_TEXTS = frozenset({b"XML:com.adobe.xmp", b"Raw profile type xmp", b"Raw profile type exif"})


def _text(kind: bytes, name: bytes, text: bytes, found: _Found) -> None:
    """Adds what a text of a PNG holds (PNG 3, 11.3.3), behind its name."""
    packed = kind == b"zTXt"
    if kind == b"iTXt":
        packed, text = text[:1] == b"\1", text[2:].partition(b"\0")[2].partition(b"\0")[2]
    elif packed:
        text = text[1:]
    if packed:
        unpacking = zlib.decompressobj()
        try:
            text = unpacking.decompress(text, MOST_BYTES)
        except zlib.error:
            found.problems.append(f"the PNG text {name.decode('ascii')!r} is damaged")
            return
        if unpacking.unconsumed_tail:
            raise _LimitError(f"metadata of more than {MOST_BYTES >> 20} MiB is not read")
    if name.startswith(b"Raw profile"):
        # ImageMagick's way: an empty line, its name, its length, and hexadecimal lines
        try:
            text = bytes.fromhex(b"".join(text.split(b"\n")[3:]).decode("ascii"))
        except ValueError:
            found.problems.append(f"the PNG text {name.decode('ascii')!r} is damaged")
            return
    if name.endswith(b"exif"):
        found.exif = found.exif or text
    else:
        found.xmp.append(text)


def _webp(file: _File, found: _Found) -> None:
    """RFC 9649, 2.7."""
    at = 12
    while True:
        kind, length = struct.unpack("<4sI", file.take(at, 8))
        if kind == b"XMP ":
            found.xmp.append(file.packet(at + 8, length))
        elif kind == b"EXIF":
            found.exif = file.packet(at + 8, length)
        at += 8 + length + length % 2


def _tiff(file: _File, found: _Found) -> None:
    """TIFF 6.0, section 2; tag 700 of XMP specification 3, 1.1.4. Those of the first directory that has them."""
    order = "<" if file.take(0, 2) == b"II" else ">"
    big = file.numbers(order + "H", 2) == (43,)
    offset, number, entry = ("Q", "Q", 20) if big else ("I", "H", 12)
    word = struct.calcsize(order + offset)
    (at,) = file.numbers(order + offset, 8 if big else 4)
    for _ in range(MOST_DIRECTORIES):
        if not at:
            return
        (count,) = file.numbers(order + number, at)
        start = at + struct.calcsize(order + number)
        for place in range(start, start + entry * min(count, 1 << 16), entry):
            tag, kind = file.numbers(order + "HH", place)
            if tag == TAG and found.tag is None:
                (found.tag,) = file.numbers(order + {1: "B", 4: "I"}.get(kind, "H"), place + 4 + word)
            elif tag == 700 and not found.xmp:
                (length,) = file.numbers(order + offset, place + 4)
                if length > word:
                    (value,) = file.numbers(order + offset, place + 4 + word)
                    found.xmp.append(file.packet(value, length))
        (at,) = file.numbers(order + offset, start + entry * count)


_READERS: dict[str, Callable[[_File, _Found], None]] = {
    "JPEG": _jpeg,
    "PNG": _png,
    "WebP": _webp,
    "TIFF": _tiff,
}
