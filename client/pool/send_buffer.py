"""Send buffer: messages to one server, written in pieces, so that it is known whether data is still leaving."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable

PIECE = 1 << 18
"""Bytes written at a time. At most as many more can be under way within this process unnoticed: TLS accepts any amount, and
does not report when it has been sent."""


class SendBuffer:
    """Sends in the order of `put`, while `run` runs.

    Args:
        moved: is called after each piece: the server is still receiving, however long its next answer takes.
    """

    def __init__(self, writer: asyncio.StreamWriter, moved: Callable[[], None]) -> None:
        writer.transport.set_write_buffer_limits(high=PIECE)
        self._writer = writer
        self._moved = moved
        self._parts: deque[memoryview] = deque()
        self._filled = asyncio.Event()

    def put(self, *parts: bytes) -> None:
        """Sends the parts of one frame, none copied; a short one is written at once, unless others wait before it."""
        if self._writer.is_closing():
            return
        if self._parts or sum(map(len, parts)) > PIECE:
            self._parts.extend(map(memoryview, parts))
            self._filled.set()
        else:
            for part in parts:
                self._writer.write(part)

    async def run(self) -> None:
        """Sends the frames that wait, until the connection is lost or this is cancelled."""
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
