"""Memory of decoding: what is asked for, and what is refused."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from pyraface.core.errors import ErrorCode, ImageTooLargeError
from pyraface.core.images import large, memory
from pyraface.core.images.decode import decode
from pyraface.core.parameters import ImageLimits

LIMITS = ImageLimits()


def test_every_picture_that_was_accepted_under_a_limit_of_120_megapixels_still_is() -> None:
    for name in (*memory.DECODING, "PNG", "HEIC", "GIF"):
        for limit in (1_000_000, 120_000_000, 200_000_000):
            assert memory.needed(name, (12_000, 10_000), ImageLimits(max_pixels=limit)) <= 2_400_000_000


@pytest.mark.parametrize(("name", "most"), [("WebP", 150_000_000), ("JPEG 2000", 120_000_000)])
def test_a_decoder_that_would_take_too_much_is_refused_with_the_limit_and_the_remedy(
    name: str, most: int
) -> None:
    with pytest.raises(ImageTooLargeError) as caught:
        memory.needed(name, (16_000, 12_500), LIMITS)
    assert caught.value.code is ErrorCode.IMAGE_TOO_LARGE
    text = str(caught.value)
    assert f"16000 x 12500 are 200000000 pixels, and decoding a {name}" in text
    assert f"at most {most} are allowed; save it as JPEG or PNG, or raise params/images/max_pixels" in text
    remedy = int(text.rpartition(" ")[2])
    assert memory.needed(name, (16_000, 12_500), ImageLimits(max_pixels=remedy))


@pytest.mark.parametrize(
    ("mode", "options", "turned", "bytes_a_pixel"),
    [
        ("RGB", {}, False, 3),
        ("RGB", {}, True, 7),
        ("RGB", {"progressive": True}, False, 9),
        ("L", {}, False, 7),
        ("CMYK", {}, True, 7),
    ],
)
def test_a_jpeg_asks_for_as_much_as_its_kind_takes(
    mode: str, options: dict[str, bool], turned: bool, bytes_a_pixel: int
) -> None:
    stream = io.BytesIO()
    exif = Image.Exif()
    exif[274] = 6 if turned else 1
    Image.new(mode, (80, 60)).save(stream, "JPEG", exif=exif, **options)
    asked: list[int] = []
    decode(stream.getvalue(), LIMITS, admit=asked.append)
    assert asked == [80 * 60 * bytes_a_pixel]


def test_a_large_jpeg_is_turned_in_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large, "PIXELS", 80 * 60)
    image = Image.new("RGB", (80, 60))
    assert memory.of_jpeg(image, turned=True) == 4
    assert memory.of_jpeg(image, turned=False) == 3
