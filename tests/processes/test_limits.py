"""Limits: what a real daemon makes of them."""

from __future__ import annotations

import asyncio
import contextlib
import io
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from pyraface.core.errors import ErrorCode
from pyraface.core.protocol import wire
from pyraface.core.protocol.messages import Cancel, Closing, Detect, Failed, Found, Ping, Pong
from pyraface.daemon.memory_budget import SMALL_FRAME
from tests.stub_daemon import SECONDS, stub_daemon
from tests.support import DaemonProcess, Peer, daemon, parameters_xml, run


def test_where_descriptors_run_out_clients_wait_and_are_let_in_later(
    tmp_path: Path, astronaut: np.ndarray
) -> None:
    with daemon(tmp_path, "--engine", "onnx") as short:
        process = psutil.Process(short.process.pid)
        before = process.rlimit(psutil.RLIMIT_NOFILE)
        run(served(short, photograph(0, astronaut)))  # what it opens once is open
        # none at all: a limit that is counted from those in use leaves room as soon as one of them is closed
        process.rlimit(psutil.RLIMIT_NOFILE, (0, before[1]))

        async def talk() -> None:
            waiting = asyncio.create_task(Peer.welcomed(short.port))
            deadline = time.monotonic() + 30
            while "a client cannot be accepted: Too many open files" not in short.said:
                assert time.monotonic() < deadline, short.said
                await asyncio.sleep(0.05)
            assert not waiting.done()
            process.rlimit(psutil.RLIMIT_NOFILE, before)
            peer, _ = await waiting
            await peer.close()

        run(talk())
        assert short.said.count("cannot be accepted") < 50
        assert "Traceback" not in short.said


