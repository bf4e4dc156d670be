"""Screening: a search of the whole tile in 8-bit integers, and of the places that may hold a face in float32.

By far the most of a photograph shows no face. In 8-bit integers (`graphs.screen_trunk`, `graphs.screen_head`) the detector
takes half the time that it takes in float32, at the price of a small error in its scores. Integers therefore search the
whole tile; round every score above a floor, which is MARGIN below the threshold, the same pixels are searched again in
float32. Every score above the threshold is then that of float32, to the last bit or two: boxes, confidences and encodings
are the same as without screening.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

TRUNK_RANGES = (4.5, 10.0, 9.0)
HEAD_RANGES = (9.0, 8.5, 9.0, 17.0)
"""The largest value that an integer stands for: in the trunk, for the output of each layer, the last of which is the
features; in the head, for the features and the output of each layer but the last. Larger values are cut off. In the trunk
that happens in real photographs, and costs less accuracy than coarser steps for all (`python -m benchmarks.screening`)."""

MARGIN = 0.3
"""The distance below the threshold at which an integer score still counts. In real photographs, a float32 score above 0
was at most 0.11 lower in integers (`python -m benchmarks.screening`). The larger margin costs next to nothing, because few
scores are that near to the threshold."""

REACH = 10
"""Cells of the score map: the head's view to every side, through three layers of 5x5 and one of 9x9."""

BLOCK = 7
"""Cells: the side of a square that is computed again as one. At each of several sizes, a face makes a few neighbouring cells
respond."""

WORTHWHILE = 4 * (BLOCK + 2 * REACH) ** 2
"""Cells: in a smaller map, computing one face again is as much work as computing the whole map in float32."""

BLOCKS_AT_ONCE = 4
"""The number of blocks that fit in one of the detector's bands."""

Scores = NDArray[np.float32]
Exact = Callable[[list[tuple[int, int]], tuple[int, int]], Scores]
"""Computes the float32 scores, (n, h, w), of windows of one size: from the first row and column of each, and the size
(h, w), all in cells."""


def rescored(scores: Scores, exact: Exact, threshold: float) -> Scores:
    """Returns a tile's scores: computed by `exact` wherever they can be above `threshold`, elsewhere lower than `threshold`.

    Args:
        scores: (h, w), computed in integers.
        exact: computes scores in float32.
        threshold: the least score of a face.
    """
    rows, columns = scores.shape
    height, width = min(BLOCK + 2 * REACH, rows), min(BLOCK + 2 * REACH, columns)
    blocks = covering(scores, threshold - MARGIN, scores.size // (height * width))
    if blocks is None:
        whole: Scores = exact([(0, 0)], (rows, columns))[0]
        return whole
    result: Scores = scores.copy()
    # A window is a block with the head's view from it. At the edge of the map it is moved inwards, not cut off: all windows
    # have one size, and a window that ends with the map gives the head the same zeros beyond the edge.
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

    The first block is centred on the strongest cell, the next one on the strongest cell outside of it, and so on. None
    where more than `most` blocks are needed: computing the whole map is then no more work.
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
