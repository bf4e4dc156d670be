"""YuNet: the face detector of OpenCV's model zoo, its weights and its arithmetic outside of the network.

It is 70 times as small as dlib's detector and finds faces of 10 to 300 px in one pass. It proposes; dlib's network decides.
(Wu et al., "YuNet: A Tiny Millisecond-level Face Detector", 2023; the weights are licensed under MIT.)
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from ... import boxes as geometry
from ...boxes import Boxes
from ...errors import EngineError

WEIGHTS_FILE = "face_detection_yunet_2023mar.onnx"
WEIGHTS_SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"

STRIDES = (8, 16, 32)
"""Pixels from one cell to the next, of the three maps of scores."""

OUTPUTS = tuple(f"{name}_{stride}" for name in ("cls", "obj", "bbox") for stride in STRIDES)
"""The outputs in use. The file has five points of each face as well; they are worse than dlib's for aligning it."""

OVERLAP = 0.4
"""The intersection over union above which the weaker of two boxes is dropped."""

FARTHEST = 10.0
"""The limit, both ways, of what the network gives for a box: the way of its centre from the cell, in strides, and the
logarithm of a side in strides. Real faces come nowhere near it, and the power of e stays in the range of numbers."""

SMALLEST, LARGEST = 10.0, 300.0
"""Pixels: the side of the faces that the network finds."""

SIDE, SHIFT = 0.97, (-0.023, -0.009)
"""The square that dlib's detector would give, for a box of YuNet's: its side and the way of its centre, in units of
sqrt(width * height). Encodings of faces cut out by it are as near to those of dlib's box as after a jitter of 2%: 0.04."""


def load_weights() -> bytes:
    """Returns the network's file, an ONNX model, unchanged.

    Raises:
        EngineError: the file is missing, or is not the known one.
    """
    file = resources.files(__package__).joinpath(WEIGHTS_FILE)
    try:
        data = file.read_bytes()
    except OSError as error:
        raise EngineError(
            f"YuNet's weights, {file}, cannot be read ({error.strerror}): install pyraface again, or search everywhere"
        ) from error
    return checked_weights(data, str(file))


def checked_weights(data: bytes, source: str) -> bytes:
    """Returns the bytes, which are those of the known file: nothing else is parsed.

    Raises:
        EngineError: they are not.
    """
    digest = hashlib.sha256(data).hexdigest()
    if digest != WEIGHTS_SHA256:
        raise EngineError(
            f"{source} has the SHA-256 {digest}, not {WEIGHTS_SHA256}: it is damaged or another file; install pyraface again"
        )
    return data


