"""YuNet's arithmetic outside of the network, on arrays made for it."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from pyraface.core import boxes as geometry
from pyraface.core.engines.network import yunet
from pyraface.core.errors import EngineError


def maps(height: int, width: int) -> list[np.ndarray]:
    """The outputs of the network for an input of this size in which it sees nothing."""
    cells = [height // stride * (width // stride) for stride in yunet.STRIDES]
    return [np.zeros((count, 1 if name < 2 else 4), np.float32) for name in range(3) for count in cells]


def test_tiles_become_planes_of_blue_green_and_red_padded_with_zeros_to_the_largest_stride() -> None:
    tile = np.arange(40 * 33 * 3, dtype=np.uint8).reshape(40, 33, 3)
    planes = yunet.network_input([tile, tile])
    assert (planes.shape, planes.dtype) == ((2, 3, 64, 64), np.float32)
    for plane, channel in zip(planes[1], (2, 1, 0), strict=True):
        np.testing.assert_array_equal(plane[:40, :33], tile[:, :, channel])
        assert not plane[40:].any()
        assert not plane[:, 33:].any()


def test_a_cell_is_decoded_to_the_box_that_its_row_its_column_and_its_stride_give() -> None:
    outputs = maps(64, 96)
    cell = 2 * (96 // 16) + 4  # row 2, column 4 of the second map
    outputs[1][cell], outputs[4][cell] = 0.5, 0.72
    outputs[7][cell] = 0.25, 0.5, np.log(2), np.log(3)
    boxes, scores = yunet.decoded(outputs, (64, 96), 0.3)
    center, half = np.array([4.25, 2.5]) * 16, np.array([2, 3]) * 8
    np.testing.assert_allclose(boxes, [[*center - half, *center + half]], atol=1e-4)
    np.testing.assert_allclose(scores, [0.6], atol=1e-6)
    assert not len(yunet.decoded(outputs, (64, 96), 0.61)[0])


def test_the_best_of_boxes_that_overlap_stays_alone() -> None:
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 11], [9, 0, 19, 10]], np.float32)
    assert yunet.strongest(boxes, np.array([0.5, 0.9, 0.4], np.float32)).tolist() == [1, 2]


@pytest.mark.parametrize(
    ("count", "span", "largest"), [(0, 1, 5), (1, 1, 5), (300, 200, 90), (800, 150, 300), (800, 2000, 30)]
)
def test_the_strongest_are_those_of_a_comparison_of_each_with_all(
    count: int, span: float, largest: float
) -> None:
    random = np.random.default_rng(1)
    corner = random.uniform(0, span, (count, 2))
    sides = np.exp(random.uniform(np.log(3), np.log(largest), (count, 2)))
    boxes = np.concatenate([corner, corner + sides], axis=1).astype(np.float32)
    scores = random.uniform(0.3, 1, count).round(2).astype(np.float32)  # equal ones keep their order
    kept: list[int] = []
    for index in np.argsort(-scores, kind="stable").tolist():
        if (geometry.iou(boxes[index : index + 1], boxes[kept]) <= yunet.OVERLAP).all():
            kept.append(index)
    assert yunet.strongest(boxes, scores).tolist() == kept


def test_a_stadium_of_boxes_takes_seconds_at_most() -> None:
    """Half a second; comparing each of these with all took 13."""
    left, top = (side.ravel() for side in np.meshgrid(np.arange(0, 2000, 11), np.arange(0, 2000, 11)))
    boxes = np.stack([left, top, left + 12, top + 12], axis=1).astype(np.float32)
    began = time.process_time()
    assert len(yunet.strongest(boxes, np.linspace(1, 0.3, len(boxes), dtype=np.float32))) == len(boxes)
    assert time.process_time() - began < 5


@pytest.mark.parametrize("value", [1e9, -1e9, np.inf, -np.inf])
def test_a_huge_number_for_a_box_is_limited(value: float) -> None:
    outputs = maps(32, 32)
    outputs[0][0] = outputs[3][0] = 1
    outputs[6][0] = value
    [[left, top, right, bottom]] = yunet.decoded(outputs, (32, 32), 0.5)[0].tolist()
    assert -yunet.FARTHEST * 8 <= (left + right) / 2 == (top + bottom) / 2 <= yunet.FARTHEST * 8
    assert left < right
    assert top < bottom


@pytest.mark.parametrize("which", [0, 3, 6])
def test_a_score_or_a_box_that_is_not_a_number_is_an_error(which: int) -> None:
    outputs = maps(32, 32)
    outputs[0][0] = outputs[3][0] = 1
    outputs[which][0] = np.nan
    with pytest.raises(EngineError, match="not numbers"):
        yunet.decoded(outputs, (32, 32), 0.5)


def test_the_box_for_dlib_is_a_square_of_the_same_area_nearly_a_little_up_and_left() -> None:
    [[left, top, right, bottom]] = yunet.as_dlib(np.array([[100, 100, 180, 225]], np.float32))
    assert right - left == pytest.approx(97) == bottom - top
    assert ((left + right) / 2, (top + bottom) / 2) == pytest.approx((140 - 2.3, 162.5 - 0.9))


def test_weights_that_are_not_the_known_file_are_refused_before_they_are_parsed() -> None:
    with pytest.raises(EngineError, match=r"here\.onnx has the SHA-256 .* damaged or another file"):
        yunet.checked_weights(b"anything", "here.onnx")


def test_missing_weights_are_an_error_that_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(yunet.resources, "files", lambda _: tmp_path)
    with pytest.raises(EngineError, match=r"cannot be read .*: install pyraface again, or search everywhere"):
        yunet.load_weights()
