from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pyraface.core import pyramid
from pyraface.core.parameters import DetectionParameters
from pyraface.core.pyramid import DETECTOR_WINDOW, LEAST_GAIN, Level

DEFAULT = DetectionParameters()
DEEP = DetectionParameters(levels=4)

sides = st.integers(1, 400) | st.integers(1, 12_000)
detections = st.builds(
    DetectionParameters,
    height=st.integers(16, 2000),
    width=st.integers(16, 2000),
    upsample=st.integers(0, 4),
    levels=st.integers(1, 5),
).filter(lambda detection: detection.problem() is None)
unit = st.floats(0, 1)


def smallest_face(level: Level) -> float:
    """The side, in pixels of the image, of the smallest face that the detector finds at a level."""
    return DETECTOR_WINDOW / min(level.zoom)


def holds(level: Level, left: float, top: float, side: float) -> bool:
    """Whether a square lies wholly in one tile."""
    tiles = level.tiles
    return bool(
        (
            (tiles[:, 0] <= left)
            & (tiles[:, 1] <= top)
            & (left + side <= tiles[:, 2])
            & (top + side <= tiles[:, 3])
        ).any()
    )


@pytest.mark.parametrize(("width", "height"), [(0, 5), (5, 0), (-1, 5)])
def test_an_image_without_pixels_is_refused(width: int, height: int) -> None:
    with pytest.raises(ValueError, match=f"{width} x {height}"):
        pyramid.levels(width, height, DEFAULT)


def test_one_pixel_is_one_tile() -> None:
    (level,) = pyramid.levels(1, 1, DEEP)
    assert level.tiles.tolist() == [[0, 0, 1, 1]]
    assert level.size == (4, 4)


# width, height, detection: (index, number of tiles) of each level
SHAPES: dict[str, tuple[int, int, DetectionParameters, list[tuple[int, int]]]] = {
    "small: whole at full zoom": (600, 400, DEEP, [(0, 1)]),
    "a little larger: quadrants zoom hardly further": (615, 410, DEEP, [(0, 1)]),
    "twice as large": (1200, 800, DEFAULT, [(0, 1), (1, 4)]),
    "twice as large: quadrants are at full zoom": (1200, 800, DEEP, [(0, 1), (1, 4), (2, 16)]),
    "large, one level": (6000, 4000, DetectionParameters(levels=1), [(0, 1)]),
    "large": (6000, 4000, DEFAULT, [(0, 1), (1, 4)]),
    "large and deep": (
        6000,
        4000,
        DetectionParameters(levels=5),
        [(0, 1), (1, 4), (2, 16), (3, 64), (4, 256)],
    ),
    "wide strip: too low to be cut across": (12_000, 40, DEEP, [(0, 1), (1, 2)]),
    "tall strip: too narrow to be cut along": (40, 12_000, DEEP, [(0, 1), (1, 2)]),
    "a line": (60_000, 1, DEFAULT, [(0, 1)]),
}


@pytest.mark.parametrize(("width", "height", "detection", "expected"), SHAPES.values(), ids=SHAPES)
def test_levels_and_their_number_of_tiles(
    width: int, height: int, detection: DetectionParameters, expected: list[tuple[int, int]]
) -> None:
    found = pyramid.levels(width, height, detection)
    assert [(level.index, len(level.tiles)) for level in found] == expected


@settings(max_examples=300)
@given(sides, sides, detections)
@example(1, 60_000, DetectionParameters(height=16, width=16, upsample=0, levels=5))
@example(136, 40_000, DetectionParameters(levels=5))
@example(12_000, 12_000, DetectionParameters(height=16, width=16, upsample=0, levels=5))
def test_tiles_lie_inside_the_image_have_one_size_and_keep_the_budget(
    width: int, height: int, detection: DetectionParameters
) -> None:
    found = pyramid.levels(width, height, detection)
    assert found[0].index == 0
    assert found[0].tiles.tolist() == [[0, 0, width, height]]
    for level in found:
        tiles = level.tiles
        assert tiles.dtype == np.int64
        assert (tiles[:, :2] >= 0).all()
        assert (tiles[:, 2] <= width).all()
        assert (tiles[:, 3] <= height).all()
        assert len(np.unique(tiles[:, 2:] - tiles[:, :2], axis=0)) == 1
        assert (tiles[:, 2:] > tiles[:, :2]).all()
        assert 1 <= len(tiles) <= 4**level.index
        assert len(np.unique(tiles, axis=0)) == len(tiles), "a tile twice is work twice"
        assert min(level.size) >= 1
        assert level.size[0] * level.size[1] <= detection.tile_pixels
        tile_width, tile_height = (tiles[0, 2:] - tiles[0, :2]).tolist()
        factor = min(
            2.0**detection.upsample,
            math.sqrt(detection.tile_pixels / (tile_width * tile_height)),
            detection.tile_pixels / max(tile_width, tile_height),
        )
        assert abs(level.size[0] - tile_width * factor) <= 1
        assert abs(level.size[1] - tile_height * factor) <= 1
        assert max(level.zoom) <= max(2.0**detection.upsample, 1 / min(tile_width, tile_height)) + 1e-9


