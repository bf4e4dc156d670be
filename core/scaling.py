"""How far a picture is zoomed so that it fits a pixel budget. (The zooming is `resampling`.)"""

from __future__ import annotations

import math


def zoom(width: int, height: int, *, budget: int, most: float) -> float:
    """Returns the factor, the same for both sides, that brings `width` x `height` pixels to at most `budget`.

    It never exceeds `most`: beyond that a picture only grows blurrier. One zoom straight from the original keeps more
    detail than scaling down to a small size and then up again.
    """
    # the last term counts only where the shorter side would come out below one pixel, and is then made one
    return min(most, math.sqrt(budget / (width * height)), budget / max(width, height))


def zoomed_size(width: int, height: int, factor: float) -> tuple[int, int]:
    """Returns (width, height) in whole pixels after zooming, each at least 1, rounded down to stay in the budget."""
    # the tolerance keeps 400 * (600 / 400) from becoming 599
    return max(1, math.floor(width * factor + 1e-6)), max(1, math.floor(height * factor + 1e-6))
