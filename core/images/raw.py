"""Raw: the largest preview in a camera's raw file, and where it lies in the full picture.

LibRaw (through rawpy) finds both; it develops nothing. A camera stores a JPEG beside the values of its sensor: often of the
full size, sometimes of a quarter. To develop a picture would take seconds.

Boxes are reported in the frame of the full picture, upright: that which LibRaw would develop. A preview can show less of it,
because the camera crops its edges, or to another aspect ratio, or more: with black bars at two sides.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import rawpy
from numpy.typing import NDArray

from ..errors import FormatNotReadError, ImageMemoryError, TruncatedImageError
from .orientation import ON_ITS_SIDE
from .signatures import DEVELOP

_ORIENTATIONS = {0: 1, 1: 2, 2: 4, 3: 3, 4: 5, 5: 8, 6: 6, 7: 7}
"""The EXIF orientation of each of LibRaw's flips."""

_MIRRORED_ACROSS, _MIRRORED_DOWN = {2, 3, 6, 7}, {3, 4, 7, 8}
"""The orientations whose upright picture is, once a picture on its side is transposed, mirrored in each direction."""

MOST_REDUCED = 8
"""Times that a preview may be smaller than the full picture. Cameras write previews of a quarter, and thumbnails of 160
pixels, in which no face could be told from another."""

MOST_BORDERS = 2.5
"""Times that the aspect ratio of a preview may be that of the full picture: a camera with a sensor of 4:3 crops to 65:24."""

_SAME = 0.015
"""Difference of two aspect ratios that are the same: a preview of 160 x 120 pixels has rounded sides."""

_TAIL = 4096
"""Bytes at the end of a preview that are looked for in the file. LibRaw changes only the beginning."""

_BLACK = 32
"""The brightest value in the outer half of a black bar after JPEG, which mixes the inner half with the picture."""


class Area(NamedTuple):
    """A rectangle in pixels of the full picture."""

    left: float
    top: float
    width: float
    height: float


@dataclass(frozen=True)
class Preview:
    """Preview of a raw file.

    Attributes:
        jpeg: the file of the preview, b"" where it is no JPEG. LibRaw adds EXIF with the raw file's orientation where it
            has none.
        width, height: of the full picture as it is stored.
        shown: the part of the full picture, as it is stored, that the camera's own pictures show; None where nothing says.
        orientation: the EXIF orientation that brings the full picture upright.
    """

    jpeg: bytes
    width: int
    height: int
    shown: Area | None
    orientation: int

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the full picture, upright."""
        on_its_side = self.orientation in ON_ITS_SIDE
        return (self.height, self.width) if on_its_side else (self.width, self.height)

    def turn(self, size: tuple[int, int], own: int) -> int:
        """Returns the EXIF orientation that brings the preview upright.

        A preview is stored as the sensor was held, or upright already; then it is high where the full picture is wide.

        Args:
            size: width and height of the preview as it is stored.
            own: the orientation in its own EXIF.
        """
        alike = (own in ON_ITS_SIDE) == (self.orientation in ON_ITS_SIDE)
        if (size[0] > size[1]) == (self.width > self.height) or size[0] == size[1]:
            return own if alike else self.orientation
        if self.orientation in ON_ITS_SIDE:
            return 1
        return own

    def reduction(self, size: tuple[int, int], of_full: int) -> int:
        """Returns the factor, 1, 2, 4 or 8, by which a preview may be reduced if the full picture may be by `of_full`."""
        scale = max(self.width, self.height) / max(size)
        return max(factor for factor in (1, 2, 4, 8) if factor == 1 or factor * scale <= of_full)

    def borders(self, size: tuple[int, int], turn: int) -> float:
        """Returns how many times as many pixels as the preview `framed` returns at the most.

        Args:
            size: width and height of the preview as it is stored.
            turn: the orientation that brings it upright.

        Raises:
            FormatNotReadError: the preview is too small, or shows another picture.
        """
        width, height = size[::-1] if turn in ON_ITS_SIDE else size
        full_width, full_height = self.size
        ratio = (width / height) / (full_width / full_height)
        found = max(ratio, 1 / ratio)
        if max(width, height) * MOST_REDUCED < max(full_width, full_height) or found > MOST_BORDERS:
            raise FormatNotReadError(
                f"a camera raw file of {full_width} x {full_height} pixels whose largest preview has {width} x {height} "
                f"is not read: {DEVELOP}"
            )
        return found if found > 1 + _SAME else 1 + 2 * _SAME

    def framed(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Returns the full picture, (height, width, 3) uint8, at the scale of the preview: cropped, or with black borders.

        Args:
            pixels: (height, width, 3) uint8, of the preview, upright, which `borders` has passed.
        """
        height, width, _ = pixels.shape
        full_width, full_height = self.size
        area = self._area(width / height)
        if area is None:
            pixels = _without_bars(pixels, full_width / full_height)
            height, width, _ = pixels.shape
            area = _middle(full_width, full_height, width / height)
        across, down = width / area.width, height / area.height
        left, top = round(area.left * across), round(area.top * down)
        size = max(round(full_width * across), width + left), max(round(full_height * down), height + top)
        if size == (width, height):
            return pixels
        framed = np.zeros((size[1], size[0], 3), np.uint8)
        framed[top : top + height, left : left + width] = pixels
        return framed

    def _area(self, ratio: float) -> Area | None:
        """Returns the part of the upright full picture that a preview of this aspect ratio shows, if the camera says so."""
        full_width, full_height = self.size
        if self.shown is not None:
            shown = _turned(self.shown, self.width, self.height, self.orientation)
            if _same(shown.width / shown.height, ratio):
                return shown
        return Area(0, 0, full_width, full_height) if _same(full_width / full_height, ratio) else None


