"""Guided: the search of the places that a small network proposes, each in a crop of its own.

Most of a photograph holds no face. YuNet goes over all of it for a small part of the work, and says where a face may be, how
large it is and which way up (`upright`). Each such place is cut out, turned, so that a face in it has the size that dlib's
detector was trained for, and dlib's detector decides. docs/accuracy.md has the figures.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .. import boxes as geometry
from .. import pyramid, turning
from ..boxes import Boxes
from ..engines import Engine, Pixels, Proposer
from ..engines.network import yunet
from ..faces import Faces
from ..parameters import DetectionParameters
from . import proposals, upright
from .everywhere import Everywhere
from .proposals import Proposed

PROPOSED = 0.3
"""The least score of a proposal: low, because dlib's detector decides."""

FACE = 0.6
"""The share of a cut's side that the proposal has."""

FIRST_CUT, FIRST_CROP, FIRST_SCALES = 140, 120, 1
"""Pixels of the cut's side at the first look, and of the crop in its middle, and the scales at which the crop is searched. A
face has 84 px there: it may be as much smaller than proposed as larger, until the detector's window, 80 px, does not fit."""

SECOND_CUT, SECOND_SCALES = 160, 3
"""Those of the second look, which shows the cut as it is: a face has 96, 80 and 67 px, and the surroundings that make the
detector surer. It costs three times as much."""

SURE = -0.4
"""The confidence above which the first look decides on a face that stands upright: on 124 photographs, for 1207 of 1472
faces, with 5 false ones. A proposal of a turned face is less exact in size and place: one scale would not do it justice."""

WORTHWHILE = 0.75
"""The score, of the proposal or of its cut (`upright`), from which there is a second look: of 1558 proposals that the first
took for no face, 657 have it, and 265 of these are faces; of the 901 others, it would find 34, 9 of them wrong."""

SAME_PLACE = 0.3
"""The least intersection over union of a proposal and its detection; others are neighbours, cut off by the crop."""

BACKGROUND = (123, 117, 104)
"""What lies beyond the edge of the image: the detector's mean, as dlib pads its own pyramid."""

SAMPLES = 2
"""The least pixels of the image, in a row, that are sampled for each pixel of a cut, where there are so many."""

TOGETHER = 512
"""Proposals whose cuts are in memory together, 0.2 MB each, and agree on which way up the photograph is."""

CROPS_AT_ONCE = 32
"""On a GPU: as many as keep it busy."""

COST = 20_000
"""What a proposal costs, in pixels of a tile of the search everywhere, most of which is searched in integers."""


class _Cut(NamedTuple):
    """A square part of the image: its pixels, how many of them there are to a pixel of the image, its left and top there."""

    pixels: Pixels
    zoom: float
    origin: tuple[float, float]

    def middle(self, side: int) -> _Cut:
        """Returns the part in its middle, of so many pixels."""
        edge = (len(self.pixels) - side) // 2
        x, y = self.origin
        return _Cut(
            self.pixels[edge : edge + side, edge : edge + side],
            self.zoom,
            (x + edge / self.zoom, y + edge / self.zoom),
        )


