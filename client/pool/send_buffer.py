"""What is to be said to one server, handed to the network piece by piece: so it is seen whether anything still leaves."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable

PIECE = 1 << 18
"""Bytes that are handed over at a time. So much more, and no more, can be on its way within this process unseen: TLS takes
whatever it is given, and does not say what has become of it."""


class SendBuffer:
    """Sends in the order of `put`, while `run` runs.

    Args:
        moved: is called whenever a piece was taken: somebody is there, however long an answer behind it takes.
    """

    def __init__(self, writer: asyncio.StreamWriter, moved: Callable[[], None]) -> None:
        writer.transport.set_write_buffer_limits(high=PIECE)
        self._writer = writer
        self._moved = moved
        self._parts: deque[memoryview] = deque()
        self._filled = asyncio.Event()

    def put(self, *parts: bytes) -> None:
        """Sends the parts of one frame, none copied; what is short leaves at once, unless something waits before it."""
        if self._writer.is_closing():
            return
        if self._parts or sum(map(len, parts)) > PIECE:
            self._parts.extend(map(memoryview, parts))
            self._filled.set()
        else:
            for part in parts:
                self._writer.write(part)

    async def run(self) -> None:
        """Sends what does not leave at once, until the connection is lost or this is cancelled."""
        with contextlib.suppress(OSError):
            while True:
                await self._filled.wait()
                while self._parts:
                    self._writer.write(self._parts[0][:PIECE])
                    await self._writer.drain()
                    self._moved()
                    self._parts[0] = self._parts[0][PIECE:]
                    if not self._parts[0]:
                        self._parts.popleft()
                self._filled.clear()
