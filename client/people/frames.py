"""Frames: regions in pixels of the upright picture, whichever frame a program stored them in.

Programs store a box as shares of a frame, and no scheme says which frame that is:

- MWG regions (`mwg-rs`, of which Apple's are a kind) stand in the frame of the stored pixels.
- Microsoft's stand in the frame of the upright picture, or, from some programs, in that of the stored pixels. The MWG
  regions of the same packet may show which.
- Picasa's stand in the frame of the upright picture.

A region whose frame could be the other one says so (`Region.guessed`): the faces of the photograph then decide.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ...core import boxes as geometry
from ...core.images.orientation import ON_ITS_SIDE
from .regions import (
    SAME,
    Area,
    Areas,
    Box,
    Frame,
    PhotographSize,
    Region,
    Regions,
    Scheme,
    described,
    merged,
    shortened,
)

_ASPECT = 0.02
"""Difference of two pictures' shapes, as a share, below which one can be the other in another size. Programs round sides."""

_STORED = ("mwg", "apple")
"""The schemes whose regions stand in the frame of the stored pixels."""


def turned(box: Box, orientation: int) -> Box:
    """Returns a box in shares of the stored frame as it lies in the upright one (EXIF 2.32, table 6)."""
    left, top, right, bottom = box
    return {
        1: (left, top, right, bottom),
        2: (1 - right, top, 1 - left, bottom),
        3: (1 - right, 1 - bottom, 1 - left, 1 - top),
        4: (left, 1 - bottom, right, 1 - top),
        5: (top, left, bottom, right),
        6: (1 - bottom, left, 1 - top, right),
        7: (1 - bottom, 1 - right, 1 - top, 1 - left),
        8: (top, 1 - right, bottom, 1 - left),
    }[orientation]


def placed(packet: Areas, picture: PhotographSize) -> Regions:
    """Returns what one packet says, its regions in pixels of the upright picture: those of MWG first."""
    shares = sorted(((area, _in_shares(area, picture)) for area in packet.areas), key=_is_later)
    frames = {scheme: _frame(scheme, shares, picture) for scheme in {area.scheme for area in packet.areas}}
    misshapen = _misshapen(packet.areas, picture)
    problems = [*packet.problems, *filter(None, [misshapen])]
    found = []
    for area, box in shares:
        frame, guessed = frames[area.scheme]
        pixels = in_pixels(turned(box, picture.orientation) if frame == "stored" else box, picture)
        if pixels is None:
            problems.append(f"{described(area.name)} lies outside the picture")
            continue
        found.append(Region(area.name, area.kind, pixels, area.scheme, frame, guessed or bool(misshapen)))
    return Regions(merged([found]), shortened(problems), packet.unplaced)


def _is_later(share: tuple[Area, Box]) -> bool:
    return share[0].scheme not in _STORED


def in_pixels(box: Box, picture: PhotographSize) -> Box | None:
    """Returns a box in shares of the upright frame as one in its pixels, cut off at its edges; None if nothing is left."""
    left, right = (min(max(share * picture.width, 0.0), picture.width) for share in (box[0], box[2]))
    top, bottom = (min(max(share * picture.height, 0.0), picture.height) for share in (box[1], box[3]))
    return (left, top, right, bottom) if right > left and bottom > top else None


def _in_shares(area: Area, picture: PhotographSize) -> Box:
    """Returns an area's box in shares of its frame."""
    if not area.pixels:
        return area.box
    width, height = area.size or picture.stored
    return area.box[0] / width, area.box[1] / height, area.box[2] / width, area.box[3] / height


def _frame(scheme: Scheme, shares: Sequence[tuple[Area, Box]], picture: PhotographSize) -> tuple[Frame, bool]:
    """Returns the frame of a scheme's regions in this packet, and whether it is a guess."""
    if picture.orientation == 1 and scheme not in _STORED:
        return "upright", False
    if scheme == "picasa":
        return "upright", True
    stored = [(area, box) for area, box in shares if area.scheme in _STORED]
    others = [(area, box) for area, box in shares if area.scheme == "microsoft"]
    if _agree(others, [(area, turned(box, picture.orientation)) for area, box in stored]):
        # two programs' boxes of one person, which a wrong frame would have put in two places
        return ("stored" if scheme in _STORED else "upright"), False
    if scheme == "microsoft" and not _agree(others, stored):
        return "upright", True
    return _stored_frame([area for area, _ in stored], picture)


def _agree(some: Sequence[tuple[Area, Box]], others: Sequence[tuple[Area, Box]]) -> bool:
    """Returns whether boxes of the same name overlap."""
    numbers: dict[str | None, int] = {}
    names = [
        np.array([numbers.setdefault(area.name, len(numbers)) for area, _ in each]) for each in (some, others)
    ]
    boxes = [geometry.as_boxes([box for _, box in each]) for each in (some, others)]
    overlaps = geometry.iou(*boxes)
    return bool((overlaps[np.equal.outer(*names)] >= SAME).any())


def _stored_frame(areas: Sequence[Area], picture: PhotographSize) -> tuple[Frame, bool]:
    """Returns the frame of MWG regions, of which nothing but the size of the picture they were drawn in is known."""
    sizes = {area.size for area in areas if area.size is not None}
    if all(_same_shape(size, picture.stored) for size in sizes):
        # without a size, nothing says how the picture stood when they were drawn
        return "stored", not sizes and picture.orientation in ON_ITS_SIDE
    if picture.orientation in ON_ITS_SIDE and all(area.pixels for area in areas):
        return "upright", True  # pixels lie in a picture of the size that is stated
    return "stored", True


def _misshapen(areas: Sequence[Area], picture: PhotographSize) -> str:
    """Returns a problem where regions were drawn in a picture of another shape, turned or not; "" where none was."""
    width, height = picture.stored
    for size in dict.fromkeys(area.size for area in areas if area.size is not None):
        if not (_same_shape(size, (width, height)) or _same_shape(size, (height, width))):
            drawn = f"{size[0]:.0f} x {size[1]:.0f}"
            return f"the regions were drawn in a picture of {drawn} pixels, which has another shape: this one may be cropped"
    return ""


def _same_shape(a: tuple[float, float], b: tuple[float, float]) -> bool:
    # of a small picture, a pixel more or less is a larger share
    allowed = max(_ASPECT, 1 / min(*a, *b))
    return abs(math.log((a[0] * b[1]) / (a[1] * b[0]))) <= allowed