@given(sides, sides, detections)
def test_each_level_zooms_further_than_the_one_before_it(
    width: int, height: int, detection: DetectionParameters
) -> None:
    found = pyramid.levels(width, height, detection)
    for coarser, finer in itertools.pairwise(found):
        assert finer.index > coarser.index
        # whole pixels take up to one of each side
        lost = 1 + 1 / min(finer.size)
        assert max(finer.zoom) * lost >= LEAST_GAIN * min(coarser.zoom)
        assert finer.whole < coarser.whole


@settings(max_examples=300)
@given(sides, sides, detections, st.data())
def test_every_square_up_to_the_promised_side_lies_wholly_in_a_tile(
    width: int, height: int, detection: DetectionParameters, data: st.DataObject
) -> None:
    for level in pyramid.levels(width, height, detection):
        largest = min(level.whole, width, height)
        side = data.draw(st.just(float(largest)) | st.floats(0, largest))
        for left, top in (
            (data.draw(unit) * (width - side), data.draw(unit) * (height - side)),
            (
                data.draw(st.integers(0, width - math.ceil(side))),
                data.draw(st.integers(0, height - math.ceil(side))),
            ),
        ):
            assert holds(level, min(left, width - side), min(top, height - side), side)


@pytest.mark.parametrize("detection", [DEFAULT, DEEP], ids=["default", "deep"])
@pytest.mark.parametrize(("width", "height"), [(1000, 700), (1024, 661), (5000, 300), (2049, 2047)])
def test_every_square_at_every_pixel_lies_wholly_in_a_tile(
    width: int, height: int, detection: DetectionParameters
) -> None:
    for level in pyramid.levels(width, height, detection):
        side = min(level.whole, width, height)
        for length, low, high in ((width, 0, 2), (height, 1, 3)):
            starts = np.arange(length - side + 1)
            inside = (level.tiles[:, None, low] <= starts) & (starts + side <= level.tiles[:, None, high])
            assert inside.any(axis=0).all()


@settings(max_examples=300)
@given(sides, sides, detections, st.data())
def test_every_face_that_the_deepest_level_can_find_is_whole_and_large_enough_at_some_level(
    width: int, height: int, detection: DetectionParameters, data: st.DataObject
) -> None:
    found = pyramid.levels(width, height, detection)
    smallest, largest = smallest_face(found[-1]), min(width, height)
    if smallest > largest:
        return
    side = data.draw(st.just(smallest) | st.floats(smallest, largest))
    side = data.draw(
        st.sampled_from([side, *(min(max(one.whole + 0.5, smallest), largest) for one in found)])
    )
    left, top = data.draw(unit) * (width - side), data.draw(unit) * (height - side)
    left, top = min(left, width - side), min(top, height - side)
    # half a thousandth of a pixel: the face's own coordinates are floats
    slack = 5e-4
    assert any(
        side + slack >= smallest_face(level) and holds(level, left + slack / 2, top + slack / 2, side - slack)
        for level in found
    )


def test_quadrants_show_smaller_faces_than_the_whole() -> None:
    whole, quadrants = pyramid.levels(2400, 1600, DEFAULT)
    assert whole.zoom == pytest.approx((1, 1))
    assert smallest_face(quadrants) < smallest_face(whole) * 0.6
    assert quadrants.whole == 120


@settings(max_examples=300)
@given(sides, sides, detections, st.integers(1, 1000), st.integers(1, 341))
def test_whoever_wants_small_faces_gets_the_zoom_they_take_within_the_most_tiles(
    width: int, height: int, detection: DetectionParameters, wanted: int, most_tiles: int
) -> None:
    detection = replace(detection, most_tiles=most_tiles)
    found = pyramid.levels(width, height, detection, faces_from=wanted)
    zoom = min(DETECTOR_WINDOW / wanted, 16)
    # a side is one pixel at least
    assert max(max(level.zoom) for level in found) <= max(zoom, 1 / min(width, height)) + 1e-9
    assert found[0].tiles.tolist() == [[0, 0, width, height]]
    assert len(found) == 1 or pyramid.work(found).tiles <= most_tiles
    for level in found:
        assert level.size[0] * level.size[1] <= detection.tile_pixels


@pytest.mark.parametrize(
    ("width", "height", "wanted", "tiles", "smallest"),
    [
        (4000, 3000, 141, 1, 141),  # the whole does
        (4000, 3000, 100, 5, 100),
        (4000, 3000, 40, 21, 40),
        (4000, 3000, 20, 85, 20),
        (4000, 3000, 10, 85, 20),  # a fifth level would be too much
        (1024, 683, 20, 5, 20),
        (1024, 683, 10, 21, 10),
        (1024, 683, 200, 1, 200),  # and no zoom beyond what that takes
        (100, 100, 1, 1, 5),
    ],
)
def test_levels_follow_from_the_smallest_face_wanted(
    width: int, height: int, wanted: int, tiles: int, smallest: int
) -> None:
    found = pyramid.levels(width, height, DEFAULT, faces_from=wanted)
    assert pyramid.work(found).tiles == tiles
    assert smallest_face(found[-1]) == pytest.approx(smallest, rel=0.05)


def test_the_work_is_what_all_tiles_hold() -> None:
    found = pyramid.levels(2400, 1600, DEFAULT)
    whole, quadrants = (level.size[0] * level.size[1] for level in found)
    assert pyramid.work(found) == pyramid.Work(5, whole + 4 * quadrants)
