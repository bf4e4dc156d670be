"""Throughput: the number of images done, their recent rate, and the speed of the work.

It has no clock: each call is given the time.
"""

from __future__ import annotations

from collections import deque

SPAN = 60
"""Seconds over which the rate is measured."""


MEMORY = 0.98
"""What an image counts for in the speed, relative to the one after it: some 50 images count, of all sizes."""


class Speed:
    """Megapixels per second in the time with work: the speed of a busy server, which an idle one still knows."""

    def __init__(self) -> None:
        self._megapixels = self._seconds = 0.0
        self._since = 0.0

    def begin(self, now: float) -> None:
        """Takes note that work begins, after a time without any."""
        self._since = now

    def count(self, now: float, pixels: int) -> None:
        """Counts an image, which took the time since the one before it, or since the work began; 0 pixels: a failed one."""
        if pixels:
            self._megapixels = MEMORY * self._megapixels + pixels / 1e6
            self._seconds = MEMORY * self._seconds + max(0.0, now - self._since)
        self._since = now

    def __float__(self) -> float:
        return self._megapixels / self._seconds if self._seconds > 0 else 0.0


class Throughput:
    """Counts completed images.

    Args:
        started: seconds, on the same clock as the times of all calls.

    Attributes:
        total: images done since the start.
    """

    def __init__(self, started: float) -> None:
        self.total = 0
        self._started = started
        # (second, done in it): a bounded number of entries, however fast a server is
        self._seconds: deque[tuple[int, int]] = deque(maxlen=SPAN + 1)

    def count(self, now: float) -> None:
        """Counts one more image."""
        self.total += 1
        second = int(now)
        before = 0
        if self._seconds and self._seconds[-1][0] == second:
            before = self._seconds.pop()[1]
        self._seconds.append((second, before + 1))

    def elapsed(self, now: float) -> float:
        """Returns the seconds since the start."""
        return max(0.0, now - self._started)

    def rate(self, now: float) -> float:
        """Returns how many were done a second over the last minute, or since the start if that is less."""
        lately = sum(done for second, done in self._seconds if second > now - SPAN)
        return lately / min(SPAN, max(1.0, self.elapsed(now)))
