"""File leases: files that another program keeps for itself for a while, as a Samba server does for its clients.

An open that may block waits in the kernel until the holder of a lease gives the file up, or until the kernel takes it away
after fs.lease-break-time. An open with O_NONBLOCK, which does not hang on a pipe without a writer, fails at once instead,
with EAGAIN. Here the wait is divided into attempts, so that it occupies no thread and can be ended at any time.
"""

from __future__ import annotations

import asyncio
import errno
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from ..errors import PyrafaceError

T = TypeVar("T")

BREAK_TIME = Path("/proc/sys/fs/lease-break-time")

USUAL_BREAK_TIME = 45.0
"""Seconds after which Linux takes a lease away, unless the machine is set up otherwise."""

MARGIN = 5.0
"""Seconds beyond that: the holder was told at the first attempt, and the kernel's timer may be late on a busy machine."""

BUSY = 5.0
"""Seconds for a file that a Windows program has opened for itself alone (a sharing violation: EBUSY, formerly ETXTBSY). A
program that writes a file closes it soon; one that shows it may keep it for hours."""

FIRST_PAUSE, LONGEST_PAUSE = 0.02, 0.5
"""Seconds between two attempts, doubled each time: a live client of Samba gives a file up within milliseconds."""


class Patience:
    """Decides how long the attempts at one file go on."""

    def __init__(self) -> None:
        self._began: float | None = None
        self._pause = FIRST_PAUSE
        self._stale = False

    def pause(self, error: OSError | PyrafaceError) -> float | None:
        """Returns the seconds until the next attempt; None if the error is final.

        Args:
            error: of the attempt that failed, or an error of pyraface whose cause it is.
        """
        cause = error if isinstance(error, OSError) else error.__cause__
        if not isinstance(cause, OSError):
            return None
        if cause.errno == errno.ESTALE:
            # on NFS another machine replaced the file: a new look finds the new one
            again, self._stale = not self._stale, True
            return 0.0 if again else None
        limit = _limit(cause)
        now = time.monotonic()
        if self._began is None:
            self._began = now
        if limit is None or now - self._began >= limit:
            return None
        pause, self._pause = self._pause, min(2 * self._pause, LONGEST_PAUSE)
        return pause


async def patiently(attempt: Callable[[], T]) -> T:
    """Returns the result of `attempt`, which is repeated while another program keeps the file that it opens."""
    patience = Patience()
    while True:
        try:
            return attempt()
        except (OSError, PyrafaceError) as error:
            pause = patience.pause(error)
            if pause is None:
                raise
        await asyncio.sleep(pause)


def reason(error: OSError) -> str:
    """Returns why a file cannot be opened or read, and the remedy where another program is the cause."""
    limit = _limit(error)
    if limit is None:
        return error.strerror or str(error)
    how = "has a lease on it (a Samba server, for example)" if error.errno == errno.EAGAIN else "has it open"
    return f"another program {how}, and did not give it up within {limit:g} s: close the file there"


def _limit(error: OSError) -> float | None:
    """Returns the seconds for which attempts go on after this error; None if another program is not its cause."""
    if error.errno == errno.EAGAIN:
        return _break_time() + MARGIN
    return BUSY if error.errno in (errno.EBUSY, errno.ETXTBSY) else None


def _break_time() -> float:
    try:
        return float(BREAK_TIME.read_text())
    except (OSError, ValueError):  # no /proc
        return USUAL_BREAK_TIME
