"""Animation: of several frames the first that is not blank is taken, its number told, and all are counted."""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import pillow_heif
import pytest
from PIL import Image

from pyraface.core.images import animation as module
from pyraface.core.images.decode import Picture, decode, pictures
from pyraface.core.pages import MAX_PAGES, Unread
from pyraface.core.parameters import ImageLimits
from tests.core.images.files import LIMITS, Pixels, difference, encoded

ANIMATED = ("GIF", "PNG", "WEBP", "AVIF")
BLANK = {"black": (0, 0, 0), "white": (255, 255, 255), "orange": (250, 120, 10)}


def frames(format: str, pictures: Sequence[Pixels | Image.Image], **options: Any) -> bytes:
    images = [one if isinstance(one, Image.Image) else Image.fromarray(one) for one in pictures]
    return encoded(images[0], format, save_all=True, append_images=images[1:], duration=100, **options)


def plain(colour: tuple[int, ...], mode: str = "RGB") -> Image.Image:
    return Image.new(mode, (180, 240), colour)


def variants(colour: tuple[int, int, int], count: int) -> list[Image.Image]:
    """Blank frames that differ, since Pillow writes equal ones as one."""
    return [plain(tuple(abs(value - number) for value in colour)) for number in range(count)]


@pytest.mark.parametrize("format", ANIMATED)
@pytest.mark.parametrize("colour", BLANK.values(), ids=BLANK)
@pytest.mark.parametrize("before", [1, 3])
def test_frames_of_one_colour_are_passed_over(
    format: str, colour: tuple[int, int, int], before: int, portrait: Pixels
) -> None:
    data = frames(format, [*variants(colour, before), Image.fromarray(portrait), plain((9, 9, 9))])
    picture = decode(data, LIMITS)
    assert (picture.page, picture.pictures) == (before, before + 2)
    assert (picture.width, picture.height) == (180, 240)
    assert difference(picture.pixels, portrait) <= 8


@pytest.mark.parametrize("format", ANIMATED)
def test_a_first_frame_with_a_picture_is_taken(format: str, portrait: Pixels) -> None:
    alone = decode(frames(format, [portrait]), LIMITS)
    assert (alone.page, alone.pictures) == (0, 1)
    animated = decode(frames(format, [portrait, plain((0, 0, 0)), plain((9, 0, 0))]), LIMITS)
    assert (animated.page, animated.pictures) == (0, 3)
    assert difference(animated.pixels, alone.pixels) <= (8 if format == "AVIF" else 0)


@pytest.mark.parametrize("format", ANIMATED)
def test_of_frames_that_are_all_blank_the_first_is_taken(format: str) -> None:
    picture = decode(frames(format, variants((200, 10, 10), 4)), LIMITS)
    assert (picture.page, picture.pictures) == (0, 4)
    assert np.abs(picture.pixels.astype(int) - (200, 10, 10)).max() <= 8


@pytest.mark.parametrize("format", ANIMATED)
def test_a_small_mark_on_one_colour_is_a_picture(format: str) -> None:
    marked = plain((0, 0, 0))
    marked.paste((255, 255, 255), (100, 200, 116, 216))
    assert decode(frames(format, [plain((0, 0, 0)), marked]), LIMITS).page == 1


@pytest.mark.parametrize("format", ["GIF", "PNG", "WEBP"])
def test_transparent_frames_are_judged_by_their_colours(format: str, portrait: Pixels) -> None:
    clear = plain((0, 0, 0, 0), "RGBA")
    shown = Image.fromarray(portrait).convert("RGBA")
    picture = decode(
        frames(format, [clear, shown], disposal=2) if format != "WEBP" else frames(format, [clear, shown]),
        LIMITS,
    )
    assert (picture.page, picture.pictures) == (1, 2)
    assert difference(picture.pixels, portrait) <= 8


@pytest.mark.parametrize(("noise", "page"), [(4, 1), (20, 0)])
def test_a_frame_of_nearly_one_colour_is_blank(noise: int, page: int, portrait: Pixels) -> None:
    near = np.random.default_rng(0).integers(100, 101 + noise, (240, 180, 3), np.uint8)
    assert decode(frames("PNG", [near, portrait]), LIMITS).page == page


def test_a_default_picture_that_is_no_frame_counts_as_the_first(portrait: Pixels) -> None:
    data = frames("PNG", [plain((0, 0, 0)), Image.fromarray(portrait), plain((9, 9, 9))], default_image=True)
    picture = decode(data, LIMITS)
    assert (picture.page, picture.pictures) == (1, 3)
    assert difference(picture.pixels, portrait) == 0


