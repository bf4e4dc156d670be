"""Image files made to do harm. Each is small, whatever it says of itself; made here, so that none lies in the repository."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pillow_heif
from PIL import Image

from tests.core.images import raw_files

PNG = b"\x89PNG\r\n\x1a\n"


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    """An image as a file of a kind that Pillow writes."""
    if kind == "HEIF":
        pillow_heif.register_heif_opener()
    stream = io.BytesIO()
    image.save(stream, kind, **options)  # type: ignore[arg-type]
    return stream.getvalue()


def flat(width: int = 64, height: int = 64, mode: str = "RGB") -> Image.Image:
    """An image of one colour."""
    return Image.new(mode, (width, height))


def noise(width: int, height: int) -> Image.Image:
    """An image without a pattern."""
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8))


def crowd(jpeg: bytes, width: int, height: int, side: int) -> Image.Image:
    """An image that the face of a portrait fills, over and over, at this size."""
    portrait = Image.open(io.BytesIO(jpeg)).convert("RGB").crop((140, 40, 300, 200)).resize((side, side))
    return Image.fromarray(np.tile(np.asarray(portrait), (height // side, width // side, 1)))


def zeros(megabytes: int) -> bytes:
    """A zlib stream of so many megabytes of zeros: a thousandth of that."""
    packer = zlib.compressobj(9)
    return b"".join(packer.compress(bytes(1 << 20)) for _ in range(megabytes)) + packer.flush()


def chunk(name: bytes, body: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(width: int, height: int, *chunks: bytes, bits: int = 8, colour: int = 2, body: bytes = b"") -> bytes:
    """A PNG with any header, other chunks, and any compressed pixels."""
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    return PNG + chunk(b"IHDR", header) + b"".join(chunks) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def small_png(*chunks: bytes) -> bytes:
    """A PNG of 64 x 64 pixels that is as it should be but for some chunks."""
    return png(64, 64, *chunks, body=zlib.compress(bytes(64 * (1 + 3 * 64))))


def with_segment(jpeg: bytes, marker: int, body: bytes) -> bytes:
    """A JPEG with segments of this marker behind its first two bytes, as many as the body needs."""
    pieces = [body[at : at + 65533] for at in range(0, len(body), 65533)]
    segments = [struct.pack(">BBH", 0xFF, marker, len(piece) + 2) + piece for piece in pieces]
    return jpeg[:2] + b"".join(segments) + jpeg[2:]


def resized_header(jpeg: bytes, width: int, height: int) -> bytes:
    """A JPEG whose frame header says another size than its data have."""
    at = next(at for at in (jpeg.find(bytes([0xFF, marker])) for marker in (0xC0, 0xC2)) if at > 0)
    return jpeg[: at + 5] + struct.pack(">HH", height, width) + jpeg[at + 9 :]


def many_scans(scans: int, side: int = 3000) -> bytes:
    """A progressive JPEG whose last scan, a few bytes, is there so many times more."""
    jpeg = encoded(flat(side, side, "L"), "JPEG", progressive=True)
    last = jpeg.rfind(b"\xff\xda")
    return jpeg[:-2] + jpeg[last:-2] * scans + jpeg[-2:]


def exif(entries: int, *, next_at: int = 8) -> bytes:
    """EXIF whose directory has so many entries, each pointing back at it, and so does what follows."""
    entry = struct.pack("<HHII", 0x8769, 4, 1, 8)
    return (
        b"Exif\0\0II*\0"
        + struct.pack("<IH", 8, entries & 0xFFFF)
        + entry * entries
        + struct.pack("<I", next_at)
    )


def looping_tiff() -> bytes:
    """A TIFF whose first directory is followed by itself, and is its own EXIF and its own thumbnail."""
    tiff = bytearray(encoded(flat(), "TIFF", tiffinfo={34665: 8, 330: 8}))
    (at,) = struct.unpack_from("<I", tiff, 4)
    (count,) = struct.unpack_from("<H", tiff, at)
    struct.pack_into("<I", tiff, at + 2 + 12 * count, at)
    return bytes(tiff)


def tiff(
    width: int, height: int, *, bits: int = 8, strips: int = 1, compression: int = 1, body: bytes = b""
) -> bytes:
    """A gray TIFF of one directory with any size, and the number of strips it claims."""
    entries = [
        (256, 4, 1, width),
        (257, 4, 1, height),
        (258, 3, 1, bits),
        (259, 3, 1, compression),
        (262, 3, 1, 1),
        (273, 4, strips, 8 + 2 + 12 * 9 + 4),
        (277, 3, 1, 1),
        (278, 4, 1, height),
        (279, 4, strips, len(body)),
    ]
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0" + struct.pack("<I", 8) + directory + bytes(4) + body


def gif(width: int, height: int, frame_width: int, frame_height: int) -> bytes:
    """A GIF with a screen and a frame of any size, and two pixels of data."""
    screen = struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes(6)
    frame = b"," + struct.pack("<HHHHB", 0, 0, frame_width, frame_height, 0)
    return b"GIF89a" + screen + frame + b"\x02\x02\x44\x01\x00;"


def animated(kind: str, frames: int) -> bytes:
    """A film of so many frames."""
    pictures = [
        Image.fromarray(np.full((32, 32, 3), number * 50 % 256, np.uint8)) for number in range(frames)
    ]
    return encoded(pictures[0], kind, save_all=True, append_images=pictures[1:], duration=10)


def webp_canvas(width: int, height: int) -> bytes:
    """An animated WebP that says how large its canvas is, and has one frame of another size."""
    film = bytearray(animated("WEBP", 2))
    at = film.index(b"VP8X") + 8
    film[at + 4 : at + 10] = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return bytes(film)


def heif(width: int, height: int) -> bytes:
    """A HEIC whose property of its size says another one."""
    data = bytearray(encoded(flat(), "HEIF"))
    at = data.index(b"ispe") + 8
    struct.pack_into(">II", data, at, width, height)
    return bytes(data)


def bmp(width: int, height: int, *, bits: int = 24, compression: int = 0, body: bytes = b"") -> bytes:
    """A BMP with any header."""
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, compression, len(body), 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54 + len(body), 0, 0, 54) + header + body


def polyglot(jpeg: bytes) -> bytes:
    """A JPEG that is a web page and a ZIP archive, too."""
    page = b"<html><script>alert(1)</script><!--"
    archive = b"PK\x03\x04" + bytes(26) + b"-->" + b"PK\x05\x06" + bytes(18)
    return with_segment(jpeg, 0xFE, page) + archive


LAUGHS = (
    b'<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY a "ha">'
    + b"".join(b'<!ENTITY %c "&%c;&%c;&%c;&%c;">' % (c + 1, c, c, c, c) for c in range(97, 121))
    + b']><svg xmlns="http://www.w3.org/2000/svg"><text>&y;</text></svg>'
)

Maker = Callable[[], bytes]


def tiff_of_thumbnails(directories: int) -> bytes:
    """A TIFF of nothing but directories that call themselves thumbnails."""
    entry = struct.pack("<HHHII", 1, 254, 4, 1, 1)
    places = range(8, 8 + 18 * directories, 18)
    return b"II*\0" + struct.pack("<I", 8) + b"".join(entry + struct.pack("<I", at + 18) for at in places)


def jpeg_2000(side: int, tile: int) -> bytes:
    """A JPEG 2000 that says that it consists of tiles of any size."""
    data = bytearray(encoded(flat(side, side), "JPEG2000"))
    struct.pack_into(">II", data, data.index(b"\xff\x4f\xff\x51") + 24, tile, tile)
    return bytes(data)


def raw(preview: bytes, width: int = 4000, height: int = 2500) -> bytes:
    """A camera's raw file that says it has so many pixels."""
    return raw_files.dng(preview, 1, raw_files.sensor(width, height))


