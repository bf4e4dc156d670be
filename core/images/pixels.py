"""Pixels: a picture of any mode converted to RGB and turned upright, strip by strip."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any, cast

import numpy as np
import pyvips
from numpy.typing import NDArray
from PIL import Image, ImageCms

from .orientation import ON_ITS_SIDE

STRIP_PIXELS = 1 << 20
"""Pixels converted at a time: a strip takes a few MB beside the picture and the result."""

BLANK_RANGE = 8
"""Difference, of 255, between the darkest and the lightest value of a channel in a frame of one colour: formats that lose
detail write one colour as several that look the same."""

_TRANSPOSED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""The operation that brings an image of each EXIF orientation upright (EXIF 2.32, tag 0x0112)."""
_LAST_ROW_FIRST = {3, 4, 6, 7}


VipsImage = Any
"""An image of libvips, which has no types."""

Source = Image.Image | NDArray[np.uint8] | VipsImage
"""A picture: a loaded image; an array, (height, width, 3), RGB; or an image of libvips, uchar, gray, RGB or CMYK, which is
decoded as it is read, once, from top to bottom."""

_MODES = {1: "L", 3: "RGB", 4: "CMYK"}
"""Pillow's name of what an image of libvips holds, by its bands."""


def upright(image: Source, orientation: int, *, white: int = 65535) -> NDArray[np.uint8]:
    """Returns the pixels, (height, width, 3) uint8, of a picture, turned upright from an EXIF orientation.

    It works strip by strip: converting and turning the whole image would take another 4 bytes a pixel each, and
    np.asarray two more copies of 3 bytes a pixel.

    Args:
        white: value of white in a gray image of more than 8 bits without a sign.
    """
    if orientation not in _TRANSPOSED:
        if isinstance(image, np.ndarray):
            return image
        if isinstance(image, pyvips.Image) and image.bands == 3:
            whole: NDArray[np.uint8] = image.numpy()
            return whole
    width, height = _size(image)
    ranged = isinstance(image, Image.Image) and image.mode in ("I", "F")
    value_range = _value_range(image) if ranged else None
    turned = orientation in ON_ITS_SIDE
    pixels = np.empty((width, height, 3) if turned else (height, width, 3), np.uint8)
    for top, strip in _strips(image):
        rgb = _rgb(strip, white, value_range)
        if orientation in _TRANSPOSED:
            rgb = rgb.transpose(_TRANSPOSED[orientation])
        start = height - top - strip.height if orientation in _LAST_ROW_FIRST else top
        part = slice(start, start + strip.height)
        pixels[(slice(None), part) if turned else part] = np.asarray(rgb)
    return pixels


def is_blank(image: Image.Image) -> bool:
    """Returns whether a loaded image has one colour, within BLANK_RANGE, whatever its alpha."""
    low, high = [255] * 3, [0] * 3
    for _, strip in _strips(image):
        strip.info.pop("transparency", None)  # of the strip alone: Pillow would warn of it
        for band, (least, most) in enumerate(
            cast("tuple[tuple[int, int], ...]", strip.convert("RGB").getextrema())
        ):
            low[band], high[band] = min(low[band], least), max(high[band], most)
        if any(most - least > BLANK_RANGE for least, most in zip(low, high, strict=True)):
            return False
    return True


def _size(image: Source) -> tuple[int, int]:
    return (image.shape[1], image.shape[0]) if isinstance(image, np.ndarray) else (image.width, image.height)


def _strips(image: Source) -> Iterator[tuple[int, Image.Image]]:
    """Yields (top row, strip of whole rows)."""
    width, height = _size(image)
    rows = max(1, STRIP_PIXELS // width)
    # one thread asks for the strips of an image of libvips: several would not ask for them in order
    region = pyvips.Region.new(image) if isinstance(image, pyvips.Image) else None
    for top in range(0, height, rows):
        end = min(top + rows, height)
        if isinstance(image, np.ndarray):
            yield top, Image.fromarray(image[top:end])
        elif region is not None:
            strip = region.fetch(0, top, width, end - top)
            mode = _MODES[len(strip) // (width * (end - top))]
            yield top, Image.frombuffer(mode, (width, end - top), strip, "raw", mode, 0, 1)
        else:
            yield top, image.crop((0, top, width, end))


def _value_range(image: Source) -> tuple[float, float]:
    """Returns the (smallest, largest) finite value, (0, 0) where there is none."""
    low, high = np.inf, -np.inf
    for _, strip in _strips(image):
        values = np.asarray(strip)
        values = values[np.isfinite(values)]
        if values.size:
            low, high = min(low, float(values.min())), max(high, float(values.max()))
    return (low, high) if low <= high else (0.0, 0.0)


def _rgb(strip: Image.Image, white: int, value_range: tuple[float, float] | None) -> Image.Image:
    if strip.mode.startswith("I;16"):
        # Pillow itself would clip every value above 255
        gray = (np.asarray(strip).astype(np.uint32) * 255 + white // 2) // white
        strip = Image.fromarray(gray.astype(np.uint8))
    elif value_range is not None:
        low, high = value_range
        scale = 255 / (high - low) if high > low else 0.0
        values = np.nan_to_num(np.asarray(strip).astype(np.float64), nan=low, posinf=high, neginf=low)
        strip = Image.fromarray(np.clip((values - low) * scale + 0.5, 0, 255).astype(np.uint8))
    elif strip.mode == "LAB":
        strip = cast("Image.Image", ImageCms.applyTransform(strip, _lab_to_rgb()))  # not in place
    return strip if strip.mode == "RGB" else strip.convert("RGB")


@functools.cache
def _lab_to_rgb() -> ImageCms.ImageCmsTransform:
    lab, rgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    return ImageCms.buildTransform(lab, rgb, "LAB", "RGB")
