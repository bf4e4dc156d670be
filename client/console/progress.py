"""Progress: the servers, the images done, the faces found, the rate and the time left, shown on standard error."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import AsyncIterator, Callable
from types import TracebackType

from rich.console import RenderableType

from ...core.host import tasks
from ...core.results import Result
from ...core.text import one_line, plural
from ...core.throughput import Throughput
from ..pool.status import ServerStatus
from . import dashboard, number_formats
from .job_control import JobControl
from .live_area import LiveArea
from .rates import Rates
from .terminal import say

TICK = 0.5
"""Seconds between two updates of the display."""

PLAIN_INTERVAL = 10.0
"""Seconds between two lines where standard error is no terminal."""


class Progress:
    """Progress of a run: a live display on a terminal, a plain line at intervals elsewhere.

    Args:
        quiet: show nothing.
        terminal_taken: the results are written to the terminal, or to a program that may write there (`| jq`): a live
            display would break up the lines, so there is none.

    Attributes:
        images, faces, failed: counts so far.
        poor: faces so far whose encodings cannot be compared with others.
        partial: files so far with more pictures than were searched.
    """

    def __init__(self, *, quiet: bool = False, terminal_taken: bool = False) -> None:
        self.images = 0
        self.faces = 0
        self.poor = 0
        self.partial = 0
        self.failed = 0
        self._started = time.monotonic()
        self._throughput = Throughput(self._started)
        self._quiet = quiet
        self._found: int | None = None
        self._left_out = 0
        self._rates = Rates()
        live = not quiet and not terminal_taken and LiveArea.possible(sys.stderr)
        self._area = LiveArea(sys.stderr) if live else None
        self._signals: JobControl | None = None

    def __enter__(self) -> Progress:
        if self._area is not None:
            self._signals = JobControl(self._area.clear, self._draw)
        self._draw()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end_display()

    def end_display(self) -> None:
        """Removes the live display for good; later lines are printed as anywhere else."""
        if self._signals is not None:
            self._signals.end()
        if self._area is not None:
            self._area.clear()
            self._area = None

    @contextlib.asynccontextmanager
    async def following(self, statuses: Callable[[], list[ServerStatus]]) -> AsyncIterator[None]:
        """Observes the servers until the end of the context; the duration of the run is measured from here."""
        self._started = time.monotonic()
        self._throughput = Throughput(self._started)
        watching = asyncio.create_task(self._watch(statuses))
        try:
            yield
        finally:
            await tasks.end([watching])
            self._look(statuses)

    def say(self, text: str) -> None:
        """Prints text as one line, unless quiet."""
        if self._area is not None:
            self._area.print(one_line(text))
        elif not self._quiet:
            say(text)

    def expect(self, total: int) -> None:
        """Sets the number of images, once all are found."""
        self._found = total

    def leave_out(self) -> None:
        """Subtracts an image that is already recorded from the number of images."""
        self._left_out += 1

    @property
    def _total(self) -> int | None:
        return None if self._found is None else self._found - self._left_out

    def add(self, result: Result) -> None:
        """Counts one result, and prints the error of a failed image, or the pictures of a file that could not be read."""
        self.images += 1
        self._throughput.count(time.monotonic())
        if result.error is not None:
            self.failed += 1
            code, message = result.error
            self.say(f"{result.path}: {code.value}: {message}")
        else:
            faces = result.faces
            self.faces += len(faces)
            self.poor += int((~faces.comparable).sum())
            self.partial += result.pictures > len(result.pages)
            for page, reason in result.unread:
                last = result.pictures - 1
                self.say(f"{result.path}: page {page}, of pages 0 to {last}, could not be read: {reason}")

    def summary(self) -> str:
        """Returns the line that ends a run."""
        seconds = time.monotonic() - self._started
        rate = (
            f" ({number_formats.rate(self.images / seconds)} images/s)"
            if self.images and seconds >= 0.1
            else ""
        )
        poor = f" ({self.poor} not comparable)" if self.poor else ""
        partial = (
            f"; {plural(self.partial, 'file')} with more pictures than were searched" if self.partial else ""
        )
        return (
            f"{plural(self.images, 'image')}, {plural(self.faces, 'face')}{poor}, {self.failed} failed, "
            f"in {number_formats.measured(seconds)}{rate}{partial}"
        )

    def troubles(self) -> list[str]:
        """Returns a line for each server that was slow, was lost or never answered."""
        found = [
            (server_rate.last.name, server_rate.trouble())
            for server_rate in self._rates
            if server_rate.last is not None
        ]
        return [f"server {name}: {trouble}" for name, trouble in found if trouble]

    async def _watch(self, statuses: Callable[[], list[ServerStatus]]) -> None:
        plain = time.monotonic() + PLAIN_INTERVAL
        while True:
            self._look(statuses)
            if self._area is not None:
                self._draw()
            elif time.monotonic() >= plain:
                plain = time.monotonic() + PLAIN_INTERVAL
                self.say(self._totals())
            await asyncio.sleep(TICK)

    def _look(self, statuses: Callable[[], list[ServerStatus]]) -> None:
        for server_rate in self._rates.observe(time.monotonic(), statuses()):
            assert server_rate.last is not None
            steady, best = number_formats.rate(server_rate.steady), number_formats.rate(server_rate.best)
            before = f", {best} at its best" if server_rate.best else ""
            self.say(f"server {server_rate.last.name} is slow: {steady} images/s{before}")

    def _totals(self) -> str:
        """Returns the line of totals, with the most important first."""
        rate = self._throughput.rate(time.monotonic())
        images = f"{self.images} of {plural(self._total, 'image')}" if self._total is not None else None
        parts = [images or plural(self.images, "image")]
        if rate:
            parts.append(f"{number_formats.rate(rate)} images/s")
        parts.append(plural(self.faces, "face"))
        if self.failed:
            parts.append(f"{self.failed} failed")
        left = 0 if self._total is None else self._total - self.images
        if left > 0 and rate:
            parts.append(f"{number_formats.duration(left / rate)} left")
        return ", ".join(parts)

    def _draw(self) -> None:
        if self._area is not None:
            self._area.draw(self._view(self._area.size))

    def _view(self, size: os.terminal_size) -> RenderableType:
        lines = dashboard.servers(self._rates, width=size.columns, height=size.lines)
        totals = self._totals() if lines else "finding servers"
        return dashboard.view(lines, totals, done=self.images, total=self._total)
