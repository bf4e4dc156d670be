"""core/images: what is decoded is what other readers show, over formats, depths, colours, turns and compressions.

More than 300 files are generated from a seed. Each is read right, within 2 of 255, or refused by name: none is read wrong.
"""

from __future__ import annotations

import base64
import io
import random
import re
import struct
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import imagecodecs
import numpy as np
import pillow_heif
import pytest
import pyvips
from numpy.typing import NDArray
from PIL import Image

from pyraface.core.errors import ImageError
from pyraface.core.images.decode import decode
from tests.core.images import bitmaps
from tests.core.images.files import LIMITS, Pixels, encoded, exif, stored
from tests.core.images.test_tiff import variants, written

SEED = 7

BACK = {1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 8, 7: 7, 8: 6}
"""The orientation that takes each one back."""

TOLERANCE = {"avif": 5}
"""Largest difference of a value, where it is not 2: for speed, libavif rounds planes of 10 and 12 bits to 8 before it mixes
colours from them."""
HEIGHT, WIDTH = 40, 56

Choice = random.Random


@dataclass
class File:
    """A generated file.

    Attributes:
        kind: its options, for the message of a failure.
        shown: (height, width, 3) uint8, as an outside reader shows it before it is turned upright.
        orientation: in its EXIF.
    """

    kind: str
    data: bytes
    shown: Pixels
    orientation: int = 1


