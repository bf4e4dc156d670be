"""Logs: the levels of the loggers, and the limits on their lines."""

from __future__ import annotations

import logging
import time

from ..core.text import plural


class LineLimit(logging.Filter):
    """Filter that passes a limited number of lines in a period: a client that can cause one line can cause a million, and
    fill the disk."""

    def __init__(self, lines: int = 100, seconds: float = 10.0) -> None:
        super().__init__()
        self._lines = lines
        self._seconds = seconds
        self._since = -seconds
        self._count = 0

    def filter(self, record: logging.LogRecord) -> bool:
        """Returns whether this line is logged; the first one after an omission says how many lines are missing."""
        now = time.monotonic()
        if now - self._since >= self._seconds:
            left_out = max(0, self._count - self._lines)
            self._since, self._count = now, 0
            if left_out:
                record.msg = f"{record.getMessage()} ({plural(left_out, 'line')} left out before this one)"
                record.args = ()
        self._count += 1
        return self._count <= self._lines


def configure(*, verbose: bool) -> None:
    """Sets up the daemon's log on standard error.

    Args:
        verbose: log at DEBUG: the end of every connection, for example.
    """
    # libraries log warnings and errors only: at INFO, libvips writes a line for each step of each photograph
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.WARNING)
    logging.getLogger("pyraface").setLevel(logging.DEBUG if verbose else logging.INFO)
    # loggers whose lines a client, or an image, can cause
    for name in ("connection", "worker", "pipeline", "libraries"):
        logging.getLogger(f"pyraface.{name}").addFilter(LineLimit())
    # the code must stay on the screen
    logging.getLogger("pyraface.pairing").addFilter(LineLimit(lines=5, seconds=30))
