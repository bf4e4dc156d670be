"""Matching: each region of a person to the face that it was drawn around, as well as all of them together allow.

A region and a face may be one if they share more than half of the smaller one's area and neither has more than eight times
the area of the other: people draw boxes around hair and shoulders, too. Of all ways to give each region one face and each
face one region, that is taken whose boxes have their middles nearest to each other. docs/people.md compares the rules.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...core import boxes as geometry
from ...core.boxes import Boxes
from .frames import in_pixels, turned
from .regions import FACE, Box, PhotographSize, Region, Scheme

SHARED = 0.5
"""Share of the smaller one's area from which a region and a face may be one."""

TIMES = 8.0
"""Times the area that the larger of the two may have: twice as wide and high as the face, and drawn with a free hand."""

CLEARLY = 1.25
"""Times the nearness from which the same number of regions lies better in another frame."""

Weights = NDArray[np.float64]


@dataclass(frozen=True)
class Pair:
    """A region and the face that it was drawn around: their places in the lists, and their intersection over union."""

    region: int
    face: int
    overlap: float


@dataclass(frozen=True)
class Matching:
    """What the regions of a photograph are, by their places in the lists.

    Attributes:
        pairs: each region with its face, in the order of the regions.
        lonely_regions: regions of people without a face.
        rivals: of these, regions that lie on a face which another region has: two names on one face.
        shared: regions with a face that lie on another face as well.
        lonely_faces: faces without a region.
        boxes: (n, 4), of all regions, in pixels of the upright picture; moved where the faces showed that the frame is the
            other one.
        moved: the schemes whose regions were moved.
    """

    pairs: tuple[Pair, ...]
    lonely_regions: tuple[int, ...]
    rivals: tuple[int, ...]
    shared: tuple[int, ...]
    lonely_faces: tuple[int, ...]
    boxes: Boxes
    moved: tuple[Scheme, ...] = ()


def match(regions: Sequence[Region], faces: Boxes, picture: PhotographSize) -> Matching:
    """Returns which face each region is around. Regions around other things than faces (`Region.kind`) have none.

    Regions whose frame is a guess are tried in the other frame as well, all of a scheme together; it is taken if more of
    them lie on faces there, or the same number clearly nearer to their middles.

    Args:
        regions: of `RegionReader.read`.
        faces: (n, 4), in pixels of the upright picture.
        picture: the size that the regions were read with.
    """
    boxes = geometry.as_boxes([region.box for region in regions])
    boxes, moved = _in_better_frames(regions, boxes, faces, picture)
    people = np.array([_is_person(region) for region in regions], bool)
    near = np.where(people[:, None], nearness(boxes, faces), 0.0)
    overlaps = geometry.iou(boxes, faces)
    pairs = tuple(Pair(region, face, float(overlaps[region, face])) for region, face in assignment(near))
    matched, taken = {pair.region for pair in pairs}, {pair.face for pair in pairs}
    on_faces = (near > 0).sum(axis=1)
    lonely = tuple(at for at in np.flatnonzero(people).tolist() if at not in matched)
    return Matching(
        pairs,
        lonely,
        tuple(at for at in lonely if on_faces[at]),
        tuple(pair.region for pair in pairs if on_faces[pair.region] > 1),
        tuple(at for at in range(len(faces)) if at not in taken),
        boxes,
        moved,
    )


def _is_person(region: Region) -> bool:
    return region.kind.casefold() == FACE.casefold()


def _in_better_frames(
    regions: Sequence[Region], boxes: Boxes, faces: Boxes, picture: PhotographSize
) -> tuple[Boxes, tuple[Scheme, ...]]:
    """Returns the boxes of regions where they lie on the most faces, and the schemes that were moved for it."""
    moved: list[Scheme] = []
    for scheme in dict.fromkeys(region.scheme for region in regions if region.guessed):
        of_scheme = [region.guessed and region.scheme == scheme and _is_person(region) for region in regions]
        which = np.array(of_scheme, bool)
        others = [_moved(boxes, which, turn, picture) for turn in _turns(regions, scheme, picture)]
        worth = [_worth(each[which], faces) for each in (boxes, *others)]
        best = max(range(len(worth)), key=worth.__getitem__)
        if worth[best][0] > worth[0][0] or worth[best][1] > CLEARLY * worth[0][1]:
            boxes = others[best - 1]
            moved.append(scheme)
    return boxes, tuple(moved)


def assignment(weights: Weights) -> list[tuple[int, int]]:
    """Returns the pairs (row, column) with the largest total weight, each row and each column at most once.

    Args:
        weights: (rows, columns), none negative; 0 for a pair that may not be.
    """
    found: list[tuple[int, int]] = []
    for rows, columns in _components(weights > 0):
        part = weights[np.ix_(rows, columns)]
        wide = len(rows) <= len(columns)
        chosen = _hungarian(-part if wide else -part.T)
        for row, column in enumerate(chosen):
            pair = (rows[row], columns[column]) if wide else (rows[column], columns[row])
            if weights[pair] > 0:
                found.append(pair)
    return sorted(found)


