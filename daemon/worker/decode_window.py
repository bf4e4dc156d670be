"""Decode window: the number of pixels by which decoding may run ahead of the engine."""

from __future__ import annotations

import threading

PIXELS_AHEAD = 40_000_000
"""Pixels that are decoded, or being decoded, while the engine has another picture: at 3 to 20 bytes each the most memory
that a worker takes beside the engine's own. One picture of a good camera; a larger one is decoded alone."""


class DecodeWindow:
    """Admits pictures to decoding in the order in which they arrived, as long as there is room for their pixels."""

    def __init__(self, pixels: int) -> None:
        self._pixels = pixels
        self._changed = threading.Condition()
        self._taken = 0
        self._turn = 0
        self._passed: set[int] = set()

    def admit(self, turn: int, pixels: int) -> None:
        """Returns when it is this picture's turn and there is room: the engine takes those admitted before it first."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._turn == turn and (not self._taken or self._taken + pixels <= self._pixels)
            )
            self._taken += pixels
            self._next(turn)

    def over(self, turn: int) -> None:
        """Ends the turn of a picture that was admitted, or never will be."""
        with self._changed:
            if turn >= self._turn:
                self._next(turn)

    def free(self, pixels: int) -> None:
        """Frees the pixels of a picture that the engine has taken, or that was cancelled."""
        with self._changed:
            self._taken -= pixels
            self._changed.notify_all()

    def _next(self, turn: int) -> None:
        self._passed.add(turn)
        while self._turn in self._passed:
            self._passed.remove(self._turn)
            self._turn += 1
        self._changed.notify_all()
