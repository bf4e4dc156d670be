"""PNG: a file reduced to the chunks that its pixels need, and what the others say about its orientation."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator

_SIGNATURE_BYTES = 8
_END = b"\0\0\0\0IEND\xaeB`\x82"

MOST_TEXT = 1 << 20
"""Limit, in bytes, on the text that is inflated to find an orientation, which stands near its start."""

_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Samples of a pixel, by colour type (PNG 3rd edition, section 11.2.1)."""

_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""Adam7: first column and row, steps between columns and rows, of each pass (section 8.1)."""


_ANIMATION = (b"acTL", b"fcTL", b"fdAT")
"""Chunks that make an animation of a picture (section 11.3.6)."""


def essential(data: bytes, *, animated: bool = False) -> bytes:
    """Returns the file with its critical chunks alone, and an end.

    Text, profiles and the like, however long or damaged, are no reason not to read the pixels: Pillow inflates them all, and
    refuses a file for a wrong checksum in any of them.

    Args:
        animated: keep the chunks of an animation, too.
    """
    kept = [data[:_SIGNATURE_BYTES]]
    after = _SIGNATURE_BYTES
    for kind, start, end in _chunks(data):
        if kind == b"IEND":
            after = len(data)
            break
        if kind[:1].isupper() or (animated and kind in _ANIMATION):
            kept.append(data[start - 8 : end + 4])
        after = end + 4
    # where no chunk can be read, Pillow says what is wrong
    return b"".join([*kept, data[after:], _END])


def frames(data: bytes) -> int:
    """Returns the number of frames in a file, a default picture that is no part of its animation included; at least 1."""
    kinds = [kind for kind, _, _ in _chunks(data) if kind in (b"acTL", b"fcTL", b"IDAT")]
    if b"acTL" not in kinds:
        return 1
    is_frame = b"fcTL" in kinds[: kinds.index(b"IDAT")] if b"IDAT" in kinds else True
    return max(1, kinds.count(b"fcTL") + (not is_frame))


def metadata(data: bytes) -> dict[str | tuple[int, int], object]:
    """Returns the metadata that may hold an orientation, or the space of colours, under the names that Pillow gives them.

    `cicp` is the code points of primaries and transfer characteristics.
    """
    found: dict[str | tuple[int, int], object] = {}
    for kind, start, end in _chunks(data):
        if kind == b"cICP" and end - start == 4:
            found["cicp"] = data[start], data[start + 1]
        elif kind == b"iCCP":
            found.setdefault("icc_profile", _inflated(data[start:end].partition(b"\0")[2][1:]))
        elif kind == b"eXIf":
            found.setdefault("exif", data[start:end])
        elif kind in (b"tEXt", b"zTXt", b"iTXt"):
            keyword, _, text = data[start:end].partition(b"\0")
            name = {b"Raw profile type exif": "Raw profile type exif", b"XML:com.adobe.xmp": "xmp"}.get(
                keyword
            )
            if name is None:
                continue
            if kind == b"zTXt":
                text = _inflated(text[1:])
            elif kind == b"iTXt":
                compressed = text[:1] == b"\1"
                text = text[2:].split(b"\0", 2)[-1]  # after a language, and the keyword in that language
                text = _inflated(text) if compressed else text
            found.setdefault(name, text.decode("latin-1"))
    if "cicp" in found:  # it has precedence (PNG 3rd edition, section 4.3)
        found.pop("icc_profile", None)
    return found


def share(data: bytes) -> float:
    """Returns the share of the pixels that a file holds before it is cut off or damaged, 0 to 1."""
    pixels = zlib.decompressobj()
    size = there = 0
    for kind, start, end in _chunks(data):
        if kind == b"IHDR" and end - start == 13:
            width, height, depth, colour, _, _, interlaced = struct.unpack_from(">IIBBBBB", data, start)
            passes = _PASSES if interlaced else ((0, 0, 1, 1),)
            bits = depth * _SAMPLES.get(colour, 1)
            for left, top, across, down in passes:
                columns, rows = -(-(width - left) // across), -(-(height - top) // down)
                size += rows * (1 + (columns * bits + 7) // 8) if columns > 0 and rows > 0 else 0
        elif kind == b"IDAT":
            rest = data[start:end]
            try:
                while rest and there < size:
                    there += len(pixels.decompress(rest, MOST_TEXT))
                    rest = pixels.unconsumed_tail
            except zlib.error:
                break
    return min(1.0, there / size) if size else 0.0


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yields (kind, start, end) of the body of each chunk; the last one may be cut off."""
    at = _SIGNATURE_BYTES
    while at + 8 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        kind = data[at + 4 : at + 8]
        if not re.fullmatch(rb"[A-Za-z]{4}", kind):
            return  # damaged: what follows is no chunk
        yield kind, at + 8, min(at + 8 + length, len(data))
        at += 12 + length


def _inflated(text: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(text, MOST_TEXT)
    except zlib.error:
        return b""
