"""TIFF: the pictures in a file, from its directories, and the decoder for those that are not plain.

Pillow reads a plain TIFF right, and some others wrong without a word: of 16 bits with separate planes it mixes the planes,
and of 16 bits with white as zero it returns a negative. libvips (with libtiff) reads these. A variant that neither is known
to read right (docs/formats.md) is refused by name: no TIFF is decoded by trial.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyvips

from ..errors import FormatNotReadError, TruncatedImageError
from ..text import plural
from .signatures import SAVE

MAX_ENTRIES, MAX_ALL_ENTRIES = 4096, 400_000
"""Limits on the entries of a directory, and of all that are read to find and count the pictures, half a second of work. A
directory counts as ten more. Directories can overlap: without limits, a file of 8 MB could keep a thread busy for minutes.
Cameras and scanners write some 20 to 50 entries for a picture, so that thousands of pictures are counted."""

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _MEANING = 256, 257, 258, 259, 262
_ORIENTATION, _SAMPLES, _PLANAR, _TILE_WIDTH, _FORMAT = 274, 277, 284, 322, 339
_KIND, _OLD_KIND, SUBDIRECTORIES, DNG = 254, 255, 330, 50706
_TAGS = frozenset(
    (_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _MEANING, _ORIENTATION, _SAMPLES, _PLANAR, _TILE_WIDTH, _FORMAT)
).union((_KIND, _OLD_KIND, SUBDIRECTORIES, DNG))

_PROFILE = 34675
_PIXELS = frozenset(
    (_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _MEANING, _SAMPLES, _PLANAR, _TILE_WIDTH, _FORMAT)
).union(
    (266, 273, 278, 279, 292, 293, 317, 320, 323, 324, 325, 332, 338, 347, *range(512, 522), *range(529, 533))
)
"""Tags without which the pixels cannot be read: FillOrder, StripOffsets, RowsPerStrip, StripByteCounts, options of fax,
Predictor, ColorMap, tiles, InkSet, ExtraSamples, and those of JPEG and YCbCr."""

MOST_COPIED = 64 << 20
"""Bytes of a file that is copied without the entries that no pixel needs."""

DecoderError = pyvips.Error
"""Error of libvips, also for what it only warns of."""

_VALUES = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}
"""Codes of struct for TIFF's unsigned integers, by type (TIFF 6.0, section 2, and the BigTIFF design)."""

_REDUCED, _MASK_OF, _REDUCED_OF_OLD = 1, 4, 2
"""Bits of NewSubfileType, and the value of the SubfileType before it."""

LARGEST = float.fromhex("0x1.fffffep+127")
"""The largest number of 32 bits that is no infinity (IEEE 754)."""

_MEANINGS = {
    0: "gray, white is zero",
    1: "gray",
    2: "RGB",
    3: "palette",
    4: "mask",
    5: "CMYK",
    6: "YCbCr",
    8: "CIE L*a*b*",
    9: "ICC L*a*b*",
    10: "ITU L*a*b*",
    32803: "colour filter array",
    32844: "LogL",
    32845: "LogLuv",
    34892: "linear raw",
}
_WHITE_IS_ZERO, _GRAY, _RGB, _MASK, _CMYK, _LAB = 0, 1, 2, 4, 5, 8
_COLOURS = {_WHITE_IS_ZERO: 1, _GRAY: 1, _RGB: 3, _CMYK: 4, _LAB: 3}
"""Samples of a pixel that are not alpha, by meaning: of the meanings that libvips reads."""

_NONE, _DEFLATE, _OLD_DEFLATE = 1, 8, 32946
_COMPRESSIONS = {
    2: "CCITT",
    3: "CCITT fax 3",
    4: "CCITT fax 4",
    5: "LZW",
    6: "old JPEG",
    7: "JPEG",
    _DEFLATE: "Deflate",
    32773: "PackBits",
    32809: "ThunderScan",
    _OLD_DEFLATE: "Deflate",
    34676: "SGILog",
    34712: "JPEG 2000",
    34887: "LERC",
    34892: "lossy JPEG of a DNG",
    34925: "LZMA",
    50000: "Zstandard",
    50001: "WebP",
    50002: "JPEG XL",
    52546: "JPEG XL",
}
_READ_BY_PILLOW = frozenset(
    (_NONE, 2, 3, 4, 5, 6, 7, _DEFLATE, 32773, 32809, _OLD_DEFLATE, 34925, 50000, 50001)
)
_READ_BY_LIBVIPS = frozenset((_NONE, 2, 3, 4, 5, 7, _DEFLATE, 32773, _OLD_DEFLATE))

