"""Limits: the accounts by themselves, and what a real daemon makes of them."""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import os
import resource
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pyraface.core import parameters
from pyraface.core.errors import ErrorCode, RemoteProtocolError
from pyraface.core.protocol import wire
from pyraface.core.protocol.messages import Cancel, Closing, Detect, Failed, Found, Ping, Pong
from pyraface.daemon import process as process_module
from pyraface.daemon.admission import Admission, site
from pyraface.daemon.budget import SMALL_FRAME, Budget, Pace, Share
from pyraface.daemon.process import LineLimit
from tests.support import DaemonProcess, Peer, daemon, parameters_xml, run

# who may connect


def test_a_newcomer_takes_the_place_of_the_oldest_that_was_not_greeted() -> None:
    door = Admission[str](3, 3)
    assert [door.enter(guest, "10.0.0.1") for guest in "abc"] == [None] * 3
    door.greeted("a")
    assert door.enter("d", "10.0.0.2") == "b"
    assert len(door) == 3
    door.leave("b")  # who had to go is gone already
    assert door.enter("e", "10.0.0.3") == "c"


def test_who_was_greeted_stays_and_the_newcomer_is_refused() -> None:
    door = Admission[str](2, 2)
    for guest, host in (("a", "10.0.0.1"), ("b", "10.0.0.2")):
        door.enter(guest, host)
        door.greeted(guest)
    with pytest.raises(RemoteProtocolError, match="params/daemon/max_connections") as refused:
        door.enter("c", "10.0.0.3")
    assert refused.value.code is ErrorCode.TOO_MANY_CONNECTIONS
    assert len(door) == 2
    door.leave("a")
    assert door.enter("c", "10.0.0.3") is None


def test_one_address_does_not_keep_out_the_others() -> None:
    door = Admission[int](10, 2)
    for guest in (1, 2):
        door.enter(guest, "10.0.0.1")
        door.greeted(guest)
    with pytest.raises(RemoteProtocolError, match="max_connections_per_address") as refused:
        door.enter(3, "10.0.0.1")
    assert refused.value.code is ErrorCode.TOO_MANY_FROM_ADDRESS
    assert door.enter(4, "10.0.0.2") is None
    # and who fills its own share with silence displaces only itself
    assert door.enter(5, "10.0.0.2") is None
    assert door.enter(6, "10.0.0.2") == 4
    door.leave(1)
    assert door.enter(7, "10.0.0.1") is None


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("192.168.1.7", "192.168.1.7"),
        ("::ffff:192.168.1.7", "192.168.1.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
    ],
)
def test_an_address_is_what_one_machine_cannot_choose_anew(host: str, expected: str) -> None:
    assert site(host) == expected


# bytes


def test_each_connection_has_its_part_whatever_the_others_hold() -> None:
    budget = Budget(400, connections=3)  # a part is 100, and 100 are lent
    greedy, other, third = (Share(budget, 1000) for _ in range(3))
    assert greedy.take(200)
    assert not other.take(101)
    assert other.take(60)
    assert other.take(40)
    assert not other.take(1)
    assert third.take(100)
    assert not third.take(1)
    greedy.free(200)
    assert third.take(50)
    assert not other.take(51)
    assert other.take(50)


def test_a_connection_holds_no_more_than_its_own_limit_but_for_one_frame_alone() -> None:
    share = Share(Budget(1000, connections=1), 100)
    assert share.take(60)
    assert not share.take(41)
    assert share.take(40)
    share.free(60)
    share.free(40)
    assert share.take(300)
    assert not share.take(1)


def test_a_frame_larger_than_what_is_lent_goes_when_nothing_else_is() -> None:
    budget = Budget(400, connections=3)
    one, other = Share(budget, 1000), Share(budget, 1000)
    assert one.take(101)
    assert not other.take(500)
    one.free(101)
    assert other.take(500)
    assert not one.take(101)
    assert one.take(100)


def test_who_waits_gets_what_is_freed_in_the_order_they_came() -> None:
    async def talk() -> None:
        budget = Budget(400, connections=3)
        holder = Share(budget, 1000)
        assert holder.take(200)
        order: list[str] = []

        async def want(name: str, size: int) -> None:
            assert await Share(budget, 1000).claim(size, 30)
            order.append(name)

        tasks = [
            asyncio.create_task(want(name, size)) for name, size in [("a", 160), ("b", 160), ("small", 10)]
        ]
        await asyncio.sleep(0.05)
        assert order == ["small"]
        holder.free(200)
        await asyncio.sleep(0.05)
        assert order == ["small", "a"]
        assert len(budget.waiting) == 1
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert not budget.waiting
        assert budget.lent == 60

    run(talk())


def test_a_claim_is_given_up_after_its_time() -> None:
    async def talk() -> None:
        share = Share(Budget(100, connections=1), 100)
        assert share.take(100)
        began = time.monotonic()
        assert not await share.claim(10, 0.1)
        assert time.monotonic() - began >= 0.09
        assert share.held == 100
        share.free(100)  # nobody is left to have it
        assert share.held == 0

    run(talk())


