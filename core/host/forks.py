"""Forks: a child process has no threads and no event loop of its parent, so what needs them cannot work there."""

from __future__ import annotations

import os


def check(owner: int, name: str) -> None:
    """Checks that this is the process in which an object was made.

    Args:
        owner: the id of that process.
        name: of the object's class.

    Raises:
        RuntimeError: this is a process forked from it.
    """
    if os.getpid() != owner:
        raise RuntimeError(
            f"this {name} was made in another process, before a fork, and its threads are still there: make one in each "
            "process, after the fork"
        )