_UNSIGNED, _SIGNED, _FLOAT = 1, 2, 3
_FORMATS = {_UNSIGNED: "unsigned", _SIGNED: "signed", _FLOAT: "float"}
_SEPARATE = 2


Tags = dict[int, tuple[int, ...]]
"""The values of each tag; an entry may have none."""


@dataclass(frozen=True)
class Directory:
    """Directory of one picture of a TIFF (TIFF 6.0, sections 2 and 8).

    Attributes:
        at: its place in the file, in bytes.
        bits: of each sample of a pixel; all samples have equally many.
        meaning: PhotometricInterpretation.
        format: SampleFormat of all samples.
        compression: value of the tag.
        orientation: value of the tag, which may be invalid; None where there is none.
        preview: whether it is a reduced copy of another picture.
        page: whether it is a picture of its own: neither a preview nor a mask, and not without a size.
        plain: whether Pillow reads it right.
    """

    at: int
    width: int
    height: int
    bits: int
    samples: int
    meaning: int
    format: int
    compression: int
    orientation: int | None
    separate: bool
    tiled: bool
    preview: bool
    page: bool
    plain: bool

    def __str__(self) -> str:
        colours = _MEANINGS.get(self.meaning, f"PhotometricInterpretation {self.meaning}")
        numbers = _FORMATS.get(self.format, f"SampleFormat {self.format}")
        planes = ", separate planes" if self.separate else ""
        tiles = ", tiled" if self.tiled else ""
        packed = _COMPRESSIONS.get(self.compression, f"compression {self.compression}")
        packed = "" if self.compression == _NONE else f", {packed}"
        samples = plural(self.samples, "sample")
        return f"TIFF ({colours}, {samples} of {self.bits} bits, {numbers}{planes}{tiles}{packed})"


def pictures(data: bytes) -> tuple[list[Directory], str]:
    """Returns the directories of the pictures in a file, at least one, and the damage that ends their chain, if any.

    Thumbnails and masks are no pictures of their own. A mask, or a directory without a size, is returned if there is no
    picture in the file; its decoder says what is wrong.

    Raises:
        FormatNotReadError: a camera raw file: all its ordinary pictures are previews.
        TruncatedImageError: a file that is truncated or damaged.
    """
    found: list[Directory] = []
    others: list[Directory] = []
    damage = ""
    try:
        for at, tags in directories(data):
            if DNG in tags:
                found = others = []
                break
            directory = directory_of(data, at, tags)
            if directory.page:
                found.append(directory)
            elif not directory.preview:
                others.append(directory)
    except (struct.error, OverflowError) as error:
        damage = "a TIFF that is truncated, damaged or of a rare variant: a directory lies beyond its end"
        if not found:
            raise TruncatedImageError(damage) from error
    except TruncatedImageError as error:
        damage = str(error)
        if not found:
            raise
    if not (found or others):
        raise FormatNotReadError(
            f"a camera raw file, whose ordinary pictures are previews, is not read: {SAVE}"
        )
    return found or others[:1], damage


def beginning_with(data: bytes, directory: Directory) -> bytes:
    """Returns a file in which this directory is the first: what is wrong with others then matters to no decoder."""
    order, offset, _, _, place = _layout(data)
    head = data[:place] + struct.pack(order + offset, directory.at)
    return data if data.startswith(head) else head + data[len(head) :]