def network_input(tiles: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
    """Returns (n, 3, h, w) float32 of RGB tiles of one shape: BGR, 0 to 255, with zeros below and at the right up to a
    multiple of the largest stride."""
    height, width, _ = tiles[0].shape
    last = STRIDES[-1]
    planes = np.zeros((len(tiles), 3, -(-height // last) * last, -(-width // last) * last), np.float32)
    for target, tile in zip(planes, tiles, strict=True):
        target[:, :height, :width] = tile[:, :, ::-1].transpose(2, 0, 1)
    return planes


def middle_scores(outputs: Sequence[NDArray[np.float32]], size: tuple[int, int]) -> NDArray[np.float32]:
    """Returns the best score, (n,), of the cells in the middle half of each tile, both ways.

    Args:
        outputs: those of `OUTPUTS`, (n, cells, 1 or 4) each.
        size: height and width of the network's input.

    Raises:
        EngineError: a score is not a number.
    """
    best = []
    for index, stride in enumerate(STRIDES):
        rows, columns = size[0] // stride, size[1] // stride
        score = _score(outputs[index], outputs[index + len(STRIDES)]).reshape(-1, rows, columns)
        middle = score[:, rows // 4 : rows - rows // 4, columns // 4 : columns - columns // 4]
        best.append(middle.max(axis=(1, 2)))
    strongest: NDArray[np.float32] = np.max(best, axis=0)
    return strongest


def _score(face: NDArray[np.float32], thing: NDArray[np.float32]) -> NDArray[np.float32]:
    """The scores of cells, (..., cells), from both of their outputs, (..., cells, 1).

    Raises:
        EngineError: a score is not a number.
    """
    score: NDArray[np.float32] = np.sqrt(np.clip(face[..., 0], 0, 1) * np.clip(thing[..., 0], 0, 1))
    if not np.isfinite(score.max(initial=0)):
        raise EngineError("YuNet gave scores that are not numbers: its device or library is broken")
    return score


def decoded(
    outputs: Sequence[NDArray[np.float32]], size: tuple[int, int], threshold: float
) -> tuple[Boxes, NDArray[np.float32]]:
    """Returns the boxes, (n, 4), and their scores, (n,), of one tile, the best first, each face once.

    Args:
        outputs: those of `OUTPUTS`, (cells, 1 or 4) each.
        size: height and width of the network's input.
        threshold: the least score.

    Raises:
        EngineError: a score or a box is not a number.
    """
    found: list[Boxes] = []
    scores: list[NDArray[np.float32]] = []
    for index, stride in enumerate(STRIDES):
        face, thing, shift = (outputs[index + len(STRIDES) * which] for which in range(3))
        score = _score(face, thing)
        cells = np.flatnonzero(score >= threshold)
        row, column = np.divmod(cells, size[1] // stride)
        x, y, across, down = np.clip(shift[cells], -FARTHEST, FARTHEST).T
        center = np.stack([column + x, row + y], axis=1) * stride
        half = np.exp(np.stack([across, down], axis=1)) * stride / 2
        found.append(np.concatenate([center - half, center + half], axis=1).astype(np.float32))
        scores.append(score[cells])
    boxes, score = np.concatenate(found), np.concatenate(scores)
    if not np.isfinite(boxes).all():
        raise EngineError("YuNet gave boxes that are not numbers: its device or library is broken")
    best = strongest(boxes, score)
    return boxes[best], score[best]


def strongest(boxes: Boxes, scores: NDArray[np.float32]) -> NDArray[np.intp]:
    """Returns the indices, the best first, of the boxes that overlap no better one that is returned by more than OVERLAP.

    A picture of a stadium has tens of thousands of boxes, so each is compared with those near to it alone.
    """
    centers = (boxes[:, 0] + boxes[:, 2]) / 2
    across = np.argsort(centers, kind="stable")
    sorted_boxes, sorted_centers = boxes[across], centers[across]
    place = np.empty(len(boxes), np.intp)
    place[across] = np.arange(len(boxes))
    # the widths of two boxes with more overlap differ by less than 1 / OVERLAP, and OVERLAP of the wider one is shared; the
    # pixel is for rounding
    reach = (1 / OVERLAP - 1) / 2 * (boxes[:, 2] - boxes[:, 0]) + 1
    first = np.searchsorted(sorted_centers, centers - reach)
    last = np.searchsorted(sorted_centers, centers + reach)
    waiting = np.ones(len(boxes), np.bool_)
    kept: list[int] = []
    for best in np.argsort(-scores, kind="stable").tolist():
        if waiting[place[best]]:
            kept.append(best)
            near = slice(first[best], last[best])
            waiting[near] &= geometry.iou(boxes[best : best + 1], sorted_boxes[near])[0] <= OVERLAP
    return np.array(kept, np.intp)


def as_dlib(boxes: Boxes) -> Boxes:
    """Returns the squares, (n, 4), that dlib's detector would give for the same faces."""
    sides = boxes[:, 2:] - boxes[:, :2]
    mean = np.sqrt(sides.prod(axis=1))[:, None]
    center = (boxes[:, :2] + boxes[:, 2:]) / 2 + mean * np.array(SHIFT, np.float32)
    half = mean * np.float32(SIDE / 2)
    squares: Boxes = np.concatenate([center - half, center + half], axis=1)
    return squares
