"""Running clock: the time in which this process ran, for time limits.

A process stands still when its container is paused, its machine is suspended, or it is stopped (Ctrl-Z). That time is no
fault of an image, a peer or a server, so it uses up no limit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar

from . import tasks

TICK = 1.0
"""Seconds between two looks at the clock of the system."""

LONGEST_STEP = 2.5
"""Seconds between two looks beyond which the process stood still: a busy event loop is late by less."""

T = TypeVar("T")


class RunningClock:
    """Clock of the running event loop, without the time in which the process stood still. `stop` it at the end."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._seen = self._loop.time()
        self._stood_still = 0.0
        self._look()

    def now(self) -> float:
        """Returns the time of the event loop, less the seconds in which the process stood still."""
        seen, self._seen = self._seen, self._loop.time()
        if self._seen - seen > LONGEST_STEP:
            self._stood_still += self._seen - seen - TICK
        return self._seen - self._stood_still

    def stop(self) -> None:
        """Ends the looks at the clock of the system."""
        self._timer.cancel()

    def call_at(self, moment: float, function: Callable[[], object]) -> Timer:
        """Calls a function at a time of this clock, unless the timer is cancelled before."""
        return Timer(self, self._loop, moment, function)

    def call_later(self, seconds: float, function: Callable[[], object]) -> Timer:
        """Calls a function after some seconds of this clock, unless the timer is cancelled before."""
        return self.call_at(self.now() + seconds, function)

    async def wait(self, futures: Iterable[asyncio.Future[Any]], seconds: float) -> None:
        """Returns when one of these is done, or after some seconds of this clock."""
        waiting, over = list(futures), self.now() + seconds
        while not any(future.done() for future in waiting) and (left := over - self.now()) > 0:
            await asyncio.wait(waiting, timeout=left, return_when=asyncio.FIRST_COMPLETED)

    async def wait_for(self, work: Awaitable[T], seconds: float) -> T:
        """Returns the result of some work, which is cancelled after some seconds of this clock.

        Raises:
            asyncio.TimeoutError: the work was cancelled.
        """
        task = asyncio.ensure_future(work)
        try:
            await self.wait([task], seconds)
            if task.done():
                return task.result()
        finally:
            await tasks.end([task])
        raise asyncio.TimeoutError

    def _look(self) -> None:
        self.now()
        self._timer = self._loop.call_later(TICK, self._look)


class Timer:
    """Function that a running clock calls; made by `call_at` and `call_later`."""

    def __init__(
        self,
        clock: RunningClock,
        loop: asyncio.AbstractEventLoop,
        moment: float,
        function: Callable[[], object],
    ) -> None:
        self._clock = clock
        self._loop = loop
        self._moment = moment
        self._function = function
        self._wait()

    def cancel(self) -> None:
        self._handle.cancel()

    def _wait(self) -> None:
        self._handle = self._loop.call_later(max(0.0, self._moment - self._clock.now()), self._due)

    def _due(self) -> None:
        # a millisecond: the event loop counts in these, and may be that much early
        if self._moment - self._clock.now() > 0.001:
            self._wait()
        else:
            self._function()