def essential(data: bytes, directory: Directory) -> bytes | None:
    """Returns a file whose only directory has no entries but those that the pixels need; None for one that is too long.

    libvips only warns of some faults: of pixels, which must not be ignored, and of entries such as Software without its last
    byte, which scanners write. Without these entries, a warning is about the pixels.
    """
    if len(data) > MOST_COPIED:
        return None
    order, offset, number, length, place = _layout(data)
    size = struct.calcsize(offset)
    (count,) = struct.unpack_from(order + number, data, directory.at)
    start = directory.at + struct.calcsize(order + number)
    entries: dict[int, bytes] = {}
    for at in range(start, start + length * count, length):
        tag, _, values = struct.unpack_from(f"{order}HH{offset}", data, at)
        (first,) = struct.unpack_from(order + offset, data, at + 4 + size)
        if tag in _PIXELS or (tag == _PROFILE and values and first + values <= len(data)):
            entries.setdefault(tag, data[at : at + length])
    end = len(data) + len(data) % 2
    head = data[:place] + struct.pack(order + offset, end)
    return b"".join(
        [
            *(head, data[len(head) :], bytes(end - len(data))),
            *(struct.pack(order + number, len(entries)), *(entries[tag] for tag in sorted(entries))),
            bytes(size),
        ]
    )


def _layout(data: bytes) -> tuple[str, str, str, int, int]:
    """Returns the codes of struct for the byte order, for offsets and for the number of entries, the bytes of an entry, and
    the place of the first directory's offset."""
    order = "<" if data[:2] == b"II" else ">"
    big = data[2:4] in (b"+\0", b"\0+")
    # in a BigTIFF, offsets and counts have 8 bytes; in others, 4, and 2 for the number of entries
    return (order, "Q", "Q", 20, 8) if big else (order, "I", "H", 12, 4)


def directories(data: bytes, at: int = 0) -> Iterator[tuple[int, Tags]]:
    """Yields the place of each directory in a chain, and its tags: the values that are unsigned integers.

    Args:
        at: place of the first directory; 0: where the file's header says.

    Raises:
        struct.error, OverflowError, TruncatedImageError: the file is truncated or damaged.
    """
    order, offset, number, entry, place = _layout(data)
    size = struct.calcsize(offset)
    if not at:
        (at,) = struct.unpack_from(order + offset, data, place)
    seen: set[int] = set()
    entries = 0
    while at and at not in seen and entries < MAX_ALL_ENTRIES:
        here = at
        seen.add(here)
        (count,) = struct.unpack_from(order + number, data, at)
        if count > MAX_ENTRIES:
            raise TruncatedImageError(
                f"a TIFF with a directory of {count} entries, of which {MAX_ENTRIES} are allowed"
            )
        entries += 10 + count
        start = at + struct.calcsize(order + number)
        end = start + entry * count
        (at,) = struct.unpack_from(order + offset, data, end)
        tags: Tags = {}
        for place in range(start, end, entry):
            tag, kind, values = struct.unpack_from(f"{order}HH{offset}", data, place)
            if tag not in _TAGS:
                continue
            code = _VALUES.get(kind, "B")
            first = place + 4 + size
            if values * struct.calcsize(code) > size:
                (first,) = struct.unpack_from(order + offset, data, first)
            # no tag of these has a value for each strip: 16 are more than the samples of any picture
            tags[tag] = struct.unpack_from(f"{order}{min(values, 16)}{code}", data, first)
        yield here, tags


def directory_of(data: bytes, at: int, tags: Tags) -> Directory:
    """Returns the directory at a place of the file, which has these tags."""

    def value(tag: int, default: int) -> int:
        return (tags.get(tag) or (default,))[0]

    bits, formats = tags.get(_BITS) or (1,), tags.get(_FORMAT) or (_UNSIGNED,)
    meaning = value(_MEANING, _GRAY)
    same = len(set(bits)) == 1 and len(set(formats)) == 1
    separate = value(_PLANAR, 1) == _SEPARATE
    compression = value(_COMPRESSION, _NONE)
    preview = bool(value(_KIND, 0) & _REDUCED) or value(_OLD_KIND, 0) == _REDUCED_OF_OLD
    mask = bool(value(_KIND, 0) & _MASK_OF) or meaning == _MASK
    return Directory(
        at=at,
        width=value(_WIDTH, 0),
        height=value(_HEIGHT, 0),
        bits=bits[0],
        samples=value(_SAMPLES, 1),
        meaning=meaning,
        format=formats[0] if same else 0,
        compression=compression,
        orientation=value(_ORIENTATION, 0) or None,
        separate=separate,
        tiled=_TILE_WIDTH in tags,
        preview=preview,
        page=not (preview or mask) and _WIDTH in tags and _HEIGHT in tags,
        # Pillow reads no big-endian BigTIFF; its 12 bits are gray, not compressed, of the byte order II
        plain=same
        and formats[0] in (_UNSIGNED, 4)  # 4 is "undefined"
        and meaning in (0, 1, 2, 3, 5, 6, 8)
        and (
            max(bits) <= 8
            or (bits == (12,) and meaning == _GRAY and data[:2] == b"II" and compression == _NONE)
        )
        and compression in _READ_BY_PILLOW
        and data[:4] != b"MM\0+",
    )


