"""This process: its log, its memory, its core dumps, its descriptors."""

from __future__ import annotations

import ctypes
import logging
import resource
import time

OTHER_DESCRIPTORS = 256
"""Descriptors that are no client's: the executor's, a beacon socket for each interface, refusals, the log."""

_M_MMAP_THRESHOLD = -3
"""From malloc.h."""


class LineLimit(logging.Filter):
    """Lets through so many lines in so many seconds: whoever can make a line can make a million, and fill the disk."""

    def __init__(self, lines: int = 100, seconds: float = 10.0) -> None:
        super().__init__()
        self._lines = lines
        self._seconds = seconds
        self._since = -seconds
        self._count = 0

    def filter(self, record: logging.LogRecord) -> bool:
        """Returns whether this line is logged; the first after some that were not says how many."""
        now = time.monotonic()
        if now - self._since >= self._seconds:
            left_out = max(0, self._count - self._lines)
            self._since, self._count = now, 0
            if left_out:
                record.msg = f"{record.getMessage()} ({left_out} lines before this one were left out)"
                record.args = ()
        self._count += 1
        return self._count <= self._lines


def give_memory_back() -> None:
    """Has the C library return the memory of a large image to the system when it is freed.

    glibc otherwise takes each large block that is freed for a sign to keep the next ones: after 240 images of 8 MB the
    daemon held 200 MiB and more for nothing. See mallopt(3); another C library has no such habit, or no such function.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, 1 << 17)  # what it begins with


def leave_no_core() -> None:
    """Has the system keep nothing of this process's memory when it crashes: there are keys and photographs in it.

    At a limit of 0 Linux writes no file, but still hands a core to the program that core_pattern names, if it names one
    (core(5)); at 1, which no core fits in, it does neither.
    """
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    most = 1 if hard == resource.RLIM_INFINITY else min(hard, 1)
    resource.setrlimit(resource.RLIMIT_CORE, (most, most))


def room_for_connections(wanted: int) -> int:
    """Returns how many connections this process may have, `wanted` or fewer: raises its limit of descriptors for them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + OTHER_DESCRIPTORS
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return wanted
    return max(1, soft - OTHER_DESCRIPTORS)
