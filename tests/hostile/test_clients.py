"""Clients that are slow, silent, many, greedy or forged, each of which is a function done to the daemon."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import signal
import socket
import ssl
import time

import psutil
import pytest

from pyraface.client.pool.discovery import Discovery
from pyraface.core.errors import ErrorCode
from pyraface.core.given_boxes import MOST_BOXES, GivenBoxes
from pyraface.core.host import keyfile
from pyraface.core.parameters import parse
from pyraface.core.protocol import announcement, wire
from pyraface.core.protocol.announcement import Announcement, Goodbye, Probe
from pyraface.core.protocol.messages import (
    Cancel,
    Closing,
    Detect,
    Encode,
    Failed,
    Found,
    Inquire,
    Message,
    Ping,
    Pong,
    Proof,
    Welcome,
)
from pyraface.core.protocol.proofs import Role
from pyraface.daemon.listener import MOST_REFUSALS
from tests.hostile.victim import (
    FRAME,
    Attack,
    Victim,
    detect,
    done_to,
    hello,
    images_byte_by_byte,
    last_words,
    silence,
)
from tests.support import Peer, greeted, parameters_xml, tls


async def half_a_frame_and_the_end(victim: Victim) -> None:
    peer = await victim.welcomed()
    peer.writer.write(detect(image=bytes(100_000))[:5000])
    await peer.close()  # within TLS there is no half-closing: the peer cannot read malformed-frame any more


async def a_hello_byte_by_byte(victim: Victim) -> None:
    peer = await victim.connect()
    ended = asyncio.create_task(last_words(peer))
    for at in range(200):
        if peer.writer.is_closing():  # the last words have come
            break
        peer.writer.write(hello(client="x" * 500)[at : at + 1])
        await asyncio.sleep(0.05)
    assert (await ended).code is ErrorCode.TIMED_OUT


async def a_frame_that_takes_too_long(victim: Victim) -> None:
    """Fast enough in every second, and yet without end. One to which room is lent has to be faster."""

    async def sends(size: int, piece: int) -> ErrorCode:
        peer = await victim.welcomed()
        ended = asyncio.create_task(last_words(peer))
        peer.writer.write(wire.PREFIX.pack(size))
        for _ in range(200):
            if peer.writer.is_closing():  # the last words have come
                break
            peer.writer.write(bytes(piece))
            await asyncio.sleep(0.1)
        return (await ended).code

    part = FRAME * 4 // 4 // 64  # of the room, that each of the connections has for itself
    assert await sends(part, 2_500) is ErrorCode.FRAME_TIMED_OUT
    assert await sends(FRAME, 10_000) is ErrorCode.SLOW_SENDER


async def frames_that_come_but_for_their_end(victim: Victim) -> None:
    """Thirty of them would be 240 MB; the daemon reads no more than it has room for."""
    process = psutil.Process(victim.process.process.pid)
    cut_off = detect(image=bytes(FRAME - 200))[:-1000]
    ending = []
    for number in range(30):
        peer = await victim.welcomed(f"127.0.0.{2 + number // 15}")
        peer.writer.write(cut_off)
        ending.append(asyncio.create_task(last_words(peer)))
    most = 0
    while not all(task.done() for task in ending):
        most = max(most, process.memory_info().rss)
        await asyncio.sleep(0.01)
    codes = {(await task).code for task in ending}
    # a machine that is busy may take its time until it sends anything at all
    assert codes <= {ErrorCode.SLOW_SENDER, ErrorCode.OVERLOADED, ErrorCode.FRAME_TIMED_OUT, ErrorCode.IDLE}
    # the room of all, and what is read from each of them before it is known to be too much
    assert most < victim.marks[0] + 2 * 4 * FRAME + 30 * (1 << 20), f"{most} bytes, {victim.marks[0]} before"


async def claims_that_are_never_kept(victim: Victim) -> None:
    """Frames of 8 MiB are announced and hardly begun, until there is no room for one more: small ones pass."""
    peers = [await victim.welcomed(f"127.0.0.{2 + number // 15}") for number in range(45)]
    for peer in peers:
        peer.writer.write(wire.PREFIX.pack(FRAME) + bytes(100))
    await victim.serves()
    codes = {(await last_words(peer)).code for peer in peers}
    assert codes <= {ErrorCode.SLOW_SENDER, ErrorCode.OVERLOADED}


async def ten_thousand_that_say_nothing(victim: Victim) -> None:
    hard = psutil.Process().rlimit(psutil.RLIMIT_NOFILE)[1]
    await silence(victim, 10_000 if hard == -1 else min(10_000, hard - 100))


async def guests_that_say_nothing(victim: Victim) -> None:
    """As many as are let in, from as many addresses as that takes, stay until their time is over; then all is free."""
    peers = [await victim.welcomed(f"127.0.0.{2 + number // 16}") for number in range(64)]
    late = await victim.connect("127.0.0.9")
    assert (await last_words(late)).code is ErrorCode.TOO_MANY_CONNECTIONS
    assert {(await last_words(peer)).code for peer in peers} == {ErrorCode.IDLE}


async def one_address_that_wants_all(victim: Victim) -> None:
    """One more is told why it is refused; of hundreds, most are refused without a word, and cost next to nothing."""
    process = psutil.Process(victim.process.process.pid)
    peers = [await victim.welcomed("127.0.0.2") for _ in range(16)]
    late = await victim.connect("127.0.0.2")
    assert (await last_words(late)).code is ErrorCode.TOO_MANY_FROM_ADDRESS
    with contextlib.ExitStack() as stack:
        for _ in range(300):
            sock = stack.enter_context(socket.socket())
            sock.bind(("127.0.0.2", 0))
            sock.connect(("127.0.0.1", victim.process.port))
        await victim.serves()  # who came after all of them
        assert process.num_fds() < victim.descriptors + 16 + MOST_REFUSALS + 50
    for peer in peers:
        await peer.close()


async def thousands_at_once(victim: Victim) -> None:
    """Who is connected has a turn in between, and does not wait until all have been let in."""
    for _ in range(5):  # a machine that is busy may leave the one who counts without a turn, too
        good = await victim.welcomed("127.0.0.5")
        victim.process.process.send_signal(signal.SIGSTOP)
        with contextlib.ExitStack() as stack:
            stack.callback(victim.process.process.send_signal, signal.SIGCONT)
            crowd = [stack.enter_context(socket.socket()) for _ in range(800)]
            for number, sock in enumerate(crowd):
                sock.bind((f"127.0.{number % 4}.1", 0))
                sock.connect(("127.0.0.1", victim.process.port))
                sock.setblocking(False)
            turns = 0
            victim.process.process.send_signal(signal.SIGCONT)
            while not _gone(crowd[-100]):  # it made room for one that came later
                good.send(Ping(turns))
                assert isinstance(await good.next(), Pong)
                turns += 1
        await good.close()
        if turns > 5:
            return
    raise AssertionError(f"{turns} turns while hundreds were let in")


def _gone(sock: socket.socket) -> bool:
    try:
        return sock.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


async def a_flood_of_resets(victim: Victim, data: bytes, count: int) -> None:
    """Connections that are reset, one after the other, each when it has said something."""

    def flood() -> None:
        for number in range(count):
            with socket.socket() as sock:
                sock.bind((f"127.0.0.{2 + number % 8}", 0))
                sock.connect(("127.0.0.1", victim.process.port))
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                sock.sendall(data)

    flooding = asyncio.get_running_loop().run_in_executor(None, flood)
    await victim.serves()
    await flooding


async def resets_in_mid_greeting(victim: Victim) -> None:
    await a_flood_of_resets(victim, hello()[:10], 2000)


async def resets_before_a_word(victim: Victim) -> None:
    await a_flood_of_resets(victim, b"", 2000)


async def resets_in_mid_frame(victim: Victim) -> None:
    for number in range(100):
        peer = await victim.welcomed(f"127.0.0.{2 + number % 8}")
        peer.writer.write(detect(image=bytes(1_000_000))[: 200_000 + number])
        await peer.writer.drain()
        peer.writer.transport.abort()


async def images_that_nobody_waits_for(victim: Victim) -> None:
    for number in range(30):
        peer = await victim.welcomed(f"127.0.0.{2 + number % 8}")
        for id in range(4):
            peer.send(Detect(id, victim.photograph))
        await peer.writer.drain()
        peer.writer.transport.abort()


async def boxes_that_nobody_waits_for(victim: Victim) -> None:
    """As many as are allowed, in every size; the client has left before the first is encoded."""
    corners = [(-5.0 * n, -5.0 * n, 1.0 + n, 1.0 + n) for n in range(MOST_BOXES)]
    for number in range(8):
        peer = await victim.welcomed(f"127.0.0.{2 + number}")
        for id in range(4):
            peer.send(Encode(id, GivenBoxes.of(corners), victim.photograph))
        await peer.writer.drain()
        peer.writer.transport.abort()


async def boxes_outside_of_the_picture(victim: Victim) -> None:
    """Each is answered, and the connection stays."""
    peer = await victim.welcomed()
    for id, box in enumerate([(-9, -9, 0, 0), (1e6, 0, 1e7, 9), (0, 1e5, 1, 1e6), (0, 0, 0.25, 9)]):
        peer.send(Encode(id, GivenBoxes.of([box]), victim.photograph))
        answer = await peer.next()
        assert isinstance(answer, Failed)
        assert answer.code is ErrorCode.BAD_BOX
    await peer.close()


async def cancels_of_what_was_never_asked(victim: Victim) -> None:
    peer = await victim.welcomed()
    for id in range(20_000):
        peer.send(Cancel(id))
    peer.send(Ping(1))
    assert isinstance(await peer.next(), Pong)
    await peer.close()


async def small_messages_without_end(victim: Victim) -> None:
    """Thousands come in one piece; others have their turn after each of them, not after all."""
    flood = wire.encode(Cancel(1)) * 50_000
    good, bad = await victim.welcomed("127.0.0.2"), await victim.welcomed("127.0.0.3")
    bad.writer.write(flood + wire.encode(Ping(1)))
    over = asyncio.create_task(bad.next())
    turns = 0
    while not over.done():
        good.send(Ping(turns))
        assert isinstance(await good.next(), Pong)
        turns += 1
    assert isinstance(await over, Pong)
    assert turns > 200
    for peer in (good, bad):
        await peer.close()


async def requests_beyond_the_credits(victim: Victim) -> None:
    peer = await victim.welcomed()
    for id in range(100):
        peer.send(Detect(id, victim.photograph))
    answers: list[Message | None] = [await peer.next() for _ in range(100)]
    busy = [answer for answer in answers if isinstance(answer, Failed) and answer.code is ErrorCode.BUSY]
    found = [answer for answer in answers if isinstance(answer, Found)]
    assert len(busy) + len(found) == 100
    assert len(found) >= 4
    assert all("that welcome granted" in answer.message for answer in busy), (
        "one client filled the queue of all"
    )
    await peer.close()


async def a_queue_that_is_full(victim: Victim) -> None:
    """Each client keeps to its credits, and yet there are too many of them."""
    peers = [await victim.welcomed(f"127.0.0.{2 + number // 8}") for number in range(16)]
    for peer in peers:
        for id in range(4):
            peer.send(Detect(id, victim.photograph))
    answers = [await peer.next() for peer in peers for _ in range(4)]
    busy = [answer for answer in answers if isinstance(answer, Failed)]
    assert busy
    assert all(answer.code is ErrorCode.BUSY and "params/daemon/queue" in answer.message for answer in busy)
    assert len(busy) + sum(isinstance(answer, Found) for answer in answers) == 64
    for peer in peers:
        await peer.close()


async def answers_that_are_not_taken(victim: Victim) -> None:
    """A client that asks and never listens is not read from, and ended when the system gives it up.

    Meanwhile the daemon holds what came in one piece and the answers to that, and not those to all that is asked.
    """
    process = psutil.Process(victim.process.process.pid)
    inquiries = wire.encode(Inquire(1)) * 1_000_000  # the answers are 170 MB
    before = most = process.memory_info().rss

    def ask() -> None:
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            client.connect(("127.0.0.1", victim.process.port))
            client.settimeout(30)
            with greeted(client) as secure, pytest.raises((ConnectionError, ssl.SSLEOFError)):
                secure.sendall(inquiries)

    asking = asyncio.get_running_loop().run_in_executor(None, ask)
    served = asyncio.create_task(victim.serves())
    while not asking.done():
        most = max(most, process.memory_info().rss)
        await asyncio.sleep(0.02)
    await asking
    await served
    assert most < before + (10 << 20), f"{most} bytes, {before} before"


async def names_with_tricks(victim: Victim) -> None:
    """A client's name is one printable line of the log, whatever is in it."""
    names = [
        "../../../etc/passwd",
        "x\n2026-01-01 00:00:00,000 ERROR pyraface.server: all is lost",
        "\x1b[2J\x1b]0;owned\x07",
        "\0" * 1000,
        "\u202egnp.exe\u2028\u0085",
        "%s%n{0}${jndi:ldap://x}",
    ]
    deadline = time.monotonic() + 30
    while "all is lost" not in victim.said():  # a row before may have used up the lines of some seconds
        assert time.monotonic() < deadline, "the name is not in the log"
        for name in names:
            peer = await victim.welcomed(client=name)
            peer.send(Closing(ErrorCode.BUSY, name))
            assert await peer.next() is None
            await peer.close()
        await asyncio.sleep(0.2)
    assert "2026-01-01" not in [line[:10] for line in victim.said().splitlines()]


