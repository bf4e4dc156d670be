"""Pages: each picture of a TIFF is decoded for itself, and one that cannot be read is named and costs no other."""

from __future__ import annotations

import io
import struct
import sys
import weakref
from typing import Any

import numpy as np
import pytest
import tifffile

from pyraface.core.errors import ImageError, ImageTooLargeError, NotAnImageError
from pyraface.core.images import decode as module
from pyraface.core.images.decode import Picture, decode, pictures
from pyraface.core.images.memory import DECODING
from pyraface.core.pages import MAX_PAGES, Unread
from pyraface.core.parameters import ImageLimits
from tests.core.images.files import LIMITS, Pixels, encoded, stored

RED, GREEN, BLUE, BLACK, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (0, 0, 0), (255, 255, 255)


def plain(colour: tuple[int, int, int], width: int = 24, height: int = 16) -> Pixels:
    return np.full((height, width, 3), colour, np.uint8)


def tiff(*pages: Any, **options: Any) -> bytes:
    """A TIFF of pages: pixels, or (pixels, options of that page)."""
    stream = io.BytesIO()
    writer = {name: options.pop(name) for name in ("bigtiff", "byteorder") if name in options}
    with tifffile.TiffWriter(stream, **writer) as file:
        for page in pages:
            values, more = page if isinstance(page, tuple) else (page, {})
            photometric = "rgb" if values.ndim == 3 else "minisblack"
            file.write(values, metadata=None, **{"photometric": photometric, **options, **more})
    return stream.getvalue()


def looked_at(data: bytes, limits: ImageLimits = LIMITS) -> list[Any]:
    """(number, colour of the first pixel) of each picture, and (number, reason) of those that cannot be read."""
    found = list(pictures(data, limits))
    assert isinstance(found[0], Picture)
    return sorted(
        (one.page, one.reason) if isinstance(one, Unread) else (one.page, tuple(one.pixels[0, 0].tolist()))
        for one in found
    )


def count(data: bytes) -> int:
    return decode(data, LIMITS).pictures


@pytest.mark.parametrize(
    "options", [{}, {"bigtiff": True}, {"byteorder": ">"}, {"compression": "lzw"}], ids=str
)
def test_each_page_is_decoded(options: dict[str, Any]) -> None:
    data = tiff(plain(RED), plain(BLACK), plain(BLUE), **options)
    assert looked_at(data) == [(0, RED), (1, BLACK), (2, BLUE)]
    assert count(data) == 3