class Guided:
    """The Search on proposals. Where proposals that the search everywhere would find, too, cost more than it, as in a crowd,
    it is done for them. Of a large picture, it would find only the large faces.

    Args:
        engine: its threshold is that of the guided search.
        proposer: proposes.
        detection: the parameters of the search everywhere; what that finds by its zoom is looked for here.
        frugal: as of the search everywhere.
    """

    def __init__(
        self, engine: Engine, proposer: Proposer, detection: DetectionParameters, *, frugal: bool = False
    ) -> None:
        self._engine = engine
        self._proposer = proposer
        self._detection = detection
        self._everywhere = Everywhere(engine, detection, frugal=frugal)

    def candidates(self, image: Pixels, *, faces_from: float = 0) -> Faces:
        """Returns what the detector sees of each proposal, once."""
        return self.decided(image, self._proposed(image, faces_from), faces_from=faces_from)

    def turns(self, image: Pixels, boxes: Boxes, *, faces_from: float = 0) -> NDArray[np.int32]:
        """Returns the degrees clockwise that bring the face in each box upright."""
        return self.turns_among(image, boxes, self._proposed(image, faces_from), faces_from=faces_from)

    def finest_zoom(self, width: int, height: int, *, faces_from: float = 0) -> float:
        """Returns the zoom of the smallest face that can be proposed, in its cut."""
        return crop_zoom(proposals.finest_zoom(width, height, self._detection, faces_from=faces_from))

    def decided(self, image: Pixels, found: Proposed, *, faces_from: float = 0) -> Faces:
        """Returns what the detector sees of each of these proposals."""
        height, width, _ = image.shape
        in_crops = self._in_crops_rather(width, height, found, faces_from)
        if in_crops.all():
            return self._in_crops(image, found)
        everywhere = self._everywhere.candidates(image, faces_from=faces_from)
        everywhere = everywhere[everywhere.confidences > self._detection.threshold]
        return Faces.concatenate([everywhere, self._in_crops(image, found.picked(in_crops))])

    def turns_among(
        self, image: Pixels, boxes: Boxes, found: Proposed, *, faces_from: float = 0
    ) -> NDArray[np.int32]:
        """Returns the degrees clockwise, (n,), that bring the face in each box upright, as `decided` takes them.

        A box where a proposal stands has the proposal's; another one is looked at like a proposal.
        """
        height, width, _ = image.shape
        in_crops = self._in_crops_rather(width, height, found, faces_from)
        proposed = np.zeros(len(found.boxes), np.int32)  # the search everywhere turns none
        proposed[in_crops] = self._turns(image, found.picked(in_crops).boxes)
        if not len(proposed):
            return self._turns(image, _squares(boxes))
        overlaps = geometry.iou(boxes, found.boxes)
        turned: NDArray[np.int32] = proposed[overlaps.argmax(axis=1)]
        alone = overlaps.max(axis=1) < SAME_PLACE
        turned[alone] = self._turns(image, _squares(boxes[alone]))
        return turned

    def _proposed(self, image: Pixels, faces_from: float) -> Proposed:
        height, width, _ = image.shape
        finest = proposals.finest_zoom(width, height, self._detection, faces_from=faces_from)
        levels = proposals.levels(width, height, proposals.zooms(width, height, finest))
        return proposals.propose(self._proposer, image, levels, PROPOSED).once()

    def _in_crops_rather(
        self, width: int, height: int, found: Proposed, faces_from: float
    ) -> NDArray[np.bool_]:
        """Which proposals, (n,), are looked at in crops: all, or those alone that the search everywhere would not find."""
        levels = pyramid.levels(width, height, self._detection, faces_from=faces_from)
        reached = found.boxes[:, 2] - found.boxes[:, 0] >= pyramid.DETECTOR_WINDOW / max(levels[-1].zoom)
        affordable = np.count_nonzero(reached) * COST <= pyramid.work(levels).pixels
        return np.ones(len(reached), np.bool_) if affordable else ~reached

    def _turns(self, image: Pixels, squares: Boxes) -> NDArray[np.int32]:
        """The degrees clockwise that bring the face in each square upright; those of a group agree, as in `_decided`."""
        groups = [np.zeros(0, np.int32)]
        for start in range(0, len(squares), TOGETHER):
            cuts = [cut(image, box, FIRST_CUT).pixels for box in squares[start : start + TOGETHER]]
            groups.append(upright.turns(self._proposer, cuts)[0])
        return np.concatenate(groups)

    def _in_crops(self, image: Pixels, found: Proposed) -> Faces:
        """What the detector sees of each of these proposals in crops."""
        groups = [
            self._decided(image, found.picked(np.arange(start, min(start + TOGETHER, len(found.boxes)))))
            for start in range(0, len(found.boxes), TOGETHER)
        ]
        return Faces.concatenate(groups)

    def _decided(self, image: Pixels, found: Proposed) -> Faces:
        """What the detector sees of each proposal of a group."""
        cuts = [cut(image, box, FIRST_CUT) for box in found.boxes]
        turned, scores = upright.turns(self._proposer, [one.pixels for one in cuts])
        first = self._looked(
            image, found, turned, [one.middle(FIRST_CROP) for one in cuts], scales=FIRST_SCALES
        )
        sure = np.array([len(one) > 0 and float(one.confidences[0]) > SURE for one in first], np.bool_)
        worthwhile = np.maximum(scores, found.scores) >= WORTHWHILE
        again = np.flatnonzero(worthwhile & (~sure | (turned != 0)))
        second = self._looked(
            image,
            found.picked(again),
            turned[again],
            [cut(image, box, SECOND_CUT) for box in found.boxes[again]],
            scales=SECOND_SCALES,
        )
        sure[again] = False
        return Faces.concatenate([first[index] for index in np.flatnonzero(sure)] + second)

    def _looked(
        self, image: Pixels, found: Proposed, turned: NDArray[np.int32], cuts: Sequence[_Cut], *, scales: int
    ) -> list[Faces]:
        """The proposed face in each cut as the detector sees it once that is turned, or none."""
        height, width, _ = image.shape
        if not cuts:
            return []
        side = len(cuts[0].pixels)
        size = min(CROPS_AT_ONCE, self._engine.batch_size(side, side))
        faces = []
        for start in range(0, len(cuts), size):
            some = range(start, min(start + size, len(cuts)))
            tiles = [
                self._engine.prepare(turning.turned(cuts[index].pixels, int(turned[index])), scales)
                for index in some
            ]
            # batches of one size: a GPU chooses its algorithms, and with them its memory, for each
            seen = self._engine.detect(tiles + tiles[:1] * (size - len(tiles)))
            for index, detections in zip(some, seen, strict=False):
                turn, one = int(turned[index]), cuts[index]
                in_cut = turning.turned_boxes(detections.voted, (side, side), 360 - turn)
                in_image = geometry.to_image(in_cut, (one.zoom, one.zoom), one.origin)
                overlaps = geometry.iou(in_image, found.boxes[index : index + 1])[:, 0]
                same = np.flatnonzero(overlaps >= SAME_PLACE)[:1]
                faces.append(
                    Faces.detected(
                        geometry.clip(in_image[same], width, height),
                        detections.confidences[same],
                        level=int(found.levels[index]),
                        turned=turn,
                        inside=geometry.inside(in_image[same], width, height),
                    )
                )
        return faces


