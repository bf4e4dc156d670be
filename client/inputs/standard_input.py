"""Standard input: the one image that another program sends to this one, or that a shell redirects."""

from __future__ import annotations

import os
from collections.abc import Iterator

from ...core.errors import ErrorCode
from ...core.text import plural

NAME = "-"
"""The path that stands for standard input, as in many programs. A file of that name is ./-."""

_FILE = 0
"""The file descriptor. sys.stdin has a lock, which a thread that reads would still hold at the end of the interpreter."""

_PIECE = 1 << 20
"""Bytes read at a time."""


class StandardInput:
    """The image on standard input. It is read in a daemon thread: the sender may take its time, or never end.

    Args:
        max_bytes: limit for the image; no more is read than one byte beyond it.

    Attributes:
        problem: the reason why there is no image, once it was read.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self.problem: tuple[ErrorCode, str] | None = None

    def images(self) -> Iterator[bytes]:
        """Yields the bytes of the image; nothing if there is none."""
        data = bytearray()
        try:
            while len(data) <= self._max_bytes:
                piece = os.read(_FILE, min(_PIECE, self._max_bytes + 1 - len(data)))
                if not piece:
                    break
                data += piece
        except OSError as error:
            self.problem = ErrorCode.UNREADABLE, f"standard input cannot be read: {error.strerror}"
            return
        if len(data) > self._max_bytes:
            self.problem = (
                ErrorCode.FRAME_TOO_LARGE,
                f"standard input has more than {plural(self._max_bytes, 'byte')} (params/daemon/max_frame_bytes)",
            )
        elif data:
            yield bytes(data)
        else:
            self.problem = (
                ErrorCode.UNREADABLE,
                "standard input is empty: it takes the bytes of an image file",
            )


def is_a_terminal() -> bool:
    """Returns whether standard input is a terminal, on which a person would have to type an image."""
    return os.isatty(_FILE)
