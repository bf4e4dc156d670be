"""Regions: boxes around people as programs wrote them, and as they lie in the upright picture."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ...core import boxes as geometry
from ...core.images.orientation import ON_ITS_SIDE
from ...core.text import one_line, plural

Box = tuple[float, float, float, float]
"""Left, top, right and bottom, x to the right and y downwards."""

Scheme = Literal["mwg", "apple", "microsoft", "picasa"]

Frame = Literal["stored", "upright"]

FACE = "Face"
"""The kind of a region around a person; others are Pet, Focus and BarCode (MWG 2.0, 5.9)."""

MOST_REGIONS = 1000
"""Limit on the regions of a packet: the largest group photographs have some hundreds of faces."""

MOST_PROBLEMS = 5
"""Limit on the problems of a packet that are named; the rest are counted."""

LONGEST_NAME = 200
"""Limit on the characters of a name."""

SAME = 0.5
"""Intersection over union from which two regions of one name are one."""

_JOINERS = frozenset("\u200c\u200d\u200e\u200f")
"""Invisible characters that belong to names: of Persian, of emoji, and marks of direction that end with their word."""


@dataclass(frozen=True)
class PhotographSize:
    """A picture's frame: width and height when upright, and the EXIF orientation, 1 to 8, that makes it so."""

    width: int
    height: int
    orientation: int = 1

    @property
    def stored(self) -> tuple[int, int]:
        """(width, height) of the pixels as they are stored."""
        return (self.height, self.width) if self.orientation in ON_ITS_SIDE else (self.width, self.height)


@dataclass(frozen=True)
class Area:
    """A region as a program wrote it.

    Attributes:
        name: None where it has none.
        box: in shares of the program's frame, or in its pixels.
        pixels: whether the box is in pixels.
        size: (width, height) of the picture in which the program drew it, None if it does not say that.
    """

    name: str | None
    kind: str
    box: Box
    scheme: Scheme
    pixels: bool = False
    size: tuple[float, float] | None = None


@dataclass(frozen=True)
class Region:
    """A region in a photograph.

    Attributes:
        name: of the person, None where the region has none.
        kind: Face, Pet, Focus, BarCode, or what else the program wrote.
        box: in pixels of the upright picture, inside it.
        scheme: which program's way of writing it: mwg, apple, microsoft or picasa.
        frame: the frame in which it was taken to be stored.
        guessed: whether that frame is likely, but not certain.
    """

    name: str | None
    kind: str
    box: Box
    scheme: Scheme
    frame: Frame
    guessed: bool


@dataclass(frozen=True)
class Areas:
    """What a packet holds.

    Attributes:
        areas: its regions, as they were written.
        problems: one line for each thing in it that is not read.
        unplaced: names of people who are somewhere in the photograph.
    """

    areas: tuple[Area, ...] = ()
    problems: tuple[str, ...] = ()
    unplaced: tuple[str, ...] = ()


@dataclass(frozen=True)
class Regions:
    """What a photograph, or a packet of one, says of the people in it.

    Attributes:
        regions: in pixels of the upright picture, each once.
        problems: one line for each thing that is not read.
        unplaced: names of people who are somewhere in the photograph, without a region.
    """

    regions: tuple[Region, ...] = ()
    problems: tuple[str, ...] = ()
    unplaced: tuple[str, ...] = ()


def clean_name(text: str | None) -> str | None:
    """Returns a name as one line without invisible characters, in composed letters (NFC); None where nothing is left.

    Raises:
        ValueError: more than LONGEST_NAME characters; the message says so.
    """
    if text is None:
        return None
    # a name of this length as decomposed letters with four marks each, before NFC looks at it
    if len(text) > 5 * LONGEST_NAME:
        raise ValueError(f"a name has more than {plural(LONGEST_NAME, 'character')}")
    kept = (
        " " if unicodedata.category(each) in ("Cc", "Zl", "Zp") else each
        for each in text
        if each in _JOINERS or unicodedata.category(each) not in ("Cf", "Cs", "Co", "Cn")
    )
    name = unicodedata.normalize("NFC", " ".join("".join(kept).split()))
    if len(name) > LONGEST_NAME:
        raise ValueError(f"a name has more than {plural(LONGEST_NAME, 'character')}")
    return name if name.strip("".join(_JOINERS)) else None


def merged(packets: Iterable[Sequence[Region]]) -> tuple[Region, ...]:
    """Returns the regions of several packets, those of the first one first, each once, at most MOST_REGIONS.

    Two regions that overlap (SAME) are one if they have the same name, or if one of them has none; that with a name stays.
    """
    regions = [region for packet in packets for region in packet][:MOST_REGIONS]
    boxes = geometry.as_boxes([region.box for region in regions])
    overlapping = geometry.iou(boxes, boxes) >= SAME
    kept: dict[int, Region] = {}
    for at, region in enumerate(regions):
        twins = (other for other in np.flatnonzero(overlapping[at, :at]).tolist() if other in kept)
        twin = next((other for other in twins if _is_same(kept[other], region)), None)
        if twin is None:
            kept[at] = region
        elif kept[twin].name is None:
            kept[twin] = region
    return tuple(kept.values())


def _is_same(a: Region, b: Region) -> bool:
    return a.kind == b.kind and (a.name == b.name or None in (a.name, b.name))


def described(name: str | None) -> str:
    """Returns how a message calls a region."""
    return "a region without a name" if name is None else f"the region '{one_line(name, 60)}'"


def shortened(problems: Sequence[str]) -> tuple[str, ...]:
    """Returns problems, each once, at most MOST_PROBLEMS and a line that counts the rest."""
    once = list(dict.fromkeys(problems))
    rest = len(once) - MOST_PROBLEMS
    return tuple(once) if rest <= 0 else (*once[:MOST_PROBLEMS], f"{plural(rest, 'further problem')}")
