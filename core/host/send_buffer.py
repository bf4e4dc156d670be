"""Send buffer: messages to one peer, written in pieces, without a copy, which shows whether they are still sent."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from typing import Any

PIECE = 1 << 18
"""Bytes written at a time. At most this many more can be buffered in this process unnoticed: TLS accepts any amount, and
does not report when it has been sent."""


class SendBuffer:
    """Sends messages in the order of `put`, while `run` runs.

    Args:
        moved: called after each piece that was sent, which shows that the peer is still receiving.
    """

    def __init__(self, writer: asyncio.StreamWriter, moved: Callable[[], Any]) -> None:
        writer.transport.set_write_buffer_limits(high=PIECE)
        self._writer = writer
        self._moved = moved
        self._parts: deque[memoryview] = deque()
        self._filled = asyncio.Event()

    def put(self, *parts: bytes | bytearray) -> None:
        """Sends the parts of one frame without copying them; a short frame is written at once, unless others wait."""
        if self._writer.is_closing():
            return
        if self._parts or sum(map(len, parts)) > PIECE:
            self._parts.extend(map(memoryview, parts))
            self._filled.set()
        else:
            for part in parts:
                self._writer.write(part)

    async def run(self) -> None:
        """Sends the waiting frames, until the connection is lost or the task is cancelled."""
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
