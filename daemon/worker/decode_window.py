"""Decode window: the memory that the pictures of a worker take: those being decoded, decoded, and searched."""

from __future__ import annotations

import threading

PICTURE_BYTES = 400_000_000
"""Bytes of all pictures together: one of 50 Mpx is searched while the next one is decoded, or several of a telephone's 12
Mpx. Beside a larger one there is no other; it has a worker's memory for itself. A further page of a file is decoded in place
of the page before it."""


class DecodeWindow:
    """Admits pictures to decoding in the order in which they arrived, as long as there is room for them.

    A picture that takes more than the whole window is admitted when there is no other.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._changed = threading.Condition()
        self._taken = 0
        self._turn = 0
        self._passed: set[int] = set()

    def admit(self, turn: int, size: int) -> None:
        """Returns when it is this picture's turn and there is room: the engine takes those admitted before it first.

        Args:
            size: the most bytes that its decoding takes.
        """
        with self._changed:
            self._changed.wait_for(
                lambda: self._turn == turn and (not self._taken or self._taken + size <= self._most)
            )
            self._taken += size
            self._next(turn)

    def over(self, turn: int) -> None:
        """Ends the turn of a picture that was admitted, or never will be."""
        with self._changed:
            if turn >= self._turn:
                self._next(turn)

    def free(self, size: int) -> None:
        """Frees bytes of a picture: what its decoding took beyond its pixels, or the pixels when it has been searched."""
        with self._changed:
            self._taken -= size
            self._changed.notify_all()

    def exchange(self, before: int, size: int) -> None:
        """Admits the next page of an image in place of the one before it, at once: the images behind it wait for its end."""
        with self._changed:
            self._taken += size - before
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

    def admit(self, size: int) -> None:
        """Returns when there is room for a page: for the first one when it is the image's turn, and for a later one at once.

        Of each image behind this one, the engine takes the pictures only after those of this one: to wait for them would be
        to wait for ever.
        """
        if self._admitted:
            self._window.exchange(self._taken, size)
        else:
            self._window.admit(self._turn, size)
            self._admitted = True
        self._taken = size

    def shrink(self, size: int) -> None:
        """Frees what the decoding of the page took beyond its pixels, which are so many bytes."""
        self._window.exchange(self._taken, size)
        self._taken = size

    def free(self) -> None:
        """Frees the room of the page that was admitted last, if it still has room."""
        self._window.free(self._taken)
        self._taken = 0

    def over(self) -> None:
        """Ends the turn of the image, whether it was admitted or never will be."""
        self._window.over(self._turn)
