"""Listener: clients accepted, admitted, given TLS and served, or refused."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
from collections.abc import Sequence

from ..core.errors import LimitError
from ..core.protocol import wire
from .connection import CLOSE_TIMEOUT, Connection
from .sockets import BACKLOG, plain
from .state import ServerState
from .tls import accepted

log = logging.getLogger("pyraface.server")

NO_ROOM = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
"""Errors for which a connection cannot be accepted now, but may be later."""

ACCEPT_PAUSE = 0.2
"""Seconds before a connection is accepted again after such an error."""

MOST_REFUSALS = 32
"""Refusals that are explained at the same time; further connections are closed without an explanation."""


class Listener:
    """Accepts clients on bound sockets, and serves each in a separate task.

    Args:
        sockets: bound TCP sockets; the caller closes them.
        state: the data shared by the connections.

    Attributes:
        connections: the connections being served, each with its task.
    """

    def __init__(self, sockets: Sequence[socket.socket], state: ServerState) -> None:
        self.connections: dict[Connection, asyncio.Task[None]] = {}
        self._sockets = sockets
        self._state = state
        self._clients: set[asyncio.Task[None]] = set()
        self._refusals: set[asyncio.Task[None]] = set()
        for sock in sockets:
            _detect_lost_peers(sock, state.timeouts.read)

    async def accept(self) -> None:
        """Accepts clients until it is cancelled."""
        await asyncio.gather(*[self._accept(sock) for sock in self._sockets])

    async def _accept(self, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        sock.setblocking(False)
        sock.listen(BACKLOG)
        while True:
            try:
                client, address = await loop.sock_accept(sock)
            except OSError as error:
                if error.errno in NO_ROOM:
                    log.error("a client cannot be accepted: %s", error.strerror)
                    await asyncio.sleep(ACCEPT_PAUSE)
                continue  # any other error: the client left before it was accepted
            self._admit(client, plain(address[0]))

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
