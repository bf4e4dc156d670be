"""How each server gets on while it is watched: its rate lately, and whether it is slow or was lost. No clock of its own."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

from ..pool.status import Availability, ServerStatus

LATELY = 30.0
"""Seconds that the rate shown is of."""

SPAN = 180.0
"""Seconds that a server is judged by: one that takes half a minute for an image has done a few in them."""

SLOW = 4.0
"""A server is slow when it did this many times as much before: images of one archive differ by less in what they cost."""

FEWEST = 5
"""Images in SPAN from which a rate is one to compare with."""


LONGEST_LOOK = 15.0
"""Seconds between two looks that count at most. In a longer time it was this process that stood still (Ctrl-Z, say)."""


class Pace:
    """One server, watched from time to time.

    Attributes:
        rate: images a second LATELY, while the server had work; 0.0 if it did none.
        steady: the same over SPAN, by which it is judged.
        best: the highest that this was, with FEWEST images at least.
        slow: it had work all the time, and did far less than it did before, or has done nothing so far.
        slow_seconds: for how long it was.
        losses: how often the connection ended.
    """

    def __init__(self) -> None:
        self.rate = self.steady = self.best = self.slow_seconds = 0.0
        self.slow = False
        self.losses = 0
        self.last: ServerStatus | None = None
        # (when, images done, seconds with work up to then)
        self._samples: deque[tuple[float, int, float]] = deque()

    def observe(self, now: float, status: ServerStatus) -> None:
        """Takes note of how the server is at a moment."""
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
        """Returns images a second with work, images, and seconds with work, since a sample."""
        _, done, worked = self._samples[-1]
        done, busy = done - sample[1], worked - sample[2]
        return done / max(busy, 1.0), done, busy

    def trouble(self) -> str:
        """Returns what the summary should say of the server; "" if all was well."""
        assert self.last is not None
        found = []
        if self.losses:
            again = " and came back" if self.last.state is not Availability.LOST else ""
            found.append(f"lost {_times(self.losses)}{again}")
        if self.last.state is Availability.RESTING:
            found.append("failed again and again")
        if not self.last.done and self.slow_seconds:
            found.append("never answered")
        elif self.slow_seconds:
            found.append(
                f"slow for {self.slow_seconds:.0f} s: {self.steady:.2f} images/s at last, {self.best:.2f} before"
            )
        return "; ".join(found)


class Paces:
    """All servers, in the order in which they were first seen."""

    def __init__(self) -> None:
        self._by_address: dict[str, Pace] = {}
        self._looked: float | None = None
        self._watched = 0.0

    def observe(self, now: float, statuses: Iterable[ServerStatus]) -> list[Pace]:
        """Takes note of how the servers are; returns those that have just become slow."""
        if self._looked is not None:
            self._watched += min(now - self._looked, LONGEST_LOOK)
        self._looked = now
        slowed = []
        for status in statuses:
            pace = self._by_address.setdefault(status.address, Pace())
            before = pace.slow
            pace.observe(self._watched, status)
            if pace.slow and not before:
                slowed.append(pace)
        return slowed

    def __iter__(self) -> Iterator[Pace]:
        return iter(self._by_address.values())


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
