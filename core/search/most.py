"""Most: the search for every face that either network finds, dlib's detector in guided crops or YuNet alone.

It is the guided search with one more level, which is zoomed twice as far as its finest one. A proposal that dlib's detector
refuses is a face all the same where YuNet is sure of it at two zooms: what resembles a face at one zoom, as a thumb does,
seldom resembles one at another. docs/accuracy.md has the figures.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .. import boxes as geometry
from ..boxes import Boxes
from ..engines import Engine, Pixels, Proposer
from ..faces import Faces
from ..parameters import DetectionParameters
from . import guided, proposals, upright
from .guided import PROPOSED, Guided
from .proposals import Proposed

FURTHER = 2.0
"""The zoom of the additional level per zoom of the guided search's finest one."""

SURE = 0.71
"""The agreement from which YuNet decides alone: the lowest, in steps of 0.01, with which 97 of 100 boxes of this search are
right on every second of 124 photographs. On the others, 98 are. Each step more costs 5 faces in 1000."""

MOST_ALONE = 5000
"""The most proposals of which YuNet alone may be sure, the best of them: each takes milliseconds to encode, and the memory
for comparing all faces with each other grows with the square of their number."""

SAME_FACE = 0.4
"""The least intersection over union of one face's boxes in two levels."""

OVERLAP, COVERED = 0.3, 0.8
"""Two boxes are one face where their intersection over union exceeds the first, or where the intersection covers more than
the second of the smaller box: of a large face, a fine level may show a part."""


class Most:
    """The Search for as many faces as possible: `Guided` on more proposals, and the refused ones of which YuNet is sure.

    Args:
        engine: its threshold is that of the guided search.
        proposer: proposes, and decides where it is sure.
        detection: the parameters of the search everywhere; faces of half the size that this finds are looked for.
        frugal: as of the search everywhere.
    """

    def __init__(
        self, engine: Engine, proposer: Proposer, detection: DetectionParameters, *, frugal: bool = False
    ) -> None:
        self._proposer = proposer
        self._detection = detection
        self._guided = Guided(engine, proposer, detection, frugal=frugal)

    def candidates(self, image: Pixels, *, faces_from: float = 0) -> Faces:
        """Returns what the detector sees of each proposal, once, and the proposals of which YuNet alone is sure.

        The confidence of these is YuNet's agreement (`agreement`), 0 to 1.
        """
        found = self._proposed(image, faces_from)
        once = found.once()
        decided = self._guided.decided(image, once, faces_from=faces_from)
        likely = once.picked(np.flatnonzero(once.scores >= SURE)[:MOST_ALONE])  # others cannot agree so well
        agreed = agreement(likely, found)
        sure = alone(likely.boxes, agreed, decided.boxes)
        return Faces.concatenate([decided, self._of_yunet(image, likely.picked(sure), agreed[sure])])

    def _proposed(self, image: Pixels, faces_from: float) -> Proposed:
        height, width, _ = image.shape
        levels = proposals.levels(width, height, zooms(width, height, self._detection, faces_from=faces_from))
        return proposals.propose(self._proposer, image, levels, PROPOSED)

    def _of_yunet(self, image: Pixels, sure: Proposed, agreed: NDArray[np.float32]) -> Faces:
        """The faces of which YuNet is sure, each with the turn that brings it upright."""
        height, width, _ = image.shape
        cuts = [guided.cut(image, box, guided.FIRST_CUT).pixels for box in sure.boxes]
        turned, _ = upright.turns(self._proposer, cuts)
        faces = Faces.detected(
            geometry.clip(sure.boxes, width, height),
            agreed,
            level=0,
            detector="yunet",
            inside=geometry.inside(sure.boxes, width, height),
        )
        return replace(faces, levels=sure.levels, turned=turned)

    def turns(self, image: Pixels, boxes: Boxes, *, faces_from: float = 0) -> NDArray[np.int32]:
        """Returns the degrees clockwise that bring the face in each box upright."""
        found = self._proposed(image, faces_from).once()
        return self._guided.turns_among(image, boxes, found, faces_from=faces_from)

    def finest_zoom(self, width: int, height: int, *, faces_from: float = 0) -> float:
        """Returns the zoom of the smallest face that can be proposed, in its crop."""
        return guided.crop_zoom(zooms(width, height, self._detection, faces_from=faces_from)[-1])


def zooms(width: int, height: int, detection: DetectionParameters, *, faces_from: float = 0) -> list[float]:
    """Returns the zooms of YuNet's levels, the coarsest first."""
    guided_finest = proposals.finest_zoom(width, height, detection, faces_from=faces_from)
    finest = min(FURTHER * guided_finest, proposals.MOST_WANTED)
    return [*proposals.zooms(width, height, finest / FURTHER), finest]


def agreement(once: Proposed, found: Proposed) -> NDArray[np.float32]:
    """Returns the mean of the two best levels' scores for each proposal, (n,); a level that does not propose it counts 0.

    Args:
        once: n proposals, each place once.
        found: the proposals that these were chosen from.
    """
    of_levels = [found.picked(found.levels == level) for level in np.unique(found.levels)]
    agreed = np.zeros(len(once.boxes), np.float32)
    # one by one: of an image that is full of faces, all of their overlaps at once would take gigabytes
    for index in range(len(agreed)):
        box = once.boxes[index : index + 1]
        scores = [
            float(one.scores[geometry.iou(box, one.boxes)[0] >= SAME_FACE].max(initial=0))
            for one in of_levels
        ]
        agreed[index] = sum(sorted(scores)[-2:]) / 2
    return agreed


def alone(boxes: Boxes, agreed: NDArray[np.float32], decided: Boxes) -> NDArray[np.intp]:
    """Returns the indices of the boxes, (n, 4), of which YuNet is sure, the surest first, each face once.

    Args:
        agreed: (n,), see `agreement`.
        decided: (m, 4), the faces that the detector has; they are left out.
    """
    kept: list[int] = []
    taken = decided
    for index in np.argsort(-agreed, kind="stable").tolist():
        if agreed[index] < SURE:
            break
        box = boxes[index : index + 1]
        smaller = np.minimum(geometry.areas(box), geometry.areas(taken))
        covered = geometry.intersections(box, taken)[0] > COVERED * smaller
        if not (covered | (geometry.iou(box, taken)[0] > OVERLAP)).any():
            kept.append(index)
            taken = np.concatenate([taken, box])
    return np.array(kept, np.intp)
