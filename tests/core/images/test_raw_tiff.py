"""core/images/raw_tiff.py: raw files are told from other TIFFs, and a preview that is no single JPEG is read or refused."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image

from pyraface.core.errors import ImageError, TruncatedImageError
from pyraface.core.images.decode import decode
from tests.core.images import raw_files
from tests.core.images.files import LIMITS, stored
from tests.core.images.raw_files import HEIGHT, WIDTH, dng, sensor
from tests.core.images.test_raw import assert_shows, scene

pytest.importorskip("rawpy", reason="rawpy is not installed: pip install '.[test]'")


def in_strips(rows: int) -> raw_files.Tags:
    """A preview of 300 x 200 pixels in JPEGs of so many rows each."""
    shown = scene(300, 200)
    strips = []
    for top in range(0, 200, rows):
        stream = io.BytesIO()
        Image.fromarray(shown[top : top + rows]).save(stream, "JPEG", quality=95, subsampling=0)
        strips.append(stream.getvalue())
    return raw_files.uncompressed(shown) | {
        (259, raw_files.SHORT): (7,),
        (262, raw_files.SHORT): (6,),
        (273, raw_files.LONG): tuple(strips),
        (278, raw_files.LONG): (rows,),
        (279, raw_files.LONG): tuple(map(len, strips)),
    }


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_preview_that_is_not_compressed_is_read(orientation: int) -> None:
    shown = scene(200, 300) if orientation == 6 else scene(300, 200)
    picture = decode(dng(stored(shown, orientation), orientation), LIMITS)
    assert (picture.width, picture.height) == ((HEIGHT, WIDTH) if orientation == 6 else (WIDTH, HEIGHT))
    np.testing.assert_array_equal(picture.pixels, shown)


@pytest.mark.parametrize("rows", [100, 120, 24])
def test_a_preview_in_several_strips_is_read_whole(rows: int) -> None:
    first = raw_files.Directory(
        {**in_strips(rows), **raw_files.camera("Test", "Camera", 1), **raw_files.DNG}, [sensor()]
    )
    picture = decode(raw_files.tiff([first]), LIMITS)
    assert (picture.width, picture.height) == (WIDTH, HEIGHT)
    assert_shows(picture)


def test_entries_without_a_value_make_no_raw_file() -> None:
    data = dng(scene(48, 32))
    for tag in (254, 256, 257, 258, 259, 262, 330, 50706):
        for kind in (1, 3, 4):
            at = data.find(tag.to_bytes(2, "little") + kind.to_bytes(2, "little"))
            if at >= 0:
                data = data[: at + 4] + bytes(4) + data[at + 8 :]
                with pytest.raises(ImageError):
                    decode(data, LIMITS)


def test_an_ordinary_tiff_is_no_raw_file() -> None:
    ordinary = raw_files.Directory({**raw_files.uncompressed(scene(48, 32)), (254, raw_files.LONG): (0,)})
    np.testing.assert_array_equal(decode(raw_files.tiff([ordinary]), LIMITS).pixels, scene(48, 32))


@pytest.mark.parametrize("gray", [b"I", b"M", b"C", b"R"])
def test_pixels_behind_the_header_of_a_tiff_make_no_raw_file(gray: bytes) -> None:
    pixels = gray * (48 * 32)
    assert raw_files.tiff([_gray(pixels)])[8:16] == gray * 8
    picture = decode(raw_files.tiff([_gray(pixels)]), LIMITS)
    assert (picture.pixels == gray[0]).all()


def _gray(pixels: bytes) -> raw_files.Directory:
    """A directory whose pixels, 48 x 32, lie directly behind the header, as libtiff writes it."""
    kinds = {
        256: (48,),
        257: (32,),
        258: (8,),
        259: (1,),
        262: (1,),
        277: (1,),
        278: (32,),
        279: (len(pixels),),
    }
    tags: raw_files.Tags = {(tag, raw_files.LONG): value for tag, value in kinds.items()}
    return raw_files.Directory({**tags, (273, raw_files.LONG): pixels})


def test_a_raw_file_of_phase_one_is_told_by_its_second_header() -> None:
    for start in (b"II*\0\x10\0\0\0IIII\1waR", b"MM\0*\0\0\0\x10MMMMRaw\1"):
        with pytest.raises(ImageError, match="a camera raw file"):
            decode(start.ljust(500, b"\0"), LIMITS)


def test_nothing_is_allocated_for_a_preview_that_is_larger_than_the_file() -> None:
    tags = raw_files.uncompressed(scene(60, 40)) | raw_files.DNG
    tags |= {(256, raw_files.LONG): (20_000,), (257, raw_files.LONG): (8000,), (279, raw_files.LONG): (0,)}
    for at in ([raw_files.Directory(tags, [sensor()])], [sensor(), raw_files.Directory(tags)]):
        with pytest.raises(TruncatedImageError, match="a preview is larger than the file"):
            decode(raw_files.tiff(at), LIMITS)


@pytest.mark.parametrize("tag", [256, 257, 258, 277, 279])  # width, height, bits, samples, bytes
@pytest.mark.parametrize("value", [0, 1, 65535, 2**31 - 1, 2**32 - 1])
def test_a_preview_that_says_what_is_not_so_gives_an_error_or_a_picture_of_its_size(
    tag: int, value: int
) -> None:
    data = dng(scene(300, 200))
    at = data.index(struct.pack("<H", tag))
    data = data[: at + 8] + struct.pack("<I", value) + data[at + 12 :]
    try:
        picture = decode(data, LIMITS)
    except ImageError as error:
        assert str(error).isprintable()  # noqa: PT017
    else:
        assert (picture.width, picture.height) == (raw_files.WIDTH, raw_files.HEIGHT)
        assert abs(picture.pixels.shape[1] / picture.pixels.shape[0] - 1.5) < 0.02
