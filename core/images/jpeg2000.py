"""JPEG 2000: the check of a file's header before decoding."""

from __future__ import annotations

import struct

from PIL import Image

from ..errors import FormatNotReadError
from ..text import plural

MAX_TILES = 1 << 14
"""A picture of 200 Mpx in tiles of 128 x 128 pixels has 12,200. The decoder's lists of 40,000 tiles took 240 MB, in pieces
that the system does not get back."""

_CODESTREAM = b"\xff\x4f\xff\x51"
"""Start of a codestream, and the marker of its size (ITU T.800, A.4.1 and A.5.1)."""


def check(data: bytes) -> None:
    """Checks that Pillow decodes a file right, and with bounded memory.

    A damaged header passes: the decoder says what is wrong.

    Raises:
        FormatNotReadError: it does not.
    """
    at = data.find(_CODESTREAM)
    depths = _depths(data, at)
    if not depths:
        return
    right, bottom, _, _, width, height, left, top = struct.unpack_from(">8I", data, at + 8)
    if not (width and height):
        return
    tiles = -(-(right - left) // width) * -(-(bottom - top) // height)
    if tiles > MAX_TILES:
        raise FormatNotReadError(
            f"a JPEG 2000 of {plural(tiles, 'tile')} is not read, {MAX_TILES} are allowed: save it with larger tiles"
        )
    if len(depths) >= 3 and max(depths) > 8:
        # Pillow rounds white up, and shows black
        raise FormatNotReadError(
            f"a JPEG 2000 in colour of {max(depths)} bits a sample is not read: save it with 8 bits, or as TIFF or PNG"
        )


def in_full_range(image: Image.Image, data: bytes) -> Image.Image:
    """Returns a loaded picture whose samples of fewer than 8 bits go up to 255: Pillow only shifts them, 1 bit to 128."""
    depths = _depths(data, data.find(_CODESTREAM))
    bands = image.getbands()
    if len(depths) != len(bands) or min(depths) >= 8 or max(depths) > 8:
        return image
    table: list[int] = []
    for depth in depths:
        most = (1 << depth) - 1
        table += [round((value >> 8 - depth) * 255 / most) for value in range(256)]
    return image.point(table)


def _depths(data: bytes, at: int) -> list[int]:
    """Returns the bits of the samples of each component of the codestream at a place; empty if there is none."""
    if at < 0:
        return []
    try:
        (count,) = struct.unpack_from(">H", data, at + 40)
        return [(data[at + 42 + 3 * component] & 0x7F) + 1 for component in range(count)]
    except (struct.error, IndexError):
        return []
