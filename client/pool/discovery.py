"""Discovery: servers on the network, found by UDP broadcast."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import socket
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import NamedTuple

from ...core.errors import ServerError
from ...core.host.interfaces import broadcast_addresses
from ...core.host.keyfile import Keys
from ...core.parameters import BeaconParameters
from ...core.protocol import announcement
from ...core.protocol.announcement import Announcement, Probe
from ...core.protocol.proofs import NONCE_BYTES
from ...core.text import place, plural

log = logging.getLogger("pyraface.discovery")

FIRST_PROBES = (0.0, 0.25, 0.6)
"""Seconds after the start at which a probe is sent: three times, because a datagram can get lost."""

ANSWER_TIME = 1.2
"""Seconds after which no further answer to the first probes is expected."""

MAX_KNOWN = 256
"""Limit on the servers remembered. Each takes a connection, and a process may usually have 1024 files open: forged
announcements must not use them up."""


MAX_SIGHTINGS = 4 * MAX_KNOWN
"""Limit on the addresses of all servers that are remembered."""

NONCES = 8
"""Probes whose answers are still accepted: the first three, and later those of the last intervals."""

MAX_STRANGERS = 16
"""Limit on the servers without a key of ours that are listed for the user."""


@dataclass(frozen=True)
class Location:
    """Address at which a server listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return place(self.host, self.port)


class Sighting(NamedTuple):
    """An announcement: the server's instance and name, and the address that it came from."""

    instance: str
    name: str
    location: Location


def locations(servers: str, default_port: int) -> list[Location]:
    """Returns the addresses in "HOST[:PORT],..."; an IPv6 address with a port is written in brackets.

    Raises:
        ServerError: an entry is not such an address; the message names it.
    """
    found: list[Location] = []
    for entry in servers.split(","):
        host, port = entry.strip(), str(default_port)
        if host.startswith("["):
            host, bracket, rest = host[1:].partition("]")
            if not bracket or (rest and not rest.startswith(":")):
                raise ServerError(f"--servers: {entry.strip()!r} is no [IPv6 address]:PORT")
            port = rest[1:] if rest else port
        elif host.count(":") == 1:
            host, _, port = host.partition(":")
        if not host or any(character.isspace() for character in host):
            raise ServerError(f"--servers: {entry!r} is no HOST[:PORT]; use auto, local, or HOST[:PORT],...")
        if not (port.isascii() and port.isdigit()) or len(port) > 5 or not 1 <= int(port) <= 65535:
            raise ServerError(f"--servers: {port!r} in {entry.strip()!r} is no port from 1 to 65535")
        found.append(Location(host, int(port)))
    return list(dict.fromkeys(found))


class Discovery:
    """Servers on the network. Use as `async with`; call `first()` once, then `more()` for servers that appear later.

    Args:
        beacon: the interfaces to probe, and the interval.
        port: the UDP port to which probes are sent.
        keys: keys of the servers to accept; None: every server is accepted, and seals are not checked.

    With keys, a server is accepted only if its answer is sealed with one of our keys and has the nonce of one of our
    probes: forged and old answers are ignored, and counted.

    Attributes:
        names: the names of the servers accepted, by the address at which each was heard first.
        sightings: each server accepted, at each address at which it was heard, in that order.
        strangers: the names of servers that answered a probe but have none of our keys, by address.
        ignored: number of datagrams that were not a valid answer, to one of our probes, from a server with one of our keys.
    """

    def __init__(self, beacon: BeaconParameters, *, port: int, keys: Keys | None) -> None:
        self.names: dict[Location, str] = {}
        self.strangers: dict[Location, str] = {}
        self.sightings: dict[Sighting, None] = {}
        self.ignored = 0
        self._beacon = beacon
        self._port = port
        self._keys = keys
        self._nonces: deque[bytes] = deque(maxlen=NONCES)
        self._strange: set[str] = set()
        self._instances: set[str] = set()
        self._found: asyncio.Queue[Sighting] = asyncio.Queue(MAX_KNOWN)
        self._transport: asyncio.DatagramTransport | None = None

    async def __aenter__(self) -> Discovery:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        sock.bind(("", 0))
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: _Listener(self._received), sock=sock)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._transport is not None:
            self._transport.close()
        if self.ignored:
            log.info(
                "discovery: %s ignored: foreign, forged, old, or of servers with another key",
                plural(self.ignored, "datagram"),
            )

    async def first(self) -> list[Location]:
        """Returns the servers that answer within ANSWER_TIME, each at the address at which it was heard first."""
        started = asyncio.get_running_loop().time()
        for moment in (*FIRST_PROBES, ANSWER_TIME):
            await asyncio.sleep(started + moment - asyncio.get_running_loop().time())
            if moment < ANSWER_TIME:
                self._probe()
        return list(self.names)

    async def more(self) -> AsyncIterator[Sighting]:
        """Yields each announcement: of new servers, and of known ones again every interval, at each of their addresses."""
        loop = asyncio.get_running_loop()
        probing = loop.time() + self._beacon.interval
        while True:
            if loop.time() >= probing:
                self._probe()
                probing = loop.time() + self._beacon.interval
            waiting = asyncio.ensure_future(self._found.get())
            try:
                # not wait_for: until Python 3.12 it loses a cancellation where answers come without end, and closing waits
                await asyncio.wait({waiting}, timeout=probing - loop.time())
            finally:
                waiting.cancel()
            if waiting.done():
                yield waiting.result()

    def _probe(self) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        self._nonces.append(secrets.token_bytes(NONCE_BYTES))
        words = announcement.encode(Probe(self._nonces[-1]))
        try:
            there = broadcast_addresses(self._beacon.interfaces)
        except OSError as error:  # an interface may disappear while it is read; the next probe follows soon
            log.debug("discovery: %s", error)
            return
        for targets in there.values():
            for target in targets:
                self._transport.sendto(words, (target, self._port))

    def _received(self, data: bytes, host: str) -> None:
        received = announcement.decode(data)
        words = received and received.words
        if received is None or not isinstance(words, Announcement) or words.nonce not in self._nonces:
            self.ignored += 1
        elif self._keys is None or received.sealed(self._keys):
            self._heard(words, host)
        else:
            self.ignored += 1
            if words.instance not in self._strange and len(self._strange) < MAX_STRANGERS:
                self._strange.add(words.instance)
                self.strangers[Location(host, words.port)] = words.name

    def _heard(self, words: Announcement, host: str) -> None:
        sighting = Sighting(words.instance, words.name, Location(host, words.port))
        if words.instance not in self._instances:
            if len(self._instances) >= MAX_KNOWN:
                return
            self._instances.add(words.instance)
            self.names[sighting.location] = words.name
        if len(self.sightings) < MAX_SIGHTINGS:
            self.sightings[sighting] = None
        with contextlib.suppress(asyncio.QueueFull):  # it will announce itself again
            self._found.put_nowait(sighting)


class _Listener(asyncio.DatagramProtocol):
    def __init__(self, received: Callable[[bytes, str], None]) -> None:
        self._received = received

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._received(data, addr[0])

    def error_received(self, exc: Exception) -> None:
        del exc  # an unreachable network is treated like one without servers
