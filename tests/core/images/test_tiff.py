"""core/images/tiff.py: a TIFF of any variant gives its own pixels or is refused by name."""

from __future__ import annotations

import contextlib
import io
import itertools
import random
import struct
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image
from skimage.color import rgb2lab

from pyraface.core.errors import FormatNotReadError, ImageError, TruncatedImageError
from pyraface.core.images import tiff
from pyraface.core.images.decode import decode
from tests.core.images.files import LIMITS, Pixels, encoded, stored

HEIGHT, WIDTH = 40, 56
TILE = (16, 16)
FULL_RANGE = {"u1": 255, "u2": 65535, "u4": 2**32 - 1, "i1": 127, "i2": 32767, "i4": 2**31 - 1}
FLOATS = ("f2", "f4", "f8")
CHUNKY, PLANES = "contig", "separate"
MODELS = ("gray", "white is zero", "gray, alpha", "RGB", "RGBA", "CMYK", "YCbCr")


def gradients() -> Pixels:
    """(HEIGHT, WIDTH, 3) uint8: each value of each channel, black and white among them."""
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    right, down = columns * 255 // (WIDTH - 1), rows * 255 // (HEIGHT - 1)
    return np.dstack([right, down, (right + down) // 2]).astype(np.uint8)


def as_numbers(values: NDArray[np.uint8], kind: str) -> NDArray[Any]:
    """Returns values from 0 to 255 as numbers of another type, which span its range."""
    if kind in FLOATS:
        return (values / 255).astype(kind)
    return (values.astype(np.float64) / 255 * FULL_RANGE[kind]).round().astype(kind)


def written(
    model: str,
    kind: str,
    *,
    planes: str = CHUNKY,
    order: str = "<",
    compression: str | None = None,
    predictor: bool = False,
    tiled: bool = False,
    big: bool = False,
    **more: Any,
) -> tuple[bytes, Pixels]:
    """Returns a TIFF of the gradients, made by another library, and the pixels that it shows."""
    colour = gradients()
    gray = np.ascontiguousarray(colour[..., 2])
    alpha = np.full_like(gray, 200)
    options: dict[str, Any] = {"photometric": "rgb"}
    shown = colour
    if model in ("gray", "white is zero", "gray, alpha"):
        shown = np.repeat(gray[..., None], 3, 2)
        white = model == "white is zero"
        values = as_numbers(255 - gray if white else gray, kind)
        options = {"photometric": "miniswhite" if white else "minisblack"}
        if model == "gray, alpha":
            values = np.dstack([values, as_numbers(alpha, kind)])
            options["extrasamples"] = ["unassalpha"]
    elif model == "RGBA":
        values = as_numbers(np.dstack([colour, alpha]), kind)
        options["extrasamples"] = ["unassalpha"]
    elif model == "CMYK":
        values = as_numbers(np.dstack([255 - colour, np.zeros_like(gray)]), kind)
        options = {"photometric": "separated"}
    elif model == "YCbCr":
        converted = Image.fromarray(colour).convert("YCbCr")
        values = as_numbers(np.asarray(converted), kind)
        shown = np.asarray(converted.convert("RGB"))
        options = {"photometric": "ycbcr", "subsampling": (1, 1)}
    else:
        values = as_numbers(colour, kind)
    if values.ndim == 3:
        options["planarconfig"] = planes
        if planes == PLANES:
            values = np.ascontiguousarray(np.moveaxis(values, -1, 0))
    if predictor:
        options["predictor"] = 3 if kind in FLOATS else 2
    stream = io.BytesIO()
    with tifffile.TiffWriter(stream, byteorder=order, bigtiff=big) as file:  # type: ignore[arg-type]
        file.write(
            values,
            metadata=None,
            compression=compression,
            tile=TILE if tiled else None,
            rowsperstrip=None if tiled else 7,
            **options,
            **more,
        )
    return stream.getvalue(), shown


def assert_shows(data: bytes, shown: Pixels, tolerance: int = 2) -> None:
    pixels = decode(data, LIMITS).pixels
    assert pixels.shape == shown.shape
    assert np.abs(pixels.astype(int) - shown).max() <= tolerance


INTEGERS = ("u1", "u2", "u4", "i2", "i4")
READ = {
    ("gray", CHUNKY): (*INTEGERS, "f2", "f4"),
    ("white is zero", CHUNKY): (*INTEGERS, "f2", "f4"),
    ("gray, alpha", CHUNKY): (*INTEGERS, "f2", "f4"),
    ("RGB", CHUNKY): (*INTEGERS, "f2", "f4"),
    ("RGBA", CHUNKY): (*INTEGERS, "f2", "f4"),
    ("CMYK", CHUNKY): (*INTEGERS, "f2", "f4"),
    ("RGB", PLANES): (*INTEGERS, "f4"),
    ("RGBA", PLANES): (*INTEGERS, "f4"),
    ("CMYK", PLANES): (*INTEGERS, "f4"),
    ("YCbCr", CHUNKY): ("u1",),
}


@pytest.mark.parametrize(("model", "planes"), READ, ids=str)
def test_these_variants_are_read(model: str, planes: str) -> None:
    for kind, order in itertools.product(READ[model, planes], "<>"):
        for compression in (None, "zlib", "lzw"):
            assert_shows(*written(model, kind, planes=planes, order=order, compression=compression))
        if model != "YCbCr":
            assert_shows(*written(model, kind, planes=planes, order=order, compression="lzw", predictor=True))
            assert_shows(*written(model, kind, planes=planes, order=order, big=True))
        if planes == CHUNKY:
            assert_shows(*written(model, kind, order=order, compression="zlib", tiled=True))


@pytest.mark.parametrize(
    ("model", "kind", "planes"),
    [
        ("gray", "f8", CHUNKY),
        ("RGB", "i1", CHUNKY),
        ("RGB", "f2", PLANES),
        ("gray, alpha", "u2", PLANES),
        ("YCbCr", "u2", CHUNKY),
    ],
)
def test_these_variants_are_refused_by_name(model: str, kind: str, planes: str) -> None:
    data, _ = written(model, kind, planes=planes)
    bits = f"of {int(kind[1]) * 8} bits"
    with pytest.raises(FormatNotReadError, match=rf"a TIFF \(.*{bits}.*\) is not read: save it as"):
        decode(data, LIMITS)


def variants(count: int, seed: int) -> Iterator[dict[str, Any]]:
    choice = random.Random(seed).choice
    for _ in range(count):
        compression = choice([None, "zlib", "lzw", "packbits", "zstd"])
        yield {
            "model": choice(MODELS),
            "kind": choice([*FULL_RANGE, *FLOATS]),
            "planes": choice([CHUNKY, PLANES]),
            "order": choice("<>"),
            "compression": compression,
            "predictor": compression in ("zlib", "lzw") and choice([False, True]),
            "tiled": choice([False, True]),
            "big": choice([False, True]),
        }


def test_no_variant_is_read_wrong() -> None:
    outcomes = {"read": 0, "refused": 0}
    for options in variants(300, seed=7):
        try:
            data, shown = written(**options)
        except (ValueError, NotImplementedError):
            continue  # a combination that the other library does not write
        try:
            pixels = decode(data, LIMITS).pixels
        except FormatNotReadError:
            outcomes["refused"] += 1
        else:
            assert np.abs(pixels.astype(int) - shown).max() <= 2, options
            outcomes["read"] += 1
    assert outcomes["read"] > 100
    assert sum(outcomes.values()) > 200


@pytest.mark.parametrize("order", ["<", ">"])
def test_gray_of_12_bits_is_read_or_refused(order: str) -> None:
    values = (gradients()[..., 2].astype(int) * 4095 // 255).astype(np.uint16)
    stream = io.BytesIO()
    with tifffile.TiffWriter(stream, byteorder=order) as file:  # type: ignore[arg-type]
        file.write(values, photometric="minisblack", bitspersample=12, metadata=None)
    shown = np.repeat(gradients()[..., 2:], 3, 2)
    if order == "<":
        assert_shows(stream.getvalue(), shown)
    else:
        with pytest.raises(FormatNotReadError, match="12 bits"):
            decode(stream.getvalue(), LIMITS)


@pytest.mark.parametrize("kind", ["u1", "u2"])
def test_lab_is_read(kind: str) -> None:
    colours = gradients() // 2 + 64
    lab = rgb2lab(colours)
    scale = 1 if kind == "u1" else 256
    light = (lab[..., 0] / 100 * (255 if kind == "u1" else 65280)).round().astype(kind)
    others = (lab[..., 1:] * scale).round().astype(kind.replace("u", "i")).view(kind)
    stream = io.BytesIO()
    with tifffile.TiffWriter(stream) as file:
        file.write(np.dstack([light, others]), photometric="cielab", metadata=None)
    pixels = decode(stream.getvalue(), LIMITS).pixels
    # 8 bits are a step of up to 20 in strong colours
    assert np.abs(pixels.astype(int) - colours).max() <= (20 if kind == "u1" else 2)
    assert np.abs(pixels.astype(int) - colours).mean() <= (1.5 if kind == "u1" else 1)


@pytest.mark.parametrize("bits", [1, 2, 4])
@pytest.mark.parametrize("white_is_zero", [False, True])
def test_few_bits_are_read(bits: int, white_is_zero: bool, portrait: Pixels) -> None:
    most = 2**bits - 1
    values = (portrait[..., 0].astype(int) * most // 255).astype(np.uint8)
    stream = io.BytesIO()
    meaning = "miniswhite" if white_is_zero else "minisblack"
    with tifffile.TiffWriter(stream) as file:
        file.write(values, photometric=meaning, bitspersample=bits, metadata=None)
    gray = values * (255 // most)
    assert_shows(
        stream.getvalue(), np.repeat((255 - gray if white_is_zero else gray)[..., None], 3, 2), tolerance=0
    )


def test_a_palette_is_read_and_one_of_16_bits_is_refused(portrait: Pixels) -> None:
    image = Image.fromarray(portrait).quantize(256)
    assert_shows(encoded(image, "TIFF"), np.asarray(image.convert("RGB")), tolerance=0)
    stream = io.BytesIO()
    table = np.zeros((3, 65536), np.uint16)
    tifffile.imwrite(
        stream, portrait[..., 0].astype(np.uint16), photometric="palette", colormap=table, metadata=None
    )
    with pytest.raises(FormatNotReadError, match="palette, 1 sample of 16 bits"):
        decode(stream.getvalue(), LIMITS)


@pytest.mark.parametrize("compression", ["tiff_lzw", "jpeg", "group4", "tiff_adobe_deflate", "packbits"])
def test_compressions_of_8_bits_are_read(compression: str, portrait: Pixels) -> None:
    image = Image.fromarray(portrait)
    image = image.convert("1") if compression == "group4" else image
    shown = np.asarray(image.convert("RGB"))
    decoded = decode(encoded(image, "TIFF", compression=compression), LIMITS).pixels
    assert np.abs(decoded.astype(int) - shown).mean() < (4 if compression == "jpeg" else 0.1)


@pytest.mark.parametrize("compression", [None, "zlib", "lzw"])
@pytest.mark.parametrize("tiled", [False, True])
@pytest.mark.parametrize("kind", ["u1", "u2", "f4"])
def test_a_tiff_that_is_cut_off_is_an_error(kind: str, tiled: bool, compression: str | None) -> None:
    data, _ = written("RGB", kind, compression=compression, tiled=tiled)
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page = file.pages[0]
        assert isinstance(page, tifffile.TiffPage)
        last = max(page.dataoffsets)
    with pytest.raises(TruncatedImageError):
        decode(data[: last + 20], LIMITS)


@pytest.mark.parametrize("tiled", [False, True])
def test_damaged_pixels_are_an_error(tiled: bool) -> None:
    data, _ = written("RGB", "u2", compression="zlib", tiled=tiled)
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page = file.pages[0]
        assert isinstance(page, tifffile.TiffPage)
        at, length = page.dataoffsets[2], page.databytecounts[2]
    with pytest.raises(TruncatedImageError):
        decode(data[:at] + bytes(length) + data[at + length :], LIMITS)


@pytest.mark.parametrize("kind", ["u1", "u2"])
def test_the_first_picture_that_is_no_thumbnail_counts(kind: str) -> None:
    stream = io.BytesIO()
    with tifffile.TiffWriter(stream) as file:
        small = as_numbers(gradients()[::4, ::4], kind)
        file.write(small, photometric="rgb", subfiletype=1, metadata=None)
        file.write(as_numbers(gradients(), kind), photometric="rgb", metadata=None)
        file.write(small, photometric="rgb", metadata=None)
    assert_shows(stream.getvalue(), gradients())


def test_a_file_of_thumbnails_is_a_camera_raw_file() -> None:
    stream = io.BytesIO()
    with tifffile.TiffWriter(stream) as file:
        file.write(gradients(), photometric="rgb", subfiletype=1, metadata=None)
    with pytest.raises(FormatNotReadError, match="camera raw file"):
        decode(stream.getvalue(), LIMITS)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["u1", "u2"])
def test_orientations_are_applied_to_each_variant(kind: str, orientation: int) -> None:
    data, shown = written("RGB", kind, extratags=[(274, "H", 1, orientation, True)])
    picture = decode(data, LIMITS)
    assert picture.orientation == orientation
    np.testing.assert_array_equal(stored(picture.pixels, orientation), shown)


def test_numbers_that_are_none_are_black_or_white() -> None:
    values = np.linspace(-3, 5, HEIGHT * WIDTH * 3, dtype=np.float32).reshape(HEIGHT, WIDTH, 3)
    values[0, :3, 0] = np.nan, np.inf, -np.inf
    stream = io.BytesIO()
    tifffile.imwrite(stream, values, photometric="rgb", metadata=None)
    pixels = decode(stream.getvalue(), LIMITS).pixels
    assert pixels[0, :3, 0].tolist() == [0, 255, 0]
    assert (pixels[-1, -1, -1], pixels[0, 0, 1]) == (255, 0)


def test_a_directory_that_follows_itself_ends() -> None:
    data = bytearray(written("RGB", "u1", subfiletype=1)[0])
    start = int.from_bytes(data[4:8], "little")
    count = int.from_bytes(data[start : start + 2], "little")
    at = start + 2 + 12 * count
    data[at : at + 4] = data[4:8]
    with pytest.raises(FormatNotReadError):
        tiff.pictures(bytes(data))


def overlapping(entries: int, directories: int = 4000) -> bytes:
    """A BigTIFF whose directories, each of so many entries, begin eight bytes apart, and thus share most of their entries.

    Each says that it is a thumbnail, so that a reader goes on to the next. An entry has 20 bytes: one of five entries that
    say so falls on the pace of every directory. No place of a directory is equal to a tag.
    """
    begin = 1024
    shared = begin + 8 + 8 * directories
    data = bytearray(shared + 20 * max(entries, 1000) + 8)
    data[:16] = b"II+\0\x08\0\0\0" + begin.to_bytes(8, "little")
    for number in range(directories):
        at = begin + 8 * number
        data[at : at + 8] = entries.to_bytes(8, "little")
        end = at + 8 + 20 * entries
        following = at + 8 if number + 1 < directories else 0
        if end + 8 <= len(data):
            data[end : end + 8] = following.to_bytes(8, "little")
    for number in range(5):
        # NewSubfileType, one 32-bit number: 1, a thumbnail
        at = shared + 28 * number
        data[at : at + 20] = struct.pack("<HHQQ", 254, 4, 1, 1)
    return bytes(data)


@pytest.mark.parametrize("entries", [4000, 400_000, 2**61])
def test_directories_without_end_end_soon(entries: int) -> None:
    data = (
        overlapping(entries) if entries < 2**61 else overlapping(1000)[:1024] + entries.to_bytes(8, "little")
    )
    started = time.process_time()
    with contextlib.suppress(ImageError):
        tiff.pictures(data)
    assert time.process_time() - started < 2


@pytest.mark.parametrize(
    ("file", "right"),
    [
        ("tiff_wrong_pixels/rgb16_planar.tif", [(255, 0, 0), (0, 255, 0), (0, 0, 255)]),
        ("tiff_wrong_pixels/gray16_white_is_zero.tif", [(0,) * 3, (128,) * 3, (255,) * 3]),
        ("tiff_wrong_pixels/gray12.tif", [(0,) * 3, (128,) * 3, (255,) * 3]),
        ("tiff_refused/gray16_white_is_zero_be.tif", [(0,) * 3, (128,) * 3, (255,) * 3]),
        ("tiff_refused/rgb32float.tif", [(255, 0, 0), (0, 255, 0), (0, 0, 255)]),
        ("tiff_refused/thumbnail_first.tif", [(255, 0, 0), (0, 255, 0), (0, 0, 255)]),
    ],
)
def test_files_of_other_programs_are_read(file: str, right: list[tuple[int, ...]], cases: Any) -> None:
    pixels = decode((cases / file).read_bytes(), LIMITS).pixels
    assert pixels.shape == (32, 48, 3)
    assert np.abs(pixels[16, [8, 24, 40]].astype(int) - right).max() <= 3


def entry(data: bytearray, tag: int) -> int:
    """Returns the place of an entry in the first directory of a little-endian TIFF."""
    (at,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, at)
    return next(
        place
        for place in range(at + 2, at + 2 + 12 * count, 12)
        if data[place : place + 2] == struct.pack("<H", tag)
    )


def without_its_last_byte(data: bytearray, at: int) -> None:
    count, place = struct.unpack_from("<II", data, at + 4)
    data[place + count - 1] = ord("x")


SOFTWARE, DATE, UNIT, PROFILE = 305, 306, 296, 34675
FAULTS: dict[str, tuple[int, Callable[[bytearray, int], object]]] = {
    "Software without its last byte": (SOFTWARE, without_its_last_byte),
    "Software of no bytes": (SOFTWARE, lambda data, at: struct.pack_into("<I", data, at + 4, 0)),
    "Software beyond the file": (SOFTWARE, lambda data, at: struct.pack_into("<I", data, at + 8, 1 << 30)),
    "a profile beyond the file": (PROFILE, lambda data, at: struct.pack_into("<I", data, at + 8, 1 << 30)),
    "a profile of no bytes": (PROFILE, lambda data, at: struct.pack_into("<I", data, at + 4, 0)),
    "a date of 10 characters": (DATE, lambda data, at: struct.pack_into("<I", data, at + 4, 10)),
    "two units of resolution": (UNIT, lambda data, at: struct.pack_into("<I", data, at + 4, 2)),
    "a tag out of order": (SOFTWARE, lambda data, at: struct.pack_into("<H", data, at, 60000)),
}


@pytest.mark.filterwarnings("ignore::UserWarning")  # a worker silences Pillow's warnings
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("kind", ["u1", "u2", "f4"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_fault_in_an_entry_that_no_pixel_needs_costs_no_picture(
    fault: str, kind: str, compression: str | None
) -> None:
    data, shown = written(
        "RGB",
        kind,
        compression=compression,
        predictor=compression is not None and kind != "u1",
        software="a scanner's program",
        datetime="2020:01:01 00:00:00",
        resolution=(300, 300),
        iccprofile=bytes(200),
    )
    tag, spoil = FAULTS[fault]
    spoiled = bytearray(data)
    spoil(spoiled, entry(spoiled, tag))
    assert_shows(bytes(spoiled), shown)


def test_damaged_pixels_beside_such_a_fault_are_an_error_all_the_same() -> None:
    data, _ = written("RGB", "u2", compression="zlib", software="a scanner's program")
    spoiled = bytearray(data)
    without_its_last_byte(spoiled, entry(spoiled, SOFTWARE))
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page = file.pages[0]
        assert isinstance(page, tifffile.TiffPage)
        at, length = page.dataoffsets[2], page.databytecounts[2]
    spoiled[at : at + length] = bytes(length)
    with pytest.raises(TruncatedImageError):
        decode(bytes(spoiled), LIMITS)