def test_a_claim_that_is_granted_to_a_task_that_ends_is_freed() -> None:
    async def talk() -> None:
        share = Share(Budget(100, connections=1), 100)
        share.take(100)
        waiting = asyncio.create_task(share.claim(40, 30))
        await asyncio.sleep(0)
        share.free(100)  # grants it
        assert share.held == 40
        waiting.cancel()  # before it runs again
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert share.held == 0

    run(talk())


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 150), st.booleans()), max_size=60),
    st.integers(1, 100),
)
def test_whatever_comes_and_goes_the_books_are_right_and_nobody_waits_for_ever(
    steps: list[tuple[int, int, bool]], own: int
) -> None:
    async def talk() -> None:
        budget = Budget(100, connections=4)  # a part is 18, and 28 are lent
        shares = [Share(budget, own) for _ in range(4)]
        held: list[tuple[Share, int]] = []
        waiting: dict[asyncio.Task[bool], tuple[Share, int]] = {}

        async def settle() -> None:
            for _ in range(3):
                await asyncio.sleep(0)
            for task in [task for task in waiting if task.done()]:
                held.append(waiting.pop(task))
                assert task.result()

        for number, size, gives in steps:
            if gives and held:
                share, amount = held.pop(0)
                share.free(amount)
            elif not any(share is shares[number] for share, _ in waiting.values()):
                waiting[asyncio.create_task(shares[number].claim(size, 60))] = (shares[number], size)
            await settle()
            for share in shares:
                mine = [amount for owner, amount in held if owner is share]
                assert share.held == sum(mine)
                assert share.held <= own or len(mine) == 1
            borrowed = [share.borrowed for share in shares]
            assert budget.lent == sum(borrowed)
            assert budget.lent <= 28 or sum(map(bool, borrowed)) == 1
        while held:
            share, amount = held.pop(0)
            share.free(amount)
            await settle()
        assert not waiting
        assert budget.lent == 0

    run(talk())


# pace


def pace(**changes: object) -> Pace:
    return Pace(parameters.parse(parameters_xml(**changes).encode()))


def test_a_frame_that_takes_too_long_is_told_so_however_fast_it_comes() -> None:
    watch = pace(frame_timeout=60, slow_timeout=10)
    for _ in range(59):
        watch.waited(1, 10_000_000)
    with pytest.raises(RemoteProtocolError, match="frame_timeout") as error:
        watch.waited(1, 10_000_000)
    assert error.value.code is ErrorCode.FRAME_TIMED_OUT


def test_a_frame_that_comes_too_slowly_is_told_so_at_the_end_of_a_window() -> None:
    watch = pace(slow_timeout=10, min_bytes_per_second=100)
    for _ in range(9):
        watch.waited(1, 1)
    watch.waited(1, 991)  # a burst makes up for it
    assert watch.patience == 10
    watch.waited(9, 999)
    assert watch.patience == 1
    with pytest.raises(RemoteProtocolError, match="min_bytes_per_second") as error:
        watch.waited(1, 0)
    assert error.value.code is ErrorCode.SLOW_SENDER


def test_no_least_pace_is_no_limit() -> None:
    watch = pace(slow_timeout=10, min_bytes_per_second=0)
    for _ in range(5):
        watch.waited(10, 0)


# the log and the system


def test_of_a_flood_of_lines_some_are_logged_and_the_rest_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(process_module.time, "monotonic", lambda: now)
    limit = LineLimit(lines=3, seconds=10)

    def lines(count: int) -> list[str]:
        records = [
            logging.LogRecord("x", logging.INFO, "", 0, "no %d", (number,), None) for number in range(count)
        ]
        return [record.getMessage() for record in records if limit.filter(record)]

    assert lines(5) == ["no 0", "no 1", "no 2"]
    now += 10
    assert lines(2) == ["no 0 (2 lines before this one were left out)", "no 1"]
    now += 10
    assert lines(1) == ["no 0"]


def test_descriptors_bound_the_connections() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (400, before[1]))
        assert process_module.room_for_connections(64) == 64
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 400
        assert process_module.room_for_connections(1000) == 1000
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 1000 + process_module.OTHER_DESCRIPTORS
        assert process_module.room_for_connections(before[1]) == before[1] - process_module.OTHER_DESCRIPTORS
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


# a real daemon


def test_where_descriptors_run_out_clients_wait_and_are_let_in_later(
    tmp_path: Path, astronaut: np.ndarray
) -> None:
    with daemon(tmp_path, "--engine", "onnx") as short:
        process = psutil.Process(short.process.pid)
        before = process.rlimit(psutil.RLIMIT_NOFILE)
        run(served(short, photograph(0, astronaut)))  # whatever it opens once is open
        used = {int(name) for name in os.listdir(f"/proc/{process.pid}/fd")}
        process.rlimit(psutil.RLIMIT_NOFILE, (min(set(range(1000)) - used), before[1]))

        async def talk() -> None:
            waiting = asyncio.create_task(Peer.welcomed(short.port))
            deadline = time.monotonic() + 30
            while "a client cannot be let in: Too many open files" not in short.said:
                assert time.monotonic() < deadline, short.said
                await asyncio.sleep(0.05)
            assert not waiting.done()
            process.rlimit(psutil.RLIMIT_NOFILE, before)
            peer, _ = await waiting
            await peer.close()

        run(talk())
        assert short.said.count("cannot be let in") < 50
        assert "Traceback" not in short.said


ROOM = 1 << 20


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """One with little room and little patience."""
    with daemon(
        tmp_path_factory.mktemp("limits"),
        *("--engine", "onnx"),
        max_frame_bytes=ROOM,
        max_bytes_in_flight=ROOM,
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
            for at in range(100, len(frame), 1000):
                holder.writer.write(frame[at : at + 1000])
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
    stream = io.BytesIO()
    Image.fromarray(astronaut).resize((1000, 1000)).save(stream, "JPEG")
    with daemon(tmp_path, "--engine", "dlib", height=700, width=1000, idle_timeout=0.5) as slow:

        async def talk() -> None:
            peer, _ = await Peer.welcomed(slow.port)
            began = time.monotonic()
            peer.send(Detect(1, stream.getvalue()))
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
