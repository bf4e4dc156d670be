"""Decoder: an upright RGB array from the bytes of an image file; any bytes give a Picture or an ImageError.

The limits are a parameter, checked once a plugin has read the header. Pillow's own global limit stays as it is; WebP, GIF
and TIFF still heed it inside their plugins (an error from 179 Mpx on) until `claim_pillow` lifts it.

The warning filters stay as they are, too: `catch_warnings` changes them for all threads. Most of Pillow's warnings are
avoided: `orientation` parses EXIF itself, and a palette's transparency is dropped before the palette is converted. The rest
(odd tags of a TIFF, broken EXIF in an AVIF, a broken APNG header) are warnings, or a TruncatedImageError in a process that
makes warnings errors.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
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
from . import formats, jpeg, jpeg2000, orientation, png, signatures, sizes, tiff
from .pixels import upright

_NO_PIXELS = "not identified by this driver"
"""Pillow's error for a header whose width or height is 0."""

_VARIANT = re.compile(
    "unsupported|not supported|not implemented|cannot handle|not available|unknown (pixel|raw) mode", re.I
)
"""From errors of Pillow, libheif, libavif and libvips for a sound file that they do not read."""


@dataclass(frozen=True, eq=False)
class Picture:
    """One image, upright.

    Attributes:
        pixels: (height, width, 3) uint8, RGB, C-contiguous; a JPEG may have been decoded at a fraction of its size.
        width, height: of the upright image at the file's own size.
        orientation: 1 to 8, the EXIF orientation that was applied to the stored picture; 1 where the file has none,
            or an invalid one. Always 1 for HEIC and AVIF: their decoders turn the picture, and an EXIF orientation beside it
            must be ignored, because phones write both.
    """

    pixels: NDArray[np.uint8]
    width: int
    height: int
    orientation: int

    @classmethod
    def whole(cls, pixels: NDArray[np.uint8], orientation: int = 1) -> Picture:
        """Returns the picture that has exactly these pixels."""
        height, width, _ = pixels.shape
        return cls(pixels, width, height, orientation)


Reduction = Callable[[int, int], int]
"""Takes a width and a height, and returns the factor, 1, 2, 4 or 8, by which both may be reduced."""


def unreduced(width: int, height: int) -> int:
    """The Reduction that keeps every picture at its full size."""
    del width, height
    return 1


def at_once(pixels: int) -> None:
    """Admits every picture without waiting."""
    del pixels


def decode(
    data: bytes,
    limits: ImageLimits,
    *,
    reduction: Reduction = unreduced,
    admit: Callable[[int], None] = at_once,
) -> Picture:
    """Returns the picture in an image file: of several, the first (in HEIC, the primary one).

    Alpha is dropped and not blended with a background: face_recognition.load_image_file does so, and an invented
    background would put edges into faces. Colour profiles are not applied, for the same reason. Gray of 16 bits is
    scaled to 8; other wide numbers, which have no agreed range, from their own smallest and largest.

    Any number of threads may call it. It takes 3 bytes a pixel at its peak for a sound JPEG in colour, 6 where that has to
    be turned; 7 for others, 4 in Pillow and 3 in the result; more where a library holds more: 10 for AVIF and a TIFF of
    floats, 13 for a TIFF of 16 bits in tiles, 16 for WebP and 20 for JPEG 2000.

    Args:
        reduction: called for a JPEG, whose decoder can leave out the finer detail of a reduced picture, in less time.
        admit: receives the number of pixels before they are decoded, and may wait until there is memory for them.

    Raises:
        NotAnImageError: no picture, or an image without pixels.
        FormatNotReadError: a format, or a variant of one, that is not read.
        TruncatedImageError: a file that is truncated or damaged.
        ImageTooLargeError: more pixels or a longer side than `limits`; found before the pixels are decoded.
    """
    name = signatures.format_of(data)
    if name == "WebP" and (size := sizes.webp_size(data)):
        check_size(size, limits)  # its plugin allocates memory for the pixels when it opens
    with errors_of_decoder(name, data):
        if name == "JPEG":
            return _jpeg(data, limits, reduction, admit)
        if name == "TIFF":
            return _tiff(data, limits, admit)
        file = png.essential(data) if name == "PNG" else data
        with formats.opened(name, file) as image:
            check_size(image.size, limits)
            if name == "JPEG 2000":
                jpeg2000.check(data)
            admit(image.width * image.height)
            image.load()
            check_size(image.size, limits)  # a HEIC may hold more than its header says
            image.info.pop("transparency", None)
            found = orientation.orientation_of(_metadata(name, data, image))
            # its plugin turns the picture itself; AVIF's reports the container's orientation as if it were EXIF's
            stored = jpeg2000.in_full_range(image, data) if name == "JPEG 2000" else image
            pixels = upright(stored, 1 if name == "HEIC" else found)
            return Picture.whole(pixels, 1 if name in ("HEIC", "AVIF") else found)


