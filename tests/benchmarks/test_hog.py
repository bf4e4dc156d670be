"""Which boxes hold a true face, by its nose."""

from __future__ import annotations

import numpy as np

from benchmarks.hog import held

BOXES = np.array([[0, 0, 100, 100], [200, 0, 300, 100]], np.float32)


def test_a_box_holds_one_nose() -> None:
    assert held(BOXES, np.array([[40.0, 50.0], [60.0, 50.0]])) == 1
    assert held(BOXES, np.array([[50.0, 50.0], [250.0, 50.0]])) == 2


def test_a_nose_in_two_boxes_is_one_face() -> None:
    assert held(np.concatenate([BOXES, BOXES + 5]), np.array([[50.0, 50.0]])) == 1


def test_a_nose_beside_every_box_is_not_found() -> None:
    assert held(BOXES, np.array([[150.0, 50.0]])) == 0
    assert held(BOXES[:0], np.array([[50.0, 50.0]])) == 0
