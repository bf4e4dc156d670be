from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyraface.core.engines.network import weights
from pyraface.core.engines.network.suppression import clipped, detections, suppressed_by

TILE = (400, 600)


def squares(*places: tuple[int, int, int]) -> np.ndarray:
    """Boxes from (x, y of the centre, side): left, top, right, bottom, the last pixel's coordinates."""
    return np.array([(x - s // 2, y - s // 2, x - s // 2 + s - 1, y - s // 2 + s - 1) for x, y, s in places])


def voted(boxes: np.ndarray, confidences: list[float]) -> np.ndarray:
    found = detections(
        boxes, np.array(confidences, np.float32), TILE, threshold=0.0, overlap=0.338, covered=1.0
    )
    assert found.voted.shape == found.boxes.shape == (len(found.confidences), 4)
    assert found.voted.dtype == found.boxes.dtype == found.confidences.dtype == np.float32
    return found.voted


@pytest.mark.parametrize(("shift", "strongest"), [(21, [0, 0]), (22, [0, 1])])
def test_two_boxes_are_one_face_by_their_share_of_the_box_round_both(
    shift: int, strongest: list[int]
) -> None:
    """Not of their union: 58 px shared of 102 px both ways are 0.323, where dlib's limit is 0.338; of the union 0.357."""
    boxes = np.array([[0, 0, 79, 79], [shift, shift, shift + 79, shift + 79]])
    assert suppressed_by(boxes, weights.load_detector().overlap, covered=1.0).tolist() == strongest


def test_a_box_covered_by_a_more_confident_one_goes_where_that_is_asked_for() -> None:
    boxes = np.array([[0, 0, 99, 99], [10, 10, 29, 29], [95, 95, 114, 114]])
    assert suppressed_by(boxes, overlap=0.5, covered=0.9).tolist() == [0, 0, 2]
    assert suppressed_by(boxes, overlap=0.5, covered=1.0).tolist() == [0, 1, 2]


def test_a_suppressed_box_suppresses_nothing() -> None:
    boxes = squares((100, 100, 80), (120, 100, 80), (140, 100, 80))
    assert suppressed_by(boxes, overlap=0.5, covered=1.0).tolist() == [0, 0, 2]


def test_a_response_alone_is_the_face() -> None:
    boxes = squares((100, 100, 80), (300, 200, 95))
    assert voted(boxes, [1.0, 0.5]).tolist() == boxes.astype(np.float32).tolist()


def test_the_face_is_the_mean_of_its_responses_by_their_confidence() -> None:
    boxes = squares((100, 100, 80), (108, 100, 80))
    [[left, top, right, bottom]] = voted(boxes, [0.9, 0.3])
    assert (left, right) == (pytest.approx(boxes[0, 0] + 2), pytest.approx(boxes[0, 2] + 2))
    assert (top, bottom) == (boxes[0, 1], boxes[0, 3])


def test_a_response_that_just_passes_the_threshold_has_hardly_a_vote() -> None:
    boxes = squares((100, 100, 80), (108, 100, 80))
    confidences = np.array([0.3, -0.499], np.float32)
    found = detections(boxes, confidences, TILE, threshold=-0.5, overlap=0.338, covered=1.0)
    assert np.abs(found.voted - boxes[:1]).max() < 0.02


def test_the_size_is_the_geometric_mean() -> None:
    [[left, top, right, bottom]] = voted(squares((200, 200, 80), (200, 200, 96)), [0.7, 0.7])
    assert right - left + 1 == pytest.approx((80 * 96) ** 0.5, rel=1e-5)
    assert bottom - top + 1 == pytest.approx((80 * 96) ** 0.5, rel=1e-5)


def test_a_box_hardly_moves_when_two_sizes_are_nearly_equally_strong() -> None:
    boxes = squares((200, 200, 80), (204, 200, 96))
    one, other = voted(boxes, [0.9001, 0.9]), voted(boxes, [0.9, 0.9001])
    assert np.abs(one - other).max() < 0.01
    found = [
        detections(boxes, np.array(c, np.float32), TILE, threshold=0.0, overlap=0.338, covered=1.0).boxes
        for c in ([0.9001, 0.9], [0.9, 0.9001])
    ]
    assert np.abs(found[0] - found[1]).max() > 7  # which the strongest alone does


def test_the_strongest_box_of_each_face_is_cut_off_at_the_edge_and_the_voted_one_is_not() -> None:
    found = detections(
        squares((300, 200, 80), (10, 10, 80), (308, 200, 80)),
        np.array([0.5, 0.8, 0.7], np.float32),
        TILE,
        threshold=0.0,
        overlap=0.338,
        covered=1.0,
    )
    assert found.confidences.tolist() == [pytest.approx(0.8), pytest.approx(0.7)]
    assert found.boxes.tolist() == [[0, 0, 49, 49], [268, 160, 347, 239]]
    assert found.voted[0].tolist() == [-30, -30, 49, 49]


def test_nothing_gives_nothing() -> None:
    assert voted(np.zeros((0, 4), np.int64), []).shape == (0, 4)


places = st.tuples(st.integers(-20, 620), st.integers(-20, 420), st.sampled_from([80, 96, 115, 138]))


@given(st.lists(st.tuples(places, st.floats(0.0078125, 2.0, width=32)), min_size=1, max_size=30))
def test_a_face_lies_among_the_responses_that_it_stands_for(
    responses: list[tuple[tuple[int, int, int], float]],
) -> None:
    confidences = np.array([confidence for _, confidence in responses], np.float32)
    boxes = squares(*[place for place, _ in responses])
    found = detections(boxes, confidences, TILE, threshold=0.0, overlap=0.338, covered=1.0)
    order = np.argsort(-confidences, kind="stable")
    strongest = suppressed_by(boxes[order], 0.338, 1.0)
    assert len(found.boxes) == len(set(strongest.tolist()))
    for face, kept in zip(found.voted, sorted(set(strongest.tolist())), strict=True):
        members = boxes[order][strongest == kept]
        # a mean of logarithms may lie outside a coordinate's range by what sizes differ
        assert (face >= members.min(axis=0) - 5).all()
        assert (face <= members.max(axis=0) + 5).all()


def test_boxes_are_cut_off_at_the_edges() -> None:
    inside = clipped([[-5, -6, 20, 30], [2, 3, 4, 5], [-9, -9, -3, -2]], height=25, width=15)
    assert inside.tolist() == [[0, 0, 15, 25], [2, 3, 4, 5], [0, 0, 0, 0]]
    assert inside.dtype == np.float32
