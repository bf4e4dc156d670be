"""Backoff: the seconds for which a server gets no job after it failed, or was too busy."""

from __future__ import annotations

FIRST, LONGEST = 1.0, 60.0
"""Seconds after the second failure in a row, doubled with each further failure, and their maximum."""

BUSY = 0.5
"""Seconds before a server that answered "busy" gets its next job."""


def after_failures(failures: int) -> float:
    """Returns the seconds for which a server gets no job after a number of failures in a row: 0 after the first."""
    return min(FIRST * 2.0 ** min(failures - 2, 60), LONGEST) if failures > 1 else 0.0