async def hundreds_of_errors(victim: Victim) -> None:
    """They do not fill the log."""
    before = len(victim.said().splitlines())
    began = time.monotonic()

    def flood() -> None:
        context = tls()
        for number in range(240):
            with socket.socket() as sock:
                # otherwise the last word waits for the 40 ms in which the system acknowledges the word before it
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sock.bind((f"127.0.0.{2 + number % 8}", 0))
                sock.connect(("127.0.0.1", victim.process.port))
                with context.wrap_socket(sock) as secure:
                    secure.sendall(b"\xff" * 8)
                    assert b"closing" in secure.recv(1000)

    await asyncio.get_running_loop().run_in_executor(None, flood)
    await victim.serves()
    stretches = 2 + (time.monotonic() - began) // 10  # in each of which a hundred are logged
    assert len(victim.said().splitlines()) - before <= 100 * stretches


async def is_refused(peer: Peer, proof: bytes) -> None:
    peer.send(Proof(proof))
    assert (await last_words(peer)).code is ErrorCode.WRONG_KEY


async def proofs_with_a_wrong_key(victim: Victim) -> None:
    """Neither that of another machine, nor the server's own proof, which it has just given away."""
    for key in (bytes(32), b"\xff" * 32, keyfile.load()[0][::-1]):
        peer = await victim.connect()
        transcript = peer.transcript(await peer.challenged())
        await is_refused(peer, transcript.proof(key, Role.CLIENT))
    peer = await victim.connect()
    await is_refused(peer, (await peer.challenged()).proof)


