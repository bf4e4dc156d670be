"""Bounded map: a coroutine applied to many items, a limited number at a time, with its results one by one."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Coroutine, Iterable
from contextlib import AbstractContextManager
from typing import Any, Generic, TypeVar

from ...core.host import tasks

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")

REORDER = 256
"""Results kept, in ordered mode, until a slow one before them is done; beyond this number no further image is begun. A
result takes a few kilobytes."""


async def bounded_map(
    work: Callable[[Item], Coroutine[Any, Any, Outcome | None]],
    items: Iterable[Item] | AsyncIterable[Item],
    *,
    most: Callable[[], int],
    ordered: bool,
    until: asyncio.Event,
    feeding: Callable[[], AbstractContextManager[object]] = contextlib.nullcontext,
) -> AsyncGenerator[Outcome, None]:
    """Yields the result of `work` for each item: with `ordered`, in the order of the items, otherwise as they are done.

    An item has no result if its work returns None or is cancelled by itself. After `until` is set, no further item is
    taken. While there may be more items, the context that `feeding` returns is entered.

    At most `most()` items are in progress at a time, and with `ordered` at most REORDER results are kept in addition. If
    the caller takes no result, no further work begins (backpressure). The next item is requested as soon as there is room
    for it; results do not wait for it.

    Closing or cancelling the generator, or an exception in `work`, cancels the work in progress and returns when all of it
    has ended. An exception from `items` follows the results of the items before it.
    """
    changed = asyncio.Event()
    source = _Source(items, changed)
    # in the order of the items, or in the order in which they were done
    results: deque[asyncio.Task[Outcome | None]] = deque()
    running: set[asyncio.Task[Outcome | None]] = set()
    stopping = asyncio.create_task(until.wait())
    stopping.add_done_callback(lambda _: source.stop())

    def done(task: asyncio.Task[Outcome | None]) -> None:
        running.discard(task)
        if not ordered:
            results.append(task)
        changed.set()

    open_source = contextlib.ExitStack()
    try:
        open_source.enter_context(feeding())
        while True:
            changed.clear()
            ahead = 0 if ordered else len(results)
            while len(running) + ahead < most() and len(results) < most() + REORDER:
                if (item := source.take()) is None:
                    break
                task = asyncio.create_task(work(item[0]))
                running.add(task)
                task.add_done_callback(done)
                if ordered:
                    results.append(task)
            if source.ended:
                open_source.close()
            if results and results[0].done():
                task = results.popleft()
                outcome = None if task.cancelled() else task.result()
                if outcome is not None:
                    yield outcome
            elif not source.ended or running:
                await changed.wait()
            elif source.failure is not None:
                raise source.failure
            else:
                return
    finally:
        open_source.close()
        await tasks.end([*running, *results, *source.tasks, stopping])


class _Source(Generic[Item]):
    """Items of a plain or an asynchronous iterable, one at a time.

    Args:
        changed: set when an asynchronous iterable has an item ready, or has ended.

    Attributes:
        ended: whether there are no more items.
        failure: the exception that ended the items, if there was one.
        tasks: the request for the next item of an asynchronous iterable.
    """

    def __init__(self, items: Iterable[Item] | AsyncIterable[Item], changed: asyncio.Event) -> None:
        self.ended = False
        self.failure: Exception | None = None
        self.tasks: list[asyncio.Task[Item]] = []
        self._changed = changed
        self._at_once = None if isinstance(items, AsyncIterable) else iter(items)
        self._later = aiter(items) if isinstance(items, AsyncIterable) else None

    def take(self) -> tuple[Item] | None:
        """Returns the next item, in a tuple; None if there is none, or none yet."""
        try:
            if self.ended:
                return None
            if self._at_once is not None:
                return (next(self._at_once),)
            return self._take_later()
        except (StopIteration, StopAsyncIteration):
            self.ended = True
        except Exception as error:  # noqa: BLE001  whatever it is, the results before it come first
            self.ended = True
            self.failure = error
        return None

    def stop(self) -> None:
        """Ends the items; any that are left are not taken."""
        self.ended = True
        for task in self.tasks:
            task.cancel()

    def _take_later(self) -> tuple[Item] | None:
        assert self._later is not None
        if not self.tasks:
            self.tasks.append(asyncio.create_task(_next(self._later)))
            self.tasks[0].add_done_callback(lambda _: self._changed.set())
        if not self.tasks[0].done():
            return None
        return (self.tasks.pop().result(),)


async def _next(items: AsyncIterator[Item]) -> Item:
    return await anext(items)