def preview(data: bytes) -> Preview:
    """Returns the largest preview of a raw file.

    Raises:
        FormatNotReadError: LibRaw does not know the file, or it has no preview.
        TruncatedImageError: it is cut off or damaged.
        ImageMemoryError: it takes more memory than there is.
    """
    try:
        with rawpy.RawPy() as raw:
            raw.open_buffer(io.BytesIO(data))
            sizes = raw.sizes
            thumb = raw.extract_thumb()
    except rawpy.LibRawFileUnsupportedError as error:
        raise FormatNotReadError(
            f"a camera raw file that LibRaw does not know is not read: {DEVELOP}"
        ) from error
    except (
        rawpy.LibRawNoThumbnailError,
        rawpy.LibRawUnsupportedThumbnailError,
        NotImplementedError,  # by rawpy itself: HEVC, in files of Canon with HDR
    ) as error:
        raise FormatNotReadError(f"a camera raw file without a preview is not read: {DEVELOP}") from error
    except rawpy.LibRawUnsufficientMemoryError as error:
        raise ImageMemoryError("a camera raw file that takes more memory than there is") from error
    except (rawpy.LibRawError, OSError) as error:
        raise TruncatedImageError(
            f"a camera raw file that is truncated or damaged: LibRaw: {_reason(error)}"
        ) from error
    # the array of any other preview is not to be touched: rawpy trusts the sizes in the file, which may lie beyond its bytes
    jpeg = thumb.data if isinstance(thumb.data, bytes) else b""
    if jpeg[-min(_TAIL, len(jpeg) // 2) :] not in data:
        # LibRaw does not notice: what follows the end of the file is whatever was in that memory before
        raise TruncatedImageError(
            "a camera raw file that is truncated: its largest preview ends beyond its end"
        )
    width, height = sizes.width, sizes.height
    # pixels that are not square, of a few cameras, are made square
    if sizes.pixel_aspect > 1:
        width = round(width * sizes.pixel_aspect)
    elif 0 < sizes.pixel_aspect < 1:
        height = round(height / sizes.pixel_aspect)
    left, top = sizes.crop_left_margin - sizes.left_margin, sizes.crop_top_margin - sizes.top_margin
    inside = 0 <= left <= width - sizes.crop_width and 0 <= top <= height - sizes.crop_height
    known = inside and sizes.crop_width > 0 and sizes.crop_height > 0 and sizes.pixel_aspect == 1
    shown = Area(left, top, sizes.crop_width, sizes.crop_height) if known else None
    return Preview(jpeg, width, height, shown, _ORIENTATIONS.get(sizes.flip, 1))


def _reason(error: Exception) -> str:
    text = error.args[0] if error.args else ""
    return text.decode("ascii", "replace") if isinstance(text, bytes) else str(error)


def _same(one: float, other: float) -> bool:
    return abs(one / other - 1) <= _SAME


def _turned(area: Area, width: int, height: int, orientation: int) -> Area:
    """Returns where a part of a stored picture of this size is once that is upright."""
    left, top, across, down = area
    if orientation in ON_ITS_SIDE:
        left, top, across, down, width, height = top, left, down, across, height, width
    if orientation in _MIRRORED_ACROSS:
        left = width - left - across
    if orientation in _MIRRORED_DOWN:
        top = height - top - down
    return Area(left, top, across, down)


def _middle(width: int, height: int, ratio: float) -> Area:
    """Returns the largest part of an aspect ratio in the middle of a picture."""
    across, down = min(width, height * ratio), min(height, width / ratio)
    return Area((width - across) / 2, (height - down) / 2, across, down)


def _without_bars(pixels: NDArray[np.uint8], ratio: float) -> NDArray[np.uint8]:
    """Returns a preview without the black bars that fill it up from another aspect ratio; one without bars as it is."""
    height, width, _ = pixels.shape
    area = _middle(width, height, ratio)
    rows = slice(round(area.top), round(area.top) + max(1, round(area.height)))
    columns = slice(round(area.left), round(area.left) + max(1, round(area.width)))
    across, down = (columns.start + 1) // 2, (rows.start + 1) // 2
    bars = (pixels[:down], pixels[height - down :], pixels[:, :across], pixels[:, width - across :])
    return pixels[rows, columns] if all(bar.size == 0 or bar.max() <= _BLACK for bar in bars) else pixels
