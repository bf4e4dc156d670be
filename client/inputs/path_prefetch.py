"""PathPrefetcher: paths found by a thread, ahead of the servers; the bytes of an image may be among them."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable

MAX_PATHS = 500_000
"""Paths prefetched at most: some 75 MB, at 150 bytes each. The total of an archive with fewer images to process is known as
soon as its scan ends; in a larger one the scan pauses, and the total is known when this many images are left."""


class PathPrefetcher:
    """Iterates over paths in their order, with `async for`; each is yielded once.

    One scan of a directory both finds and counts the images. It runs far ahead of the servers, so that the total is known
    early without a second scan of a disk that may be on the network.

    Args:
        paths: iterated over in a thread, which starts at once.
        ended: called in the event loop with the number of paths, after the last path.
    """

    def __init__(
        self, paths: Iterable[str | bytes], *, ended: Callable[[int], None] = lambda _: None
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._ended = ended
        self._found = asyncio.Event()
        self._change = threading.Condition()
        # guarded by _change, as is everything below
        self._paths: deque[str | bytes] = deque()
        self._awaited = False
        self._over = False
        self._error: BaseException | None = None
        # a daemon thread: a disk that does not answer must not keep the program from ending
        threading.Thread(target=self._run, args=(paths,), name="scan", daemon=True).start()

    def stop(self) -> None:
        """Ends the iteration and the thread: no further path is yielded."""
        with self._change:
            self._finish(None)
            self._paths.clear()
            self._change.notify()

    async def __aiter__(self) -> AsyncIterator[str | bytes]:
        while True:
            with self._change:
                path = self._paths.popleft() if self._paths else None
                over = self._over
                if path is None and not over:
                    self._found.clear()
                    self._awaited = True
                if len(self._paths) == MAX_PATHS // 2:
                    self._change.notify()
            if path is not None:
                yield path
            elif over:
                break
            else:
                await self._found.wait()
        if self._error is not None:
            raise self._error

    def _run(self, paths: Iterable[str | bytes]) -> None:
        count = 0
        error: BaseException | None = None
        try:
            for path in paths:
                count += 1
                if not self._put(path):
                    return
        except BaseException as failure:  # noqa: BLE001  it is raised where the paths are awaited
            error = failure
        with self._change:
            if not self._over:
                self._loop.call_soon_threadsafe(self._ended, count)
                self._finish(error)

    def _put(self, path: str | bytes) -> bool:
        """Adds a path, and waits while there are too many. Returns whether further paths are wanted."""
        with self._change:
            if not self._over:
                self._paths.append(path)
                if self._awaited:
                    self._awaited = False
                    self._loop.call_soon_threadsafe(self._found.set)
            if len(self._paths) >= MAX_PATHS:
                # until half of them are taken, which saves a switch of threads for each path
                self._change.wait_for(lambda: len(self._paths) <= MAX_PATHS // 2 or self._over)
            return not self._over

    def _finish(self, error: BaseException | None) -> None:
        if not self._over:  # never later: the loop may be closed by then
            self._over = True
            self._error = error
            self._loop.call_soon_threadsafe(self._found.set)
