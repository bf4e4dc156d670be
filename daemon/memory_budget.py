"""Budget: bytes that all connections together may hold; and the deadline of a frame that is being received.

This module only counts and decides; it uses no socket. A limit applies before there is work: a frame is counted
before its bytes are stored.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from ..core.errors import ErrorCode, LimitError
from ..core.host.running_clock import RunningClock
from ..core.text import plural

SMALL_FRAME = 8192
"""Bytes of a frame that is not counted, so that pings and cancels pass when images have to wait: with every connection
and every credit in use these take a few MB."""


class Budget:
    """Bytes that all connections together may hold: frames that are being received, and images without an answer.

    One quarter is divided evenly: each connection can use its part at any time, regardless of the others. A connection
    borrows bytes beyond its part from the other three quarters. If too little of them is left, the connection waits, and
    nothing is read from it meanwhile. Claims that borrow are granted in the order in which they came, so that small frames
    do not keep a large one waiting for ever. The sum is never exceeded: a frame of more than `largest` bytes is refused.

    No deadlock is possible: every byte is held by a frame that has a deadline, or by an image that the executor answers
    within its time limit, and neither needs more of the budget to end.

    Attributes:
        largest: the bytes of the largest frame for which there can be room.
    """

    def __init__(self, most: int, connections: int) -> None:
        self.part = most // 4 // connections
        self.to_lend = most - self.part * connections
        self.largest = max(self.part + self.to_lend, SMALL_FRAME)
        self.lent = 0
        self.waiting: list[_Claim] = []

    def serve(self) -> None:
        """Grants the waiting claims that fit now, in their order."""
        waiting, self.waiting = self.waiting, []
        for claim in waiting:
            if claim.share.take(claim.size):
                claim.granted.set_result(None)
            else:
                self.waiting.append(claim)

    def has_room(self, more: int) -> bool:
        """Returns whether `more` bytes can be lent: no earlier claim waits for that."""
        waited_for = any(claim.share.allows(claim.size) for claim in self.waiting)
        return not waited_for and self.lent + more <= self.to_lend


class Share:
    """The bytes of the budget that one connection holds.

    Args:
        most: the most that it may hold; one longer frame is admitted alone.
    """

    def __init__(self, budget: Budget, most: int) -> None:
        self._budget = budget
        self._most = most
        self.held = 0

    @property
    def borrowed(self) -> int:
        """Bytes beyond the connection's part."""
        return max(0, self.held - self._budget.part)

    async def claim(self, size: int, patience: float, clock: RunningClock) -> bool:
        """Returns whether `size` bytes were granted, at once or within `patience` seconds; `free` them later."""
        if self.take(size):
            return True
        claim = _Claim(self, size)
        self._budget.waiting.append(claim)
        try:
            await clock.wait([claim.granted], patience)
        except asyncio.CancelledError:
            if claim.granted.done():
                self.free(size)
            raise
        finally:
            if not claim.granted.done():
                self._budget.waiting.remove(claim)
                self._budget.serve()
        return claim.granted.done()

    def take(self, size: int) -> bool:
        """Returns whether there is room for `size` bytes, and takes them if so."""
        more = max(0, self.held + size - self._budget.part) - self.borrowed
        if not self.allows(size) or (more and not self._budget.has_room(more)):
            return False
        self._hold(size)
        return True

    def allows(self, size: int) -> bool:
        """Returns whether the connection's own limit has room for `size` bytes."""
        return not self.held or self.held + size <= self._most

    def free(self, size: int) -> None:
        """Returns claimed bytes to the budget."""
        self._hold(-size)
        self._budget.serve()

    def _hold(self, size: int) -> None:
        before = self.borrowed
        self.held += size
        self._budget.lent += self.borrowed - before


@dataclass(eq=False)
class _Claim:
    share: Share
    size: int
    granted: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class FrameDeadline:
    """Limits the time that one frame may take to arrive, and its rate: counts each wait for its bytes.

    Only waiting for the peer counts: while the server does not read, no sender is slow.

    Args:
        seconds: for the whole frame.
        window: seconds after which the rate is checked, again and again.
        min_bytes_per_second: the lowest rate in a window.
    """

    def __init__(self, seconds: float, *, window: float, min_bytes_per_second: int) -> None:
        self._seconds = seconds
        self._window = window
        self._min_bytes_per_second = min_bytes_per_second
        self._waited = 0.0
        self._in_window = 0.0
        self._bytes = 0

    @property
    def left(self) -> float:
        """Seconds that the next wait may take."""
        return max(0.0, min(self._seconds - self._waited, self._window - self._in_window))

    def waited(self, seconds: float, received: int) -> None:
        """Counts a wait and the bytes that it brought, 0 if none.

        Raises:
            LimitError: the frame takes too long, or arrives too slowly.
        """
        self._waited += seconds
        self._in_window += seconds
        self._bytes += received
        if self._waited >= self._seconds:
            raise LimitError(
                f"a frame was not complete within {self._seconds:g} s (params/timeout/frame_timeout)",
                ErrorCode.FRAME_TIMED_OUT,
            )
        if self._in_window >= self._window:
            if self._bytes < self._min_bytes_per_second * self._in_window:
                raise LimitError(
                    f"{plural(self._bytes, 'byte')} of a frame arrived in {self._window:g} s (params/timeout/slow_timeout); "
                    f"the minimum is {self._min_bytes_per_second} a second (params/daemon/min_bytes_per_second; of a large "
                    "frame, enough for it to be complete within params/timeout/frame_timeout)",
                    ErrorCode.SLOW_SENDER,
                )
            self._in_window = 0.0
            self._bytes = 0