def test_pages_of_every_variant_stand_beside_each_other() -> None:
    wide = plain(GREEN).astype(np.uint16) * 257
    gray = np.full((16, 24), 128, np.uint8)
    data = tiff(
        wide,
        plain(RED),
        (
            plain(BLUE).astype(np.float32) / 255 * np.linspace(0.5, 1, 24)[None, :, None].astype(np.float32),
            {},
        ),
        (np.moveaxis(wide, -1, 0), {"planarconfig": "separate"}),
        (plain(RED), {"compression": "zlib"}),
        gray,
        (255 - plain(WHITE)[..., 0] // 2 * 2, {"photometric": "miniswhite"}),
        (np.dstack([plain(BLUE), gray]), {"extrasamples": ["unassalpha"]}),
    )
    colours = [colour for _, colour in looked_at(data)]
    assert colours[:2] == [GREEN, RED]
    assert colours[3:6] == [GREEN, RED, (128, 128, 128)]
    assert colours[7] == BLUE
    assert len(colours) == count(data) == 8


def test_pages_have_their_own_sizes_and_orientations() -> None:
    image = np.arange(20 * 30 * 3, dtype=np.uint16).reshape(20, 30, 3).astype(np.uint8)
    for kind in (np.uint8, np.uint16):
        wide = image.astype(kind) * (257 if kind is np.uint16 else 1)
        pages = [(wide, {"extratags": [(274, "H", 1, turn, True)]}) for turn in range(1, 9)]
        found = [one for one in pictures(tiff(*pages, wide[:7]), LIMITS) if isinstance(one, Picture)]
        assert [one.orientation for one in found] == [*range(1, 9), 1]
        for one in found[:8]:
            np.testing.assert_array_equal(stored(one.pixels, one.orientation), image)
        assert [(one.width, one.height) for one in found] == [(30, 20)] * 4 + [(20, 30)] * 4 + [(30, 7)]


THUMBNAIL: dict[str, Any] = {"subfiletype": 1}
NO_PAGES = {
    "a thumbnail": (plain(GREEN, 6, 4), THUMBNAIL),
    "a mask": (np.ones((16, 24), np.bool_), {"subfiletype": 4}),
    "a mask of a thumbnail": (np.ones((4, 6), np.bool_), {"subfiletype": 5}),
    "a mask by its meaning": (np.ones((16, 24), np.bool_), {"photometric": 4}),
}


@pytest.mark.parametrize("no_page", NO_PAGES.values(), ids=NO_PAGES)
def test_thumbnails_and_masks_are_no_pages(no_page: tuple[Any, dict[str, Any]]) -> None:
    data = tiff(no_page, plain(RED), no_page, no_page, plain(BLUE), no_page)
    assert looked_at(data) == [(0, RED), (1, BLUE)]
    assert count(data) == 2
    assert count(tiff(plain(RED), no_page)) == 1


def test_the_old_mark_of_a_thumbnail_counts() -> None:
    old = {"extratags": [(255, "H", 1, 2, True)]}
    data = tiff((plain(GREEN), old), plain(RED), (plain(GREEN), old))
    assert looked_at(data) == [(0, RED)]
    assert count(data) == 1


def test_a_multipage_mark_is_no_thumbnail() -> None:
    assert looked_at(tiff((plain(RED), {"subfiletype": 2}), (plain(BLUE), {"subfiletype": 2}))) == [
        (0, RED),
        (1, BLUE),
    ]


def directories(data: bytes | bytearray) -> list[tuple[int, int]]:
    """(place, place of the next one's offset) of each directory of a small TIFF."""
    found = []
    at = 4
    while (start := struct.unpack_from("<I", data, at)[0]) != 0:
        (entries,) = struct.unpack_from("<H", data, start)
        at = start + 2 + 12 * entries
        found.append((start, at))
    return found


def unreadable(data: bytes, page: int) -> bytes:
    """The file with the pixels of one page said to lie beyond its end."""
    start, end = directories(data)[page]
    changed = bytearray(data)
    for entry in range(start + 2, end, 12):
        if struct.unpack_from("<H", data, entry)[0] == 273:
            struct.pack_into("<I", changed, entry + 8, len(data) + 1000)
    return bytes(changed)


@pytest.mark.parametrize("damaged", range(4))
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_page_that_cannot_be_read_is_named_and_costs_no_other(
    damaged: int, compression: str | None
) -> None:
    colours = [RED, GREEN, BLUE, WHITE]
    data = unreadable(tiff(*map(plain, colours), compression=compression, predictor=False), damaged)
    found = looked_at(data)
    assert [number for number, _ in found] == [0, 1, 2, 3]
    for number, colour in enumerate(colours):
        if number != damaged:
            assert found[number][1] == colour
    reason = found[damaged][1]
    assert isinstance(reason, str)
    assert "a TIFF that is truncated" in reason
    assert "\n" not in reason
    assert count(data) == 4


def test_a_variant_that_is_not_read_is_named() -> None:
    data = tiff(plain(RED).astype(np.float64), plain(BLUE), plain(BLUE).astype(np.float64))
    found = looked_at(data)
    assert found[1] == (1, BLUE)
    assert "64 bits" in found[0][1]
    assert "64 bits" in found[2][1]


def test_a_chain_of_directories_that_ends_beyond_the_file_is_named() -> None:
    data = bytearray(tiff(plain(RED), plain(GREEN)))
    last = directories(data)[-1][1]
    struct.pack_into("<I", data, last, len(data) + 1000)
    found = looked_at(bytes(data))
    assert found[:2] == [(0, RED), (1, GREEN)]
    assert found[2][0] == 2
    assert "beyond its end" in found[2][1]
    assert count(bytes(data)) == 3


def test_a_file_cut_off_between_its_pages_gives_the_first_ones() -> None:
    data = tiff(plain(RED), plain(GREEN), plain(BLUE))
    found = looked_at(data[: directories(data)[2][0]])
    assert found[:2] == [(0, RED), (1, GREEN)]
    assert found[2][0] == 2


def test_if_no_page_can_be_read_the_error_is_that_of_the_first() -> None:
    with pytest.raises(
        ImageError, match=r"gray, 1 sample of 64 bits.*the first of 3 pages, and no other"
    ) as error:
        decode(tiff(*[np.zeros((16, 24))] * 3), LIMITS)
    with pytest.raises(ImageError) as error:
        decode(tiff(np.zeros((16, 24))), LIMITS)
    assert "pages" not in str(error.value)


def test_the_error_of_a_file_holds_no_pixels() -> None:
    data = unreadable(unreadable(tiff(plain(RED), plain(RED), compression="zlib"), 0), 1)
    with pytest.raises(ImageError, match="the first of 2 pages") as error:
        decode(data, LIMITS)
    assert error.value.__cause__ is None
    assert error.value.__context__ is None


def test_a_page_that_is_too_large_costs_no_other() -> None:
    limits = ImageLimits(max_pixels=1000)
    data = tiff(plain(RED, 100, 100), plain(BLUE), plain(GREEN, 100, 100))
    found = looked_at(data, limits)
    assert found[1] == (1, BLUE)
    assert "at most 1000" in found[0][1]
    assert "at most 1000" in found[2][1]
    with pytest.raises(ImageTooLargeError, match="the first of 2 pages"):
        decode(tiff(plain(RED, 100, 100), plain(RED, 100, 100)), limits)


def test_pages_are_bounded_in_number() -> None:
    data = tiff(*[plain(RED, 2, 2)] * (MAX_PAGES + 30))
    assert [number for number, _ in looked_at(data)] == list(range(MAX_PAGES))
    assert count(data) == MAX_PAGES + 30


def test_pages_are_bounded_in_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    data = tiff(*[plain(RED)] * 5)
    monkeypatch.setattr(module, "MAX_PAGE_PIXELS", 3 * 24 * 16)
    assert len(looked_at(data)) == 3
    monkeypatch.setattr(module, "MAX_PAGE_PIXELS", 1)
    assert looked_at(data) == [(0, RED)]
    assert count(data) == 5


def test_a_directory_without_a_size_is_no_picture() -> None:
    data = bytearray(tiff(plain(RED), plain(GREEN), plain(BLUE)))
    start, end = directories(data)[1]
    for entry in range(start + 2, end, 12):
        if struct.unpack_from("<H", data, entry)[0] in (256, 257):
            struct.pack_into("<H", data, entry, 305)
    assert looked_at(bytes(data)) == [(0, RED), (1, BLUE)]


def test_a_file_whose_only_directory_has_no_size_is_an_error() -> None:
    data = bytearray(tiff(plain(RED)))
    start, end = directories(data)[0]
    for entry in range(start + 2, end, 12):
        if struct.unpack_from("<H", data, entry)[0] == 256:
            struct.pack_into("<H", data, entry, 305)
    with pytest.raises(NotAnImageError, match="without pixels"):
        decode(bytes(data), LIMITS)


def test_a_picture_is_not_held_while_the_next_is_decoded() -> None:
    alive: list[Any] = []
    found: list[Any] = []

    def admit(_: int) -> None:
        assert [kept() for kept in alive] == [None] * len(found)

    for one in pictures(tiff(*[plain(RED, 300, 200)] * 3), LIMITS, admit=admit):
        assert isinstance(one, Picture)
        alive.append(weakref.ref(one.pixels))
        found.append(one.page)
        del one
    assert found == [0, 1, 2]


@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF"])
def test_a_file_is_not_held_while_its_last_picture_is_searched(format: str) -> None:
    data = encoded(plain(RED, 300, 200), format)
    before = sys.getrefcount(data)
    found = pictures(data, LIMITS)
    next(found)
    assert sys.getrefcount(data) == before
    assert list(found) == []


def test_each_page_is_admitted_before_it_is_decoded() -> None:
    asked: list[int] = []
    data = tiff(plain(RED), plain(GREEN, 10, 10), plain(BLUE, 5, 5).astype(np.uint16))
    found = pictures(data, LIMITS, admit=asked.append)
    for expected in ([24 * 16], [24 * 16, 100], [24 * 16, 100, 25]):
        next(found)
        assert asked == [DECODING["TIFF"] * pixels for pixels in expected]


def test_the_file_with_a_blank_page_gives_both(cases: Any) -> None:
    found = list(pictures((cases / "several_pictures_blank_first.tif").read_bytes(), LIMITS))
    assert [one.page for one in found] == [0, 1]
    assert all(isinstance(one, Picture) and one.pictures == 2 for one in found)
    second = found[1]
    assert isinstance(second, Picture)
    assert np.abs(second.pixels[16, [8, 24, 40]].astype(int) - [RED, GREEN, BLUE]).max() <= 3
