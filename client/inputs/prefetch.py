"""What a slow iterator yields, fetched ahead by a thread of its own, and packed while it waits."""

from __future__ import annotations

import asyncio
import os
import threading
import zlib
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable

PACK = 1000
"""Paths packed together: what they have in common is stored once, which leaves some 10 bytes of each."""

MAX_PACKED_BYTES = 32 << 20
"""What waits takes no more than this: three million paths. Then the iterator has to wait."""


class Prefetcher:
    """Paths, in their order; `async for` takes each once.

    One walk through a directory finds the images and counts them: it runs as far ahead as memory allows, so that how
    many there are is known early, and a network's disk is not asked twice.

    Args:
        paths: iterated over in a thread, which begins at once.
        ended: is told, in the event loop, how many there were, after the last.
    """

    def __init__(self, paths: Iterable[str], *, ended: Callable[[int], None] = lambda _: None) -> None:
        self._loop = asyncio.get_running_loop()
        self._ended = ended
        self._news = asyncio.Event()
        self._change = threading.Condition()
        # everything below is guarded by it
        self._packed: deque[bytes] = deque()
        self._loose: list[str] = []
        self._bytes = 0
        self._hungry = False
        self._over = False
        self._error: BaseException | None = None
        # a daemon: a disk that does not answer must not keep the program from ending
        threading.Thread(target=self._run, args=(paths,), name="walk", daemon=True).start()

    def stop(self) -> None:
        """Ends it, wherever it is: nothing more is yielded."""
        with self._change:
            self._finish(None)
            self._packed.clear()
            self._loose.clear()
            self._change.notify()

    async def __aiter__(self) -> AsyncIterator[str]:
        while True:
            with self._change:
                packed, loose = self._take()
                empty = not packed and not loose
                over = self._over
                if empty and not over:
                    self._news.clear()
                    self._hungry = True
            if packed:
                loose = [os.fsdecode(path) for path in zlib.decompress(packed).split(b"\0")]
            for path in loose:
                yield path
            if empty and over:
                break
            if empty:
                await self._news.wait()
        if self._error is not None:
            raise self._error

    def _take(self) -> tuple[bytes, list[str]]:
        if self._packed:
            packed = self._packed.popleft()
            self._bytes -= len(packed)
            self._change.notify()
            return packed, []
        loose, self._loose = self._loose, []
        return b"", loose

    def _run(self, paths: Iterable[str]) -> None:
        count = 0
        error: BaseException | None = None
        try:
            for path in paths:
                count += 1
                if not self._put(path):
                    return
        except BaseException as failure:  # noqa: BLE001  it is raised where somebody can hear it
            error = failure
        with self._change:
            if not self._over:
                self._loop.call_soon_threadsafe(self._ended, count)
                self._finish(error)

    def _put(self, path: str) -> bool:
        """Returns whether more is wanted."""
        with self._change:
            self._loose.append(path)
            self._tell()
            if len(self._loose) < PACK:
                return not self._over
            loose, self._loose = self._loose, []
        packed = zlib.compress(b"\0".join(map(os.fsencode, loose)), 1)
        with self._change:
            if not self._over:
                self._packed.append(packed)
                self._bytes += len(packed)
                self._tell()
            self._change.wait_for(lambda: self._bytes < MAX_PACKED_BYTES or self._over)
            return not self._over

    def _finish(self, error: BaseException | None) -> None:
        if not self._over:
            self._over = True
            self._error = error
            self._loop.call_soon_threadsafe(self._news.set)

    def _tell(self) -> None:
        # never after the end: the loop may be closed by then
        if self._hungry and not self._over:
            self._hungry = False
            self._loop.call_soon_threadsafe(self._news.set)
