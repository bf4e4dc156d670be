"""Threads: the system's refusal to start one more, in words."""

from __future__ import annotations

import errno
import os

REMEDY = (
    "the system allows no further thread or process; raise the limit (ulimit -u, LimitNPROC or TasksMax of a systemd unit, "
    "--pids-limit of a container)"
)


def refused(error: Exception) -> bool:
    """Returns whether an error, of Python, of the system or of a library, is such a refusal."""
    text = str(error)
    return text == "can't start new thread" or os.strerror(errno.EAGAIN) in text
