"""Tasks: asyncio tasks cancelled reliably, and cleanup that a cancellation does not interrupt."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any

AGAIN = 1.0
"""Seconds until a task that still runs is cancelled again: enough for its cleanup after the first cancellation."""


async def end(tasks: Iterable[asyncio.Future[Any]]) -> None:
    """Cancels tasks, and returns when all have ended. Their exceptions are discarded.

    One cancellation is not enough: until Python 3.12 asyncio.wait_for loses a cancellation that arrives at the moment when
    the awaited future is done (python/cpython#86296), and the task continues.
    """
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        ended, left = await asyncio.wait(left, timeout=AGAIN)
        for task in ended:
            if not task.cancelled():
                task.exception()  # otherwise asyncio reports it as never retrieved


async def finish(work: Coroutine[Any, Any, None]) -> None:
    """Runs a cleanup to its end: a cancellation that arrives meanwhile takes effect afterwards.

    `work` should have a time limit of its own for each of its waits.
    """
    task = asyncio.ensure_future(work)
    cancelled = False
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            cancelled = True
    task.result()
    if cancelled:
        raise asyncio.CancelledError
