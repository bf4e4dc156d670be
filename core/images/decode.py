"""Decoder: upright RGB arrays from the bytes of an image file; any bytes give Pictures or an ImageError.

The limits are a parameter, checked once a plugin has read the header. Pillow's own global limit stays as it is; WebP, GIF
and TIFF still heed it inside their plugins (an error from 179 Mpx on) until `claim_pillow` lifts it.

The warning filters stay as they are, too: `catch_warnings` changes them for all threads. Most of Pillow's warnings are
avoided: `orientation` parses EXIF itself, and a palette's transparency is dropped before the palette is converted. The rest
(odd tags of a TIFF, broken EXIF in an AVIF, a broken APNG header) are warnings, or a TruncatedImageError in a process that
makes warnings errors.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import FormatNotReadError, ImageError, ImageMemoryError
from ..pages import MAX_PAGE_PIXELS, MAX_PAGES, Unread
from ..parameters import ImageLimits
from . import (
    animation,
    formats,
    jpeg,
    jpeg2000,
    large,
    memory,
    orientation,
    png,
    profiles,
    raw_tiff,
    signatures,
    sizes,
    tiff,
)
from .checks import check_size, errors_of_decoder
from .pixels import upright


@dataclass(frozen=True, eq=False)
class Picture:
    """One picture of an image file, upright.

    Attributes:
        pixels: (height, width, 3) uint8, RGB, C-contiguous; a JPEG may have been decoded at a fraction of its size.
        width, height: of the upright image at the file's own size.
        orientation: 1 to 8, the EXIF orientation that was applied to the stored picture; 1 where the file has none,
            or an invalid one. Always 1 for HEIC, AVIF and JPEG XL: their decoders turn the picture, and an EXIF orientation
            beside it must be ignored, because phones write both.
        page: its number in the file, from 0.
        pictures: number of pictures in the file, thumbnails and masks not counted.
    """

    pixels: NDArray[np.uint8]
    width: int
    height: int
    orientation: int
    page: int = 0
    pictures: int = 1

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
    """Returns the first picture of an image file that `pictures` yields; the arguments and the errors are the same."""
    first = next(pictures(data, limits, reduction=reduction, admit=admit))
    assert isinstance(first, Picture)
    return first


def pictures(
    data: bytes,
    limits: ImageLimits,
    *,
    reduction: Reduction = unreduced,
    admit: Callable[[int], None] = at_once,
) -> Iterator[Picture | Unread]:
    """Yields the pictures of an image file that are to be searched, a Picture first, each decoded when it is asked for.

    These are the pages of a TIFF, up to MAX_PAGES and MAX_PAGE_PIXELS; of an animation, the first frame that is not blank;
    of a HEIC, the primary image. A page that cannot be read is an Unread, if another one can.

    Alpha is dropped and not blended with a background: face_recognition.load_image_file does so, and an invented
    background would put edges into faces. Profiles of spaces far from sRGB are applied (`profiles`). Gray of 16 bits is
    scaled to 8; other wide numbers, which have no agreed range, from their own smallest and largest.

    Any number of threads may call it. `memory` says how many bytes a pixel it takes.

    Args:
        reduction: called for a JPEG, whose decoder can leave out the finer detail of a reduced picture, in less time.
        admit: receives the most bytes that decoding takes before a picture is decoded, and may wait until there is room for
            them. The picture before it is no longer held here.

    Raises:
        NotAnImageError: no picture, or an image without pixels.
        FormatNotReadError: a format, or a variant of one, that is not read.
        TruncatedImageError: a file that is truncated or damaged.
        ImageTooLargeError: more pixels or a longer side than `limits`, or too many for the memory that the format's decoder
            takes; found before the pixels are decoded.
    """
    name = signatures.format_of(data)
    if name == "WebP" and (size := sizes.webp_size(data)):
        check_size(size, limits)
        memory.needed(name, size, limits)  # its plugin allocates memory for the pixels when it opens
    if name in signatures.RAW or (name == "TIFF" and raw_tiff.is_raw(data)):
        name = formats.CAMERA_RAW
    if name == "TIFF":
        pages = _tiff(data, limits, admit)
        del data
        yield from pages
        return
    with errors_of_decoder(name, data):
        if name == "JPEG":
            found: list[Picture | Unread] = [_jpeg(data, limits, reduction, admit)]
        elif name == formats.CAMERA_RAW:
            found = [_raw(data, limits, reduction, admit)]
        elif name == signatures.JPEG_XL:
            found = [_jpeg_xl(data, limits, admit)]
        else:
            found = _frame(name, data, limits, admit)
    del data  # the picture is searched while this waits: neither it nor the file is held here
    yield found.pop(0)
    yield from found


def _raw(data: bytes, limits: ImageLimits, reduction: Reduction, admit: Callable[[int], None]) -> Picture:
    """Returns the full picture of a camera's raw file at the scale of its largest preview."""
    formats.require(formats.CAMERA_RAW)
    from . import raw

    other = raw_tiff.largest_preview(data)
    found = raw.preview(data)
    check_size(found.size, limits)
    size, own = (0, 0), 1
    if found.jpeg:
        with formats.opened("JPEG", found.jpeg) as image:
            size, own = image.size, orientation.orientation_of(image.info)
    # in several strips, of which LibRaw gives the first, or not compressed
    whole = other if other is not None and other.width * other.height > size[0] * size[1] else None
    if whole is not None:
        size = whole.width, whole.height
    elif not found.jpeg:
        raise FormatNotReadError(
            f"a camera raw file whose largest preview is no JPEG is not read: {signatures.DEVELOP}"
        )
    check_size(size, limits)
    turn = found.turn(size, own)
    borders = found.borders(size, turn)

    def admit_framed(size: int) -> None:
        admit(math.ceil(size * borders))

    if whole is not None:
        admit_framed(memory.needed(formats.CAMERA_RAW, size, limits))
        pixels = upright(raw_tiff.preview_pixels(data, whole), turn)
    else:
        factor = found.reduction(size, reduction(*found.size))
        pixels = _jpeg(found.jpeg, limits, lambda *_: factor, admit_framed, turn=turn).pixels
    return Picture(found.framed(pixels), *found.size, found.orientation)


