"""Raw TIFF: what the directories of a TIFF say of a camera's raw file, and its previews that are no single JPEG.

LibRaw gives the first strip of a preview in several strips, and trusts the size of one that is not compressed.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyvips
from numpy.typing import NDArray

from ..errors import TruncatedImageError
from . import tiff

_SENSOR = (32803, 34892)
"""Meanings of the values of a sensor (DNG 1.7, chapter 4, and TIFF/EP)."""

_RGB, _YCBCR, _NOT_COMPRESSED = 2, 6, 1

_PHASE_ONE = re.compile(rb"IIII.waR|MMMMRaw.", re.DOTALL)
"""What stands behind the header of a raw file of Phase One, whose directories are of its preview alone."""

_MOST_WITH_SUBDIRECTORIES = 4
"""Directories whose subdirectories are looked at: cameras write them below the first."""


def is_raw(data: bytes) -> bool:
    """Returns whether a file is a camera's raw file: it has values of a sensor, or nothing but previews."""
    if _PHASE_ONE.match(data, 8):
        return True
    found = list(_directories(data))
    if any(tiff.DNG in tags or directory.meaning in _SENSOR for directory, tags in found):
        return True
    return bool(found) and all(directory.preview for directory, _ in found)


def largest_preview(data: bytes) -> tiff.Directory | None:
    """Returns the largest preview with colours of 8 bits whose directory says its size, None where there is none.

    Raises:
        TruncatedImageError: one that is not compressed has more bytes than the file. LibRaw would allocate them.
    """
    found = []
    for directory, _ in _directories(data):
        if directory.meaning not in (_RGB, _YCBCR):
            continue
        size = directory.width * directory.height
        if directory.compression == _NOT_COMPRESSED and 3 * size > len(data):
            raise TruncatedImageError(
                "a camera raw file that is truncated or damaged: a preview is larger than the file"
            )
        if size and directory.preview and (directory.bits, directory.samples) == (8, 3):
            found.append(directory)
    return max(found, key=lambda directory: directory.width * directory.height, default=None)


def preview_pixels(data: bytes, directory: tiff.Directory) -> NDArray[np.uint8]:
    """Returns the pixels of a preview, (height, width, 3) uint8, RGB, as they are stored.

    Raises:
        TruncatedImageError: they have another size than the directory says.
        Exception: libvips cannot read them.
    """
    image: Any = pyvips.Image.tiffload_buffer(
        tiff.beginning_with(data, directory), access="sequential", fail_on="error"
    )
    if (image.width, image.height, image.bands, image.format) != (
        directory.width,
        directory.height,
        3,
        "uchar",
    ):
        raise TruncatedImageError(
            "a camera raw file that is truncated or damaged: a preview has another size"
        )
    found = np.frombuffer(
        bytearray(image.write_to_memory()), np.uint8
    )  # of bytes alone, it would be read-only
    return found.reshape(directory.height, directory.width, 3)


def _directories(data: bytes) -> Iterator[tuple[tiff.Directory, tiff.Tags]]:
    """Yields each directory, those below it, and their tags, until one is damaged."""
    if data[:2] not in (b"II", b"MM"):
        return
    with contextlib.suppress(struct.error, OverflowError, TruncatedImageError):
        for number, (at, tags) in enumerate(tiff.directories(data)):
            yield tiff.directory_of(data, at, tags), tags
            if number < _MOST_WITH_SUBDIRECTORIES:
                for place in tags.get(tiff.SUBDIRECTORIES, ()):
                    for below, others in itertools.islice(tiff.directories(data, place), 1):
                        yield tiff.directory_of(data, below, others), others
