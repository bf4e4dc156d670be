"""Large pictures: the same pixels as Pillow's, in less memory."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from pyraface.core.errors import TruncatedImageError
from pyraface.core.images import large
from pyraface.core.images.decode import decode
from pyraface.core.parameters import ImageLimits

SIDES = 1500, 1100
LIMITS = ImageLimits()


@pytest.fixture(autouse=True)
def low_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every picture of the tests counts as large."""
    monkeypatch.setattr(large, "PIXELS", 1)


def picture(mode: str = "RGB") -> Image.Image:
    noise = np.random.default_rng(1).integers(0, 256, (SIDES[1] // 4, SIDES[0] // 4, 4), np.uint8)
    return Image.fromarray(noise).resize(SIDES).convert(mode)


def file(image: Image.Image, kind: str, orientation: int = 1, **options: object) -> bytes:
    stream = io.BytesIO()
    exif = Image.Exif()
    exif[274] = orientation
    image.save(stream, kind, exif=exif, **options)
    return stream.getvalue()


def with_pillow(data: bytes, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    with monkeypatch.context() as patch:
        patch.setattr(large, "PIXELS", 1 << 40)
        return decode(data, LIMITS).pixels


KINDS: dict[str, tuple[str, Callable[[int], bytes]]] = {
    "a JPEG": ("JPEG", lambda turn: file(picture(), "JPEG", turn)),
    "one with all colours of each pixel": ("JPEG", lambda turn: file(picture(), "JPEG", turn, subsampling=0)),
    "a progressive one": ("JPEG", lambda turn: file(picture(), "JPEG", turn, progressive=True)),
    "a PNG": ("PNG", lambda turn: file(picture(), "PNG", turn)),
    "one with alpha": ("PNG", lambda turn: file(picture("RGBA"), "PNG", turn)),
    "one with a palette": ("PNG", lambda turn: file(picture("P"), "PNG", turn)),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("turn", range(1, 9))
def test_a_large_picture_has_the_same_pixels_as_any_other(
    kind: str, turn: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, make = KINDS[kind]
    data = make(turn)
    found = decode(data, LIMITS)
    assert np.array_equal(found.pixels, with_pillow(data, monkeypatch))
    assert found.orientation == turn
    assert found.pixels.flags.c_contiguous
    assert (found.width, found.height) == (SIDES if turn < 5 else SIDES[::-1])
    assert large.decoded(name, data, turn) is not None


def test_a_png_of_16_bits_too(monkeypatch: pytest.MonkeyPatch) -> None:
    pyvips = pytest.importorskip("pyvips")
    wide = np.random.default_rng(0).integers(0, 1 << 16, (300, 200, 3), np.uint16)
    data: bytes = pyvips.Image.new_from_array(wide, interpretation="rgb16").pngsave_buffer(bitdepth=16)
    assert large.decoded("PNG", data, 1) is not None
    assert np.array_equal(decode(data, LIMITS).pixels, with_pillow(data, monkeypatch))


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_a_heic_too(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    heif = pytest.importorskip("pillow_heif")
    stream = io.BytesIO()
    heif.from_pillow(picture(mode).resize((333, 255))).save(stream, quality=70)
    data = stream.getvalue()
    assert (large.decoded("HEIC", data, 1) is not None) == (mode == "RGB")
    assert np.array_equal(decode(data, LIMITS).pixels, with_pillow(data, monkeypatch))


@pytest.mark.parametrize(
    ("kind", "mode"), [("JPEG", "L"), ("JPEG", "CMYK"), ("PNG", "L"), ("PNG", "LA"), ("PNG", "1")]
)
def test_kinds_that_pillow_decodes_stay_with_it(
    kind: str, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = file(picture(mode), kind, 6)
    assert large.decoded(kind, data, 6) is None
    assert np.array_equal(decode(data, LIMITS).pixels, with_pillow(data, monkeypatch))


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_file_that_is_cut_off_is_an_error_that_says_how_much_there_is(kind: str) -> None:
    data = file(picture(), kind, 6)
    with pytest.raises(TruncatedImageError, match=r"about \d+% of the picture is there"):
        decode(data[: len(data) // 2], LIMITS)
