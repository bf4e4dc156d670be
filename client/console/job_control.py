"""Job control: what a live area does when its program is stopped, continued or quit, or its terminal resized."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable

from ...core.host import standard_streams


class JobControl:
    """Handlers of the signals of a terminal (Ctrl-Z, fg, Ctrl-\\, a change of its size), from now to `end`.

    A signal that the starter ignores stays ignored.

    Args:
        clear: removes the live area; called before the program stops or quits.
        refresh: draws the live area anew; called when the program is continued, and after a change of the terminal's size.
    """

    def __init__(self, clear: Callable[[], None], refresh: Callable[[], None]) -> None:
        self._clear = clear
        self._loop = asyncio.get_running_loop()
        self._handled: list[signal.Signals] = []
        for number in (signal.SIGWINCH, signal.SIGCONT):
            self._handle(number, refresh)
        for number in (signal.SIGTSTP, signal.SIGQUIT):
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._handle(number, self._yield_terminal, number)

    def end(self) -> None:
        """Gives the signals their default effects again."""
        while self._handled:
            self._loop.remove_signal_handler(self._handled.pop())

    def _handle(self, number: signal.Signals, call: Callable[..., None], *arguments: object) -> None:
        self._loop.add_signal_handler(number, call, *arguments)
        self._handled.append(number)

    def _yield_terminal(self, number: signal.Signals) -> None:
        """Removes the area, and then lets a signal have its default effect."""
        self._clear()
        standard_streams.settle()
        self._loop.remove_signal_handler(number)
        signal.raise_signal(number)
        # continued: SIGCONT has its own handler
        self._loop.add_signal_handler(number, self._yield_terminal, number)
