"""Rates: the speed of each server, and whether it is slow or was lost. Sans-I/O: the time comes from the caller."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

from ...core.engines import reference_face
from ..pool.status import Availability, ServerStatus
from . import number_formats

LATELY = 30.0
"""Seconds over which the rate on the display is measured."""

SPAN = 180.0
"""Seconds over which a server is judged: a server that takes half a minute for an image answers several in that time."""

SLOW = 4.0
"""A server is slow when its best rate was this many times its present rate: images of one archive differ less in cost."""

FEWEST = 5
"""Images that a server must answer in SPAN for its rate to count as its best."""

LONGEST_LOOK = 15.0
"""Most seconds counted between two observations: in a longer pause this process was suspended (by Ctrl-Z, for example)."""


class ServerRate:
    """Rate of one server, observed at intervals.

    Attributes:
        rate: images per second in the last LATELY seconds, counting only time with work; 0.0 without an image.
        steady: the same over SPAN; the server is judged by this rate.
        best: the highest `steady` so far, over at least FEWEST images.
        slow: whether the server always had work and its rate is far below its best, or it has not done any image so far.
        slow_seconds: the time for which the server was slow, in seconds.
        losses: the number of times the connection was lost.
    """

    def __init__(self) -> None:
        self.rate = self.steady = self.best = self.slow_seconds = 0.0
        self.slow = False
        self.losses = 0
        self.last: ServerStatus | None = None
        # (when, images done, seconds with work up to then)
        self._samples: deque[tuple[float, int, float]] = deque()

    def observe(self, now: float, status: ServerStatus) -> None:
        """Records the status of the server at a moment."""
        before, self.last = self.last, status
        if status.state is Availability.LOST and (before is None or before.state is not Availability.LOST):
            self.losses += 1
        then, _, worked = self._samples[-1] if self._samples else (now, 0, 0.0)
        if before is not None and before.in_flight:
            worked += now - then
        if self.slow:
            self.slow_seconds += now - then
        self._samples.append((now, status.done, worked))
        while len(self._samples) > 2 and self._samples[1][0] <= now - SPAN:
            self._samples.popleft()
        self.rate, _, _ = self._since(self._first_within(LATELY))
        self.steady, done, busy = self._since(self._samples[0])
        if done >= FEWEST and busy >= LATELY / 3:
            self.best = max(self.best, self.steady)
        working = now - self._samples[0][0] >= SPAN and busy >= 0.8 * SPAN and status.in_flight > 0
        self.slow = working and (self.steady * SLOW < self.best or status.done == 0)

    def _first_within(self, span: float) -> tuple[float, int, float]:
        first = self._samples[-1]
        for sample in reversed(self._samples):
            if sample[0] < self._samples[-1][0] - span:
                break
            first = sample
        return first

    def _since(self, sample: tuple[float, int, float]) -> tuple[float, int, float]:
        """Returns, since a sample: images per second of work, the number of images, and the seconds with work."""
        _, done, worked = self._samples[-1]
        done, busy = done - sample[1], worked - sample[2]
        return done / max(busy, 1.0), done, busy

    def trouble(self) -> str:
        """Returns the summary's text about trouble with this server; "" if there was none."""
        assert self.last is not None
        found = []
        if self.losses:
            again = " and reconnected" if self.last.state is not Availability.LOST else ""
            found.append(f"lost {_times(self.losses)}{again}")
        if self.last.state is Availability.RESTING:
            found.append("failed repeatedly")
        if not self.last.done and self.slow_seconds:
            found.append("never answered")
        elif self.slow_seconds:
            found.append(
                f"slow for {number_formats.duration(self.slow_seconds)}: {number_formats.rate(self.steady)} images/s at "
                f"the end, {number_formats.rate(self.best)} at its best"
            )
        if self.last.done and self.last.deviation > reference_face.NAMED:
            found.append(
                f"its encodings deviate from those of other devices, by {self.last.deviation:.2f} for the reference face"
            )
        return "; ".join(found)


class Rates:
    """Rates of all servers, in the order in which they were first seen."""

    def __init__(self) -> None:
        self._servers: list[ServerRate] = []
        self._looked: float | None = None
        self._watched = 0.0

    def observe(self, now: float, statuses: Iterable[ServerStatus]) -> list[ServerRate]:
        """Records the status of the servers; returns the servers that have just become slow.

        Args:
            statuses: of every server, each time in the order of their first connections: its address may change.
        """
        if self._looked is not None:
            self._watched += min(now - self._looked, LONGEST_LOOK)
        self._looked = now
        slowed = []
        for number, status in enumerate(statuses):
            if number == len(self._servers):
                self._servers.append(ServerRate())
            server_rate = self._servers[number]
            before = server_rate.slow
            server_rate.observe(self._watched, status)
            if server_rate.slow and not before:
                slowed.append(server_rate)
        return slowed

    def __iter__(self) -> Iterator[ServerRate]:
        return iter(self._servers)


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