def picture(rng: Choice, scale: int = 1) -> Pixels:
    """Smooth colours of all values, which differ from file to file."""
    height, width = HEIGHT * scale, WIDTH * scale
    rows, columns = np.mgrid[0:height, 0:width]
    right, down = columns * 255 // (width - 1), rows * 255 // (height - 1)
    channels = [right, down, (right + down) // 2]
    rng.shuffle(channels)
    return np.dstack([255 - channel if rng.random() < 0.5 else channel for channel in channels]).astype(
        np.uint8
    )


def gray(colours: Pixels) -> Pixels:
    return np.ascontiguousarray(colours[..., 1])


def wide(values: Pixels, bits: int) -> NDArray[np.uint16]:
    """Returns values of 8 bits as such of more bits."""
    return np.round(values.astype(np.float64) * (2**bits - 1) / 255).astype(np.uint16)


def as_rgb(values: NDArray[Any], bits: int = 8) -> Pixels:
    """Returns what a reader shows, without alpha, as RGB of 8 bits."""
    values = np.round(values.astype(np.float64) * 255 / (2**bits - 1)).astype(np.uint8)
    values = values[..., None] if values.ndim == 2 else values
    return np.repeat(values[..., :1], 3, axis=2) if values.shape[2] < 3 else values[..., :3]


def upright(values: Pixels, orientation: int) -> Pixels:
    """Returns a stored picture turned upright."""
    return stored(values, BACK[orientation])


def by_libvips(data: bytes) -> Pixels:
    image = pyvips.Image.new_from_buffer(data, "")
    bits = {"uchar": 8, "ushort": 16}[image.format]
    return as_rgb(image.numpy(), bits)


# ------------------------------------------------------------------------------------------------------------ the formats


def jpeg(rng: Choice) -> File:
    colours = picture(rng)
    orientation = rng.randint(1, 8)
    model = rng.choice(["gray", "colour", "colour", "colour", "RGB", "CMYK", "YCCK"])
    bits = rng.choice([8, 8, 8, 12])
    lossless = rng.random() < 0.1
    subsampling = rng.choice(["444", "422", "420", "411", "440"])
    kind = f"JPEG {model}, {bits} bits, lossless {lossless}, {subsampling}, orientation {orientation}"
    if model in ("gray", "colour") and bits == 8 and not lossless and rng.random() < 0.5:
        options = {
            "progressive": rng.random() < 0.5,
            "subsampling": {"444": 0, "422": 1}.get(subsampling, 2),
            "restart_marker_blocks": rng.choice([0, 1, 5]),
            "quality": rng.choice([30, 75, 95]),
        }
        image = Image.fromarray(gray(colours) if model == "gray" else colours)
        data = encoded(image, "JPEG", exif=exif(orientation), **options)
        return File(f"{kind}, {options}", data, as_rgb(imagecodecs.jpeg8_decode(data)), orientation)
    values = {
        "gray": gray(colours),
        "colour": colours,
        "RGB": colours,
        "CMYK": np.dstack([colours, np.full((HEIGHT, WIDTH), 200, np.uint8)]),
    }[model.replace("YCCK", "CMYK")]
    spaces = {
        "gray": ("GRAYSCALE", "GRAYSCALE"),
        "colour": ("RGB", "RGB" if lossless else "YCBCR"),
        "RGB": ("RGB", "RGB"),
        "CMYK": ("CMYK", "CMYK"),
        "YCCK": ("CMYK", "CMYK" if lossless else "YCCK"),
    }[model]
    data = imagecodecs.jpeg8_encode(
        values if bits == 8 else wide(values, bits),
        95,
        colorspace=spaces[0],
        outcolorspace=spaces[1],
        subsampling=None if model == "gray" or lossless else subsampling,
        lossless=lossless,
        bitspersample=bits,
    )
    read = imagecodecs.jpeg8_decode(data)
    if values.ndim == 3 and values.shape[2] == 4:
        # as every program that writes them: inverted
        ink = read.astype(np.float64) / (2**bits - 1)
        shown = np.round(ink[..., :3] * ink[..., 3:] * 255).astype(np.uint8)
    else:
        shown = as_rgb(read, bits)
    body = exif(orientation)
    data = data[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + data[2:]
    return File(kind, data, shown, orientation)


def png(rng: Choice) -> File:
    colours = picture(rng)
    colour, depths = rng.choice(
        [(0, (1, 2, 4, 8, 16)), (2, (8, 16)), (3, (1, 2, 4, 8)), (4, (8, 16)), (6, (8, 16))]
    )
    depth = rng.choice(depths)
    interlaced = rng.random() < 0.5
    orientation = rng.randint(1, 8)
    values = {0: gray(colours)[..., None], 2: colours, 3: gray(colours)[..., None], 4: colours[..., :2]}.get(
        colour, np.dstack([colours, colours[..., 0]])
    )
    samples = wide(values, depth)
    chunks = [(b"eXIf", exif(orientation)[6:])]
    if colour == 3:
        table = np.array([[rng.randint(0, 255) for _ in range(3)] for _ in range(2**depth)], np.uint8)
        chunks.append((b"PLTE", table.tobytes()))
    if colour < 4 and rng.random() < 0.5:
        chunks.append((b"tRNS", {0: b"\0\1", 2: b"\0\1\0\2\0\3", 3: b"\0\x80"}[colour]))
    if rng.random() < 0.3:
        chunks.insert(
            0, (b"sBIT", bytes([max(1, min(depth, 8) - 3)] * {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}[colour]))
        )
    if rng.random() < 0.3:
        chunks.insert(0, (b"gAMA", struct.pack(">I", 45455)))
    data = _png(samples, depth, colour, interlaced, chunks)
    names = [kind.decode() for kind, _ in chunks]
    kind = (
        f"PNG colour type {colour}, {depth} bits, interlaced {interlaced}, {names}, orientation {orientation}"
    )
    return File(kind, data, by_libvips(data), orientation)


def _png(
    samples: NDArray[np.uint16], depth: int, colour: int, interlaced: bool, chunks: list[tuple[bytes, bytes]]
) -> bytes:
    passes = [
        (0, 0, 8, 8),
        (4, 0, 8, 8),
        (0, 4, 4, 8),
        (2, 0, 4, 4),
        (0, 2, 2, 4),
        (1, 0, 2, 2),
        (0, 1, 1, 2),
    ]
    rows = b""
    for left, top, across, down in passes if interlaced else [(0, 0, 1, 1)]:
        for row in samples[top::down, left::across].reshape(len(samples[top::down]), -1):
            if depth == 16:
                rows += b"\0" + row.astype(">u2").tobytes()
            else:
                bits = np.unpackbits(row.astype(np.uint8)[:, None], axis=1)[:, -depth:]
                rows += b"\0" + np.packbits(bits.ravel()).tobytes()
    height, width = samples.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in parts
    )


def webp(rng: Choice) -> File:
    colours, orientation = picture(rng), rng.randint(1, 8)
    alpha = rng.random() < 0.5
    image = Image.fromarray(np.dstack([colours, colours[..., 0]]) if alpha else colours)
    options = {"lossless": rng.random() < 0.5, "quality": rng.choice([30, 80, 100]), "exact": True}
    data = encoded(image, "WEBP", exif=exif(orientation), **options)
    return File(f"WebP {options}, alpha {alpha}", data, as_rgb(imagecodecs.webp_decode(data)), orientation)


def gif(rng: Choice) -> File:
    colours = rng.choice([2, 3, 16, 255, 256])
    image = Image.fromarray(picture(rng)).quantize(colours)
    options = {"interlace": rng.random() < 0.5} | ({"transparency": 1} if rng.random() < 0.5 else {})
    data = encoded(image, "GIF", **options)
    read = pyvips.Image.new_from_buffer(data, "").numpy()
    shown = as_rgb(read)
    if read.shape[2] == 4:  # transparent pixels, black there, keep their colours here
        shown = np.where(read[..., 3:] == 0, np.asarray(image.convert("RGB")), shown)
    return File(f"GIF of {colours} colours, {options}", data, shown)


def tiff(rng: Choice) -> File:
    while True:
        options = next(variants(1, seed=rng.getrandbits(32)))
        orientation = rng.randint(1, 8)
        try:
            data, shown = written(**options, extratags=[(274, "H", 1, orientation, True)])
        except (ValueError, NotImplementedError):
            continue  # a combination that tifffile does not write
        return File(f"TIFF {options}, orientation {orientation}", data, shown, orientation)


def bmp(rng: Choice) -> File:
    colours, top_down = picture(rng), rng.random() < 0.5
    header = rng.choice(list(bitmaps.HEADERS))
    style = rng.choice(["palette", "runs", "24 bits", "16 and 32 bits", "16 and 32 bits"])
    if header == "core":
        style, top_down = rng.choice(["palette", "24 bits"]), False
    kind = f"BMP {header}, {style}, top-down {top_down}"
    if style == "24 bits":
        return File(kind, *bitmaps.of_24_bits(colours, header, top_down=top_down))
    if style == "16 and 32 bits":
        masks = rng.choice(list(bitmaps.MASKS))
        stated = masks not in ("555", "BGRX") or rng.random() < 0.5
        files = bitmaps.direct(colours, header, masks, top_down=top_down, stated=stated)
        return File(f"{kind}, {masks}, masks stated {stated}", *files)
    bits = rng.choice([4, 8] if style == "runs" else [1, 4, 8])
    count = rng.choice([2**bits, max(2, 2**bits - 3)])
    palette = np.array([[rng.randint(0, 255) for _ in range(3)] for _ in range(count)], np.uint8)
    indices = (gray(colours).astype(int) * (count - 1) // 255).astype(np.uint8)
    files = bitmaps.with_palette(
        indices, palette, header, bits, top_down=top_down and style == "palette", runs=style == "runs"
    )
    return File(f"{kind}, {bits} bits, {count} colours", *files)


def avif(rng: Choice) -> File:
    colours = picture(
        rng, 3
    )  # so smooth that the way in which fewer samples of colour are filled in counts little
    bits = rng.choice([8, 10, 12])
    model = rng.choice(["gray", "colour", "alpha"])
    values = {"gray": gray(colours), "colour": colours}.get(model, np.dstack([colours, colours[..., 0]]))
    orientation = 1
    if rng.random() < 0.4:
        orientation = rng.randint(1, 8)  # Pillow writes it into the container, as AVIF wants it
        sampling = rng.choice(["4:4:4", "4:2:2", "4:2:0"])
        image = Image.fromarray(values)
        data = encoded(image, "AVIF", exif=exif(orientation), subsampling=sampling, quality=90)
        bits = 8
    else:
        sampling = "400" if model == "gray" else rng.choice(["444", "422", "420"])
        data = imagecodecs.avif_encode(
            values if bits == 8 else wide(values, bits),
            90,
            speed=10,
            bitspersample=bits,
            pixelformat=sampling,
            matrix=rng.choice([1, 6, 9]),
        )
    kind = f"AVIF {model}, {sampling}, {bits} bits, orientation {orientation}"
    if sampling in ("400", "444", "4:4:4"):
        return File(kind, data, upright(by_libvips(data), BACK[orientation]), orientation)
    # libheif fills them in otherwise than libavif, and may: no standard says how
    read = imagecodecs.avif_decode(data)
    return File(kind, data, as_rgb(read, 8 if read.dtype == np.uint8 else bits), orientation)


def heic(rng: Choice, monkeypatch: pytest.MonkeyPatch) -> File:
    """Without loss, so that what is shown is known: the only reader of HEIC in a library is the one that is tested."""
    colours = picture(rng)
    bits, model = rng.choice([8, 10, 12]), rng.choice(["L", "RGB", "RGBA"])
    orientation = rng.randint(1, 8)
    monkeypatch.setattr(pillow_heif.options, "SAVE_HDR_TO_12_BIT", bits == 12)
    values = {"L": gray(colours), "RGB": colours}.get(model, np.dstack([colours, colours[..., 0]]))
    stream = io.BytesIO()
    pillow_heif.encode(
        model if bits == 8 else f"{model};16",
        (WIDTH, HEIGHT),
        (values if bits == 8 else values.astype(np.uint16) * 257).tobytes(),
        stream,
        quality=-1,
        chroma=444,
        matrix_coefficients=0,
        exif=exif(orientation),
    )
    kind = f"HEIC {model}, {bits} bits, orientation {orientation}"
    shown = upright(as_rgb(values), orientation)
    return File(kind, stream.getvalue(), shown)


def jpeg2000(rng: Choice) -> File:
    colours = picture(rng)
    bits = rng.choice([1, 2, 4, 6, 8, 8, 8, 12, 16])
    model = rng.choice(["gray", "colour", "colour", "alpha"])
    values = {"gray": gray(colours), "colour": colours}.get(model, np.dstack([colours, colours[..., 0]]))
    options = {
        "codecformat": rng.choice(["jp2", "j2k"]),
        "reversible": rng.random() < 0.5,
        "mct": rng.random() < 0.5,
        "level": 0,
    }
    samples = values if bits == 8 else wide(values, bits)
    samples = samples.astype(np.uint8 if bits <= 8 else np.uint16)
    data = imagecodecs.jpeg2k_encode(samples, bitspersample=bits, **options)
    return File(
        f"JPEG 2000 {model}, {bits} bits, {options}", data, as_rgb(imagecodecs.jpeg2k_decode(data), bits)
    )


REFUSALS = re.compile("not read")
"""Words of the errors that name what is not read."""

GENERATORS: dict[Callable[..., File], int] = {
    jpeg: 70,
    png: 60,
    tiff: 60,
    bmp: 60,
    webp: 20,
    gif: 15,
    avif: 20,
    heic: 20,
    jpeg2000: 30,
}
"""The number of files of each format."""


@pytest.mark.parametrize("format", GENERATORS, ids=lambda format: format.__name__)
def test_no_file_is_read_otherwise_than_by_another_reader(
    format: Callable[..., File], monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = Choice(SEED)
    tolerance = TOLERANCE.get(format.__name__, 2)
    wrong, outcomes = [], Counter[str]()
    for _ in range(GENERATORS[format]):
        file = format(rng, monkeypatch) if format is heic else format(rng)
        try:
            pixels = decode(file.data, LIMITS).pixels
        except ImageError as error:
            assert REFUSALS.search(str(error)), f"{file.kind}: {error}"  # noqa: PT017
            outcomes["refused"] += 1
            continue
        outcomes["read"] += 1
        shown = upright(file.shown, file.orientation)
        if pixels.shape != shown.shape:
            wrong.append(f"{file.kind}: {pixels.shape}, not {shown.shape}")
        elif (off := np.abs(pixels.astype(int) - shown).max()) > tolerance:
            wrong.append(f"{file.kind}: off by {off}")
    assert not wrong, "\n".join(wrong)
    assert outcomes["read"] >= GENERATORS[format] // 2


ARITHMETIC = {
    "sequential": """
/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAYEBQYFBAYGBQYHBwYIChAKCgkJChQODwwQFxQYGBcUFhYaHSUfGhsjHBYWICwgIyYnKSopGR8tMC
0oMCUoKSj/2wBDAQcHBwoIChMKChMoGhYaKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCj/yQARCAAY
ACADASIAAhEBAxEB/8wACgAQEAUBEBEF/9oADAMBAAIRAxEAPwD/AMkM4HUD0T56KXv1kuQHxnDxKgUsAovsAbdtUZD6l/lKCQyuTJ6sYER4qB
Q4msvuoPkZVHQ+7Lt7Zqmn9xvgw5f3uI+KnlnbM09H2WP+sJSWHZfbXP/Z
""",
    "progressive": """
/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAYEBQYFBAYGBQYHBwYIChAKCgkJChQODwwQFxQYGBcUFhYaHSUfGhsjHBYWICwgIyYnKSopGR8tMC
0oMCUoKSj/2wBDAQcHBwoIChMKChMoGhYaKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCj/ygARCAAY
ACADASIAAhEBAxEB/8wABgAQARD/2gAMAwEAAhADEAAAAf8AkfdEyGNdxl+0IXXWOEhXpX/tduECkP/MAAQQBf/aAAgBAQABBQIYGQ3tvCTLXS
ilvDrC44D/zAAEEQX/2gAIAQMBAT8BFZgmsHNBcAZM/8wABBEF/9oACAECAQE/AR5VD1r/zAAEEAX/2gAIAQEABj8CwP/MAAQQBf/aAAgBAQAB
PyEfVUADFwEk/9oADAMBAAIAAwAAABA8UuH/zAAEEQX/2gAIAQMBAT8QUB3dzf/MAAQRBf/aAAgBAgEBPxAZ/wCw/8wABBAF/9oACAEBAAE/EK
oy7UhyyNj/2Q==
""",
}
"""JPEGs with arithmetic coding, which jpegtran writes and no library does."""


@pytest.mark.parametrize("kind", ARITHMETIC)
def test_a_jpeg_with_arithmetic_coding_is_read(kind: str) -> None:
    data = base64.b64decode(ARITHMETIC[kind])
    assert np.array_equal(decode(data, LIMITS).pixels, imagecodecs.jpeg8_decode(data))
