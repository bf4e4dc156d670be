"""Streams: messages read from an asyncio stream, within limits of bytes and of time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from ..errors import ErrorCode, RemoteProtocolError
from ..protocol import wire
from ..protocol.messages import Message


async def read_message(
    reader: asyncio.StreamReader, codec: wire.Codec, *, limit: int | None = None
) -> Message:
    """Returns the next message.

    Args:
        limit: bytes of its frame, where that is less than the codec takes: of a peer that is not known yet.

    Raises:
        RemoteProtocolError: the peer sent something else, or too much.
        OSError: the connection failed.
        EOFError: the peer has closed it.
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
    """Returns the next message, for a receiver with its own way to read.

    Args:
        read: returns bytes that arrived, b"" at the end.
        admit: is told the length of the frame as soon as that is known, and before more of it is read.

    Raises:
        RemoteProtocolError: the peer sent something else.
        EOFError: the peer has closed the connection.
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
        RemoteProtocolError: it is too long.
    """
    if length > limit:
        raise RemoteProtocolError(
            f"a frame of {length} bytes; before the welcome the limit is {limit}", ErrorCode.FRAME_TOO_LARGE
        )


async def read_within(reader: asyncio.StreamReader, seconds: float) -> bytes | None:
    """Returns the bytes that arrive within some seconds: b"" at the end, None where nothing arrives.

    Raises:
        OSError: the connection failed. "Timed out" (ETIMEDOUT), which the system reports for a peer that is cut off, is
            since Python 3.11 the same exception as that of a wait that is over, and would be taken for it for ever.
    """
    try:
        return await asyncio.wait_for(reader.read(wire.CHUNK), seconds)
    except asyncio.TimeoutError:
        failure = reader.exception()
        if failure is not None:
            raise failure from None
        return None
