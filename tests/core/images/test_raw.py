"""core/images/raw.py: a camera's raw file gives its largest preview, in the frame of the full picture, or a named error."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pyraface.core.errors import (
    ErrorCode,
    FormatNotReadError,
    ImageTooLargeError,
    TruncatedImageError,
)
from pyraface.core.images import formats
from pyraface.core.images.decode import Picture, decode
from pyraface.core.images.memory import PIXEL
from pyraface.core.parameters import ImageLimits
from tests.core.images import raw_files
from tests.core.images.files import LIMITS, Pixels, stored
from tests.core.images.raw_files import HEIGHT, MAKERS, WIDTH, dng, jpeg, sensor

pytest.importorskip("rawpy", reason="rawpy is not installed: pip install '.[test]'")

ON_ITS_SIDE = (5, 6, 7, 8)


def scene(width: int, height: int) -> Pixels:
    """A picture whose red grows to the right, and whose green grows downwards, so that each place has its colour."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([40 + x * 200 // width, 40 + y * 200 // height, np.full_like(x, 200)], -1).astype(
        np.uint8
    )


def assert_shows(
    picture: Picture, left: float = 0, top: float = 0, right: float = 1, bottom: float = 1, *, edge: int = 3
) -> None:
    """The scene lies at this part of the full picture, in shares of its sides; the rest is black.

    Args:
        edge: pixels at the edge of the scene that JPEG mixes with what is around it.
    """
    height, width, _ = picture.pixels.shape
    rows = slice(round(top * height), round(bottom * height))
    columns = slice(round(left * width), round(right * width))
    shown = picture.pixels[rows, columns].astype(int)
    expected = scene(shown.shape[1], shown.shape[0]).astype(int)
    assert np.abs(shown - expected)[edge:-edge, edge:-edge].max() <= 12
    outside = picture.pixels.copy()
    outside[max(rows.start - 2, 0) : rows.stop + 2, max(columns.start - 2, 0) : columns.stop + 2] = 0
    assert outside.max() == 0