def raw_with_uncompressed_preview(width: int, height: int) -> bytes:
    """A camera's raw file with a preview of so many pixels, none of which are there."""
    size = {(256, raw_files.LONG): (width,), (257, raw_files.LONG): (height,), (279, raw_files.LONG): (0,)}
    preview = raw_files.uncompressed(np.zeros((16, 24, 3), np.uint8)) | size | raw_files.DNG
    return raw_files.tiff([raw_files.Directory(preview, [raw_files.sensor(4000, 2500)])])


def raw_that_loops(good: bytes) -> bytes:
    """A camera's raw file in which each directory is below the others, and follows itself."""
    data = bytearray(raw_files.nef(good))
    first = int.from_bytes(data[4:8], "big")
    below = data.index(struct.pack(">HHI", 330, 4, 2)) + 8
    list_at = int.from_bytes(data[below : below + 4], "big")
    data[list_at : list_at + 8] = struct.pack(">II", first, first)
    end = first + 2 + 12 * int.from_bytes(data[first : first + 2], "big")
    data[end : end + 4] = struct.pack(">I", first)
    return bytes(data)


def boxes() -> bytes:
    """The boxes of a Canon raw file (CR3), ten thousand in each other."""
    inside = b""
    for _ in range(10_000):
        inside = struct.pack(">I4s", len(inside) + 8, b"moov") + inside
    return b"\0\0\0\x18ftypcrx \0\0\0\1crx isom" + inside


def jpeg_xl(pixels: object, **options: object) -> bytes:
    """A JPEG XL without loss."""
    import imagecodecs

    return bytes(imagecodecs.jpegxl_encode(pixels, lossless=True, effort=1, **options))


def jpeg_xl_header(side: int) -> bytes:
    """A JPEG XL whose header says that it is square, and that is cut off behind it."""
    bits = "0" + "11" + f"{side - 1:030b}"[::-1] + "100" + "1"
    return b"\xff\x0a" + int(bits[::-1], 2).to_bytes(5, "little") + bytes(1000)
