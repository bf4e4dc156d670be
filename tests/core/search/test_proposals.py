"""The levels of the proposer, and what it proposes in them, with a proposer that knows where the faces are."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pyraface.core import boxes as geometry
from pyraface.core.engines import Pixels, Proposals
from pyraface.core.engines.network import yunet
from pyraface.core.parameters import DetectionParameters
from pyraface.core.pyramid import Level
from pyraface.core.search import proposals

DEFAULT = DetectionParameters()


def levels_of(width: int, height: int, faces_from: float = 0) -> list[Level]:
    finest = proposals.finest_zoom(width, height, DEFAULT, faces_from=faces_from)
    return proposals.levels(width, height, proposals.zooms(width, height, finest))


class Marks:
    """Proposes the bounding boxes of what is red, green or blue in a tile, as far as the tile shows them."""

    def __init__(self, score: float = 0.9) -> None:
        self._score = score
        self.seen: list[tuple[int, ...]] = []

    def propose(self, tiles: Sequence[Pixels], threshold: float) -> list[Proposals]:
        del threshold
        return [self._proposals(tile) for tile in tiles]

    def _proposals(self, tile: Pixels) -> Proposals:
        self.seen.append(tile.shape)
        boxes = []
        for channel in range(3):
            rows, columns = np.nonzero(tile[:, :, channel] > 127)
            if len(rows):
                boxes.append([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
        found = np.array(boxes, np.float32).reshape(-1, 4)
        return Proposals(found, np.full(len(found), self._score, np.float32))


@pytest.mark.parametrize(
    ("size", "faces_from", "zoom"),
    [
        ((1200, 800), 0, 1.0),  # the search everywhere finds 21 px there
        ((2000, 1000), 0, 0.66),
        ((200, 100), 0, 1.0),  # never enlarged
        ((7000, 5000), 0, 0.4),  # 25 px, which are comparable, keep 10
        ((30000, 2000), 0, 0.4),
        ((1200, 800), 40, 0.5),
        ((1200, 800), 5, 2.0),
        ((7000, 5000), 200, 0.1),
    ],
)
def test_the_finest_zoom_follows_the_smallest_face_wanted(
    size: tuple[int, int], faces_from: int, zoom: float
) -> None:
    *_, finest = levels_of(*size, faces_from)
    assert max(finest.zoom) == pytest.approx(zoom, rel=0.02)
    assert proposals.finest_zoom(*size, DEFAULT, faces_from=faces_from) == pytest.approx(zoom, rel=0.02)


@settings(max_examples=200)
@given(
    width=st.integers(1, 60000),
    height=st.integers(1, 60000),
    faces_from=st.sampled_from([0, 1, 30, 500, 5000]),
)
@example(width=451, height=451, faces_from=30)  # two zooms of one size
def test_levels_cover_the_image_in_tiles_of_bounded_size_and_work(
    width: int, height: int, faces_from: int
) -> None:
    height = max(1, min(height, 120_000_000 // width))
    levels = levels_of(width, height, faces_from)
    zooms = [max(level.zoom) for level in levels]
    assert all(coarse < fine <= 1.1 * proposals.STEP * coarse for coarse, fine in pairwise(zooms))
    for level in levels:
        left, top, right, bottom = level.tiles.T
        assert (left.min(), top.min(), right.max(), bottom.max()) == (0, 0, width, height)
        assert level.size[0] * level.size[1] <= 1.1 * proposals.TILE_PIXELS
    searched = sum(len(level.tiles) * level.size[0] * level.size[1] for level in levels)
    assert searched <= 2 * DEFAULT.most_tiles * proposals.TILE_PIXELS


def test_a_face_across_a_seam_is_proposed_once_and_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proposals, "TILE_PIXELS", 250_000)
    image = np.zeros((1000, 1600, 3), np.uint8)
    levels = levels_of(1600, 1000)
    fine = levels[-1]
    assert len(fine.tiles) >= 6
    # where one tile ends and another begins, in the middle, at the edge
    seam = int(fine.tiles[0, 2])
    faces = np.array([[seam - 15, 400, seam + 10, 425], [800, 700, 840, 740], [0, 0, 30, 30]], np.float32)
    for channel, (left, top, right, bottom) in enumerate(faces.astype(int).tolist()):
        image[top:bottom, left:right, channel] = 255
    found = proposals.propose(Marks(), image, levels, 0.5)
    assert len(found.boxes) > 3  # in two levels, in tiles that overlap
    once = found.once()
    assert len(once.boxes) == 3
    assert (geometry.iou(faces, once.boxes).max(axis=1) > 0.8).all()
    assert set(once.levels) <= {level.index for level in levels}


def test_a_level_is_searched_at_its_own_size() -> None:
    proposer, image = Marks(), np.zeros((3000, 4000, 3), np.uint8)
    levels = levels_of(4000, 3000)
    found = proposals.propose(proposer, image, levels, 0.5).once()
    assert [array.shape for array in found] == [(0, 4), (0,), (0,)]
    assert proposer.seen == [(level.size[1], level.size[0], 3) for level in levels for _ in level.tiles]
    assert levels[0].size[1] == yunet.LARGEST


@pytest.mark.parametrize(("score", "expected"), [(0.4, [40]), (0.6, [40, 12])])
def test_a_tiny_face_is_proposed_where_it_is_likely(score: float, expected: list[int]) -> None:
    image = np.zeros((300, 300, 3), np.uint8)
    image[20:60, 20:60, 0] = image[200:212, 200:212, 1] = 255
    [level] = levels_of(300, 300)
    found = proposals.propose(Marks(score), image, [level], 0.3).boxes
    assert (found[:, 2] - found[:, 0]).tolist() == expected


def test_of_an_image_full_of_faces_the_best_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proposals, "MOST_PLACES", 2)
    boxes = np.array([[x, 0, x + 10, 10] for x in (0, 20, 40, 1)], np.float32)
    found = proposals.Proposed(boxes, np.array([0.4, 0.6, 0.5, 0.9], np.float32), np.zeros(4, np.int32))
    assert found.once().boxes[:, 0].tolist() == [1, 20]
