"""Send buffer: order, pieces, and no copy."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from pyraface.core.host.send_buffer import PIECE, SendBuffer
from tests.support import run


class Writer:
    """The part of an asyncio.StreamWriter that a send buffer uses; `drain` waits until `go`."""

    def __init__(self) -> None:
        self.pieces: list[bytes | memoryview] = []
        self.go = asyncio.Event()
        self.closing = False
        self.high = 0
        self.transport = self

    def set_write_buffer_limits(self, high: int) -> None:
        self.high = high

    def is_closing(self) -> bool:
        return self.closing

    def write(self, data: bytes | memoryview) -> None:
        self.pieces.append(data)

    async def drain(self) -> None:
        await self.go.wait()


def test_frames_leave_in_order_a_large_one_in_pieces_of_the_bytes_that_were_put() -> None:
    async def talk() -> None:
        writer, moved = Writer(), []
        buffer = SendBuffer(cast("Any", writer), lambda: moved.append(len(writer.pieces)))
        sending = asyncio.create_task(buffer.run())
        image = bytearray(b"i" * (2 * PIECE + 5))
        buffer.put(b"small")
        assert writer.pieces == [b"small"], "it is written at once"
        buffer.put(b"head", image)
        buffer.put(b"behind")
        await asyncio.sleep(0.01)
        assert writer.pieces[1:] == [b"head"], "the rest waits until the peer takes it"
        writer.go.set()
        await asyncio.sleep(0.01)
        assert b"".join(writer.pieces) == b"small" + b"head" + image + b"behind"
        assert max(map(len, writer.pieces)) == PIECE == writer.high
        views = [piece for piece in writer.pieces if isinstance(piece, memoryview)]
        assert sum(piece.obj is image for piece in views) == 3
        assert len(moved) == 5
        sending.cancel()

    run(talk())


def test_nothing_is_kept_for_a_connection_that_is_closed() -> None:
    async def talk() -> None:
        writer = Writer()
        writer.closing = True
        SendBuffer(cast("Any", writer), lambda: None).put(b"late", bytes(PIECE))
        assert not writer.pieces

    run(talk())
