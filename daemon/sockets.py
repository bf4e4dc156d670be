"""Listening sockets: opened for each `--host`, and the addresses at which they accept clients."""

from __future__ import annotations

import contextlib
import errno
import logging
import socket
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from ..core.errors import ServerError
from ..core.host import dialer
from ..core.text import place

log = logging.getLogger("pyraface.server")

EVERY = "::"
"""Every address of this machine, of IPv4 and IPv6: the default of --host."""

EVERY_IPV4 = "0.0.0.0"  # nosec B104: a server is for other machines; clients have to prove the key

BACKLOG = 4096
"""Connections that the system completes before they are accepted; Linux has no more by default (net.core.somaxconn). When
it is full, every client that connects waits a second and tries again: with 128 a single flood let 130 in a second, good
ones among them."""

_IP_FREEBIND = 15
"""From linux/in.h: a socket may be bound to an address that the machine does not have yet, IPv6 included."""

_NUMERIC = socket.AI_NUMERICHOST | socket.AI_PASSIVE

_SPECIAL = {EVERY: 0, EVERY_IPV4: 1}
"""Addresses that stand for others are opened before these."""


class _Target(NamedTuple):
    """An address to listen at.

    Attributes:
        host: the name, or the address, as the user wrote it.
        number: one of the addresses of that name, or that address.
    """

    host: str
    number: str


async def listen(hosts: Sequence[str], port: int) -> list[socket.socket]:
    """Returns TCP sockets that listen at every address of each host, all at one port; port 0 takes a free one.

    `::` is every address of the machine: one socket, which takes IPv6 and IPv4, or IPv4 where the system has no IPv6.
    `0.0.0.0` is every address of IPv4. An address need not exist yet: at boot an interface may get it later than the
    daemon starts.

    Raises:
        ServerError: an address is not available; the message says why, and the remedy. No socket is left open.
    """
    targets = [target for host in hosts for target in await _targets(host, port)]
    targets.sort(key=lambda target: _SPECIAL.get(target.number, len(_SPECIAL)))
    return _opened(targets, port)


def addresses(sockets: Iterable[socket.socket]) -> list[str]:
    """Returns the addresses at which these sockets accept clients, in numbers.

    `0.0.0.0` stands for every address of IPv4, `::` for every address of IPv6; a socket may take both.
    """
    found: list[str] = []
    for sock in sockets:
        number = plain(_number(sock.getsockname()))
        if number == EVERY and not sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY):
            found.append(EVERY_IPV4)
        found.append(number)
    return found


def plain(address: str) -> str:
    """Returns an address as its family writes it: a socket for both families gives ::ffff:192.0.2.7 for 192.0.2.7."""
    return address.removeprefix("::ffff:") if "." in address else address


async def _targets(host: str, port: int) -> list[_Target]:
    try:
        # an IPv6 address may have the brackets that it needs in front of a port
        numbers = await dialer.addresses(host.strip("[]"), port, None)
    except OSError as error:
        raise ServerError(
            f"cannot listen on {place(host, port)}: {error.strerror}; --host takes an address or a name of this machine"
        ) from error
    return [_Target(host, number) for number in numbers]


def _opened(targets: list[_Target], port: int) -> list[socket.socket]:
    with contextlib.ExitStack() as stack:
        sockets: list[socket.socket] = []
        missing: ServerError | None = None
        for target in targets:
            if _taken(target, sockets):
                continue
            if sockets:
                port = sockets[0].getsockname()[1]
            try:
                sockets.append(stack.enter_context(_listening(target, port)))
            except ServerError as error:
                # a name with addresses of IPv6, too, is served by those of IPv4 where the system has no IPv6
                if not _unsupported(error.__cause__):
                    raise
                missing = error
        if missing is not None and not sockets:
            raise missing
        stack.pop_all()
        return sockets


def _taken(target: _Target, sockets: list[socket.socket]) -> bool:
    """Whether one of these sockets takes this address already."""
    every = EVERY if ":" in plain(target.number) else EVERY_IPV4
    return bool({plain(target.number), every} & set(addresses(sockets)))


def _listening(target: _Target, port: int) -> socket.socket:
    try:
        try:
            return _bound(target.number, port)
        except OSError as error:
            if target.number != EVERY or not _unsupported(error):
                raise
            log.debug("no IPv6 on this machine: %s", error.strerror)
            return _bound(EVERY_IPV4, port)
    except OSError as error:
        at = place(target.number, port)
        if target.number == EVERY:
            at = f"{place(EVERY_IPV4, port)} and {at}"
        elif target.host.strip("[]") != target.number:
            at = f"{at} ({target.host})"
        raise ServerError(f"cannot listen on {at}: {error.strerror}; {_remedy(error)}") from error


def _bound(number: str, port: int) -> socket.socket:
    family, _, _, _, address = socket.getaddrinfo(number, port, type=socket.SOCK_STREAM, flags=_NUMERIC)[0]
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # whatever net.ipv6.bindv6only is
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        try:
            sock.bind(address)
        except OSError as error:
            if error.errno != errno.EADDRNOTAVAIL:
                raise
            sock.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
            sock.bind(address)
            log.warning(
                "no interface has the address %s yet: clients reach this server when one gets it",
                number,
            )
        sock.listen(BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


def _unsupported(error: BaseException | None) -> bool:
    return isinstance(error, OSError) and error.errno in (errno.EAFNOSUPPORT, errno.EPFNOSUPPORT)


def _remedy(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "is another daemon running? --port takes another port"
    if error.errno in (errno.EACCES, errno.EPERM):
        return "ports below 1024 are for root; --port takes another"
    if error.errno == errno.EINVAL:
        return "an address of one interface is written with it: fe80::1%eth0"
    if _unsupported(error):
        return "this system has no IPv6; --host takes an address of IPv4"
    return "--host takes an address of this machine"


def _number(address: Any) -> str:
    # not address[0]: it lacks the interface of a link-local address
    return socket.getnameinfo(address, socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)[0]
