"""GIF: the number of frames in a file, from its blocks."""

from __future__ import annotations

MAX_BLOCKS = 4_000_000
"""Limit on the blocks that are counted, some 0.4 s of work. A block has up to 255 bytes: a GIF of 128 MiB has 530,000."""

_EXTENSION, _IMAGE = 0x21, 0x2C


def frames(data: bytes) -> int:
    """Returns the number of frames in a GIF (GIF 89a, sections 17 to 27), as many as there are before it is damaged."""
    found = blocks = 0
    try:
        at = 13 + _colours(data[10])
        while blocks < MAX_BLOCKS:
            kind = data[at]
            if kind == _EXTENSION:
                at += 2
            elif kind == _IMAGE:
                at += 11 + _colours(data[at + 9])
                found += 1
            else:
                break
            while length := data[at]:
                at += 1 + length
                blocks += 1
            at += 1
            blocks += 1
    except IndexError:
        pass
    return found


def _colours(flags: int) -> int:
    """Returns the bytes of a colour table, from the flags that announce it."""
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0
