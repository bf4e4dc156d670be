"""Listener: clients accepted, admitted, given TLS and served, or refused."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
from typing import Any

from ..core.errors import LimitError, ServerError
from ..core.host import dialer
from ..core.protocol import wire
from .connection import CLOSE_TIMEOUT, Connection
from .state import ServerState
from .tls import accepted

log = logging.getLogger("pyraface.server")

BACKLOG = 4096
"""Connections that the system completes before they are accepted; Linux has no more by default (net.core.somaxconn). When
it is full, every client that connects waits a second and tries again: with 128 a single flood let 130 in a second, good
ones among them."""

NO_ROOM = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
"""Errors for which a connection cannot be accepted now, but may be later."""

ACCEPT_PAUSE = 0.2
"""Seconds before a connection is accepted again after such an error."""

_IP_FREEBIND = 15
"""From linux/in.h: a socket may be bound to an address that the machine does not have yet, IPv6 included."""

MOST_REFUSALS = 32
"""Refusals that are explained at the same time; further connections are closed without an explanation."""


async def address_of(host: str, port: int) -> str:
    """Returns the numeric address of a host. A name server that does not answer keeps no signal waiting.

    Raises:
        ServerError: the host has no address.
    """
    try:
        return (await dialer.addresses(host, port, None))[0]
    except OSError as error:
        raise ServerError(
            f"cannot listen on {host}:{port}: {error.strerror}; --host takes an address of this machine"
        ) from error


def listen(host: str, port: int) -> socket.socket:
    """Returns a TCP socket bound to host and port; port 0 takes a free one.

    The address need not exist yet: at boot an interface may get it later than the daemon starts.

    Raises:
        ServerError: the address is not available; the message says why, and the remedy.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            _bind(listener, address, host)
            listener.listen(BACKLOG)
        except BaseException:
            listener.close()
            raise
        return listener
    except OSError as error:
        remedy = "--host takes an address of this machine"
        if error.errno == errno.EADDRINUSE:
            remedy = "is another daemon running? --port takes another port"
        elif error.errno in (errno.EACCES, errno.EPERM):
            remedy = "ports below 1024 are for root; --port takes another"
        raise ServerError(f"cannot listen on {host}:{port}: {error.strerror}; {remedy}") from error


def _bind(listener: socket.socket, address: Any, host: str) -> None:
    try:
        listener.bind(address)
    except OSError as error:
        if error.errno != errno.EADDRNOTAVAIL:
            raise
        listener.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
        listener.bind(address)
        log.warning("no interface has the address %s yet: clients reach this server when one gets it", host)


class Listener:
    """Accepts clients on a bound socket, and serves each in a separate task.

    Args:
        sock: a bound TCP socket; the caller closes it.
        state: the data shared by the connections.

    Attributes:
        connections: the connections being served, each with its task.
    """

    def __init__(self, sock: socket.socket, state: ServerState) -> None:
        self.connections: dict[Connection, asyncio.Task[None]] = {}
        self._socket = sock
        self._state = state
        self._clients: set[asyncio.Task[None]] = set()
        self._refusals: set[asyncio.Task[None]] = set()
        _detect_lost_peers(sock, state.timeouts.read)

    async def accept(self) -> None:
        """Accepts clients, one after the other, until it is cancelled."""
        loop = asyncio.get_running_loop()
        self._socket.setblocking(False)
        self._socket.listen(BACKLOG)
        while True:
            try:
                client, address = await loop.sock_accept(self._socket)
            except OSError as error:
                if error.errno in NO_ROOM:
                    log.error("a client cannot be accepted: %s", error.strerror)
                    await asyncio.sleep(ACCEPT_PAUSE)
                continue  # any other error: the client left before it was accepted
            self._admit(client, str(address[0]))

    async def close(self) -> None:
        """Returns when the last answers have been sent, or the time for it is over; no connection is left then."""
        connections = dict(self.connections)
        for task in connections.values():
            task.cancel()
        closed = [asyncio.create_task(connection.closed()) for connection in connections]
        if closed:
            await asyncio.wait(closed, timeout=CLOSE_TIMEOUT)
        for connection in connections:
            connection.abort()

    def _admit(self, client: socket.socket, host: str) -> None:
        try:
            displaced = self._state.admission.enter(client, host)
        except LimitError as reason:
            self._refuse(client, reason)
            return
        if displaced is not None:
            with contextlib.suppress(OSError):  # it left by itself
                displaced.shutdown(socket.SHUT_RDWR)

        def left(_: object) -> None:
            self._state.admission.leave(client)
            self._clients.discard(task)

        task = asyncio.create_task(self._serve(client))
        self._clients.add(task)  # a task that nothing refers to may be collected
        task.add_done_callback(left)

    async def _serve(self, client: socket.socket) -> None:
        task = asyncio.current_task()
        assert task is not None
        try:
            connection = await self._connection(client)
            self.connections[connection] = task
            try:
                await connection.serve()
                await connection.left()
            finally:
                del self.connections[connection]
        except OSError:
            log.debug("a client was gone before it was served")
        except asyncio.CancelledError:
            pass  # the server stops; the connection has tidied up

    def _refuse(self, client: socket.socket, reason: LimitError) -> None:
        if len(self._refusals) >= MOST_REFUSALS:
            client.close()
            return
        refusal = asyncio.create_task(self._explain(client, reason))
        self._refusals.add(refusal)
        refusal.add_done_callback(self._refusals.discard)

    async def _explain(self, client: socket.socket, reason: LimitError) -> None:
        with contextlib.suppress(OSError):
            connection = await self._connection(client)
            await connection.refuse(reason)
            await connection.left()

    async def _connection(self, client: socket.socket) -> Connection:
        try:
            patience = self._state.timeouts.handshake
            reader, writer = await accepted(
                client, self._state.credentials, limit=wire.CHUNK, patience=patience
            )
        except BaseException:
            client.close()
            raise
        return Connection(reader, writer, client, self._state)


def _detect_lost_peers(listener: socket.socket, seconds: float) -> None:
    """Makes the system end each accepted connection `seconds` after its peer was switched off or disconnected."""
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    # whole seconds, at most 32767; TCP_USER_TIMEOUT, in milliseconds, then decides
    pause = min(max(1, int(seconds / 4)), 32767)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, pause)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, pause)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(seconds * 1000))