def _squares(boxes: Boxes) -> Boxes:
    """Returns the squares round the boxes: a proposal is one, and a box that a person drew seldom is."""
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2
    halves = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, keepdims=True) / 2
    return np.concatenate([middles - halves, middles + halves], axis=1)


def crop_zoom(finest: float) -> float:
    """Returns the zoom, in its cut, of the smallest face that can be proposed in a finest level of this zoom."""
    return SECOND_CUT * FACE * finest / yunet.SMALLEST


def cut(image: Pixels, box: NDArray[np.float32], side: int) -> _Cut:
    """Returns a proposal and its surroundings, in whole pixels of the image; what lies beyond its edges is background.

    Args:
        side: pixels of the cut's side.
    """
    height, width, _ = image.shape
    left, top, right, bottom = box.tolist()
    around = max(2, round((right - left) / FACE))
    x, y = round((left + right - around) / 2), round((top + bottom - around) / 2)
    zoom = side / around
    part = max(x, 0), max(y, 0), min(x + around, width), min(y + around, height)
    pixels = np.empty((side, side, 3), np.uint8)
    if part != (x, y, x + around, y + around):
        pixels[:] = BACKGROUND
    if part[0] < part[2] and part[1] < part[3]:
        start, end = [(round((part[i] - x) * zoom), round((part[i + 1] - y) * zoom)) for i in (0, 2)]
        size = max(1, end[0] - start[0]), max(1, end[1] - start[1])
        step = max(1, around // (side * SAMPLES))
        inside = Image.fromarray(
            np.ascontiguousarray(image[part[1] : part[3] : step, part[0] : part[2] : step])
        )
        resized = np.asarray(inside.resize(size, Image.Resampling.BILINEAR))
        pixels[start[1] : start[1] + size[1], start[0] : start[0] + size[0]] = resized[
            : side - start[1], : side - start[0]
        ]
    return _Cut(pixels, zoom, (x, y))