def _components(possible: NDArray[np.bool_]) -> list[tuple[list[int], list[int]]]:
    """Returns the rows and columns of each part of a photograph that has nothing to do with the rest."""
    left = set(np.flatnonzero(possible.any(axis=1)).tolist())
    found = []
    while left:
        rows, columns = {left.pop()}, set[int]()
        waiting = list(rows)
        while waiting:
            new_columns = set(np.flatnonzero(possible[waiting].any(axis=0)).tolist()) - columns
            columns |= new_columns
            waiting = (
                []
                if not new_columns
                else sorted(set(np.flatnonzero(possible[:, sorted(new_columns)].any(axis=1)).tolist()) - rows)
            )
            rows |= set(waiting)
        left -= rows
        found.append((sorted(rows), sorted(columns)))
    return found


def _hungarian(costs: Weights) -> list[int]:
    """Returns the column of each row, for the smallest total; there are at least as many columns as rows.

    Kuhn's Hungarian method with shortest augmenting paths (Jonker and Volgenant, 1987): each row is added by the
    cheapest path to a free column, with prices that keep every step's cost at 0 or above.
    """
    rows, columns = costs.shape
    row_prices, column_prices = np.zeros(rows), np.zeros(columns)
    owners = np.full(columns, -1)
    for start in range(rows):
        shortest = np.full(columns, np.inf)
        before = np.full(columns, -1)
        seen = np.zeros(columns, bool)
        row, reached, column = start, 0.0, -1
        while row >= 0:
            through = reached + costs[row] - row_prices[row] - column_prices
            nearer = ~seen & (through < shortest)
            shortest[nearer], before[nearer] = through[nearer], column
            column = int(np.where(seen, np.inf, shortest).argmin())
            reached = float(shortest[column])
            seen[column] = True
            row = int(owners[column])
        inner = seen.copy()
        inner[column] = False
        row_prices[start] += reached
        row_prices[owners[inner]] += reached - shortest[inner]
        column_prices[inner] -= reached - shortest[inner]
        while column >= 0:  # each row on the path takes the column that the next one had
            previous = int(before[column])
            owners[column] = start if previous < 0 else owners[previous]
            column = previous
    chosen = np.empty(rows, int)
    chosen[owners[owners >= 0]] = np.flatnonzero(owners >= 0)
    return [int(column) for column in chosen]


def nearness(boxes: Boxes, faces: Boxes) -> Weights:
    """Returns how near the middles of each region and face are, 0 to 1, in sides of the larger; 0 if they cannot be one."""
    areas, face_areas = geometry.areas(boxes)[:, None], geometry.areas(faces)[None, :]
    smaller, larger = np.minimum(areas, face_areas), np.maximum(areas, face_areas)
    possible = (geometry.intersections(boxes, faces) > SHARED * smaller) & (larger <= TIMES * smaller)
    middles, face_middles = ((each[:, :2] + each[:, 2:]) / 2 for each in (boxes, faces))
    apart = np.linalg.norm(middles[:, None] - face_middles[None], axis=2)
    # half of the smaller one's area may be shared by long boxes whose middles are far apart
    near = np.maximum(1 - apart / np.sqrt(np.maximum(larger, 1e-9)), 1e-3)
    return np.where(possible, near, 0.0)


def _worth(boxes: Boxes, faces: Boxes) -> tuple[int, float]:
    """Returns how many regions lie on faces of their own, and how near, in total."""
    possible = nearness(boxes, faces)
    pairs = assignment(possible)
    return len(pairs), float(sum(possible[pair] for pair in pairs))


def _turns(regions: Sequence[Region], scheme: Scheme, picture: PhotographSize) -> Sequence[int]:
    """Returns the turns, as EXIF orientations, by which a scheme's regions may have to be moved."""
    if picture.orientation == 1:
        return (6, 8)  # the pixels were turned since, and the regions were not
    frame = next(region.frame for region in regions if region.guessed and region.scheme == scheme)
    # from the upright frame back to the stored one, or to the upright one once more
    return (
        _BACK.get(picture.orientation, picture.orientation) if frame == "stored" else picture.orientation,
    )


_BACK = {6: 8, 8: 6}
"""Orientations whose opposite is another."""


def _moved(boxes: Boxes, which: NDArray[np.bool_], turn: int, picture: PhotographSize) -> Boxes:
    """Returns the boxes with some of them turned, as shares of the picture."""
    result: Boxes = boxes.copy()
    for at in np.flatnonzero(which).tolist():
        left, top, right, bottom = boxes[at].tolist()
        shares: Box = (
            left / picture.width,
            top / picture.height,
            right / picture.width,
            bottom / picture.height,
        )
        result[at] = in_pixels(turned(shares, turn), picture) or (0, 0, 0, 0)
    return result
