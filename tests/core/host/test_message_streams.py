"""Bytes and messages read from a stream, within limits."""

from __future__ import annotations

import asyncio
import errno
import os

import pytest

from pyraface.core.errors import ErrorCode, RemoteProtocolError
from pyraface.core.host.message_streams import read_message, read_within
from pyraface.core.protocol import wire
from pyraface.core.protocol.messages import Ping, Pong
from tests.support import run


def reader() -> asyncio.StreamReader:
    return asyncio.StreamReader(loop=asyncio.get_running_loop())


def test_what_comes_in_time_is_returned_and_nothing_is_none() -> None:
    async def talk() -> None:
        stream = reader()
        assert await read_within(stream, 0.01) is None
        stream.feed_data(b"words")
        assert await read_within(stream, 5) == b"words"
        stream.feed_eof()
        assert await read_within(stream, 5) == b""

    run(talk())


@pytest.mark.parametrize("number", [errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ECONNRESET])
def test_a_connection_that_failed_is_not_taken_for_one_on_which_nothing_came(number: int) -> None:
    async def talk() -> None:
        stream = reader()
        stream.set_exception(OSError(number, os.strerror(number)))
        for _ in range(2):
            with pytest.raises(OSError, match=os.strerror(number)):
                await read_within(stream, 5)

    run(talk())


def test_messages_come_one_by_one_and_the_end_is_an_error() -> None:
    async def talk() -> None:
        stream, codec = reader(), wire.Codec(max_frame_bytes=100)
        stream.feed_data(wire.encode(Ping(1)) + wire.encode(Pong(2)))
        stream.feed_eof()
        assert await read_message(stream, codec) == Ping(1)
        assert await read_message(stream, codec) == Pong(2)
        with pytest.raises(EOFError, match="closed the connection"):
            await read_message(stream, codec)

    run(talk())


def test_an_end_within_a_frame_is_the_peers_error() -> None:
    async def talk() -> None:
        stream = reader()
        stream.feed_data(wire.encode(Ping(1))[:-1])
        stream.feed_eof()
        with pytest.raises(RemoteProtocolError) as caught:
            await read_message(stream, wire.Codec(max_frame_bytes=100))
        assert caught.value.code is ErrorCode.MALFORMED_FRAME

    run(talk())


@pytest.mark.parametrize("before", [b"", wire.encode(Ping(1))], ids=["alone", "behind another"])
def test_a_frame_over_the_limit_is_refused_by_its_length_alone(before: bytes) -> None:
    async def talk() -> None:
        stream, codec = reader(), wire.Codec(max_frame_bytes=1 << 30)
        stream.feed_data(before + wire.PREFIX.pack(1001))
        if before:
            await read_message(stream, codec, limit=1000)
        with pytest.raises(RemoteProtocolError, match=r"1001 bytes.*the limit is 1000") as caught:
            await read_message(stream, codec, limit=1000)
        assert caught.value.code is ErrorCode.FRAME_TOO_LARGE

    run(talk())
