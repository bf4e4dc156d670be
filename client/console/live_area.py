"""Live area: lines at the bottom of a terminal that are drawn again and again, below the lines that are printed once.

Between two drawings the cursor stands at the beginning of the area. A terminal that wraps its lines anew after a change of
its width takes the cursor along, so the area is found again; and because the cursor is not hidden, a program that is killed
leaves a terminal without a fault.
"""

from __future__ import annotations

import os
from typing import TextIO

from rich.console import Console, RenderableType

from ...core.host import standard_streams
from .terminal import size

# escape sequences of ECMA-48 and DEC, which every terminal has had since the VT100
_ERASE = "\r\x1b[2K\x1b[C\x1b[J\r"
"""Erases the line, and everything below it from its second column on: at the first column of the first line of the screen,
tmux takes that for the clearing of the whole screen, and keeps a copy in its history."""
_WRAP_OFF, _WRAP_ON = "\x1b[?7l", "\x1b[?7h"
"""A line of a drawing for a terminal that has meanwhile become narrower is cut by the terminal, and stays one line."""

_INCAPABLE = ("", "dumb", "unknown")
"""Values of TERM of a terminal that cannot move its cursor, such as the shell window of an editor."""


class LiveArea:
    """Live area of a terminal, on which nothing else is written but through `print`.

    Args:
        stream: standard error, on a terminal.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        # emoji: a file name can be ":smile:.jpg"
        self._console = Console(file=stream, force_terminal=True, highlight=False, markup=False, emoji=False)
        self._frame = ""
        """The drawing on the terminal; "" for none."""

    @staticmethod
    def possible(stream: TextIO) -> bool:
        """Returns whether a stream is a terminal that can move its cursor."""
        return stream.isatty() and os.environ.get("TERM", "").lower() not in _INCAPABLE

    @property
    def size(self) -> os.terminal_size:
        """The size of the terminal, which can change at any time."""
        return size(self._stream)

    def draw(self, picture: RenderableType) -> None:
        """Replaces the area. Draws nothing while this program is in the background, where the terminal is another program's,
        and while the terminal takes no notices (Ctrl-S)."""
        if standard_streams.behind():
            return
        if self._in_background():
            return
        columns, lines = self.size
        self._console.size = (columns, lines)
        with self._console.capture() as captured:
            self._console.print(picture)
        drawn = captured.get().removesuffix("\n").split("\n")[: max(1, lines - 1)]
        up = f"\x1b[{len(drawn) - 1}A" if len(drawn) > 1 else ""
        self._frame = _WRAP_OFF + "\r\n".join(drawn) + f"\r{up}" + _WRAP_ON
        self._put(_ERASE + self._frame)

    def print(self, line: str) -> None:
        """Prints a line above the area."""
        area = self._frame and not self._in_background()
        self._put(f"{_ERASE}{line}\n{self._frame}" if area else f"{line}\n")

    def clear(self) -> None:
        """Removes the area; the next line, of this program or another, takes its place."""
        if self._frame and not self._in_background():
            self._frame = ""
            self._put(_ERASE)

    def _put(self, text: str) -> None:
        # in one piece: a reader of the terminal never sees half of it
        self._stream.write(text)
        self._stream.flush()

    def _in_background(self) -> bool:
        """Returns whether the terminal is another program's; then the area is gone, too."""
        try:
            away = os.tcgetpgrp(self._stream.fileno()) != os.getpgrp()
        except (OSError, ValueError):
            # the terminal does not control this process: there is no job control, and no background
            return False
        if away:
            self._frame = ""
        return away