def decoded(data: bytes, directory: Directory) -> Any:
    """Returns the first picture of a file, which is not plain, of 8 bits, gray, RGB or CMYK, as it is stored, without alpha.

    It is decoded as it is read, from top to bottom, once.

    Unsigned samples of 16 bits are scaled by their full range. Other numbers have no agreed range: they are scaled from the
    smallest to the largest finite value of the picture.

    Raises:
        FormatNotReadError: a variant that is not read; the message names it.
        Exception: libvips cannot read it.
    """
    colours = _COLOURS.get(directory.meaning, 0)
    wide = directory.bits in (16, 32) and directory.format in _FORMATS
    eight = directory.bits == 8 and directory.format == _UNSIGNED
    # libvips takes two planes for two pages, misplaces rows of halves in planes, and refuses tiles in planes
    planes = directory.separate and (
        directory.tiled or directory.samples < 3 or (directory.bits, directory.format) == (16, _FLOAT)
    )
    lab = directory.meaning == _LAB and not (directory.bits in (8, 16) and directory.format == _UNSIGNED)
    packed = directory.compression not in _READ_BY_LIBVIPS
    if not (wide or eight) or planes or packed or lab or directory.samples < colours or not colours:
        raise FormatNotReadError(
            f"a {directory} is not read: save it as a TIFF of 8 or 16 bits in one plane, or as PNG"
        )

    def load() -> Any:
        source = pyvips.Source.new_from_memory(data)  # a buffer would be copied
        return pyvips.Image.tiffload_source(source, access="sequential", fail_on="warning")

    image = load()
    if (image.width, image.height) != (directory.width, directory.height):
        raise TruncatedImageError(f"a {directory} whose directory is damaged: libvips finds another size")
    if directory.meaning == _LAB:
        image = image.colourspace("srgb")
    elif directory.bits == 16 and directory.format == _UNSIGNED:
        image = _bands((image + 128) / 257, colours).floor()  # 65535 / 257 is 255
    elif directory.bits > 8:
        low, high = _value_range(_bands(load(), colours), _bands(load(), colours))
        scale = 255 / (high - low) if high > low else 0.0
        image = _bands(image, colours)
        infinite = (image > 0) / 255 * (high - low) + low
        values = _finite(image).ifthenelse(image, infinite)
        image = ((values - low) * scale + 0.5).floor()
        # libvips itself inverts whole numbers without a sign
        if directory.meaning == _WHITE_IS_ZERO and directory.format != _UNSIGNED:
            image = 255 - image
    return _bands(image, colours).cast("uchar")


def profile(image: Any, directory: Directory) -> dict[str | tuple[int, int], object]:
    """Returns, as `icc_profile`, the profile of a picture that `decoded` returned; nothing if none is to be applied."""
    if image.get_typeof("icc-profile-data") and directory.meaning != _LAB:
        return {"icc_profile": image.get("icc-profile-data")}
    return {}


def _bands(image: Any, colours: int) -> Any:
    return image.extract_band(0, n=colours) if image.bands > colours else image


def _finite(image: Any) -> Any:
    return image.abs() <= LARGEST  # false for NaN


def _value_range(image: Any, again: Any) -> tuple[float, float]:
    """Returns the (smallest, largest) finite value of a picture that is loaded twice, (0, 0) where there is none."""
    low = _finite(image).ifthenelse(image, LARGEST).min()
    high = _finite(again).ifthenelse(again, -LARGEST).max()
    return (low, high) if low <= high else (0.0, 0.0)