def _jpeg_xl(data: bytes, limits: ImageLimits, admit: Callable[[int], None]) -> Picture:
    formats.require(signatures.JPEG_XL)
    from . import jpeg_xl

    found = jpeg_xl.header(data)
    check_size((found.width, found.height), limits)
    admit(memory.needed(signatures.JPEG_XL, (found.width, found.height), limits))
    return Picture.whole(jpeg_xl.decoded(data, found))


def _jpeg(
    data: bytes,
    limits: ImageLimits,
    reduction: Reduction,
    admit: Callable[[int], None],
    *,
    turn: int | None = None,
) -> Picture:
    """Returns the picture of a JPEG.

    Args:
        turn: the orientation to apply; None: that in its EXIF or XMP.
    """
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
        whole = image.size == (width, height)
        found = orientation.orientation_of(image.info) if turn is None else turn
        a_pixel = memory.of_jpeg(image, turned=found > 1, reduced=not whole)
        admit(memory.needed("JPEG", image.size, limits, a_pixel=a_pixel))
        if not (ended or jpeg.is_complete(file)):
            raise OSError("the file ends before the picture")
        pixels: NDArray[np.uint8] | None = None
        if whole and found > 1 and width * height >= large.PIXELS:
            pixels = large.decoded("JPEG", file, found)  # without the picture as it is stored beside it
        if pixels is None:
            loaded: Image.Image | NDArray[np.uint8] | None = None
            if whole:
                loaded = jpeg.decoded(file, width, height)
            if loaded is None:
                image.load()
                loaded = image
            pixels = upright(loaded, found)
        turned = found in orientation.ON_ITS_SIDE
        size = (height, width) if turned else (width, height)
        pixels = profiles.convert(pixels, image.info)
        return Picture(pixels, *size, found, pictures=jpeg.pictures(data, image.info))


def _frame(
    name: str, data: bytes, limits: ImageLimits, admit: Callable[[int], None]
) -> list[Picture | Unread]:
    """Returns the picture of a file that is neither a JPEG nor a TIFF, and the frame that could not be read, if any."""
    file = png.essential(data) if name == "PNG" else data
    with formats.opened(name, file) as image:
        check_size(image.size, limits)
        if name == "JPEG 2000":
            jpeg2000.check(data)
        count = animation.frames(name, data, image)
        page, unread = image.tell(), list[Unread]()
        admit(memory.needed(name, image.size, limits))
        animated = count > 1 and name != "HEIC"  # the images of a HEIC are no frames
        metadata = _metadata(name, data, image)
        found = orientation.orientation_of(metadata)
        pixels: NDArray[np.uint8] | None = None
        if image.width * image.height >= large.PIXELS and not animated:
            pixels = large.decoded(name, file, found)
        if pixels is None:
            image.load()
            check_size(image.size, limits)  # a HEIC may hold more than its header says
            frame = image
            if animated:
                frame, page, unread = animation.first_not_blank(name, data, image, count, limits)
            frame.info.pop("transparency", None)
            # its plugin turns the picture itself; AVIF's reports the container's orientation as if it were EXIF's
            stored = jpeg2000.in_full_range(frame, data) if name == "JPEG 2000" else frame
            pixels = upright(stored, 1 if name == "HEIC" else found)
        pixels = profiles.convert(pixels, metadata)
        height, width, _ = pixels.shape
        turned = 1 if name in ("HEIC", "AVIF") else found
        return [Picture(pixels, width, height, turned, page, count), *unread]


