"""Large pictures: decoded by libvips or libheif into the result, in half of the memory that Pillow takes, or less."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pyvips
from numpy.typing import NDArray

from .pixels import upright

PIXELS = 40_000_000
"""From this size on a picture is large. Below it, the other decoders are as fast, and their memory is small."""


def decoded(name: str, data: bytes, orientation: int) -> NDArray[np.uint8] | None:
    """Returns the pixels, (height, width, 3) uint8, RGB, of a large picture, turned upright from an EXIF orientation.

    The pixels are equal to Pillow's: a JPEG and a HEIC have the same decoder there, and a PNG one meaning. None for
    other formats, where that is not certain, or where the decoder reports an error or a warning: Pillow then decodes the
    file, and its outcome counts.

    Args:
        name: of the format.
    """
    if name == "HEIC":
        return _heic(data)
    load = {"JPEG": "jpegload_source", "PNG": "pngload_source"}.get(name)
    if load is None:
        return None
    try:
        source = pyvips.Source.new_from_memory(data)  # a buffer would be copied
        image: Any = getattr(pyvips.Image, load)(source, access="sequential", fail_on="warning")
        if name == "PNG" and image.format == "ushort" and image.bands >= 3:
            image = (image >> 8).cast("uchar")  # as Pillow does
        if image.format != "uchar" or not (image.bands == 3 or (image.bands == 4 and name == "PNG")):
            return None
        return upright(image.extract_band(0, n=3) if image.bands == 4 else image, orientation)
    except pyvips.Error:
        return None


def _heic(data: bytes) -> NDArray[np.uint8] | None:
    heif = importlib.import_module("pillow_heif")  # with the first HEIC, as `formats` does
    try:
        file = heif.open_heif(data)
        pixels: NDArray[np.uint8] = np.asarray(file[file.primary_index])
    except (OSError, ValueError, RuntimeError, EOFError):
        return None
    return pixels if pixels.ndim == 3 and pixels.shape[2] == 3 and pixels.dtype == np.uint8 else None


def keep_nothing() -> None:
    """Has libvips keep no operation for the next one of its kind, in the whole process: it would keep the files."""
    pyvips.cache_set_max(0)
