"""Orientation: the turn that makes a stored picture upright, from its metadata."""

from __future__ import annotations

import re
import struct

TAG = 274
"""EXIF's and TIFF's orientation tag (EXIF 2.32, 0x0112)."""

ON_ITS_SIDE = {5, 6, 7, 8}
"""The orientations whose upright picture is as wide as the stored one is high."""


def orientation_of(info: dict[str | tuple[int, int], object], tag: int | None = None) -> int:
    """Returns an image's orientation, 1 to 8, from its TIFF tag, its EXIF or its XMP; 1 if that is invalid."""
    value: object = tag
    if value is None:
        value = _exif_orientation(_exif(info))
    if value is None:
        value = _xmp_orientation(info.get("xmp") or info.get("XML:com.adobe.xmp"))
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _exif(info: dict[str | tuple[int, int], object]) -> bytes:
    exif, text = info.get("exif"), info.get("Raw profile type exif")
    if isinstance(exif, bytes):
        return exif
    try:
        # ImageMagick's way of writing EXIF into a PNG: an empty line, its name, its length, and hexadecimal lines
        return bytes.fromhex("".join(text.split("\n")[3:])) if isinstance(text, str) else b""
    except ValueError:
        return b""


def _exif_orientation(exif: bytes) -> int | None:
    """Returns the orientation tag of the first directory (TIFF 6.0, section 2), None where there is none."""
    while exif.startswith(b"Exif\0\0"):
        exif = exif[6:]
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    try:
        if order is None:
            return None
        (at,) = struct.unpack_from(f"{order}I", exif, 4)
        (count,) = struct.unpack_from(f"{order}H", exif, at)
        for entry in range(at + 2, at + 2 + 12 * count, 12):
            tag, kind = struct.unpack_from(f"{order}HH", exif, entry)
            if tag == TAG:
                # a SHORT by the standard; some programs write a BYTE or a LONG
                return int(struct.unpack_from(order + {1: "B", 4: "I"}.get(kind, "H"), exif, entry + 8)[0])
    except struct.error:
        return None  # the EXIF ends too early
    return None


def _xmp_orientation(xmp: object) -> int | None:
    if isinstance(xmp, str):
        xmp = xmp.encode("utf-8", "replace")
    found = re.search(rb'tiff:Orientation(?:="|>)([0-9])', xmp) if isinstance(xmp, bytes) else None
    return int(found[1]) if found else None
