"""Leaping time: an event loop that waits for no timer; where nothing else is to be done, its clock leaps to the next one."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _Selector(selectors.DefaultSelector):
    """Waits for nothing; the time that it would have waited has passed."""

    passed = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        events = super().select(0 if timeout is not None else None)
        if timeout and not events:
            self.passed += timeout
        return events


class LeapingLoop(asyncio.SelectorEventLoop):
    """Event loop whose clock begins at 0 and takes no time. Nothing outside of it may be waited for with a limit."""

    def __init__(self) -> None:
        self._leaping = _Selector()
        super().__init__(self._leaping)

    def time(self) -> float:
        return self._leaping.passed

    def stand_still(self, seconds: float) -> None:
        """So much time passes at once, as where the process is stopped or busy."""
        self._leaping.passed += seconds


def run(talk: Callable[[LeapingLoop], Coroutine[Any, Any, T]]) -> T:
    """Runs a coroutine in leaping time."""
    loop = LeapingLoop()
    try:
        return loop.run_until_complete(talk(loop))
    finally:
        loop.close()
