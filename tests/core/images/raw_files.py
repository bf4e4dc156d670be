"""Raw files of cameras, made from nothing: the structure of each format, with a preview, and a sensor that saw black."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from tests.core.images.files import exif

Pixels = NDArray[np.uint8]
Values = tuple[int, ...]
Tags = dict[tuple[int, int], "Values | str | bytes | tuple[bytes, ...]"]
"""Values by (tag, type): numbers, a text, or bytes; those of a LONG lie elsewhere in the file."""

BYTE, TEXT, SHORT, LONG, UNDEFINED = 1, 2, 3, 4, 7
_CODES = {BYTE: "B", SHORT: "H", LONG: "I"}

WIDTH, HEIGHT = 600, 400
"""Of the full picture, as it is stored."""

SENSED = bytes(64)
"""What the sensor saw. It is not read, so that a few bytes will do."""


@dataclass
class Directory:
    """Directory of a TIFF."""

    tags: Tags
    below: Sequence[Directory] = field(default_factory=tuple)


def tiff(directories: Sequence[Directory], *, magic: bytes = b"II*\0", head: bytes = b"") -> bytes:
    """Returns a file with a chain of directories, each of which may have others below it (SubIFDs)."""
    order = ">" if magic.startswith(b"MM") else "<"
    out = bytearray(magic + bytes(4) + head)

    def put(data: bytes) -> int:
        out.extend(bytes(len(out) % 2))
        out.extend(data)
        return len(out) - len(data)

    def entry(tag: int, kind: int, value: Values | str | bytes | tuple[bytes, ...]) -> bytes:
        if isinstance(value, str):
            value = value.encode() + b"\0"
        elif isinstance(value, bytes) and kind == LONG:
            value = (put(value),)
        elif isinstance(value, tuple):
            value = tuple(put(one) if isinstance(one, bytes) else one for one in value)
        data = (
            value if isinstance(value, bytes) else struct.pack(f"{order}{len(value)}{_CODES[kind]}", *value)
        )
        place = data.ljust(4, b"\0") if len(data) <= 4 else struct.pack(order + "I", put(data))
        return struct.pack(order + "HHI", tag, kind, len(value)) + place

    def directory(one: Directory) -> int:
        tags = dict(one.tags)
        if one.below:
            tags[330, LONG] = tuple(directory(below) for below in one.below)
        entries = [entry(tag, kind, value) for (tag, kind), value in sorted(tags.items())]
        return put(struct.pack(order + "H", len(entries)) + b"".join(entries) + bytes(4))

    link = 4
    for one in directories:
        at = directory(one)
        out[link : link + 4] = struct.pack(order + "I", at)
        link = len(out) - 4
    return bytes(out)


def jpeg(pixels: Pixels, orientation: int = 0) -> bytes:
    """Returns a JPEG, with an orientation in EXIF directly behind its first marker, as cameras write it; 0: without EXIF."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=95, subsampling=0)
    segment = exif(orientation)
    data = stream.getvalue()
    return (
        data[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + data[2:]
        if orientation
        else data
    )


def sensor(width: int = WIDTH, height: int = HEIGHT, **more: Values) -> Directory:
    """The values of a sensor behind a colour filter array. `more`: further tags of numbers, as t<tag>_<type>."""
    tags: Tags = {
        (254, LONG): (0,),
        (256, LONG): (width,),
        (257, LONG): (height,),
        (258, SHORT): (16,),
        (259, SHORT): (1,),
        (262, SHORT): (32803,),
        (273, LONG): SENSED,
        (277, SHORT): (1,),
        (278, LONG): (height,),
        (279, LONG): (2 * width * height,),
        (33421, SHORT): (2, 2),
        (33422, BYTE): (0, 1, 1, 2),
    }
    for name, value in more.items():
        tag, _, kind = name[1:].partition("_")
        tags[int(tag), int(kind)] = value
    return Directory(tags)


def camera(make: str, model: str, orientation: int) -> Tags:
    return {(271, TEXT): make, (272, TEXT): model, (274, SHORT): (orientation,)}


def preview_directory(data: bytes) -> Directory:
    return Directory({(254, LONG): (1,), (259, SHORT): (6,), (513, LONG): data, (514, LONG): (len(data),)})


def uncompressed(pixels: Pixels) -> Tags:
    height, width, _ = pixels.shape
    return {
        (254, LONG): (1,),
        (256, LONG): (width,),
        (257, LONG): (height,),
        (258, SHORT): (8, 8, 8),
        (259, SHORT): (1,),
        (262, SHORT): (2,),
        (273, LONG): pixels.tobytes(),
        (277, SHORT): (3,),
        (278, LONG): (height,),
        (279, LONG): (pixels.size,),
    }


DNG: Tags = {(50706, BYTE): (1, 4, 0, 0), (50708, TEXT): "Test Camera"}


def dng(preview: bytes | Pixels, orientation: int = 1, full: Directory | None = None) -> bytes:
    """Returns a DNG whose first directory is its preview: a JPEG, or pixels that are not compressed."""
    if isinstance(preview, bytes):
        tags = {
            (254, LONG): (1,),
            (256, LONG): (16,),
            (257, LONG): (16,),
            (258, SHORT): (8, 8, 8),
            (259, SHORT): (7,),
            (262, SHORT): (6,),
            (277, SHORT): (3,),
            (278, LONG): (16,),
            (273, LONG): preview,
            (279, LONG): (len(preview),),
        }
        with JpegImageFile(io.BytesIO(preview)) as image:  # whatever size it says
            tags |= {(256, LONG): (image.width,), (257, LONG): (image.height,), (278, LONG): (image.height,)}
    else:
        tags = uncompressed(preview)
    first = Directory({**tags, **camera("Test", "Camera", orientation), **DNG}, [full or sensor()])
    return tiff([first])


def nef(preview: bytes, orientation: int = 1) -> bytes:
    thumbnail = uncompressed(np.zeros((24, 32, 3), np.uint8))
    first = Directory(
        {**thumbnail, **camera("NIKON CORPORATION", "NIKON D850", orientation)},
        [preview_directory(preview), sensor()],
    )
    return tiff([first], magic=b"MM\0*")


def arw(preview: bytes, orientation: int = 1) -> bytes:
    return tiff([Directory(arw_tags(preview, orientation), [sensor()])])


def arw_tags(preview: bytes, orientation: int = 1) -> Tags:
    """Returns the first directory of an ARW."""
    return {**preview_directory(preview).tags, **camera("SONY", "ILCE-7M3", orientation)}


def pef(preview: bytes, orientation: int = 1) -> bytes:
    full = Directory({**sensor().tags, **camera("PENTAX", "PENTAX K-1", orientation)})
    return tiff([full, preview_directory(preview)])


def orf(preview: bytes, orientation: int = 1) -> bytes:
    full = Directory({**sensor().tags, **camera("OLYMPUS IMAGING CORP.", "E-M1", orientation)})
    return tiff([full, preview_directory(preview)], magic=b"IIRO")


def rw2(preview: bytes, orientation: int = 1) -> bytes:
    tags: Tags = {
        (1, UNDEFINED): b"0300",
        (2, SHORT): (WIDTH,),
        (3, SHORT): (HEIGHT,),
        (4, SHORT): (0,),
        (5, SHORT): (0,),
        (6, SHORT): (HEIGHT,),
        (7, SHORT): (WIDTH,),
        (9, SHORT): (1,),
        (10, SHORT): (12,),
        (11, SHORT): (34316,),
        (0x2E, UNDEFINED): preview,
        (0x111, LONG): (2**32 - 1,),
        (0x117, LONG): (2 * WIDTH * HEIGHT,),
        (0x118, LONG): SENSED,
    }
    return tiff(
        [Directory({**tags, **camera("Panasonic", "DMC-GX8", orientation)})], magic=b"IIU\0", head=bytes(16)
    )


def cr2(preview: bytes, orientation: int = 1) -> bytes:
    tables = b"\xff\xc4" + struct.pack(">H", 20) + bytes([0, 1, *[0] * 15, 0])
    frame = b"\xff\xc3" + struct.pack(">HBHHB", 14, 14, HEIGHT, WIDTH // 2, 2) + bytes([1, 17, 0, 2, 17, 0])
    scan = b"\xff\xda" + struct.pack(">HB", 10, 2) + bytes([1, 0, 2, 0, 1, 0, 0])
    full = b"\xff\xd8" + tables + frame + scan + bytes(1000) + b"\xff\xd9"
    first: Tags = {
        (256, SHORT): (300,),
        (257, SHORT): (200,),
        (258, SHORT): (8, 8, 8),
        (259, SHORT): (6,),
        (273, LONG): preview,
        (279, LONG): (len(preview),),
        **camera("Canon", "Canon EOS 5D Mark III", orientation),
    }
    raw = Directory({(259, SHORT): (6,), (273, LONG): full, (279, LONG): (len(full),)})
    small = preview_directory(jpeg(np.zeros((24, 32, 3), np.uint8)))
    return tiff([Directory(first), small, raw], head=b"CR\2\0" + bytes(4))


def raf(preview: bytes, orientation: int = 1) -> bytes:
    """Returns a RAF: its orientation stands in the EXIF of its preview."""
    with Image.open(io.BytesIO(preview)) as image:
        preview = jpeg(np.asarray(image), orientation)
    sizes = struct.pack(">HH", HEIGHT, WIDTH)
    records = [(0x100, sizes), (0x110, bytes(4)), (0x111, sizes), (0x121, sizes), (0x130, bytes([12] * 4))]
    header = struct.pack(">I", len(records)) + b"".join(
        struct.pack(">HH", tag, len(data)) + data for tag, data in records
    )
    start = 160
    preview += bytes(len(preview) % 2)
    places = (start, len(preview), start + len(preview), len(header))
    head = b"FUJIFILMCCD-RAW 0201FF129502" + b"X-T3".ljust(56, b"\0")
    head += struct.pack(">6I", *places, start + len(preview) + len(header), 2 * WIDTH * HEIGHT)
    return head.ljust(start, b"\0") + preview + header + SENSED


def box(kind: bytes, *content: bytes) -> bytes:
    """Returns a box (ISO 14496-12, 4.2)."""
    body = b"".join(content)
    return struct.pack(">I4s", len(body) + 8, kind) + body


def cr3(preview: bytes, orientation: int = 1) -> bytes:
    make, model = b"Canon\0", b"Canon EOS R5\0"
    entries = [(256, SHORT, 1, WIDTH), (257, SHORT, 1, HEIGHT), (271, TEXT, len(make), 74)]
    entries += [(272, TEXT, len(model), 74 + len(make)), (274, SHORT, 1, orientation)]
    # a directory at 8, and its texts behind it
    directory = b"II*\0" + struct.pack("<IH", 8, len(entries))
    directory += b"".join(struct.pack("<HHII", *entry) for entry in entries) + bytes(4) + make + model
    values = struct.pack(
        ">IHHIIII4BI", 0, 0x100, 0, WIDTH, HEIGHT, WIDTH, HEIGHT, 14, 0x40, 0, 0, 96
    ) + bytes(60)
    entry = struct.pack(">24xHH", WIDTH, HEIGHT).ljust(82, b"\0")
    description = box(b"stsd", struct.pack(">II", 0, 1), box(b"CRAW", entry, box(b"CMP1", values)))
    places = box(b"stsz", struct.pack(">III", 0, 64, 1)), box(b"co64", struct.pack(">IIQ", 0, 1, 16))
    handler = box(b"hdlr", bytes(8), b"vide", bytes(12))
    track = box(b"trak", box(b"mdia", handler, box(b"minf", box(b"stbl", description, *places))))
    canon = bytes.fromhex("85c0b687820f11e08111f4ce462b6a48")
    shown = struct.pack(">IHHHHI", 0, 1, 300, 200, 1, len(preview)) + preview
    return b"".join(
        (
            box(b"ftyp", b"crx ", bytes(3), b"\1crx isom"),
            box(b"moov", box(b"uuid", canon, box(b"CMT1", directory)), track),
            box(b"uuid", bytes.fromhex("eaf42b5e1c984b88b9fbb7dc406e4d16"), bytes(8), box(b"PRVW", shown)),
        )
    )


MAKERS: dict[str, Callable[[bytes, int], bytes]] = {
    "DNG": dng,
    "NEF": nef,
    "ARW": arw,
    "PEF": pef,
    "ORF": orf,
    "RW2": rw2,
    "CR2": cr2,
    "CR3": cr3,
    "RAF": raf,
}
"""From a preview and an orientation to a file whose full picture has WIDTH x HEIGHT pixels."""
