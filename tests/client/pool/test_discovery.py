"""Datagrams of strangers, and of servers, on loopback: which of them make a server known."""

from __future__ import annotations

import asyncio
import dataclasses
import socket

import pytest

from pyraface.client.pool import discovery as discovery_module
from pyraface.client.pool.discovery import Discovery, Location
from pyraface.core import parameters
from pyraface.core.protocol import announcement
from pyraface.core.protocol.announcement import UNASKED, Announcement, Probe
from tests.support import free_udp_port, parameters_xml, run


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """The answers come from the same event loop: there is no network to wait for."""
    monkeypatch.setattr(discovery_module, "FIRST_PROBES", (0.0, 0.05, 0.1))
    monkeypatch.setattr(discovery_module, "ANSWER_TIME", 0.3)


KEY, OTHER = bytes(range(32)), bytes(32)
HERE = Announcement(1, "instance", "attic", 5000, "f")


def settings(port: int, **changes: object) -> parameters.Parameters:
    return parameters.parse(parameters_xml(server_port_ip_disc=port, **changes).encode())


async def found_by(keys: tuple[bytes, ...] | None, *answers: tuple[Announcement, bytes | None]) -> Discovery:
    """Discovery after its first probes, each answered with these: what is said, and the key of its seal.

    Whatever has no nonce yet has that of the probe.
    """
    port = free_udp_port()

    class Server(asyncio.DatagramProtocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = transport

        def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
            received = announcement.decode(data)
            assert received is not None
            assert isinstance(received.words, Probe)
            for words, key in answers:
                nonce = received.words.nonce if words.nonce == b"" else words.nonce
                said = announcement.encode(dataclasses.replace(words, nonce=nonce), key)
                self.transport.sendto(said, addr)  # type: ignore[attr-defined]

    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("", port))
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Server, sock=sock)
    try:
        async with Discovery(settings(port).beacon, port=port, keys=keys) as discovery:
            assert set(await discovery.first()) == set(discovery.names)
            return discovery
    finally:
        transport.close()


ASKED = dataclasses.replace(HERE, nonce=b"")
PLACE = Location("127.0.0.1", 5000)


@pytest.mark.parametrize(
    ("answer", "keys", "known", "stranger"),
    [
        ((ASKED, KEY), (OTHER, KEY), True, False),
        ((ASKED, OTHER), (KEY,), False, True),
        ((ASKED, KEY), (), False, True),
        ((ASKED, None), (KEY,), False, True),
        ((dataclasses.replace(HERE, nonce=UNASKED), KEY), (KEY,), False, False),
        ((dataclasses.replace(HERE, nonce=b"recorded an hour ago" + bytes(12)), KEY), (KEY,), False, False),
    ],
    ids=["ours", "forged", "no key here", "no seal", "nobody asked", "replayed"],
)
def test_only_an_answer_to_our_probe_sealed_with_our_key_makes_a_server_known(
    answer: tuple[Announcement, bytes | None], keys: tuple[bytes, ...], *, known: bool, stranger: bool
) -> None:
    discovery = run(found_by(keys, answer))
    assert (PLACE in discovery.names) is known
    assert discovery.strangers == ({PLACE: "attic"} if stranger else {})
    assert (discovery.ignored >= 1) is not known


def test_what_is_forged_or_replayed_does_not_hide_the_server_that_it_imitates() -> None:
    there = dataclasses.replace(ASKED, port=5000)
    forged = dataclasses.replace(ASKED, port=6666)
    old = dataclasses.replace(HERE, port=6667, nonce=b"n" * 32)
    discovery = run(found_by((KEY,), (forged, OTHER), (old, KEY), (there, KEY)))
    assert Location("127.0.0.1", 5000) in discovery.names
    assert Location("127.0.0.1", 6666) not in discovery.names
    assert Location("127.0.0.1", 6667) not in discovery.names


def test_there_is_an_end_to_the_strangers_that_are_told_of() -> None:
    crowd = [(dataclasses.replace(ASKED, instance=str(n), port=n), OTHER) for n in range(1, 60)]
    discovery = run(found_by((KEY,), *crowd))
    assert len(discovery.strangers) == 16


def test_there_is_an_end_to_the_servers_that_are_known() -> None:
    """Each is a connection, and whoever has the key could make up any number."""

    async def talk() -> None:
        port = free_udp_port()
        async with Discovery(settings(port).beacon, port=port, keys=(KEY,)) as discovery:
            discovery._nonces.append(b"n" * 32)
            for n in range(1, 400):  # more than a socket holds before it is read
                words = dataclasses.replace(HERE, instance=str(n), port=n, nonce=b"n" * 32)
                discovery._received(announcement.encode(words, KEY), "127.0.0.1")
            assert len(discovery.names) == 256

    run(talk())


def test_without_authentication_whoever_answers_is_a_server() -> None:
    discovery = run(found_by(None, (ASKED, None)))
    assert PLACE in discovery.names
