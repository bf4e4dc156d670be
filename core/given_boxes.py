"""GivenBoxes: boxes of faces that come from elsewhere, in one picture of a file, to be encoded and not searched for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .boxes import Boxes
from .faces import TURNS

MOST_BOXES = 1000
"""Boxes of one request. Each takes milliseconds to encode: more of them come near to the time limit of an image."""

FARTHEST = 2**24
"""The largest coordinate, in pixels: up to it, a float32 holds every whole number."""

UNKNOWN_TURN = -1
"""Stands for a turn that the search is to find out."""

MAX_PAGE = 2**31 - 1

_EDGES = ("left", "top", "right", "bottom")


@dataclass(frozen=True, eq=False)
class GivenBoxes:
    """n boxes in one picture of a file.

    Attributes:
        boxes: (n, 4) float32: left, top, right, bottom, in pixels of the upright picture; they may leave it.
        turned: (n,) int32: the degrees clockwise, 0, 90, 180 or 270, that bring each face upright, or UNKNOWN_TURN.
        page: the number of the picture in the file, as in `pages.Page`. 0 also stands for the frame at which an animation is
            searched.

    Raises:
        ValueError: a box is wrong, or there are too many; the message names the box, counted from 1, and what is allowed.
    """

    boxes: Boxes
    turned: NDArray[np.int32]
    page: int = 0

    def __post_init__(self) -> None:
        n = len(self.boxes)
        if self.boxes.shape != (n, 4) or self.boxes.dtype != np.float32:
            raise ValueError(
                f"boxes must be float32 of shape (n, 4): left, top, right, bottom, not {self.boxes.dtype} of shape "
                f"{self.boxes.shape}"
            )
        if self.turned.shape != (n,) or self.turned.dtype != np.int32:
            raise ValueError(
                f"turned must be int32 of shape ({n},), a number for each box, not {self.turned.dtype} of shape "
                f"{self.turned.shape}"
            )
        if n > MOST_BOXES:
            raise ValueError(f"there are {n} boxes, and at most {MOST_BOXES} are allowed: send them in parts")
        if not 0 <= self.page <= MAX_PAGE:
            raise ValueError(f"page must be 0 to {MAX_PAGE}, not {self.page}")
        for number, (box, turn) in enumerate(
            zip(self.boxes.tolist(), self.turned.tolist(), strict=True), start=1
        ):
            _check(f"box {number}", box, turn)

    @classmethod
    def of(cls, boxes: ArrayLike, turned: ArrayLike | None = None, page: int = 0) -> GivenBoxes:
        """Returns the boxes that a caller has in any form that NumPy reads: rows of left, top, right, bottom.

        Args:
            turned: as the attribute, one for each box; None: the search is to find them out.

        Raises:
            ValueError: as of the class.
        """
        try:
            with np.errstate(over="ignore"):  # beyond float32 is infinity, which the check names
                rows = np.array(boxes, np.float32)
        except (TypeError, ValueError) as error:
            raise ValueError(f"boxes must be numbers, in rows of left, top, right, bottom: {error}") from None
        if rows.size == 0:
            rows = np.zeros((0, 4), np.float32)
        if rows.ndim != 2:
            raise ValueError(
                f"boxes must be rows of left, top, right, bottom, of shape (n, 4), not {rows.shape}"
            )
        if turned is None:
            turns = np.full(len(rows), UNKNOWN_TURN, np.int32)
        else:
            given = np.asarray(turned)
            turns = given.astype(np.int32) if given.size == 0 or given.dtype.kind in "iu" else given
        return cls(rows, turns, page)


def _check(name: str, box: list[float], turn: int) -> None:
    for edge, value in zip(_EDGES, box, strict=True):
        if not -FARTHEST <= value <= FARTHEST:  # false for NaN
            raise ValueError(f"{name}: {edge} must be a number from {-FARTHEST} to {FARTHEST}, not {value:g}")
    left, top, right, bottom = box
    for low, high, names in ((left, right, "left and right"), (top, bottom, "top and bottom")):
        if high <= low:
            raise ValueError(
                f"{name} is empty: {names} are {low:g} and {high:g}, and the second must be larger "
                "(the order is left, top, right, bottom)"
            )
    if turn not in (UNKNOWN_TURN, *TURNS):
        raise ValueError(f"{name}: turned must be of {', '.join(map(str, TURNS))}, not {turn}")
