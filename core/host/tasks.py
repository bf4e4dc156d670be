"""Ending asyncio tasks for certain, and what must come to its own end."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any

AGAIN = 1.0
"""Seconds until a task that is still there is cancelled once more: time enough to tidy up after the first word."""


async def end(tasks: Iterable[asyncio.Future[Any]]) -> None:
    """Cancels tasks, and returns when all have ended; what they may have raised at last is nobody's concern any more.

    Once is not enough: until Python 3.12 asyncio.wait_for loses a cancellation that comes in the moment in which what it
    waits for is done (python/cpython#86296), and the task goes on as if nothing had been said.
    """
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        ended, left = await asyncio.wait(left, timeout=AGAIN)
        for task in ended:
            if not task.cancelled():
                task.exception()  # or asyncio would report it as never retrieved


async def finish(work: Coroutine[Any, Any, None]) -> None:
    """Runs something that tidies up, to its end: a cancellation that comes meanwhile counts when it is done.

    `work` should have a bound of its own for each thing that it waits for.
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
