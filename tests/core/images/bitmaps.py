"""Bitmaps: BMP files of every depth, header and compression, written here because no library writes them all."""

from __future__ import annotations

import struct

import numpy as np

from tests.core.images.files import Pixels

HEADERS = {"core": 12, "info": 40, "V2": 52, "V3": 56, "OS/2": 64, "V4": 108, "V5": 124}

MASKS = {
    "555": (16, (0x7C00, 0x3E0, 0x1F, 0)),
    "565": (16, (0xF800, 0x7E0, 0x1F, 0)),
    "444": (16, (0xF00, 0xF0, 0xF, 0)),
    "BGRX": (32, (0xFF0000, 0xFF00, 0xFF, 0)),
    "BGRA": (32, (0xFF0000, 0xFF00, 0xFF, 0xFF000000)),
    "RGBA": (32, (0xFF, 0xFF00, 0xFF0000, 0xFF000000)),
    "XBGR": (32, (0xFF000000, 0xFF0000, 0xFF00, 0)),
    "10 bits": (32, (0x3FF00000, 0xFFC00, 0x3FF, 0)),
}
"""Bits of a pixel, and the masks of red, green, blue and alpha."""


def direct(picture: Pixels, header: str, masks: str, *, top_down: bool, stated: bool) -> tuple[bytes, Pixels]:
    """Returns a BMP without a palette, and the pixels that it shows.

    Args:
        stated: whether the masks are in the file (BI_BITFIELDS); otherwise they are those that a depth has without.
    """
    bits, (red, green, blue, alpha) = MASKS[masks]
    packed = np.zeros(picture.shape[:2], np.uint64)
    shown = np.zeros_like(picture)
    for channel, mask in enumerate((red, green, blue)):
        shift = (mask & -mask).bit_length() - 1
        most = mask >> shift
        values = np.round(picture[..., channel].astype(np.float64) * most / 255).astype(np.uint64)
        packed |= values << np.uint64(shift)
        shown[..., channel] = np.round(values.astype(np.float64) * 255 / most)
    packed |= np.uint64(alpha & 0x80808080)  # half transparent
    rows = packed.astype("<u2" if bits == 16 else "<u4")
    stated_masks = (red, green, blue, alpha) if stated else None
    return _file(
        header, bits, 3 if stated else 0, _rows(rows, top_down), picture, top_down, stated_masks
    ), shown


def of_24_bits(picture: Pixels, header: str, *, top_down: bool) -> tuple[bytes, Pixels]:
    """Returns a BMP of 24 bits, and its pixels."""
    return _file(header, 24, 0, _rows(picture[..., ::-1], top_down), picture, top_down), picture


def with_palette(
    indices: Pixels, palette: Pixels, header: str, bits: int, *, top_down: bool = False, runs: bool = False
) -> tuple[bytes, Pixels]:
    """Returns a BMP with a palette of 2**bits colours or fewer, and the pixels that it shows.

    Args:
        runs: whether the indices are compressed (BI_RLE8, BI_RLE4).
    """
    if runs:
        body = b"".join(_runs(row, bits) + b"\0\0" for row in indices[::-1]) + b"\0\1"
        compression = 1 if bits == 8 else 2
    else:
        body, compression = _rows(_packed(indices, bits), top_down), 0
    entry = 3 if header == "core" else 4
    if header == "core":  # it has no number of colours
        palette = np.vstack([palette, np.zeros((2**bits - len(palette), 3), np.uint8)])
    table = np.zeros((len(palette), entry), np.uint8)
    table[:, :3] = palette[:, ::-1]
    data = _file(
        header, bits, compression, body, indices, top_down, table=table.tobytes(), colours=len(palette)
    )
    return data, palette[indices]


def _packed(indices: Pixels, bits: int) -> Pixels:
    if bits == 8:
        return indices
    spread = np.unpackbits(indices[..., None], axis=2)[..., -bits:]
    return np.packbits(spread.reshape(len(indices), -1), axis=1)


def _rows(rows: np.ndarray, top_down: bool) -> bytes:
    return b"".join(
        row.tobytes() + bytes(-len(row.tobytes()) % 4) for row in (rows if top_down else rows[::-1])
    )


def _runs(row: Pixels, bits: int) -> bytes:
    """Returns a row in runs of one colour, and in stretches as they are where no run is."""
    out, at = b"", 0
    while at < len(row):
        run = 1
        while at + run < len(row) and run < 255 and row[at + run] == row[at]:
            run += 1
        left = len(row) - at
        if run == 1 and left >= 6:
            stretch = row[at : at + 6]
            body = stretch.tobytes() if bits == 8 else _packed(stretch[None], 4).tobytes()
            out += bytes([0, 6]) + body + bytes(len(body) % 2)
            at += 6
        else:
            value = int(row[at])
            out += bytes([run, value if bits == 8 else value << 4 | value])
            at += run
    return out


def _file(
    header: str,
    bits: int,
    compression: int,
    body: bytes,
    picture: np.ndarray,
    top_down: bool,
    masks: tuple[int, int, int, int] | None = None,
    *,
    table: bytes = b"",
    colours: int = 0,
) -> bytes:
    height, width = picture.shape[:2]
    size = HEADERS[header]
    if header == "core":
        about = struct.pack("<IHHHH", size, width, height, 1, bits)
    else:
        about = struct.pack(
            "<IiiHHIIiiII",
            *(size, width, -height if top_down else height, 1, bits),
            *(compression, len(body), 2835, 2835, colours, 0),
        )
        fields = struct.pack("<4I", *(masks or (0, 0, 0, 0)))
        if size > 40:
            about = (about + fields)[:size].ljust(size, b"\0")
            if size >= 108:
                about = about[:56] + b"BGRs" + about[60:]  # sRGB
        elif masks is not None:
            table = fields[:12] + table  # behind the header
    start = 14 + len(about) + len(table)
    return struct.pack("<2sIHHI", b"BM", start + len(body), 0, 0, start) + about + table + body