def _metadata(name: str, data: bytes, image: Image.Image) -> dict[str | tuple[int, int], object]:
    if name == "PNG":
        return png.metadata(data)
    if name not in ("AVIF", "HEIC"):
        return image.info
    # Pillow puts the turn of an AVIF's container into its EXIF; any other that stands beside it must be ignored
    found: dict[str | tuple[int, int], object] = {"cicp": profiles.code_points(data)}
    return found | {key: image.info.get(key) for key in ("exif", "icc_profile")}


def _tiff(data: bytes, limits: ImageLimits, admit: Callable[[int], None]) -> Iterator[Picture | Unread]:
    directories, damage = tiff.pictures(data)
    count = len(directories) + bool(damage)
    last = min(len(directories), MAX_PAGES) - 1
    unread: list[Unread] = []
    failure: ImageError | None = None
    decoded, pixels = 0, 0
    for page, directory in enumerate(directories[:MAX_PAGES]):
        try:
            with errors_of_decoder("TIFF"):
                check_size((directory.width, directory.height), limits)
                size = directory.width * directory.height
                if pixels and pixels + size > MAX_PAGE_PIXELS:
                    break
                pixels += size
                found = [replace(_page(data, directory, limits, admit), page=page, pictures=count)]
        except ImageMemoryError:
            raise
        except ImageError as error:
            if failure is None:
                failure = error.with_traceback(None)
                failure.__cause__ = failure.__context__ = None  # their frames have the pixels
            unread.append(Unread(page, str(error)))
            continue
        decoded += 1
        if page == last:
            data = b""
        yield found.pop()
        yield from unread
        unread.clear()
    if failure is not None and not decoded:
        if count > 1:
            failure.args = (f"{failure}; it is the first of {count} pages, and no other can be read",)
        raise failure
    if damage and count <= MAX_PAGES:
        unread.append(Unread(count - 1, damage))
    yield from unread


def _page(
    data: bytes, directory: tiff.Directory, limits: ImageLimits, admit: Callable[[int], None]
) -> Picture:
    admit(memory.needed("TIFF", (directory.width, directory.height), limits))
    file = tiff.beginning_with(data, directory)
    if not directory.plain:
        found = orientation.orientation_of({}, directory.orientation)
        try:
            return _other_tiff(file, directory, found)
        except tiff.DecoderError:
            rest = tiff.essential(file, directory)
            if rest is None:
                raise
        return _other_tiff(rest, directory, found)
    with formats.opened("TIFF", file) as image:
        check_size(image.size, limits)
        image.load()
        image.info.pop("transparency", None)
        found = orientation.orientation_of(image.info, directory.orientation)
        white = 4095 if directory.bits == 12 else 65535
        pixels = upright(image, 1, white=white)  # the plugin turns it itself
        return Picture.whole(profiles.convert(pixels, image.info), found)


def _other_tiff(file: bytes, directory: tiff.Directory, found: int) -> Picture:
    decoded = tiff.decoded(file, directory)
    info = tiff.profile(decoded, directory)
    return Picture.whole(profiles.convert(upright(decoded, found), info), found)


def claim_pillow(limits: ImageLimits) -> None:
    """Gives Pillow these limits, and silences its warnings, in the whole process.

    For a process that reads images for pyraface alone, called once before it has threads. Elsewhere the application
    decides, and there a WebP or TIFF beyond Pillow's own limit is an ImageTooLargeError even where `limits` allow it.
    """
    # never None: the GIF plugin allocates memory for a frame before `decode` sees its size. It refuses from twice this
    Image.MAX_IMAGE_PIXELS = (limits.max_pixels + 1) // 2
    warnings.filterwarnings("ignore", module=r"PIL\.")
