"""JPEG 2000: the check of a file's header before decoding."""

from __future__ import annotations

import struct

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
    try:
        right, bottom, _, _, width, height, left, top, samples = struct.unpack_from(">8IH", data, at + 8)
        depth = (data[at + 42] & 0x7F) + 1
    except (struct.error, IndexError):
        return
    if at < 0 or not (width and height):
        return
    tiles = -(-(right - left) // width) * -(-(bottom - top) // height)
    if tiles > MAX_TILES:
        raise FormatNotReadError(
            f"a JPEG 2000 of {plural(tiles, 'tile')} is not read, {MAX_TILES} are allowed: save it with larger tiles"
        )
    if samples >= 3 and depth > 8:
        # Pillow rounds white up, and shows black
        raise FormatNotReadError(
            f"a JPEG 2000 in colour of {depth} bits a sample is not read: save it with 8 bits, or as TIFF or PNG"
        )
