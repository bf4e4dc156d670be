"""Admission: who may be connected, at most so many in all and from one address. It keeps accounts and touches no socket."""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Hashable
from typing import Generic, TypeVar

from ..core.errors import ErrorCode, RemoteProtocolError

Guest = TypeVar("Guest", bound=Hashable)


class Admission(Generic[Guest]):
    """Who is connected: at most so many in all, and from one address.

    Who has not been greeted yet makes room for a newcomer, the oldest first: connections that say nothing keep nobody
    out, however many there are. A client says hello at once, and is greeted long before its turn would come.
    """

    def __init__(self, most: int, most_per_address: int) -> None:
        self._most = most
        self._most_per_address = most_per_address
        self._addresses: dict[Guest, str] = {}
        self._counts: Counter[str] = Counter()
        self._silent: dict[Guest, None] = {}

    def __len__(self) -> int:
        return len(self._addresses)

    def enter(self, guest: Guest, host: str) -> Guest | None:
        """Lets a guest in. Returns the one that has to go for it, who is not counted any more; None if there is room.

        Raises:
            RemoteProtocolError: it is one too many; code and text say of what.
        """
        address = site(host)
        leaving = None
        if self._counts[address] >= self._most_per_address:
            leaving = next((other for other in self._silent if self._addresses[other] == address), None)
            if leaving is None:
                raise RemoteProtocolError(
                    f"{self._most_per_address} clients are connected from {address} already "
                    "(params/daemon/max_connections_per_address)",
                    ErrorCode.TOO_MANY_FROM_ADDRESS,
                )
        elif len(self) >= self._most:
            leaving = next(iter(self._silent), None)
            if leaving is None:
                raise RemoteProtocolError(
                    f"{self._most} clients are connected already (params/daemon/max_connections)",
                    ErrorCode.TOO_MANY_CONNECTIONS,
                )
        if leaving is not None:
            self.leave(leaving)
        self._addresses[guest] = address
        self._counts[address] += 1
        self._silent[guest] = None
        return leaving

    def greeted(self, guest: Guest) -> None:
        """From now on this one stays until it leaves."""
        self._silent.pop(guest, None)

    def leave(self, guest: Guest) -> None:
        """The guest is gone; one who had to go is, already."""
        self._silent.pop(guest, None)
        address = self._addresses.pop(guest, None)
        if address is not None:
            self._counts[address] -= 1
            if not self._counts[address]:
                del self._counts[address]


def site(host: str) -> str:
    """Returns what counts as one address: an IPv4 address, or the /64 network that an IPv6 host can choose from."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:  # no IP address: a Unix socket's client
        return host
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is None:
            return str(ipaddress.ip_network((address, 64), strict=False))
        address = address.ipv4_mapped
    return str(address)