async def a_handshake_that_is_replayed(victim: Victim) -> None:
    """What a good client said holds for its own connection alone."""
    good = await victim.connect()
    proof = good.transcript(await good.challenged()).proof(keyfile.load()[0], Role.CLIENT)
    good.send(Proof(proof))
    assert isinstance(await good.next(), Welcome)
    for _ in range(3):
        peer = await victim.connect()
        await peer.challenged()  # by the same nonce as the good client's
        await is_refused(peer, proof)
    await good.close()


async def versions_that_are_taken_away_on_the_way(victim: Victim) -> None:
    """A client that offered more than arrived proves what it offered."""
    for offered in ((1, 2), (2, 1), ()):
        peer = await victim.connect()
        told = peer.transcript(await peer.challenged())
        meant = dataclasses.replace(told, versions=offered)
        await is_refused(peer, meant.proof(keyfile.load()[0], Role.CLIENT))


async def tls_of_before(victim: Victim) -> None:
    """Its handshake shows to a listener what TLS 1.3 hides, and may have been weakened on the way."""
    older = tls()
    older.minimum_version = older.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await asyncio.open_connection("127.0.0.1", victim.process.port, ssl=older, server_hostname="")


async def tickets_to_come_back_with(victim: Victim) -> None:
    """There are none: nothing of one handshake is of use for another."""
    peer = await victim.welcomed()
    peer.send(Ping(1))
    assert isinstance(await peer.next(), Pong)
    session = peer.writer.get_extra_info("ssl_object").session
    assert session is None or not session.has_ticket
    await peer.close()


