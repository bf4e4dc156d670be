"""A slow network, with TLS: what still leaves shows that the server is there, and what does not, that it is gone."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pyraface.client.pool.handshake import connect
from pyraface.core import parameters
from pyraface.core.errors import ErrorCode, ServerLostError
from pyraface.core.host import keyfile
from pyraface.core.protocol.messages import Detect, Failed, Status
from tests.stub_daemon import stub_daemon
from tests.support import parameters_xml, run

SPEED = 1_500_000
"""Bytes a second that the narrow place lets through, while it lets anything through."""


@contextmanager
def narrow(port: int) -> Iterator[tuple[int, threading.Event]]:
    """A port that leads to another one, slowly there and at once back; nothing passes while the event is set."""
    blocked, ending = threading.Event(), threading.Event()

    def back(ours: socket.socket, theirs: socket.socket) -> None:
        while data := ours.recv(1 << 16):
            theirs.sendall(data)

    def serve(listener: socket.socket) -> None:
        with listener.accept()[0] as theirs, socket.create_connection(("127.0.0.1", port)) as ours:
            returning = threading.Thread(target=back, args=(ours, theirs))
            returning.start()
            try:
                while data := theirs.recv(SPEED // 50):
                    ours.sendall(data)
                    time.sleep(len(data) / SPEED)
                    while blocked.is_set() and not ending.is_set():
                        time.sleep(0.05)
            except OSError:
                pass  # the client has given up, as it should
            ours.shutdown(socket.SHUT_RDWR)
            returning.join()

    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        try:
            yield listener.getsockname()[1], blocked
        finally:
            ending.set()
            thread.join(30)


def settings(**changes: object) -> parameters.Parameters:
    return parameters.parse(parameters_xml(**changes).encode())


def test_a_server_to_which_images_still_leave_is_not_taken_for_silent(tmp_path: Path) -> None:
    image = b"\0" + os.urandom(9_500_000)
    with stub_daemon(tmp_path, seconds=0.0) as server, narrow(server.port) as (port, _):

        async def talk() -> None:
            connection = await connect("127.0.0.1", port, settings(read_timeout=3), keyfile.load())
            began = time.monotonic()
            answer = await connection.request(Detect(0, image), asyncio.get_running_loop().create_future())
            assert time.monotonic() - began > 6, "too quick to prove anything"
            assert isinstance(answer, Failed)
            assert answer.code is ErrorCode.NOT_AN_IMAGE
            assert isinstance(await connection.inquire(), Status)
            await connection.close()

        run(talk())


def test_a_server_to_which_nothing_leaves_any_more_is_gone(tmp_path: Path) -> None:
    image = b"\0" + os.urandom(30_000_000)
    with stub_daemon(tmp_path, seconds=0.0) as server, narrow(server.port) as (port, blocked):

        async def talk() -> None:
            connection = await connect("127.0.0.1", port, settings(read_timeout=2), keyfile.load())
            asking = asyncio.ensure_future(
                connection.request(Detect(0, image), asyncio.get_running_loop().create_future())
            )
            await asyncio.sleep(1)
            blocked.set()
            began = time.monotonic()
            try:
                await asking
                raise AssertionError("nothing could have been answered")
            except ServerLostError as lost:
                assert "silent for 2 s" in str(lost)  # noqa: PT017
            assert time.monotonic() - began < 20
            await connection.close()

        run(talk())


def test_small_words_and_large_ones_arrive_whole_and_in_order(tmp_path: Path) -> None:
    with stub_daemon(tmp_path, seconds=0.0) as server:

        async def talk() -> None:
            connection = await connect("127.0.0.1", server.port, settings(), keyfile.load())
            never = asyncio.get_running_loop().create_future()
            for size in (0, 1, 1 << 18, (1 << 18) + 1, 3_000_000):
                work = [
                    connection.request(Detect(0, b"\0" * size), never),
                    connection.inquire(),
                    connection.inquire(),
                ]
                answers = await asyncio.gather(*work)
                assert isinstance(answers[0], Failed)
                assert answers[0].code is ErrorCode.NOT_AN_IMAGE
            await connection.close()

        run(talk())