def _jpeg(data: bytes, limits: ImageLimits, reduction: Reduction, admit: Callable[[int], None]) -> Picture:
    jpeg.check(data)
    ended = jpeg.has_end(data)
    file = data if ended else data.rstrip(b"\0") + jpeg.END
    with formats.opened("JPEG", file) as image:
        check_size(image.size, limits)
        width, height = image.size
        if jpeg.scans(file) > jpeg.MAX_SCANS:
            raise FormatNotReadError(
                f"a JPEG with more than {jpeg.MAX_SCANS} scans, the limit, is not read: {signatures.SAVE}"
            )
        if (factor := reduction(width, height)) > 1:
            image.draft(None, (width // factor, height // factor))
        admit(image.width * image.height)
        if not (ended or jpeg.is_complete(file)):
            raise OSError("the file ends before the picture")
        loaded: Image.Image | NDArray[np.uint8] | None = None
        if image.size == (width, height):
            loaded = jpeg.decoded(file, width, height)
        if loaded is None:
            image.load()
            loaded = image
        found = orientation.orientation_of(image.info)
        turned = found in orientation.ON_ITS_SIDE
        return Picture(upright(loaded, found), *((height, width) if turned else (width, height)), found)


def _metadata(name: str, data: bytes, image: Image.Image) -> dict[str | tuple[int, int], object]:
    if name == "PNG":
        return png.metadata(data)
    # Pillow puts the turn of an AVIF's container into its EXIF; any other that stands beside it must be ignored
    return {"exif": image.info.get("exif")} if name == "AVIF" else image.info


def _tiff(data: bytes, limits: ImageLimits, admit: Callable[[int], None]) -> Picture:
    directory = tiff.first_picture(data)
    check_size((directory.width, directory.height), limits)
    admit(directory.width * directory.height)
    if not directory.plain:
        found = orientation.orientation_of({}, directory.orientation)
        return Picture.whole(upright(tiff.decoded(data, directory), found), found)
    with formats.opened("TIFF", data) as image:
        image.seek(directory.page)
        check_size(image.size, limits)
        image.load()
        image.info.pop("transparency", None)
        found = orientation.orientation_of(image.info, directory.orientation)
        white = 4095 if directory.bits == 12 else 65535
        return Picture.whole(upright(image, 1, white=white), found)  # the plugin turns it itself


def claim_pillow(limits: ImageLimits) -> None:
    """Gives Pillow these limits, and silences its warnings, in the whole process.

    For a process that reads images for pyraface alone, called once before it has threads. Elsewhere the application
    decides, and there a WebP or TIFF beyond Pillow's own limit is an ImageTooLargeError even where `limits` allow it.
    """
    # never None: the GIF plugin allocates memory for a frame before `decode` sees its size. It refuses from twice this
    Image.MAX_IMAGE_PIXELS = (limits.max_pixels + 1) // 2
    warnings.filterwarnings("ignore", module=r"PIL\.")


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
        raise ImageTooLargeError(f"a {name} that is too large for Pillow: {_reason(error)}") from error
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