async def announcements_and_goodbyes_that_are_forged(victim: Victim) -> None:
    """Forged announcements in its name hide the daemon from no client, and add no other server."""
    parameters = parse(parameters_xml(server_port_ip_disc=victim.discovery).encode())
    impostor = Announcement(1, "impostor", "impostor", 6666, "f")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("", victim.discovery))  # whoever asks, asks this one too
        sock.setblocking(False)
        asked = 0

        def answer() -> None:
            nonlocal asked
            data, client = sock.recvfrom(2000)
            received = announcement.decode(data)
            if received is None or not isinstance(received.words, Probe):
                return
            asked += 1
            forged = dataclasses.replace(impostor, nonce=received.words.nonce)
            own = keyfile.load()[0]
            for words, key in ((forged, None), (forged, bytes(32)), (impostor, own), (Goodbye("x"), own)):
                sock.sendto(announcement.encode(words, key), client)

        asyncio.get_running_loop().add_reader(sock, answer)
        try:
            async with Discovery(
                parameters.beacon, port=parameters.ports.discovery, keys=keyfile.load()
            ) as discovery:
                found = await discovery.first()
        finally:
            asyncio.get_running_loop().remove_reader(sock)
        for key in (None, bytes(32), keyfile.load()[0]):
            sock.sendto(announcement.encode(Goodbye("x"), key), ("127.255.255.255", victim.discovery))
    assert asked
    assert [place.port for place in found] == [victim.process.port]
    assert [place.port for place in discovery.strangers] == [6666]
    assert discovery.ignored >= 4


ACTS: list[Attack] = [
    proofs_with_a_wrong_key,
    a_handshake_that_is_replayed,
    versions_that_are_taken_away_on_the_way,
    tls_of_before,
    tickets_to_come_back_with,
    announcements_and_goodbyes_that_are_forged,
    names_with_tricks,
    half_a_frame_and_the_end,
    a_hello_byte_by_byte,
    images_byte_by_byte,
    a_frame_that_takes_too_long,
    frames_that_come_but_for_their_end,
    claims_that_are_never_kept,
    ten_thousand_that_say_nothing,
    guests_that_say_nothing,
    one_address_that_wants_all,
    thousands_at_once,
    resets_in_mid_greeting,
    resets_before_a_word,
    resets_in_mid_frame,
    images_that_nobody_waits_for,
    boxes_that_nobody_waits_for,
    boxes_outside_of_the_picture,
    cancels_of_what_was_never_asked,
    small_messages_without_end,
    requests_beyond_the_credits,
    a_queue_that_is_full,
    answers_that_are_not_taken,
    hundreds_of_errors,
]


@pytest.mark.parametrize("act", ACTS, ids=lambda act: act.__name__)
def test_what_a_client_does(victim: Victim, act: Attack) -> None:
    done_to(victim, act)
