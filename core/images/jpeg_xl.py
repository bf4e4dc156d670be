"""JPEG XL: the header of a file, read before the decoder allocates anything, and its first frame.

libjxl decodes (through imagecodecs), and turns the picture upright itself. imagecodecs returns pixels once all are
decoded, and does not say of how many bits they are: so the header is read here (ISO/IEC 18181-1, annexes A and D).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from imagecodecs import (
    jpegxl_decode,  # here: imagecodecs opens a codec's library at the first use of its name
)
from numpy.typing import NDArray

from ..errors import FormatNotReadError, TruncatedImageError
from .signatures import SAVE

_CODESTREAM = b"\xff\x0a"
_MOST_BOXES = 1000
"""Boxes that are looked through for the codestream. Programs write a few before it: metadata."""

_HEADER_BYTES = 1 << 12
"""Bytes that a header has at most: that of a picture with a few extra channels has 50."""

_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
"""Width and height to each other, by the number in the header, from 1."""

_BLACK = 4
"""Kind of an extra channel: the K of CMYK."""

# each number is one of four: a constant, or (offset, bits to read)
_Choices = tuple["int | tuple[int, int]", ...]
_SIZE: _Choices = ((1, 9), (1, 13), (1, 18), (1, 30))
_PREVIEW_BY_8: _Choices = (16, 32, (1, 5), (33, 9))
_PREVIEW: _Choices = ((1, 6), (65, 8), (321, 10), (1345, 12))
_BITS: _Choices = (8, 10, 12, (1, 6))
_FLOAT_BITS: _Choices = (32, 16, 24, (1, 6))
_CHANNELS: _Choices = (0, 1, (2, 4), (1, 12))
_ENUM: _Choices = (0, 1, (2, 4), (18, 6))
_SHIFT: _Choices = (0, 3, 4, (1, 3))
_NAME: _Choices = (0, (0, 4), (16, 5), (48, 10))
_CFA: _Choices = (1, (0, 2), (3, 4), (19, 8))
_ANIMATION: tuple[_Choices, ...] = (
    (100, 1000, (1, 10), (1, 30)),
    (1, 1001, (1, 8), (1, 10)),
    (0, (0, 3), (0, 16), (0, 32)),
)


@dataclass(frozen=True)
class Header:
    """Header of a JPEG XL.

    Attributes:
        width, height: of the picture, upright.
        bits: of a sample that is a whole number; 0: floats.
    """

    width: int
    height: int
    bits: int


def header(data: bytes) -> Header:
    """Returns the header of a file, or of a bare codestream.

    Raises:
        FormatNotReadError: CMYK.
        TruncatedImageError: the file ends before the header does, or has no codestream.
    """
    bits = _Bits(_codestream(data))
    width, height = _size(bits, _SIZE, by_8=(1, 5))
    depth, orientation = 8, 1
    if not bits.read(1):  # not all values are the usual ones
        if bits.read(1):
            orientation = bits.read(3) + 1
            if bits.read(1):
                _size(bits, _SIZE, by_8=(1, 5))
            if bits.read(1):
                _size(bits, _PREVIEW, by_8=None)
            if bits.read(1):
                for choices in _ANIMATION:
                    bits.choose(choices)
                bits.read(1)
        depth = _depth(bits)
        bits.read(1)
        for _ in range(bits.choose(_CHANNELS)):
            if _extra_channel(bits) == _BLACK:
                raise FormatNotReadError(f"a JPEG XL in CMYK is not read: {SAVE}")
    return Header(height, width, depth) if orientation > 4 else Header(width, height, depth)


def decoded(data: bytes, found: Header) -> NDArray[np.uint8]:
    """Returns the first frame, (height, width, 3) uint8, RGB, upright, without alpha.

    Args:
        found: the file's header.

    Raises:
        TruncatedImageError: the decoder finds another size than the header.
        Exception: libjxl cannot read it.
    """
    # the worker decodes several images at a time; a thread more for each would wait for the engine's
    values = jpegxl_decode(data, index=0, numthreads=1)
    if values.ndim == 2:
        values = values[..., None]
    if values.ndim != 3 or values.shape[:2] != (found.height, found.width):
        raise TruncatedImageError("a JPEG XL whose header is damaged: the decoder finds another size")
    values = values[..., :3] if values.shape[2] >= 3 else values[..., :1]
    pixels = np.empty((found.height, found.width, 3), np.uint8)
    white = (1 << found.bits) - 1 if found.bits else 1
    if values.dtype == np.uint8 and white == 255:
        pixels[...] = values
        return pixels
    rows = max(1, (1 << 20) // found.width)
    for top in range(0, found.height, rows):
        part = np.nan_to_num(values[top : top + rows].astype(np.float32), posinf=white, neginf=0)
        pixels[top : top + rows] = np.clip(part * (255 / white) + 0.5, 0, 255)
    return pixels


def _codestream(data: bytes) -> bytes:
    """Returns the first bytes of the codestream, which a container may hold in several parts."""
    if data.startswith(_CODESTREAM):
        return data[:_HEADER_BYTES]
    parts, at = b"", 0
    for _ in range(_MOST_BOXES):
        length, kind, start = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8], at + 8
        if length == 1:
            length, start = int.from_bytes(data[at + 8 : at + 16], "big"), at + 16
        end = at + length if length else len(data)
        if kind == b"jxlp":
            parts += data[start + 4 : min(end, start + 4 + _HEADER_BYTES)]  # after the number of the part
        elif kind == b"jxlc":
            parts += data[start : min(end, start + _HEADER_BYTES)]
        if kind == b"jxlc" or len(parts) >= _HEADER_BYTES or end <= start or end >= len(data):
            break
        at = end
    if not parts.startswith(_CODESTREAM):
        raise TruncatedImageError("a JPEG XL that is truncated or damaged: it has no codestream")
    return parts


def _size(bits: _Bits, choices: _Choices, *, by_8: tuple[int, int] | None) -> tuple[int, int]:
    """Reads a width and a height: of the picture, or of its preview, which has other choices for multiples of 8."""
    multiples = bits.read(1)

    def side() -> int:
        if not multiples:
            return bits.choose(choices)
        return 8 * (by_8[0] + bits.read(by_8[1]) if by_8 else bits.choose(_PREVIEW_BY_8))

    height = side()
    ratio = bits.read(3)
    if not ratio:
        return side(), height
    across, down = _RATIOS[ratio - 1]
    return height * across // down, height


def _depth(bits: _Bits) -> int:
    if not bits.read(1):
        return bits.choose(_BITS)
    bits.choose(_FLOAT_BITS)
    bits.read(4)
    return 0


def _extra_channel(bits: _Bits) -> int:
    """Reads the description of a channel, and returns its kind."""
    if bits.read(1):
        return 0  # alpha, of 8 bits
    kind = bits.choose(_ENUM)
    _depth(bits)
    bits.choose(_SHIFT)
    bits.read(8 * bits.choose(_NAME))
    if kind == 0:
        bits.read(1)
    elif kind == 2:
        bits.read(4 * 16)
    elif kind == 5:
        bits.choose(_CFA)
    return kind


class _Bits:
    """Bits of a codestream after its first two bytes, the lowest of each byte first."""

    def __init__(self, codestream: bytes) -> None:
        head = codestream[2:_HEADER_BYTES]
        self._value = int.from_bytes(head, "little")
        self._left = 8 * len(head)

    def read(self, count: int) -> int:
        """Returns the next bits as a number.

        Raises:
            TruncatedImageError: there are fewer.
        """
        if count > self._left:
            raise TruncatedImageError("a JPEG XL that is truncated: it ends in its header")
        found = self._value & ((1 << count) - 1)
        self._value >>= count
        self._left -= count
        return found

    def choose(self, choices: _Choices) -> int:
        """Returns the next number that is one of four choices."""
        choice = choices[self.read(2)]
        return choice if isinstance(choice, int) else choice[0] + self.read(choice[1])
