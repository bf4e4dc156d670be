"""Admission: the limits on connected clients, in all and per address. It uses no socket."""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Hashable
from typing import Generic, TypeVar

from ..core.errors import ErrorCode, LimitError
from ..core.text import plural

Client = TypeVar("Client", bound=Hashable)


class Admission(Generic[Client]):
    """Counts the connected clients, in all and per address.

    A client that has not been greeted yet is displaced by a new one, the oldest first, so that any number of connections
    that send nothing keep no other client out. A real client sends hello at once and is greeted before it is displaced.
    """

    def __init__(self, most: int, most_per_address: int) -> None:
        self._most = most
        self._most_per_address = most_per_address
        self._addresses: dict[Client, str] = {}
        self._counts: Counter[str] = Counter()
        self._silent: dict[Client, None] = {}

    def __len__(self) -> int:
        return len(self._addresses)

    def enter(self, client: Client, host: str) -> Client | None:
        """Admits a client. Returns the client that it displaces, which is no longer counted; None if there is room.

        Raises:
            LimitError: one client too many; the message names the limit.
        """
        address = site(host)
        displaced = None
        if self._counts[address] >= self._most_per_address:
            displaced = next((other for other in self._silent if self._addresses[other] == address), None)
            if displaced is None:
                raise LimitError(
                    f"the limit of {plural(self._most_per_address, 'client')} at {address} is reached "
                    "(params/daemon/max_connections_per_address)",
                    ErrorCode.TOO_MANY_FROM_ADDRESS,
                )
        elif len(self) >= self._most:
            displaced = next(iter(self._silent), None)
            if displaced is None:
                raise LimitError(
                    f"the limit of {plural(self._most, 'client')} is reached (params/daemon/max_connections)",
                    ErrorCode.TOO_MANY_CONNECTIONS,
                )
        if displaced is not None:
            self.leave(displaced)
        self._addresses[client] = address
        self._counts[address] += 1
        self._silent[client] = None
        return displaced

    def greeted(self, client: Client) -> None:
        """Protects a client, until it leaves, from being displaced."""
        self._silent.pop(client, None)

    def leave(self, client: Client) -> None:
        """Removes a client; one that was displaced is removed already."""
        self._silent.pop(client, None)
        address = self._addresses.pop(client, None)
        if address is not None:
            self._counts[address] -= 1
            if not self._counts[address]:
                del self._counts[address]


def site(host: str) -> str:
    """Returns what counts as one address: an IPv4 address, or the /64 network from which an IPv6 host chooses its own."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:  # no IP address: the client of a Unix socket
        return host
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)
