"""KnownServers: the servers that the user named, or that announced themselves, each with all its addresses."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass, field

from .connection import ServerConnection
from .discovery import Location, Sighting

MOST_ADDRESSES = 8
"""Limit on the addresses of one server: as many interfaces as a machine has, and a few that it had before."""

FORGOTTEN = 3
"""Intervals of the beacon without an announcement after which a server is not in sight any more."""

STALE = 1.5
"""Intervals of the beacon after which an address is tried last if the server was heard at another one since."""


@dataclass(eq=False)
class KnownServer:
    """One server, at whatever addresses it is reached.

    Attributes:
        named: the address that the user gave: any server that proves a key there is this one.
        name, instance: from its announcement or its welcome; "" before the first.
        addresses: when it was last heard of at each address.
        connection: the one in use.
        place: its address.
        news: set at each announcement.
    """

    named: Location | None = None
    name: str = ""
    instance: str = ""
    addresses: dict[Location, float] = field(default_factory=dict)
    connection: ServerConnection | None = None
    place: Location | None = None
    news: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def last_heard(self) -> float:
        """When it was last heard of, at any address."""
        return max(self.addresses.values(), default=-math.inf)

    def heard_at(self, place: Location, now: float) -> None:
        """Takes note of an address; the one that was not heard of for the longest time makes room."""
        self.addresses[place] = now
        if len(self.addresses) > MOST_ADDRESSES:
            del self.addresses[min(self.addresses, key=self.addresses.__getitem__)]


class KnownServers:
    """Every server that was named or heard of.

    Args:
        interval: seconds between two announcements of a server.
    """

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._servers: list[KnownServer] = []

    def add_named(self, place: Location) -> KnownServer:
        """Returns a new server, at an address that the user gave."""
        server = KnownServer(named=place)
        self._servers.append(server)
        return server

    def hear(self, sighting: Sighting, now: float) -> tuple[KnownServer, bool]:
        """Takes note of an announcement. Returns its server, and whether that is new.

        A new instance with the name of a known server, at an address of that, is the same server after a restart. While
        the old one is in use its connection is still to find out that it has ended.
        """
        server = self._find(sighting)
        new = server is None
        if server is None:
            server = KnownServer(name=sighting.name, instance=sighting.instance)
            self._servers.append(server)
        elif server.instance != sighting.instance:
            if server.connection is not None:
                return server, False
            server.instance = sighting.instance
            server.addresses.clear()
        server.name = sighting.name
        server.heard_at(sighting.location, now)
        return server, new

    def places(self, server: KnownServer) -> list[Location]:
        """Returns the addresses of a server, in the order in which they should be tried."""
        fresh = server.last_heard - STALE * self._interval
        heard = [place for place, at in server.addresses.items() if at >= fresh]
        stale = sorted(server.addresses.keys() - heard, key=lambda place: -server.addresses[place])
        named = [] if server.named is None else [server.named]
        return list(dict.fromkeys([*named, *heard, *stale]))

    def in_sight(self, server: KnownServer, now: float) -> bool:
        """Returns whether a server was heard of lately."""
        return now - server.last_heard <= FORGOTTEN * self._interval

    def _find(self, sighting: Sighting) -> KnownServer | None:
        restarted = None
        for server in self._servers:
            if server.instance == sighting.instance:
                return server
            if server.name == sighting.name and sighting.location in server.addresses:
                restarted = server
        return restarted
