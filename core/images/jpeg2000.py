"""JPEG 2000: the depth of a file's samples, from its header."""

from __future__ import annotations

import struct

_CODESTREAM = b"\xff\x4f\xff\x51"
"""Start of a codestream, and the marker of its size (ITU T.800, A.4.1 and A.5.1)."""


def colour_depth(data: bytes) -> int:
    """Returns the bits of each sample of a picture in colour; 0 for gray, or where the header is damaged."""
    at = data.find(_CODESTREAM)
    try:
        (samples,) = struct.unpack_from(">H", data, at + 40)
        depth = data[at + 42]
    except (struct.error, IndexError):
        return 0
    return (depth & 0x7F) + 1 if at >= 0 and samples >= 3 else 0
