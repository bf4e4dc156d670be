"""Backoff: the seconds without a job after a server failed, or was too busy."""

from __future__ import annotations

FIRST, LONGEST = 1.0, 60.0
"""Seconds after a second failure in a row; doubled with each that follows, up to the longest."""

BUSY = 0.5
"""Seconds before a server that answered "busy" gets its next job."""


def after_failures(failures: int) -> float:
    """Returns the seconds that a server gets no job after so many failures in a row: none after the first."""
    return min(FIRST * 2.0 ** min(failures - 2, 60), LONGEST) if failures > 1 else 0.0