ROOM = 4 << 20
"""Bytes of the largest frame, and of all that is lent."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """One with little room and little patience."""
    with daemon(
        tmp_path_factory.mktemp("limits"),
        *("--engine", "onnx"),
        max_frame_bytes=ROOM,
        max_bytes_in_flight=ROOM * 4 // 3 + 4,
        max_bytes_per_connection=ROOM,
        max_connections=8,
        max_connections_per_address=4,
        read_timeout=2,
        frame_timeout=20,
        slow_timeout=0.5,
        idle_timeout=1,
        min_bytes_per_second=1000,
    ) as process:
        yield process


def photograph(size: int, astronaut: np.ndarray) -> bytes:
    """A JPEG of one face, filled up to `size` bytes behind its end."""
    stream = io.BytesIO()
    Image.fromarray(astronaut).save(stream, "JPEG", quality=90)
    return stream.getvalue().ljust(size, b"\0")


async def last_words(peer: Peer) -> Closing:
    words = await peer.next()
    assert isinstance(words, Closing), words
    assert await peer.next() is None
    await peer.close()
    return words


async def served(server: DaemonProcess, image: bytes, host: str = "127.0.0.1") -> None:
    peer = await connect(server, host)
    peer.send(Detect(1, image))
    answer = await peer.next()
    assert isinstance(answer, Found), answer
    assert len(answer.faces) == 1
    await peer.close()


async def connect(server: DaemonProcess, host: str) -> Peer:
    """A client at one of the addresses of loopback, greeted."""
    peer, _ = await Peer.welcomed(server.port, local_addr=(host, 0))
    return peer


def test_room_is_claimed_when_a_frame_begins_and_others_wait_unread(
    server: DaemonProcess, astronaut: np.ndarray
) -> None:
    """What can be lent is claimed by a few bytes; another's large frame has no room, a small one passes."""
    large = photograph(ROOM * 6 // 10, astronaut)

    async def talk() -> None:
        holder = await connect(server, "127.0.0.2")
        whole = wire.encode(Detect(1, photograph(ROOM // 2, astronaut)))
        holder.writer.write(whole[:100])
        await asyncio.sleep(0.2)
        waiting = await connect(server, "127.0.0.3")
        waiting.send(Detect(1, large))
        answer = asyncio.create_task(waiting.next())
        await served(server, photograph(90_000, astronaut))
        assert not answer.done(), "it was read though there was no room"
        holder.writer.write(whole[100:])  # ends, is answered, and its room is free
        assert isinstance(await holder.next(), Found)
        assert isinstance(await answer, Found)
        for peer in (holder, waiting):
            await peer.close()

    run(talk())


def test_who_waits_for_room_too_long_is_told_overloaded(server: DaemonProcess, astronaut: np.ndarray) -> None:
    async def talk() -> None:
        holder = await connect(server, "127.0.0.2")
        frame = wire.encode(Detect(1, photograph(ROOM // 2, astronaut)))
        holder.writer.write(frame[:100])

        async def trickle() -> None:
            for at in range(100, len(frame), 20_000):  # as fast as a frame of this size must be
                holder.writer.write(frame[at : at + 20_000])
                await asyncio.sleep(0.1)

        trickling = asyncio.create_task(trickle())
        await asyncio.sleep(0.1)
        waiting = await connect(server, "127.0.0.3")
        waiting.send(Detect(1, photograph(ROOM * 6 // 10, astronaut)))
        words = await last_words(waiting)
        assert words.code is ErrorCode.OVERLOADED
        assert "max_bytes_in_flight" in words.message
        trickling.cancel()
        await holder.close()

    run(talk())
    run(served(server, photograph(ROOM * 9 // 10, astronaut)))


def test_a_connection_that_ends_gives_its_room_back(server: DaemonProcess, astronaut: np.ndarray) -> None:
    async def talk() -> None:
        for _ in range(5):
            peer = await connect(server, "127.0.0.2")
            peer.writer.write(wire.encode(Detect(1, bytes(ROOM - 100)))[:20_000])
            await peer.writer.drain()
            await asyncio.sleep(0.05)
            peer.writer.transport.abort()
        refused = await connect(server, "127.0.0.2")
        big = wire.encode(Detect(1, bytes(ROOM * 6 // 10)))
        for data in (big, big):  # an id in use: an error with a frame in hand
            refused.writer.write(data)
        answers = [await refused.next() for _ in range(2)]
        assert {type(answer) for answer in answers} <= {Failed, Closing}
        await refused.close()
        for _ in range(3):
            await served(server, photograph(ROOM * 9 // 10, astronaut))

    run(talk())


def test_pings_and_cancels_pass_while_images_wait_for_room(server: DaemonProcess) -> None:
    async def talk() -> None:
        holder = await connect(server, "127.0.0.2")
        holder.writer.write(wire.encode(Detect(1, bytes(ROOM - 100)))[:20])
        await asyncio.sleep(0.1)
        peer = await connect(server, "127.0.0.3")
        peer.send(Ping(7))
        peer.send(Cancel(9))
        peer.send(Detect(2, b"x" * (SMALL_FRAME - 100)))
        assert isinstance(await peer.next(timeout=5), Pong)
        answer = await peer.next()
        assert isinstance(answer, Failed)
        assert answer.code is ErrorCode.NOT_AN_IMAGE
        for other in (holder, peer):
            await other.close()

    run(talk())


def test_before_the_welcome_a_frame_is_small(server: DaemonProcess) -> None:
    async def talk() -> None:
        peer = await Peer.connect(server.port)
        peer.writer.write(wire.PREFIX.pack(SMALL_FRAME + 1))
        assert (await last_words(peer)).code is ErrorCode.FRAME_TOO_LARGE

    run(talk())


def test_a_slow_sender_is_told_so(server: DaemonProcess) -> None:
    async def talk() -> None:
        peer = await connect(server, "127.0.0.1")
        frame = wire.encode(Detect(1, bytes(10_000)))
        for at in range(100):
            if peer.writer.is_closing() or peer.reader.at_eof():
                break
            peer.writer.write(frame[at : at + 1])
            await asyncio.sleep(0.02)
        words = await last_words(peer)
        assert words.code is ErrorCode.SLOW_SENDER
        assert "min_bytes_per_second" in words.message

    run(talk())


def test_a_sender_of_a_large_frame_that_would_not_be_done_in_time_frees_its_room_at_once(
    server: DaemonProcess, astronaut: np.ndarray
) -> None:
    """It is faster than min_bytes_per_second, and keeps others waiting."""

    async def talk() -> None:
        peer = await connect(server, "127.0.0.1")
        frame = wire.encode(Detect(1, bytes(ROOM - 100)))
        began = time.monotonic()

        async def trickle() -> None:
            for at in range(0, len(frame), 2000):
                peer.writer.write(frame[at : at + 2000])
                await asyncio.sleep(0.05)

        trickling = asyncio.create_task(trickle())
        words = await last_words(peer)
        trickling.cancel()
        assert words.code is ErrorCode.SLOW_SENDER
        assert "params/timeout/frame_timeout" in words.message
        assert time.monotonic() - began < 5
        await served(server, photograph(ROOM * 9 // 10, astronaut))

    run(talk())


def test_a_frame_that_is_announced_takes_no_memory(server: DaemonProcess) -> None:
    process = psutil.Process(server.process.pid)

    async def talk() -> None:
        before = process.memory_info().rss
        peer = await connect(server, "127.0.0.1")
        peer.writer.write(wire.encode(Detect(1, bytes(ROOM - 100)))[:100])
        await asyncio.sleep(0.3)
        assert process.memory_info().rss < before + ROOM // 2
        assert (await last_words(peer)).code is ErrorCode.SLOW_SENDER

    run(talk())


def test_a_frame_for_which_there_is_never_room_is_refused_by_its_length(tmp_path: Path) -> None:
    """The welcome says so: with less room than the largest message, a client knows where not to send it."""
    with stub_daemon(tmp_path, seconds=0.0, max_frame_bytes=ROOM, max_bytes_in_flight=ROOM) as server:
        assert "params/daemon/max_bytes_in_flight" in server.said

        async def talk() -> None:
            peer, welcome = await Peer.welcomed(server.port)
            assert ROOM * 3 // 4 <= welcome.max_frame_bytes < ROOM * 4 // 5
            peer.writer.write(wire.PREFIX.pack(welcome.max_frame_bytes + 1))
            words = await last_words(peer)
            assert words.code is ErrorCode.FRAME_TOO_LARGE
            assert str(welcome.max_frame_bytes) in words.message
            peer, welcome = await Peer.welcomed(server.port)
            head = len(wire.encode(Detect(1, bytes(70_000)))) - 70_000 - 4
            peer.send(Detect(1, bytes(welcome.max_frame_bytes - head)))
            assert isinstance(await peer.next(), Failed)
            await peer.close()

        run(talk())


FRAME = 24 << 20


def test_a_daemon_holds_no_more_than_max_bytes_in_flight_however_many_send(tmp_path: Path) -> None:
    """Each image is in its memory once: while it arrives, waits, and goes to the worker."""
    limits = {
        "max_frame_bytes": FRAME,
        "max_bytes_in_flight": 2 * FRAME,
        "max_bytes_per_connection": FRAME,
        "frame_timeout": 120,
    }
    with stub_daemon(tmp_path, seconds=0.0, **limits) as server:
        process = psutil.Process(server.process.pid)
        most = before = process.memory_info().rss

        async def send(number: int) -> None:
            peer, _ = await Peer.welcomed(server.port, local_addr=(f"127.0.0.{2 + number}", 0))
            for id in range(3):
                peer.send(Detect(id, b"\0" * (FRAME - 100)))
                await peer.writer.drain()
            for _ in range(3):
                answer = await peer.next()
                assert isinstance(answer, Failed), answer
                assert answer.code is ErrorCode.NOT_AN_IMAGE
            await peer.close()

        async def talk() -> None:
            nonlocal most
            sending = asyncio.gather(*[send(number) for number in range(5)])
            while not sending.done():
                most = max(most, process.memory_info().rss)
                await asyncio.sleep(0.01)
            await sending

        run(talk())
        grown = most - before
        assert FRAME < grown < 2 * FRAME + (16 << 20), f"{grown >> 20} MiB"


def test_a_client_that_says_nothing_is_told_so_but_not_one_that_pings(server: DaemonProcess) -> None:
    async def talk() -> None:
        silent = await connect(server, "127.0.0.1")
        pinging = await connect(server, "127.0.0.2")
        for number in range(8):
            await asyncio.sleep(0.25)
            pinging.send(Ping(number))
            assert isinstance(await pinging.next(), Pong)
        words = await last_words(silent)
        assert words.code is ErrorCode.IDLE
        assert "idle_timeout" in words.message
        await pinging.close()

    run(talk())


def test_a_client_that_waits_for_an_answer_is_not_idle(tmp_path: Path, astronaut: np.ndarray) -> None:
    with stub_daemon(tmp_path, seconds=1.5, idle_timeout=0.5) as slow:

        async def talk() -> None:
            peer, _ = await Peer.welcomed(slow.port)
            began = time.monotonic()
            peer.send(Detect(1, photograph(0, astronaut)))
            assert isinstance(await peer.next(), Found)
            assert time.monotonic() - began > 1, "too quick to prove anything"
            assert (await last_words(peer)).code is ErrorCode.IDLE

        run(talk())


def test_one_address_has_its_share_of_the_connections_and_others_theirs(
    server: DaemonProcess, astronaut: np.ndarray
) -> None:
    async def talk() -> None:
        async def alive(peer: Peer) -> None:
            peer.send(Ping(1))
            assert isinstance(await peer.next(), Pong)

        mine = [await connect(server, "127.0.0.2") for _ in range(4)]
        late = await Peer.connect(server.port, local_addr=("127.0.0.2", 0))
        assert (await last_words(late)).code is ErrorCode.TOO_MANY_FROM_ADDRESS
        theirs = [await connect(server, "127.0.0.3") for _ in range(4)]
        late = await Peer.connect(server.port)
        assert (await last_words(late)).code is ErrorCode.TOO_MANY_CONNECTIONS
        for peer in (*mine, *theirs):
            await alive(peer)
            await peer.close()

    run(talk())
    run(served(server, photograph(0, astronaut)))


def test_clients_of_ipv4_at_a_socket_of_ipv6_are_counted_by_their_own_addresses(tmp_path: Path) -> None:
    async def talk(port: int) -> None:
        first, _ = await Peer.welcomed(port, local_addr=("127.0.0.2", 0))
        late = await Peer.connect(port, local_addr=("127.0.0.2", 0))
        assert (await last_words(late)).code is ErrorCode.TOO_MANY_FROM_ADDRESS
        other, _ = await Peer.welcomed(port, local_addr=("127.0.0.3", 0))
        for peer in (first, other):
            await peer.close()

    file = tmp_path / "parameters.xml"
    file.write_text(parameters_xml(max_connections_per_address=1))
    process = DaemonProcess(
        tmp_path,
        ["--parameters", str(file), "--host", "::ffff:127.0.0.1", "--port", "0", "--no-beacon"],
        module="tests.stub_daemon",
        environment={SECONDS: "0.0"},
    )
    try:
        run(talk(process.port))
        assert process.host == "127.0.0.1"
    finally:
        process.stop()


def test_connections_that_say_nothing_keep_nobody_out(server: DaemonProcess, astronaut: np.ndarray) -> None:
    silent = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(50)]
    try:
        for _ in range(3):
            run(served(server, photograph(0, astronaut)))
        gone = 0
        for sock in silent:
            sock.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                gone += sock.recv(1) == b""
        assert gone >= 46
    finally:
        for sock in silent:
            sock.close()
