"""client/people/matching.py: each region lands on the face that it was drawn around, of all of them together."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.optimize import linear_sum_assignment

from pyraface.client.people.frames import turned
from pyraface.client.people.matching import Matching, assignment, match, nearness
from pyraface.client.people.regions import Box, Frame, PhotographSize, Region, Scheme
from pyraface.core import boxes as geometry

WIDTH, HEIGHT = 400, 300
LEFT, RIGHT = (50.0, 100.0, 100.0, 150.0), (250.0, 100.0, 300.0, 150.0)
BACK = {6: 8, 8: 6}


def region(
    box: Box, name: str | None = "Ada", kind: str = "Face", *, scheme: Scheme = "mwg", guessed: bool = False
) -> Region:
    frame: Frame = "stored" if scheme in ("mwg", "apple") else "upright"
    return Region(name, kind, box, scheme, frame, guessed)


def matched(regions: list[Region], faces: list[Box], orientation: int = 1) -> Matching:
    return match(regions, geometry.as_boxes(faces), PhotographSize(WIDTH, HEIGHT, orientation))


def pairs(found: Matching) -> list[tuple[int, int]]:
    return [(pair.region, pair.face) for pair in found.pairs]


def around(box: Box, scale: float, lower: float = 0.0) -> Box:
    """The box drawn larger, and lower by so many of its sides."""
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2 + lower * (box[3] - box[1])
    half = scale * (box[2] - box[0]) / 2
    return x - half, y - half, x + half, y + half


def test_nothing_has_no_pairs() -> None:
    found = matched([], [])
    assert (found.pairs, found.lonely_regions, found.lonely_faces, found.boxes.shape) == ((), (), (), (0, 4))
    assert matched([], [LEFT]).lonely_faces == (0,)
    assert matched([region(LEFT)], []).lonely_regions == (0,)


def test_each_region_has_the_face_it_lies_on() -> None:
    found = matched([region(RIGHT), region(LEFT)], [LEFT, RIGHT])
    assert pairs(found) == [(0, 1), (1, 0)]
    assert [pair.overlap for pair in found.pairs] == [1, 1]
    assert (found.lonely_regions, found.lonely_faces, found.rivals, found.shared) == ((), (), (), ())


@pytest.mark.parametrize(("scale", "lower"), [(0.5, 0.0), (1.4, -0.1), (2.0, 0.2), (2.6, 0.0)])
def test_a_region_around_eyes_hair_or_shoulders_has_its_face(scale: float, lower: float) -> None:
    assert pairs(matched([region(around(LEFT, scale, lower))], [LEFT, RIGHT])) == [(0, 0)]


@pytest.mark.parametrize(
    "box", [around(LEFT, 3.0), around(LEFT, 0.3), (78.0, 100.0, 138.0, 190.0), (0.0, 0.0, 400.0, 300.0)]
)
def test_a_region_that_is_much_larger_or_smaller_or_beside_has_none(box: Box) -> None:
    found = matched([region(box)], [LEFT])
    assert (found.pairs, found.lonely_regions, found.rivals, found.lonely_faces) == ((), (0,), (), (0,))


def test_a_region_over_two_faces_has_the_one_in_its_middle_and_is_named() -> None:
    near = (95.0, 100.0, 145.0, 150.0)
    found = matched([region((50.0, 90.0, 135.0, 160.0))], [LEFT, near])
    assert pairs(found) == [(0, 0)]
    assert found.shared == (0,)
    assert found.lonely_faces == (1,)


def test_of_two_names_on_one_face_the_nearer_has_it_and_the_other_is_a_rival() -> None:
    found = matched([region(around(LEFT, 1.5, 0.2), "Ada"), region(LEFT, "Bob")], [LEFT])
    assert pairs(found) == [(1, 0)]
    assert (found.lonely_regions, found.rivals) == ((0,), (0,))


def test_all_regions_together_decide_and_not_the_first() -> None:
    """The first region lies nearest to the face that the second one needs."""
    faces = [(100.0, 100.0, 150.0, 150.0), (130.0, 100.0, 180.0, 150.0)]
    regions = [region((117.0, 100.0, 167.0, 150.0)), region((145.0, 100.0, 195.0, 150.0))]
    near = nearness(geometry.as_boxes([each.box for each in regions]), geometry.as_boxes(faces))
    assert near[0].argmax() == 1
    assert pairs(matched(regions, faces)) == [(0, 0), (1, 1)]


@pytest.mark.parametrize("kind", ["Pet", "Focus", "BarCode", "Landscape"])
def test_a_region_around_something_else_has_no_face(kind: str) -> None:
    found = matched([region(LEFT, kind=kind)], [LEFT])
    assert (found.pairs, found.lonely_regions, found.lonely_faces) == ((), (), (0,))


def other_frame(box: Box, scheme: Scheme, orientation: int) -> Box:
    """The box where it lies if its frame is taken for the other one."""
    turn = orientation if scheme == "mwg" else BACK.get(orientation, orientation)
    left, top, right, bottom = box
    share = turned((left / WIDTH, top / HEIGHT, right / WIDTH, bottom / HEIGHT), turn)
    return share[0] * WIDTH, share[1] * HEIGHT, share[2] * WIDTH, share[3] * HEIGHT


@pytest.mark.parametrize("orientation", range(2, 9))
@pytest.mark.parametrize("scheme", ["mwg", "microsoft", "picasa"])
def test_faces_show_in_which_frame_regions_are(scheme: Scheme, orientation: int) -> None:
    # portraits: a region that is turned with its frame gets other sides
    faces: list[Box] = [(60.0, 40.0, 100.0, 80.0), (200.0, 50.0, 250.0, 100.0)]
    regions = [region(other_frame(face, scheme, orientation), scheme=scheme, guessed=True) for face in faces]
    found = matched(regions, faces, orientation)
    assert pairs(found) == [(0, 0), (1, 1)]
    assert found.moved == (scheme,)
    assert found.boxes.tolist() == [pytest.approx(face, abs=0.01) for face in faces]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_regions_that_lie_on_faces_stay_and_so_does_a_certain_frame(orientation: int) -> None:
    faces: list[Box] = [(60.0, 40.0, 100.0, 80.0), (200.0, 50.0, 250.0, 100.0)]
    assert matched([region(face, guessed=True) for face in faces], faces, orientation).moved == ()
    elsewhere = [region(other_frame(face, "mwg", orientation)) for face in faces]
    assert matched(elsewhere, faces, orientation).moved == ()


def test_pixels_that_were_turned_after_their_regions_are_noticed() -> None:
    face: Box = (60.0, 40.0, 100.0, 80.0)
    for turn in (6, 8):
        left, top, right, bottom = turned(
            (face[0] / WIDTH, face[1] / HEIGHT, face[2] / WIDTH, face[3] / HEIGHT), turn
        )
        found = matched(
            [region((left * WIDTH, top * HEIGHT, right * WIDTH, bottom * HEIGHT), guessed=True)], [face]
        )
        assert pairs(found) == [(0, 0)]


weights = arrays.arrays(
    np.float64,
    st.tuples(st.integers(0, 5), st.integers(0, 5)),
    elements=st.sampled_from([0, 0, 0.25, 0.5, 0.625, 1]),
)


def best(table: np.ndarray) -> float:
    """The largest total of all assignments, one after the other."""
    rows, columns = table.shape
    if rows > columns:
        return best(table.T)
    return max(
        (
            sum(table[row, column] for row, column in enumerate(chosen))
            for chosen in itertools.permutations(range(columns), rows)
        ),
        default=0.0,
    )


@given(weights)
def test_an_assignment_is_the_best_of_all(table: np.ndarray) -> None:
    found = assignment(table)
    assert len({row for row, _ in found}) == len({column for _, column in found}) == len(found)
    assert all(table[pair] > 0 for pair in found)
    assert sum(table[pair] for pair in found) == best(table)


@pytest.mark.parametrize("size", [(3, 3), (6, 8), (9, 7), (40, 60), (300, 600)])
def test_an_assignment_is_as_good_as_that_of_scipy(size: tuple[int, int]) -> None:
    for seed in range(200 if max(size) < 10 else 2):
        random = np.random.default_rng(seed)
        table = random.random(size) * (random.random(size) < 0.7)
        rows, columns = linear_sum_assignment(-table)
        assert sum(table[pair] for pair in assignment(table)) == pytest.approx(
            table[rows, columns].sum(), abs=1e-9
        )


corner = st.floats(0, 390)


@given(
    st.lists(st.tuples(corner, st.floats(0, 290)), max_size=8),
    st.lists(st.tuples(corner, st.floats(0, 290)), max_size=8),
    st.integers(1, 8),
    st.booleans(),
)
def test_each_region_and_each_face_is_counted_once(
    regions: list[tuple[float, float]], faces: list[tuple[float, float]], orientation: int, guessed: bool
) -> None:
    found = matched(
        [region((x, y, x + 10, y + 10), guessed=guessed) for x, y in regions],
        [(x, y, x + 9, y + 9) for x, y in faces],
        orientation,
    )
    assert sorted([pair.region for pair in found.pairs] + list(found.lonely_regions)) == list(
        range(len(regions))
    )
    assert sorted([pair.face for pair in found.pairs] + list(found.lonely_faces)) == list(range(len(faces)))
    assert set(found.rivals) <= set(found.lonely_regions)
