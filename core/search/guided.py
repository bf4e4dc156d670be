"""Guided: the search of the places that a small network proposes, each in a crop of its own.

Most of a photograph holds no face. YuNet goes over all of it for a small part of the work, and says where a face may be and
how large it is. Each such place is cut out so that a face in it has the size that dlib's detector was trained for, and
dlib's detector decides. docs/accuracy.md has the figures.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import boxes as geometry
from .. import pyramid
from ..boxes import Boxes
from ..engines import Detections, Engine, Pixels, Proposer, Tile
from ..engines.network import yunet
from ..faces import Faces
from ..parameters import DetectionParameters
from . import proposals
from .everywhere import Everywhere
from .proposals import Proposed

PROPOSED = 0.3
"""The least score of a proposal: low, because dlib's detector decides."""

CROP, FACE, SCALES = 160, 96.0, 3
"""Pixels of a crop's side, pixels that the proposal has in it, and the scales at which it is searched: a face of 96 px is
one of 80 and of 67 px at the next two: the detector's window, 80 px, fits one proposed up to a fifth too large or too
small. Smaller crops lack the surroundings of the face that the detector needs; larger ones show it nothing more."""

SAME_PLACE = 0.3
"""The least intersection over union of a proposal and its detection; others are neighbours, cut off by the crop."""

BACKGROUND = (123, 117, 104)
"""What lies beyond the edge of the image: the detector's mean, as dlib pads its own pyramid."""

CROPS_AT_ONCE = 32
"""On a GPU: as many as keep it busy."""

COST_OF_CROPS = 1.4
"""What a pixel of a crop costs, in pixels of a tile of the search everywhere, most of which is searched in integers."""


class _Crop(NamedTuple):
    """One crop: prepared, the pixels of it per pixel of the image, and its left and top there."""

    tile: Tile
    zoom: float
    origin: tuple[float, float]


class Guided:
    """The Search on proposals. Where they would cost more than the search everywhere, as in a stadium, that is done.

    Args:
        engine: its threshold is that of the guided search.
        proposer: proposes.
        detection: the parameters of the search everywhere; what that finds by its zoom is looked for here.
    """

    def __init__(self, engine: Engine, proposer: Proposer, detection: DetectionParameters) -> None:
        self._engine = engine
        self._proposer = proposer
        self._detection = detection
        self._everywhere = Everywhere(engine, detection)

    def candidates(self, image: Pixels, *, faces_from: float = 0) -> Faces:
        """Returns what the detector sees of each proposal, once."""
        height, width, _ = image.shape
        finest = proposals.finest_zoom(width, height, self._detection, faces_from=faces_from)
        levels = proposals.levels(width, height, proposals.zooms(width, height, finest))
        found = proposals.propose(self._proposer, image, levels, PROPOSED)
        return self.decided(image, found.once(), faces_from=faces_from)

    def decided(self, image: Pixels, found: Proposed, *, faces_from: float = 0) -> Faces:
        """Returns what the detector sees of each of these proposals."""
        height, width, _ = image.shape
        proposed, of_level = found.boxes, found.levels
        everywhere = pyramid.levels(width, height, self._detection, faces_from=faces_from)
        if len(proposed) * CROP**2 * COST_OF_CROPS > pyramid.work(everywhere).pixels:
            faces = self._everywhere.candidates(image, faces_from=faces_from)
            return faces[faces.confidences > self._detection.threshold]
        candidates = []
        size = min(CROPS_AT_ONCE, self._engine.batch_size(CROP, CROP))
        for start in range(0, len(proposed), size):
            some = slice(start, start + size)
            crops = [self._crop(image, box) for box in proposed[some]]
            # batches of one size: a GPU chooses its algorithms, and with them its memory, for each
            tiles = [crop.tile for crop in crops] + [crops[0].tile] * (size - len(crops))
            detections = self._engine.detect(tiles)[: len(crops)]
            for crop, box, level, seen in zip(crops, proposed[some], of_level[some], detections, strict=True):
                candidates.append(_decided(crop, box, int(level), seen, (width, height)))
        return Faces.concatenate(candidates)

    def finest_zoom(self, width: int, height: int, *, faces_from: float = 0) -> float:
        """Returns the zoom of the smallest face that can be proposed, in its crop."""
        return crop_zoom(proposals.finest_zoom(width, height, self._detection, faces_from=faces_from))

    def _crop(self, image: Pixels, box: NDArray[np.float32]) -> _Crop:
        """Cuts a proposal out of the image, in whole pixels of it; what lies beyond its edges is background."""
        height, width, _ = image.shape
        left, top, right, bottom = box.tolist()
        side = max(2, round((right - left) * CROP / FACE))
        x, y = round((left + right - side) / 2), round((top + bottom - side) / 2)
        zoom = CROP / side
        part = max(x, 0), max(y, 0), min(x + side, width), min(y + side, height)
        pixels = np.empty((CROP, CROP, 3), np.uint8)
        pixels[:] = BACKGROUND
        if part[0] < part[2] and part[1] < part[3]:
            start, end = [(round((part[i] - x) * zoom), round((part[i + 1] - y) * zoom)) for i in (0, 2)]
            size = max(1, end[0] - start[0]), max(1, end[1] - start[1])
            inside = proposals.zoomed(image, part, size)
            pixels[start[1] : start[1] + size[1], start[0] : start[0] + size[0]] = inside[
                : CROP - start[1], : CROP - start[0]
            ]
        return _Crop(self._engine.prepare(pixels, SCALES), zoom, (x, y))


def crop_zoom(finest: float) -> float:
    """Returns the zoom, in its crop, of the smallest face that can be proposed in a finest level of this zoom."""
    return FACE * finest / yunet.SMALLEST


def _decided(
    crop: _Crop, proposed: NDArray[np.float32], level: int, found: Detections, size: tuple[int, int]
) -> Faces:
    """The proposed face as the detector sees it, or none."""
    boxes: Boxes = geometry.to_image(found.voted, (crop.zoom, crop.zoom), crop.origin)
    same = np.flatnonzero(geometry.iou(boxes, proposed[None])[:, 0] >= SAME_PLACE)[:1]
    return Faces.detected(
        geometry.clip(boxes[same], *size),
        found.confidences[same],
        level=level,
        inside=geometry.inside(boxes[same], *size),
    )
