"""First attempts: one to reach each server, and how long a run waits for them at its start."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from ...core.errors import SearchUnavailableError, ServerError

OTHERS = 0.5
"""Seconds after one server is reached in which others count as found at the start: a run begins with all that are well, and
no server that is not holds it up."""

Attempt = asyncio.Future[ServerError | None]
"""The first attempt to reach a server: None if it is reached, the reason if it is not."""


async def first_reached(attempts: Collection[Attempt], *, search: str, must: bool) -> None:
    """Returns when all attempts have ended, or soon after one of them succeeds.

    Args:
        search: the search that the servers must be able to do, for the message.
        must: whether one must succeed.

    Raises:
        ServerError: `must` is set, and none succeeds.
    """
    waiting, reached = set(attempts), False
    while waiting:
        limit = OTHERS if reached else None
        done, waiting = await asyncio.wait(waiting, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
        if not done:
            return
        reached = reached or any(attempt.result() is None for attempt in done)
    if must and not reached:
        failures = [attempt.result() for attempt in attempts]
        unsuitable = all(isinstance(failure, SearchUnavailableError) for failure in failures)
        problem = f"no server can do the search {search}" if unsuitable else "no server reached"
        raise ServerError(f"{problem}: " + "; ".join(map(str, failures)))
