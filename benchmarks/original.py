"""Original: the pyramid and the merge rules of the program that pyraface started from, for comparison.

The whole image and its quadrants, each with 6% more on the sides that face another, are scaled to the pixel budget and
then doubled `upsample` times. Candidates that touch are merged where any of three scores says so, or all together:

- their encodings are closer than 0.4;
- one covers more than 0.8 of the other;
- their centres are closer than half the larger's width and height.

Beyond these each score falls off as a power. What is merged is the box round both, with the encoding of the coarser level.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pyraface.core.engines import Engine, Pixels
from pyraface.core.parameters import DetectionParameters

from .metrics import Found

EXTENDED = 0.06
"""Of a tile's side: what it has beyond its quadrant."""

SCORE_FROM_WHICH_SURE, SUM_FROM_WHICH_SAME = 0.98, 2.0
ENCODING_SURE = 0.95
SMALLEST_SHARE = 0.04
"""A box less than this of the other is never the same face."""


@dataclass
class Candidate:
    """box: left, top, right, bottom in pixels of the image; level: 1 for the whole, 2 for a quadrant."""

    box: tuple[int, int, int, int]
    level: int
    score: float
    encoding: NDArray[np.float32]


def detect(engine: Engine, pixels: Pixels, detection: DetectionParameters) -> Found:
    """Returns the faces of an image as the original's pyramid and merging find them.

    It knew no confidence after merging; here a merged face has the higher one. It encoded with 10 jitters, here with one.
    """
    merged = merge(candidates(engine, pixels, detection))
    return Found(
        np.array([face.box for face in merged], np.float32).reshape(-1, 4),
        np.array([face.score for face in merged], np.float32),
    )


def candidates(engine: Engine, pixels: Pixels, detection: DetectionParameters) -> list[Candidate]:
    """Returns what each of the five tiles shows, in pixels of the image, encoded."""
    height, width = pixels.shape[:2]
    found: list[Candidate] = []
    for cuts in (1, 2):
        for left, right in _parts(width, cuts):
            for top, bottom in _parts(height, cuts):
                part = pixels[top:bottom, left:right]
                ratio = ((bottom - top) * (right - left) / (detection.height * detection.width)) ** 0.5
                small = _resized(part, int((right - left) / ratio), int((bottom - top) / ratio))
                for _ in range(detection.upsample):
                    small = _resized(small, 2 * small.shape[1], 2 * small.shape[0])
                [seen] = engine.detect([small])
                back = ratio / 2**detection.upsample
                offset = np.array([left, top, left, top])
                rows = [tuple(row) for row in (seen.boxes * back + offset).astype(int).tolist()]
                encodings = engine.encode(pixels, np.array(rows, np.float32).reshape(-1, 4))
                for row, score, encoding in zip(rows, seen.confidences.tolist(), encodings, strict=True):
                    found.append(Candidate(row, cuts, score, encoding))
    return found


def merge(waiting: list[Candidate]) -> list[Candidate]:
    """Returns the candidates, merged where the rules make them one face.

    In each round every candidate that touches no earlier group's first one starts a group of all that touch it; what is
    the same face as the first is merged into it. What was in a group without being merged waits for the next round.
    """
    done: list[Candidate] = []
    while waiting:
        touched, merged = set[int](), set[int]()
        for first, root in enumerate(waiting):
            if first in touched:
                continue
            group = [k for k, other in enumerate(waiting) if k != first and _shared(root.box, other.box) > 0]
            touched |= {first, *group}
            same = [k for k in group if same_face(waiting[k], root)]
            merged |= {first, *same}
            for k in reversed(same):
                root = _joined(root, waiting[k])
            if all(root.box != other.box for other in done):
                done.append(root)
        waiting = [face for index, face in enumerate(waiting) if index not in merged]
    return done


def same_face(a: Candidate, b: Candidate) -> bool:
    """Tells whether the rules merge two candidates that touch."""
    shared = _shared(a.box, b.box)
    shares = shared / _area(a.box), shared / _area(b.box)
    if min(shares) < SMALLEST_SHARE:
        return False
    encoding = _falling(float(np.linalg.norm(a.encoding - b.encoding)) - 0.4, 5)
    inside = _falling(0.8 - max(shares), 1.5)
    distance = _falling(_apart(a.box, b.box) - 0.5, 5)
    return (
        inside > SCORE_FROM_WHICH_SURE
        or encoding > ENCODING_SURE
        or distance > SCORE_FROM_WHICH_SURE
        or encoding + inside + distance > SUM_FROM_WHICH_SAME
    )


def _falling(beyond: float, power: float) -> float:
    return 1.0 if beyond < 0 else max(0.0, 1 - beyond) ** power


def _joined(a: Candidate, b: Candidate) -> Candidate:
    """The box round both; the encoding of the coarser level, or else of the larger box."""
    first = (a.level, -_area(a.box)) <= (b.level, -_area(b.box))
    box = (
        min(a.box[0], b.box[0]),
        min(a.box[1], b.box[1]),
        max(a.box[2], b.box[2]),
        max(a.box[3], b.box[3]),
    )
    return Candidate(box, min(a.level, b.level), max(a.score, b.score), (a if first else b).encoding)


def _parts(length: int, cuts: int) -> list[tuple[int, int]]:
    """From and to of each part of a side, a little longer than its share where another part follows."""
    more = int(EXTENDED * length / cuts)
    edges = [int(index * length / cuts) for index in range(cuts)] + [length]
    return [(max(0, edges[i] - more), min(length, edges[i + 1] + more)) for i in range(cuts)]


def _resized(pixels: Pixels, width: int, height: int) -> Pixels:
    """Bilinear, between the corners, with nothing against aliasing: as dlib doubles, and nearly as OpenCV resizes."""
    import dlib

    resized: Pixels = dlib.resize_image(np.ascontiguousarray(pixels), max(1, height), max(1, width))
    return resized


def _area(box: tuple[int, int, int, int]) -> int:
    return max(1, (box[2] - box[0]) * (box[3] - box[1]))


def _shared(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> int:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    return max(0, width) * max(0, height)


def _apart(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> float:
    """How far the centres are apart, in sides of the larger box."""
    x = (a[0] + a[2] - b[0] - b[2]) / 2 / max(1, a[2] - a[0], b[2] - b[0])
    y = (a[1] + a[3] - b[1] - b[3]) / 2 / max(1, a[3] - a[1], b[3] - b[1])
    return float(np.hypot(x, y))
