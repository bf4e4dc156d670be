"""What a person sees on standard error while it runs: images done, faces, rate, time left."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from .results import Result
from .terminal import printable

PLAIN_INTERVAL = 10.0
"""Seconds between lines where standard error is no terminal."""


class Tally:
    """Counts, and shows the counts: a live line on a terminal, a plain line now and then elsewhere.

    Attributes:
        images, faces, failed: so far.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self.images = 0
        self.faces = 0
        self.failed = 0
        self._started = time.monotonic()
        self._shown = self._started
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._quiet = quiet
        self._total: int | None = None
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=self._console,
            disable=quiet or not self._console.is_terminal,
            redirect_stdout=False,
        )
        self._task = self._progress.add_task("finding servers", total=None, rate="")

    def __enter__(self) -> Tally:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def say(self, text: str) -> None:
        """Prints one line, whatever it holds."""
        if not self._quiet:
            self._console.print(printable(text), markup=False)

    def expect(self, total: int) -> None:
        """Sets how many images there are in all."""
        self._total = total
        self._progress.update(self._task, total=total)

    def add(self, result: Result) -> None:
        """Counts one image more; a failed one is named."""
        self.images += 1
        if result.error is not None:
            self.failed += 1
            code, message = result.error
            self.say(f"{result.path}: {code.value}: {message}")
        else:
            self.faces += len(result.faces)
        description = f"{self.faces} faces" + (f", {self.failed} failed" if self.failed else "")
        self._progress.update(self._task, completed=self.images, description=description, rate=self.rate)
        now = time.monotonic()
        if not self._console.is_terminal and now - self._shown >= PLAIN_INTERVAL:
            self._shown = now
            total = f" of {self._total}" if self._total is not None else ""
            self.say(f"{self.images}{total} images, {description}, {self.rate}{self._left()}")

    @property
    def rate(self) -> str:
        """Images a second since the start."""
        return f"{self.images / max(time.monotonic() - self._started, 1e-3):.2f} images/s"

    def start_clock(self) -> None:
        """The servers are there: from here on time counts."""
        self._started = time.monotonic()

    def summary(self) -> str:
        """Returns the line for the end."""
        seconds = time.monotonic() - self._started
        return (
            f"{_plural(self.images, 'image')}, {_plural(self.faces, 'face')}, {self.failed} failed, "
            f"in {seconds:.1f} s ({self.rate})"
        )

    def _left(self) -> str:
        if self._total is None or not self.images:
            return ""
        seconds = (time.monotonic() - self._started) / self.images * (self._total - self.images)
        return f", {seconds:.0f} s left"


def _plural(count: int, thing: str) -> str:
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"
