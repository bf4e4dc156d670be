"""Real datagrams on loopback: who asks is answered, who is there says so, who goes says goodbye."""

from __future__ import annotations

import dataclasses
import os
import signal
import socket
from pathlib import Path

import pytest

from pyraface.core.host import keyfile
from pyraface.core.host.interfaces import LOOPBACK_BROADCAST, broadcast_addresses
from pyraface.core.protocol import announcement
from pyraface.core.protocol.announcement import Announcement, Goodbye, Probe
from tests.support import NONCE, daemon, free_udp_port


def listener(port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("", port))
    sock.settimeout(10)
    return sock


def hear(sock: socket.socket, kind: type[Announcement] | type[Goodbye]) -> tuple[object, tuple[str, int]]:
    """The next datagram of a kind, and who sent it."""
    while True:
        data, sender = sock.recvfrom(2000)
        received = announcement.decode(data)
        if received is not None and isinstance(received.words, kind):
            assert received.sealed(keyfile.load())
            return received.words, sender


def test_announces_itself_answers_probes_and_says_goodbye(tmp_path: Path) -> None:
    port = free_udp_port()
    with (
        listener(port) as everybody,
        daemon(tmp_path, beacon=True, server_port_ip_disc=port, interval=0.5, name="attic") as server,
    ):
        words, _ = hear(everybody, Announcement)
        assert isinstance(words, Announcement)
        assert (words.name, words.port, words.version) == ("attic", server.port, 1)
        again, _ = hear(everybody, Announcement)
        assert again == words

        with listener(0) as asking:
            asking.sendto(announcement.encode(Probe(NONCE)), (LOOPBACK_BROADCAST, port))
            answer, sender = hear(asking, Announcement)
            # the nonce is the probe's: this is no announcement of an interval
            assert answer == dataclasses.replace(words, nonce=NONCE)
            # a firewall can let answers in by this port
            assert sender[1] == port

        server.process.send_signal(signal.SIGTERM)
        goodbye, _ = hear(everybody, Goodbye)
        assert goodbye == Goodbye(words.instance)
        assert server.stop() == 0


def test_foreign_datagrams_are_ignored(tmp_path: Path) -> None:
    port = free_udp_port()
    with (
        daemon(tmp_path, beacon=True, server_port_ip_disc=port, interval=3600) as server,
        listener(0) as asking,
    ):
        probe = announcement.encode(Probe(NONCE))
        for data in [
            b"",
            b"\x00",
            b"pyraface",
            probe[:-1],
            b"x" + probe,
            os.urandom(60_000),
            probe + b"\x00",
        ]:
            asking.sendto(data, (LOOPBACK_BROADCAST, port))
        asking.settimeout(1)
        with pytest.raises(TimeoutError):
            asking.recvfrom(2000)
        asking.sendto(probe, (LOOPBACK_BROADCAST, port))
        asking.settimeout(10)
        words, _ = hear(asking, Announcement)
        assert isinstance(words, Announcement)
        assert words.port == server.port
        assert "Traceback" not in server.said


def test_two_daemons_on_one_machine_both_answer(tmp_path: Path) -> None:
    port = free_udp_port()
    with (
        daemon(tmp_path, beacon=True, server_port_ip_disc=port, interval=3600) as one,
        daemon(tmp_path, beacon=True, server_port_ip_disc=port, interval=3600) as two,
        listener(0) as asking,
    ):
        asking.sendto(announcement.encode(Probe(NONCE)), (LOOPBACK_BROADCAST, port))
        answers = [hear(asking, Announcement)[0] for _ in range(2)]
        assert {words.port for words in answers if isinstance(words, Announcement)} == {one.port, two.port}


def test_only_the_interfaces_that_are_named_are_used() -> None:
    assert broadcast_addresses(("lo",)) == {"lo": [LOOPBACK_BROADCAST]}
    assert broadcast_addresses(("no-such-device",)) == {}
    assert broadcast_addresses()["lo"] == [LOOPBACK_BROADCAST]
