"""Where in a tile a face can be, told by 8-bit integers; what is there, float32 tells.

Nearly all of a photograph is no face, by far. The detector in 8-bit integers (`graphs.screen_trunk`, `graphs.screen_head`)
takes half the time that it takes in float32, and its scores are a little off, never by much. So it goes over the whole tile;
round what it leaves above a floor, which is MARGIN below the threshold, float32 goes over the same pixels again. What comes
out are the scores of float32, to the last bit or two, wherever a score is above the threshold: boxes, confidences and
encodings stay what they are.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

TRUNK_RANGES = (4.5, 10.0, 9.0)
HEAD_RANGES = (9.0, 8.5, 9.0, 17.0)
"""The largest value that an integer stands for: of the output of each layer of the trunk, which ends in the features, and of
the features and each layer of the head but its last. What is beyond is cut off: in the trunk some is, in real photographs,
and that costs less than coarser steps for all would (`python -m benchmarks.screening`)."""

MARGIN = 0.3
"""How far below the threshold a score in integers still counts. In real photographs a score of float32 above 0 was never
more than 0.11 lower in integers (`python -m benchmarks.screening`). More costs next to nothing: few scores are that near."""

REACH = 10
"""Cells of the score map that the head sees to every side: three layers of 5x5 and one of 9x9."""

BLOCK = 7
"""Cells: the side of what is computed again at once. A face answers in a few neighbouring cells at each of some sizes."""

WORTHWHILE = 4 * (BLOCK + 2 * REACH) ** 2
"""Cells: in a smaller map, one face is as much work as the whole."""

BLOCKS_AT_ONCE = 4
"""As many as fit in one of the onnx engine's bands."""

Scores = NDArray[np.float32]
Exact = Callable[[list[tuple[int, int]], tuple[int, int]], Scores]
"""From windows of one size, each by its first row and column, and that size (h, w), all in cells, to their scores in
float32, (n, h, w)."""


def rescored(scores: Scores, exact: Exact, threshold: float) -> Scores:
    """Returns the scores of a tile: those of `exact` wherever they can be above `threshold`, elsewhere some that are not.

    Args:
        scores: (h, w), in integers.
    """
    rows, columns = scores.shape
    height, width = min(BLOCK + 2 * REACH, rows), min(BLOCK + 2 * REACH, columns)
    blocks = covering(scores, threshold - MARGIN, scores.size // (height * width))
    if blocks is None:
        whole: Scores = exact([(0, 0)], (rows, columns))[0]
        return whole
    result: Scores = scores.copy()
    # A window is a block and all that the head sees from there. At the edge of the map it is moved inwards, not cut off:
    # all have one size, and where it ends with the map, the head finds the same nothing beyond.
    tops = np.clip(blocks[:, 0] - REACH, 0, rows - height)
    lefts = np.clip(blocks[:, 1] - REACH, 0, columns - width)
    corners = list(zip(tops.tolist(), lefts.tolist(), strict=True))
    for start in range(0, len(corners), BLOCKS_AT_ONCE):
        some = slice(start, start + BLOCKS_AT_ONCE)
        windows = exact(corners[some], (height, width))
        for (row, column), (top, left), window in zip(
            blocks[some].tolist(), corners[some], windows, strict=True
        ):
            block = window[row - top : row - top + BLOCK, column - left : column - left + BLOCK]
            result[row : row + BLOCK, column : column + BLOCK] = block
    return result


def covering(scores: Scores, floor: float, most: int) -> NDArray[np.int64] | None:
    """Returns the first row and column, (n, 2), of blocks that together hold every cell above `floor`.

    The strongest cell has the first block to itself, in its middle, and so on with what is left. None where `most` are not
    enough: to compute everything is then no more work.
    """
    rows, columns = np.nonzero(scores > floor)
    strongest_first = np.argsort(-scores[rows, columns], kind="stable")
    last_row, last_column = (max(0, side - BLOCK) for side in scores.shape)
    covered = np.zeros(scores.shape, np.bool_)
    blocks: list[tuple[int, int]] = []
    for row, column in zip(rows[strongest_first].tolist(), columns[strongest_first].tolist(), strict=True):
        if covered[row, column]:
            continue
        if len(blocks) == most:
            return None
        top = min(max(0, row - BLOCK // 2), last_row)
        left = min(max(0, column - BLOCK // 2), last_column)
        covered[top : top + BLOCK, left : left + BLOCK] = True
        blocks.append((top, left))
    return np.array(blocks, np.int64).reshape(-1, 2)
