"""JPEG: what its structure says before a decoder is at work, and the decoder that is at work on most."""

from __future__ import annotations

import re

import numpy as np
import simplejpeg
from numpy.typing import NDArray

MAX_SCANS = 100
"""Programs write up to about 20 into a progressive JPEG. A decoder goes over the whole picture for each, even where a scan
is a few bytes: a file of 100 KB with 1000 of them kept it busy for eight seconds, for 9 million pixels."""

_MARKER = re.compile(rb"\xff[\x02-\xcf\xd8-\xfe]")
"""Neither a zero, which follows a 0xff among pixels, nor what restarts them (ITU T.81, B.1.1.2)."""

_END, _SCAN = 0xD9, 0xDA
_SEQUENTIAL = (0xC0, 0xC1)
_OTHER_FRAMES = (0xC2, 0xC3, *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0))


def scans(data: bytes) -> int:
    """Returns how many scans a decoder has to go over for the first picture in a file; beyond MAX_SCANS it stops counting.

    A sequential picture whose first scan has all its components ends with that one: what follows is not looked at.
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

    Both have libjpeg-turbo at work, but here it writes the pixels where they are wanted, in 3 bytes each. None where
    anything about the file is odd, if only for a warning: what Pillow makes of it is then what counts.
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
