"""Streams: messages read from an asyncio stream, within limits of bytes and of time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from ..errors import ErrorCode, RemoteProtocolError
from ..protocol import wire
from ..protocol.messages import Message
from ..text import plural


async def read_message(
    reader: asyncio.StreamReader, codec: wire.Codec, *, limit: int | None = None
) -> Message:
    """Returns the next message.

    Args:
        limit: bytes of its frame, if lower than the codec's limit: for a peer that is not authenticated yet.

    Raises:
        RemoteProtocolError: the peer sent an invalid or too long frame.
        OSError: the connection failed.
        EOFError: the peer closed the connection.
    """

    async def read() -> bytes:
        return await reader.read(wire.CHUNK)

    async def admit(length: int) -> None:
        if limit is not None:
            check_greeting(length, limit)

    return await pump(codec, read, admit)


async def pump(
    codec: wire.Codec, read: Callable[[], Awaitable[bytes]], admit: Callable[[int], Awaitable[None]]
) -> Message:
    """Returns the next message, for a receiver with a read function of its own.

    Args:
        read: returns bytes that arrived, b"" at the end.
        admit: called with the length of the frame as soon as it is known, before more of the frame is read.

    Raises:
        RemoteProtocolError: the peer sent an invalid frame.
        EOFError: the peer closed the connection.
    """
    admitted = False
    while True:
        if not admitted and codec.frame_bytes is not None:
            admitted = True
            await admit(codec.frame_bytes)
        if (message := codec.next_message()) is not None:
            return message
        if codec.error is not None:
            raise codec.error
        if data := await read():
            codec.receive_data(data)
        else:
            raise codec.receive_eof() or EOFError("the other side closed the connection")


def check_greeting(length: int, limit: int) -> None:
    """Checks the length of a frame of the greeting.

    Raises:
        RemoteProtocolError: the frame is too long.
    """
    if length > limit:
        raise RemoteProtocolError(
            f"a frame of {plural(length, 'byte')}; before the welcome the limit is {limit}",
            ErrorCode.FRAME_TOO_LARGE,
        )


async def read_within(reader: asyncio.StreamReader, seconds: float) -> bytes | None:
    """Returns the bytes that arrive within some seconds: b"" at the end, None if nothing arrives.

    Raises:
        OSError: the connection failed. Since Python 3.11 the system's "timed out" (ETIMEDOUT) for an unreachable peer is the
            same exception as the end of the wait; it is told apart by the exception of the reader.
    """
    try:
        return await asyncio.wait_for(reader.read(wire.CHUNK), seconds)
    except asyncio.TimeoutError:
        failure = reader.exception()
        if failure is not None:
            raise failure from None
        return None
