"""Decode window: the number of pixels by which decoding may run ahead of the engine."""

from __future__ import annotations

import threading

PIXELS_AHEAD = 40_000_000
"""Pixels that are decoded, or being decoded, while the engine has another picture: at 3 to 20 bytes each the most memory
that a worker takes beside the engine's own. One picture of a good camera; a larger one is decoded alone. A further page of
the file that the engine has is decoded in place of the page before it."""


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

    def exchange(self, before: int, pixels: int) -> None:
        """Admits the next page of an image in place of the one before it, at once: the images behind it wait for its end."""
        with self._changed:
            self._taken += pixels - before
            self._changed.notify_all()

    def _next(self, turn: int) -> None:
        self._passed.add(turn)
        while self._turn in self._passed:
            self._passed.remove(self._turn)
            self._turn += 1
        self._changed.notify_all()


class Place:
    """The place of one image in the window, for one page of it at a time. One thread uses it at a time.

    Args:
        turn: of the image, in the order in which they arrived.
    """

    def __init__(self, window: DecodeWindow, turn: int) -> None:
        self._window = window
        self._turn = turn
        self._admitted = False
        self._taken = 0

    def admit(self, pixels: int) -> None:
        """Returns when there is room for a page: for the first one when it is the image's turn, and for a later one at once.

        Of each image behind this one, the engine takes the pictures only after those of this one: to wait for them would be
        to wait for ever.
        """
        if self._admitted:
            self._window.exchange(self._taken, pixels)
        else:
            self._window.admit(self._turn, pixels)
            self._admitted = True
        self._taken = pixels

    def free(self) -> None:
        """Frees the room of the page that was admitted last, if it still has room."""
        self._window.free(self._taken)
        self._taken = 0

    def over(self) -> None:
        """Ends the turn of the image, whether it was admitted or never will be."""
        self._window.over(self._turn)
