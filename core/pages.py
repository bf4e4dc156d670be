"""Pages: the pictures of one file, numbered from 0: the ones that were searched, and the ones that could not be read."""

from __future__ import annotations

from typing import NamedTuple

MAX_PAGES = 100
"""Pictures of one file that are decoded, at most: pages of a TIFF, or frames of an animation that are blank."""

MAX_PAGE_PIXELS = 1_000_000_000
"""Pixels of these pictures together, at most. The first one is decoded, however large."""


class Page(NamedTuple):
    """One picture of a file that was searched for faces.

    Attributes:
        page: its number in the file, from 0: of a TIFF's pictures that are neither thumbnails nor masks, of an animation's
            frames, of a HEIC's images. 0 in a file with one picture.
        width, height: of the upright picture, in pixels; boxes refer to it.
        orientation: the EXIF orientation, 1 to 8, that was applied to make it upright.
    """

    page: int
    width: int
    height: int
    orientation: int


class Unread(NamedTuple):
    """One picture of a file that could not be read, while others could.

    Attributes:
        page: its number in the file, as in `Page`.
        reason: why, for people.
    """

    page: int
    reason: str
