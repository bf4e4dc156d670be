"""Checks: the size of a picture against the limits, and any exception of a decoder as an ImageError."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image

from ..errors import (
    FormatNotReadError,
    ImageError,
    ImageMemoryError,
    ImageTooLargeError,
    NotAnImageError,
    TruncatedImageError,
)
from ..parameters import ImageLimits
from ..text import one_line
from . import jpeg, png, signatures

_NO_PIXELS = "not identified by this driver"
"""Pillow's error for a header whose width or height is 0."""

_VARIANT = re.compile(
    "unsupported|not supported|not implemented|cannot handle|not available|unknown (pixel|raw) mode", re.I
)
"""From errors of Pillow, libheif, libavif and libvips for a sound file that they do not read."""


@contextmanager
def errors_of_decoder(name: str, data: bytes = b"") -> Iterator[None]:
    """Turns any exception of a decoder into an ImageError, which says how much of the file `data` is there.

    Every Exception: on hostile bytes Pillow, its plugins and their C libraries raise OSError, SyntaxError, ValueError,
    KeyError, IndexError, TypeError, OverflowError, EOFError, RuntimeError, struct.error, zlib.error, AssertionError and
    more, an undocumented set that changes with every release. An exception that escapes would end a server's thread.
    """
    try:
        yield
    except ImageError:
        raise
    except MemoryError as error:
        raise ImageMemoryError(f"a {name} that takes more memory than there is") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        # its own words speak of an attack
        found = re.search(r"\((\d+) pixels\)", str(error))
        pixels = f"of {found[1]} pixels, more" if found else "with more pixels"
        raise ImageTooLargeError(
            f"a {name} {pixels} than an image may have; raise params/images/max_pixels in parameters.xml, and in a "
            "program that sets its own limit, PIL.Image.MAX_IMAGE_PIXELS"
        ) from error
    except Exception as error:
        if isinstance(error, SyntaxError) and str(error) == _NO_PIXELS:
            raise NotAnImageError(f"a {name} without pixels") from error
        reason = _reason(error) or type(error).__name__
        if _VARIANT.search(reason):
            raise FormatNotReadError(
                f"a variant of {name} that is not read ({reason}): {signatures.SAVE}"
            ) from error
        raise TruncatedImageError(
            f"a {name} that is truncated, damaged or of a rare variant: {reason}{_share(name, data)}"
        ) from error


def _share(name: str, data: bytes) -> str:
    """Returns how much of a picture is there, to end an error message; "" where that is not known."""
    share = {"JPEG": jpeg.share, "PNG": png.share}.get(name)
    there = share(data) if share is not None and data else None
    if there is None or (there == 1 and name == "PNG"):
        return ""  # a PNG that is whole, and damaged
    return (
        "; only finer detail is missing"
        if there == 1
        else f"; about {int(100 * there)}% of the picture is there"
    )


def _reason(error: Exception) -> str:
    return one_line(" ".join(str(error).split()), 200)


def check_size(size: tuple[int, int], limits: ImageLimits) -> None:
    width, height = size
    if width < 1 or height < 1:
        raise NotAnImageError(f"an image without pixels: {width} x {height}")
    if max(size) > limits.max_side:
        raise ImageTooLargeError(
            f"{width} x {height} pixels: a side may have at most {limits.max_side}; "
            "raise params/images/max_side in parameters.xml"
        )
    if width * height > limits.max_pixels:
        raise ImageTooLargeError(
            f"{width} x {height} are {width * height} pixels: an image may have at most {limits.max_pixels}; "
            "raise params/images/max_pixels in parameters.xml"
        )
