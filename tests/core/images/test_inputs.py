"""core/images/inputs.py and arrays.py: what may be passed as an image, and what becomes of pixels."""

from __future__ import annotations

import io
import pathlib
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pyraface.core.errors import ErrorCode, ImageError
from pyraface.core.images import arrays, inputs
from pyraface.core.images.decode import decode
from pyraface.core.parameters import ImageLimits

LIMITS = ImageLimits()
PIXELS = np.zeros((4, 5, 3), np.uint8)

GOOD: dict[str, Any] = {
    "str": "a.jpg",
    "path": pathlib.Path("a.jpg"),
    "bytes": b"abc",
    "bytearray": bytearray(b"abc"),
    "memoryview": memoryview(b"abc"),
    "file in memory": io.BytesIO(b"abc"),
    "array": PIXELS,
    "array that is not contiguous": np.zeros((4, 5, 4), np.uint8)[:, ::-1, 2::-1],
    "PIL image": Image.new("RGB", (5, 4)),
    "gray PIL image": Image.new("L", (5, 4)),
}

BAD: dict[str, tuple[Any, str]] = {
    "None": (None, "an image must be a path .*, not NoneType"),
    "a number": (3, "not int"),
    "a list": (["a.jpg"], "not list; for many images use map"),
    "a set of paths": ({"a.jpg"}, "not set; for many images use map"),
    "an array of floats": (PIXELS.astype(np.float32), r"not \(4, 5, 3\) float32"),
    "a gray array": (PIXELS[:, :, 0], r"not \(4, 5\) uint8"),
    "an array with alpha": (
        np.zeros((4, 5, 4), np.uint8),
        r"red, green, blue .*OpenCV.*not \(4, 5, 4\) uint8",
    ),
    "an array without pixels": (PIXELS[:0], r"not \(0, 5, 3\) uint8"),
    "a file of text": (io.StringIO("abc"), r'open\(path, "rb"\)'),
}


@pytest.mark.parametrize("image", GOOD.values(), ids=GOOD)
def test_every_form_of_an_image_passes(image: Any) -> None:
    assert inputs.checked(image) is image


@pytest.mark.parametrize(("image", "says"), BAD.values(), ids=BAD)
def test_anything_else_is_a_type_error_that_says_what_to_pass(image: Any, says: str) -> None:
    with pytest.raises(TypeError, match=says):
        inputs.checked(image)


@pytest.mark.parametrize("image", GOOD.values(), ids=GOOD)
def test_one_image_is_not_taken_for_many(image: Any) -> None:
    with pytest.raises(
        TypeError, match=r"map_faces takes an iterable of images, not one image \(.*\): pass \[image\]"
    ):
        inputs.checked_many(image, "map_faces")


@pytest.mark.parametrize("images", [3, None, object()], ids=["a number", "None", "an object"])
def test_what_is_no_iterable_is_not_taken_for_many(images: Any) -> None:
    with pytest.raises(TypeError, match="map takes an iterable of images, not "):
        inputs.checked_many(images, "map")


async def later() -> AsyncIterator[str]:
    yield "a.jpg"


MANY: dict[str, Callable[[], Any]] = {
    "list": lambda: ["a.jpg", b"abc", PIXELS],
    "tuple": lambda: ("a.jpg",),
    "nothing": list,
    "generator": lambda: (name for name in ["a.jpg"]),
    "four-dimensional array": lambda: np.zeros((2, 4, 5, 3), np.uint8),
    "asynchronous generator": later,
}


@pytest.mark.parametrize("images", MANY.values(), ids=MANY)
def test_iterables_of_both_kinds_are_many(images: Callable[[], Any]) -> None:
    inputs.checked_many(images(), "map")


def test_a_wrong_image_in_a_list_is_found_before_any_work_begins() -> None:
    with pytest.raises(TypeError, match="not int"):
        inputs.checked_many(["a.jpg", 3], "map")


def test_a_wrong_image_of_a_generator_comes_after_those_before_it() -> None:
    def images() -> Iterator[Any]:
        yield "a.jpg"
        yield 3

    checked = inputs.each_checked(images())
    assert next(checked) == "a.jpg"
    with pytest.raises(TypeError, match="not int"):
        next(checked)


def test_files_are_read_from_where_they_stand() -> None:
    file = io.BytesIO(b"abcdef")
    file.read(2)
    assert inputs.file_content(file) == b"cdef"
    assert inputs.file_content(memoryview(b"ab")) == b"ab"
    with tempfile.TemporaryFile("w+") as text, pytest.raises(TypeError, match="must return bytes, not str"):
        inputs.file_content(text)  # type: ignore[arg-type]


def of_mode(mode: str, astronaut: np.ndarray) -> Image.Image:
    image = Image.fromarray(astronaut[:64, :80])
    if mode == "I;16":
        return Image.fromarray(astronaut[:64, :80, 0].astype(np.uint16) * 257)
    return image.quantize(16) if mode == "P" else image.convert(mode)


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "CMYK", "I;16", "1", "LA"])
def test_pixels_of_a_pil_image_are_those_of_its_file(mode: str, astronaut: np.ndarray) -> None:
    image = of_mode(mode, astronaut)
    stream = io.BytesIO()
    image.save(stream, "TIFF")
    found = arrays.picture(image, LIMITS)
    np.testing.assert_array_equal(found.pixels, decode(stream.getvalue(), LIMITS).pixels)
    assert (found.width, found.height, found.orientation) == (80, 64, 1)
    assert found.pixels.flags.c_contiguous


def test_a_palette_with_transparency_warns_of_nothing_and_stays_what_it_was(astronaut: np.ndarray) -> None:
    image = of_mode("P", astronaut)
    image.info["transparency"] = bytes(range(16))
    assert arrays.picture(image, LIMITS).pixels.shape == (64, 80, 3)
    assert image.info["transparency"] == bytes(range(16))


def test_a_pil_image_is_not_turned_by_its_exif_orientation(astronaut: np.ndarray) -> None:
    stream, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(astronaut[:64, :80]).save(stream, "PNG", exif=exif)
    opened = Image.open(stream)
    np.testing.assert_array_equal(arrays.picture(opened, LIMITS).pixels, astronaut[:64, :80])


@pytest.mark.parametrize("image", [GOOD["array"], GOOD["array that is not contiguous"], GOOD["PIL image"]])
def test_pixels_become_a_file_and_come_back_without_loss(image: Any, astronaut: np.ndarray) -> None:
    for pixels in (image, astronaut, astronaut[::-2, ::-1]):
        file = arrays.lossless_file(pixels, LIMITS)
        np.testing.assert_array_equal(decode(file, LIMITS).pixels, np.asarray(pixels))


def test_a_pil_image_whose_file_is_cut_off_is_an_image_error(astronaut_jpeg: bytes) -> None:
    opened = Image.open(io.BytesIO(astronaut_jpeg[:20_000]))
    with pytest.raises(ImageError) as caught:
        arrays.picture(opened, LIMITS)
    assert caught.value.code is ErrorCode.IMAGE_TRUNCATED


@pytest.mark.parametrize("image", [PIXELS, Image.new("RGB", (5, 4))])
def test_pixels_beyond_the_limits_are_refused_like_files(image: Any) -> None:
    with pytest.raises(ImageError, match="max_pixels") as caught:
        arrays.picture(image, ImageLimits(max_pixels=19))
    assert caught.value.code is ErrorCode.IMAGE_TOO_LARGE