@pytest.fixture
def without_rawpy(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    formats._installed.cache_clear()
    monkeypatch.setitem(sys.modules, "rawpy", None)
    yield
    formats._installed.cache_clear()


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
@pytest.mark.parametrize("kind", MAKERS)
def test_the_preview_is_upright_in_the_frame_of_the_full_picture(kind: str, orientation: int) -> None:
    size = (200, 300) if orientation in ON_ITS_SIDE else (300, 200)
    picture = decode(MAKERS[kind](jpeg(stored(scene(*size), orientation)), orientation), LIMITS)
    full = (HEIGHT, WIDTH) if orientation in ON_ITS_SIDE else (WIDTH, HEIGHT)
    assert (picture.width, picture.height, picture.orientation) == (*full, orientation)
    assert picture.pixels.shape == (size[1], size[0], 3)
    assert_shows(picture)


@pytest.mark.parametrize("orientation", [6, 8])
def test_a_preview_that_is_upright_already_is_not_turned_again(orientation: int) -> None:
    picture = decode(dng(jpeg(scene(200, 300)), orientation), LIMITS)
    assert (picture.width, picture.height, picture.orientation) == (HEIGHT, WIDTH, orientation)
    assert_shows(picture)


def test_the_exif_of_a_preview_counts_where_it_goes_with_the_full_picture() -> None:
    picture = decode(dng(jpeg(scene(300, 200), orientation=1), 3), LIMITS)
    assert (picture.width, picture.height) == (WIDTH, HEIGHT)
    assert_shows(picture)
    picture = decode(dng(jpeg(stored(scene(200, 300), 6), orientation=1), 6), LIMITS)
    assert (picture.width, picture.height) == (HEIGHT, WIDTH)
    assert_shows(picture)


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize(
    ("size", "part"),
    [
        ((320, 180), (0, 5 / 64, 1, 59 / 64)),  # 16:9 of 3:2
        ((240, 180), (1 / 18, 0, 17 / 18, 1)),  # 4:3
        ((200, 200), (1 / 6, 0, 5 / 6, 1)),  # 1:1
    ],
)
def test_a_cropped_preview_lies_in_the_middle_of_the_full_picture(
    size: tuple[int, int], part: tuple[float, float, float, float], orientation: int
) -> None:
    if orientation == 6:
        size, part = size[::-1], (part[1], part[0], part[3], part[2])
    picture = decode(dng(jpeg(stored(scene(*size), orientation)), orientation), LIMITS)
    assert (picture.width, picture.height) == ((HEIGHT, WIDTH) if orientation == 6 else (WIDTH, HEIGHT))
    height, width, _ = picture.pixels.shape
    assert abs(width / height / (picture.width / picture.height) - 1) < 0.01
    assert_shows(picture, *part)


def test_black_bars_around_a_preview_are_cut_off() -> None:
    for size, place in (((320, 240), (0, 13)), ((400, 214), (40, 0))):
        width, height = size[0] - 2 * place[0], size[1] - 2 * place[1]
        pixels = np.zeros((size[1], size[0], 3), np.uint8)
        pixels[place[1] : place[1] + height, place[0] : place[0] + width] = scene(width, height)
        picture = decode(dng(jpeg(pixels)), LIMITS)
        assert (picture.width, picture.height) == (WIDTH, HEIGHT)
        assert np.abs(np.subtract(picture.pixels.shape[:2], (height, width))).max() <= 2
        assert_shows(picture, edge=8)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_preview_lies_where_the_file_says_that_the_picture_was_cropped(orientation: int) -> None:
    # DefaultCropOrigin and DefaultCropSize: 480 x 320 from (100, 20)
    full = sensor(t50719_4=(100, 20), t50720_4=(480, 320))
    size = (160, 240) if orientation in ON_ITS_SIDE else (240, 160)
    picture = decode(dng(jpeg(stored(scene(*size), orientation)), orientation, full), LIMITS)
    left, top, right, bottom = 100 / 600, 20 / 400, 580 / 600, 340 / 400
    part = {
        1: (left, top, right, bottom),
        3: (1 - right, 1 - bottom, 1 - left, 1 - top),
        6: (1 - bottom, left, 1 - top, right),
        8: (top, 1 - right, bottom, 1 - left),
    }[orientation]
    assert_shows(picture, *part)


def test_the_largest_preview_is_taken() -> None:
    small, large = jpeg(np.full((40, 60, 3), 255, np.uint8)), jpeg(scene(300, 200))
    both = raw_files.tiff(
        [
            raw_files.Directory(
                raw_files.arw_tags(small),
                [raw_files.preview_directory(large), sensor(), raw_files.preview_directory(small)],
            )
        ]
    )
    assert_shows(decode(both, LIMITS))


def test_a_large_preview_is_decoded_at_the_fraction_that_the_full_picture_may_be() -> None:
    data = dng(jpeg(scene(WIDTH, HEIGHT)))
    asked = []

    def quarter(width: int, height: int) -> int:
        asked.append((width, height))
        return 4

    assert decode(data, LIMITS, reduction=quarter).pixels.shape == (HEIGHT // 4, WIDTH // 4, 3)
    half = dng(jpeg(scene(WIDTH // 2, HEIGHT // 2)))
    assert decode(half, LIMITS, reduction=quarter).pixels.shape == (HEIGHT // 4, WIDTH // 4, 3)
    assert asked == [(WIDTH, HEIGHT)] * 2


def test_pixels_are_admitted_before_they_are_decoded_with_the_borders() -> None:
    admitted: list[int] = []
    picture = decode(dng(jpeg(scene(200, 200))), LIMITS, admit=admitted.append)
    bytes_of_pixels = picture.pixels.size // 3 * PIXEL
    assert bytes_of_pixels <= sum(admitted) <= 1.1 * bytes_of_pixels


@pytest.mark.parametrize(
    "limits", [ImageLimits(max_pixels=WIDTH * HEIGHT - 1), ImageLimits(max_side=WIDTH - 1)]
)
def test_the_full_picture_is_within_the_limits(limits: ImageLimits) -> None:
    with pytest.raises(ImageTooLargeError):
        decode(dng(jpeg(scene(300, 200))), limits)


def test_a_preview_is_within_the_limits_too() -> None:
    with pytest.raises(ImageTooLargeError):
        decode(dng(jpeg(scene(900, 600))), ImageLimits(max_side=WIDTH))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (dng(jpeg(scene(72, 48))), "600 x 400 pixels whose largest preview has 72 x 48"),
        (dng(jpeg(scene(600, 100))), "600 x 400 pixels whose largest preview has 600 x 100"),
        (raw_files.tiff([raw_files.Directory({**sensor().tags, **raw_files.DNG})]), "without a preview"),
        (b"FUJIFILMCCD-RAW 0201".ljust(400, b"\0"), "that LibRaw does not know"),
        (b"\0\0\0\x18ftypcrx \0\0\0\1crx isom" + bytes(40), "that LibRaw does not know"),
        (b"II*\0\x10\0\0\0CR\2\0" + bytes(400), "that LibRaw does not know"),
    ],
)
def test_a_file_without_a_preview_of_use_is_refused_with_a_remedy(data: bytes, reason: str) -> None:
    with pytest.raises(
        FormatNotReadError, match=f"a camera raw file.*{reason}.* is not read: save it as"
    ) as raised:
        decode(data, LIMITS)
    assert (raised.value.code, raised.value.elsewhere) == (ErrorCode.FORMAT_NOT_READ, False)


@pytest.mark.parametrize("kind", MAKERS)
def test_a_file_that_is_cut_off_is_an_error(kind: str) -> None:
    whole = MAKERS[kind](jpeg(scene(300, 200)), 1)
    for share in (0.05, 0.1, 0.5):
        try:
            picture = decode(whole[: int(share * len(whole))], LIMITS)
        except (TruncatedImageError, FormatNotReadError) as error:
            assert str(error).isprintable()  # noqa: PT017
        else:
            assert_shows(picture)  # LibRaw needs what comes before


@pytest.mark.parametrize("kind", MAKERS)
def test_a_preview_that_ends_beyond_the_file_is_not_completed_from_memory(kind: str) -> None:
    """LibRaw's memory may hold the whole file from before."""
    whole = MAKERS[kind](jpeg(scene(300, 200)), 1)
    for cut in range(10, len(whole) // 3, 97):
        assert_shows(decode(whole, LIMITS))
        with contextlib.suppress(TruncatedImageError, FormatNotReadError):
            assert_shows(decode(whole[:-cut], LIMITS))


def test_a_damaged_preview_is_an_error() -> None:
    preview = jpeg(scene(300, 200))
    with pytest.raises(TruncatedImageError, match="a camera raw file that is truncated, damaged"):
        decode(dng(preview[: len(preview) // 2]), LIMITS)


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.usefixtures("without_rawpy")
def test_without_rawpy_another_server_may_read_it(kind: str) -> None:
    with pytest.raises(FormatNotReadError, match="pip install rawpy") as raised:
        decode(MAKERS[kind](jpeg(scene(300, 200)), 1), LIMITS)
    assert (raised.value.package, raised.value.elsewhere) == ("rawpy", True)


@pytest.mark.parametrize("name", ["IMG_4.CR2", "IMG_5.NEF"])
def test_stubs_are_refused_by_name(name: str, cases: Path) -> None:
    with pytest.raises(FormatNotReadError, match="a camera raw file that LibRaw does not know is not read"):
        decode((cases / "tree" / "photos" / name).read_bytes(), LIMITS)
