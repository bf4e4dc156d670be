"""Memory: the bytes that decoding a picture takes at its peak, and the pictures for which that is too much."""

from __future__ import annotations

from PIL import Image

from ..errors import ImageTooLargeError
from ..parameters import ImageLimits
from ..text import plural
from . import large

PIXEL = 3
"""Bytes of a decoded pixel."""

DECODING = {"AVIF": 10, "JPEG XL": 12, "TIFF": 13, "WebP": 16, "JPEG 2000": 20}
"""The most bytes that decoding takes for each pixel, the result included, by format; USUAL for the others: 4 in Pillow, 3 in
the result."""

USUAL = 7

AFFORDABLE, AFFORDABLE_A_PIXEL = 2_400_000_000, 12
"""The most bytes that decoding may take, and for each pixel of the limit, whichever is more. Below a limit of 200 Mpx it is
enough for a JPEG 2000 of 120 Mpx, or a WebP of 150 Mpx."""


PROGRESSIVE = 6
"""Bytes for each pixel of a progressive JPEG that the decoder takes beside the pixels: all coefficients, 2 bytes each."""


def of_jpeg(image: Image.Image, *, turned: bool, reduced: bool = False) -> int:
    """Returns the most bytes that decoding a JPEG takes for each pixel, the result included.

    Args:
        image: opened, not loaded.
        turned: whether it has to be brought upright.
        reduced: whether it is decoded at a fraction of its size.
    """
    direct = image.mode == "RGB" and not reduced
    usual = direct and not turned  # it is decoded into the result
    in_strips = direct and image.width * image.height >= large.PIXELS
    a_pixel = PIXEL if usual else PIXEL + 1 if in_strips else USUAL
    return a_pixel + PROGRESSIVE if image.info.get("progressive") else a_pixel


def most(limits: ImageLimits) -> int:
    """Returns the most bytes that decoding a picture may take."""
    return max(AFFORDABLE, AFFORDABLE_A_PIXEL * limits.max_pixels)


def needed(name: str, size: tuple[int, int], limits: ImageLimits, *, a_pixel: int = 0) -> int:
    """Returns the most bytes that decoding a picture takes, the result included.

    Args:
        name: of the format.
        size: (width, height) in pixels.
        a_pixel: bytes for each pixel, where they are known better than from the format; 0: they are not.

    Raises:
        ImageTooLargeError: they are too many, although the picture is within the limits.
    """
    pixels = size[0] * size[1]
    if not a_pixel:
        a_pixel = DECODING.get(name, USUAL)
    allowed = most(limits)
    if a_pixel * pixels > allowed:
        raise ImageTooLargeError(
            f"{size[0]} x {size[1]} are {plural(pixels, 'pixel')}, and decoding a {name} takes {plural(a_pixel, 'byte')} "
            "for each: at most "
            f"{allowed // a_pixel} are allowed; save it as JPEG or PNG, or raise params/images/max_pixels in parameters.xml "
            f"to {-(-a_pixel * pixels // AFFORDABLE_A_PIXEL)}"
        )
    return a_pixel * pixels
