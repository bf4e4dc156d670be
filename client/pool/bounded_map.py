"""Bounded map: a coroutine over many items, a bounded number of them at a time, and its results one by one."""

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
"""Results kept behind one that is not there yet, where order matters: so far may the others be ahead of a slow image
before they wait for it. A result takes a few kilobytes."""


async def bounded_map(
    work: Callable[[Item], Coroutine[Any, Any, Outcome | None]],
    items: Iterable[Item] | AsyncIterable[Item],
    *,
    most: Callable[[], int],
    ordered: bool,
    until: asyncio.Event,
    feeding: Callable[[], AbstractContextManager[object]] = contextlib.nullcontext,
) -> AsyncGenerator[Outcome, None]:
    """Yields what `work` returns for each item, in the order of the items, or in that in which they are done.

    An item whose work returns None, or is cancelled by itself, has no outcome here. After `until` is set no item is taken
    any more. As long as there may be more items, a context that `feeding` returns is entered.

    At most `most()` items are worked on at a time, and with `ordered` at most REORDER results are kept besides. While no
    result is taken, no further work begins (backpressure). The next item is requested as soon as there is room for it;
    results do not wait for it.

    Closing this, cancelling it, or an exception of `work` cancels what is worked on, and returns when all of that has
    ended. An exception of `items` comes after the results of the items before it.
    """
    changed = asyncio.Event()
    source = _Source(items, changed)
    # in the order of the items, or in that in which they were done
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
    """Items, one at a time, of an iterable of either kind.

    Args:
        changed: set when an asynchronous one has come further.

    Attributes:
        ended: there are no more.
        failure: why, if that was not simply the end.
        tasks: what is under way here.
    """

    def __init__(self, items: Iterable[Item] | AsyncIterable[Item], changed: asyncio.Event) -> None:
        self.ended = False
        self.failure: Exception | None = None
        self.tasks: list[asyncio.Task[Item]] = []
        self._changed = changed
        self._at_once = None if isinstance(items, AsyncIterable) else iter(items)
        self._later = aiter(items) if isinstance(items, AsyncIterable) else None

    def take(self) -> tuple[Item] | None:
        """Returns the next item, in a tuple; None if there is none (yet)."""
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
        """There are no more, whatever there may be."""
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