def test_a_png_that_only_says_that_it_is_animated_has_one_picture(portrait: Pixels) -> None:
    data = encoded(portrait, "PNG")
    chunk = struct.pack(">I4sII", 8, b"acTL", 2**32 - 1, 0) + b"\0\0\0\0"
    picture = decode(data[:33] + chunk + data[33:], LIMITS)
    assert (picture.page, picture.pictures) == (0, 1)


def damaged(format: str, data: bytes) -> bytes:
    """An animation whose frames after the first cannot be read."""
    if format == "GIF":
        second = data.index(b"\x21\xf9", data.index(b"\x2c", 13) + 10)
        return data[: second + 24]
    if format == "PNG":
        second = data.index(b"fdAT")
        return data[: second + 8] + bytes(40) + data[second + 48 :]
    second = data.index(b"ANMF", data.index(b"ANMF") + 4)
    return data[: second + 40] + bytes(len(data) - second - 40)


@pytest.mark.parametrize("format", ["GIF", "PNG", "WEBP"])
def test_a_frame_that_cannot_be_read_is_named_and_the_first_is_taken(format: str, portrait: Pixels) -> None:
    whole = frames(format, [plain((0, 0, 0)), Image.fromarray(portrait)])
    assert decode(whole, LIMITS).page == 1
    picture, *unread = pictures(damaged(format, whole), LIMITS)
    assert isinstance(picture, Picture)
    assert (picture.page, picture.pixels.max()) == (0, 0)
    ((number, reason),) = (one for one in unread if isinstance(one, Unread))
    assert number == 1
    assert format.lower() in reason.lower()
    assert picture.pictures == 2


def test_a_frame_that_enlarges_a_gif_beyond_the_limits_leaves_the_first_as_it_is() -> None:
    blank = [Image.new("P", (20, 10), number) for number in range(2)]
    blank[0].putpalette([0] * 6)
    data = bytearray(encoded(blank[0], "GIF"))
    second = data[data.index(b",") :]
    struct.pack_into("<H", second, 5, 5000)
    data[-1:] = second
    limits = ImageLimits(max_side=4000)
    picture, *unread = pictures(bytes(data), limits)
    assert isinstance(picture, Picture)
    assert (picture.width, picture.height, picture.page, picture.pictures) == (20, 10, 0, 2)
    assert [one.page for one in unread] == [1]


def test_frames_are_bounded_in_number_and_in_pixels(
    monkeypatch: pytest.MonkeyPatch, portrait: Pixels
) -> None:
    small = Image.fromarray(portrait).resize((18, 24))
    blank = [Image.new("RGB", (18, 24), (number, 0, 0)) for number in range(MAX_PAGES)]
    assert decode(frames("GIF", [*blank[:-1], small]), LIMITS).page == MAX_PAGES - 1
    beyond = decode(frames("GIF", [*blank, small]), LIMITS)
    assert (beyond.page, beyond.pictures) == (0, MAX_PAGES + 1)
    monkeypatch.setattr(module, "MAX_PAGE_PIXELS", 3 * 18 * 24)
    assert decode(frames("GIF", [*blank[:2], small]), LIMITS).page == 2
    assert decode(frames("GIF", [*blank[:3], small]), LIMITS).page == 0


@pytest.mark.parametrize("primary", range(3))
def test_of_a_heic_the_primary_image_is_taken_and_the_others_counted(primary: int, portrait: Pixels) -> None:
    file = pillow_heif.HeifFile()
    for number in range(3):
        file.add_from_pillow(
            Image.fromarray(portrait) if number == primary else Image.new("RGB", (64, 64), (90 * number,) * 3)
        )
    stream = io.BytesIO()
    file.save(stream, primary_index=primary)
    picture = decode(stream.getvalue(), LIMITS)
    assert (picture.page, picture.pictures) == (primary, 3)
    assert difference(picture.pixels, portrait) <= 8


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "HEIF", "AVIF", "JPEG2000"])
def test_a_file_with_one_picture_has_one(format: str, portrait: Pixels) -> None:
    for image in (Image.fromarray(portrait), plain((0, 0, 0))):
        picture, *others = pictures(encoded(image, format), LIMITS)
        assert isinstance(picture, Picture)
        assert (picture.page, picture.pictures, others) == (0, 1, [])
