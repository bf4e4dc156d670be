from __future__ import annotations

import asyncio
import errno
import os

import pytest

from pyraface.daemon.connection import read_within
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
