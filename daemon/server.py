"""The life of a daemon, from start to the last answer."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import errno
import logging
import os
import secrets
import signal
import socket
from typing import Any

from .. import __version__
from ..core.engines import EngineName
from ..core.errors import RemoteProtocolError, ServerError
from ..core.host import tasks
from ..core.parameters import Parameters
from ..core.protocol.announcement import Announcement
from ..core.protocol.messages import PROTOCOL_VERSIONS, Status, Welcome
from .admission import Admission
from .beacon import Beacon
from .budget import Budget
from .connection import CHUNK, CLOSE_TIMEOUT, Connection
from .executor import Executor
from .process import room_for_connections
from .tls import Credentials, accepted

log = logging.getLogger("pyraface.server")

BACKLOG = 4096
"""Connections that the system makes before we take them; Linux has no more by default (net.core.somaxconn). When it is full,
everybody who connects waits a second and tries again: with 128 a single flood let 130 in a second, good ones among them."""

NO_ROOM = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
"""Why a connection cannot be accepted now, though it could be later."""

ACCEPT_PAUSE = 0.2
"""Seconds before that is tried again."""

MOST_REFUSALS = 32
"""Connections that are told at the same time why they are refused; more are closed without a word."""

_STDIN = 0


class Server:
    """One daemon. `run()` is its whole life.

    Args:
        parameters: from parameters.xml.
        engine: "auto", "onnx" or "dlib".
        listener: a bound TCP socket; closed at the end.
        key: what clients must have; None lets anybody in, without TLS.
        beacon: whether the server makes itself known on the network.
        stop_at_eof: whether the end of standard input stops it, as SIGTERM does.
    """

    def __init__(
        self,
        parameters: Parameters,
        *,
        engine: EngineName,
        listener: socket.socket,
        key: bytes | None,
        beacon: bool = True,
        stop_at_eof: bool = False,
    ) -> None:
        self._parameters = parameters
        self._engine: EngineName = engine
        self._listener = listener
        self._credentials = None if key is None else Credentials.for_key(key)
        self._beacon_wanted = beacon
        self._stop_at_eof = stop_at_eof
        self._connections: dict[Connection, asyncio.Task[None]] = {}
        self._guests: set[asyncio.Task[None]] = set()
        self._refusals: set[asyncio.Task[None]] = set()
        limits = parameters.daemon
        self._budget = Budget(limits.max_bytes_in_flight, limits.max_connections)
        self._admission = self._door()
        self._should_exit = asyncio.Event()
        self._force_exit = asyncio.Event()

    async def run(self) -> None:
        """Starts, serves until it is told to stop, and stops.

        Raises:
            EngineError: the executor cannot be started, or no longer.
            ServerError: the beacon's port cannot be had.
        """
        self._watch_signals()
        executor = Executor(self._parameters, self._engine)
        try:
            if not await self._start_executor(executor):
                return
            await self._serve(executor)
        finally:
            await executor.close()
            self._listener.close()
        if executor.lost.done():
            executor.lost.result()

    async def _start_executor(self, executor: Executor) -> bool:
        """Returns whether it is ready; False if the daemon was told to stop while it waited."""
        starting = asyncio.create_task(executor.start())
        stopping = asyncio.create_task(self._should_exit.wait())
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not starting.done():
            await tasks.end([starting])
            return False
        ready = starting.result()
        name = self._parameters.beacon.name or socket.gethostname()
        self._welcome = dataclasses.replace(
            ready, name=name[:64], instance=secrets.token_hex(8), credits=self._parameters.daemon.credits
        )
        return True

    async def _serve(self, executor: Executor) -> None:
        welcome = self._welcome
        _watch_silence(self._listener, self._parameters.timeouts.read)
        accepting = asyncio.create_task(self._accept(executor), name="accept")
        host, port = self._listener.getsockname()[:2]
        key = None if self._credentials is None else self._credentials.key
        beacon = self._beacon(_words(welcome, port), key) if self._beacon_wanted else None
        if beacon is not None:
            try:
                await beacon.start()
            except OSError as error:
                await tasks.end([accepting])
                raise ServerError(f"{error.strerror}; choose another port, or use --no-beacon") from error
        if self._credentials is None:
            log.warning(
                "authentication is none (params/security/authentication): whoever reaches this machine may use this "
                "server, and whoever is on the network can read and change every photograph"
            )
        log.info("ready on %s:%d: %s on %s", host, port, welcome.engine, welcome.device)
        _notify("READY=1")
        await self._until_told(executor, accepting)

        # stop announcing, stop accepting, finish what is in flight, close
        _notify("STOPPING=1")
        if beacon is not None:
            await beacon.stop()
        await tasks.end([accepting])
        self._listener.close()
        await self._drain(executor)
        await self._close_connections()
        log.info("stopped")

    def _beacon(self, words: Announcement, key: bytes | None) -> Beacon:
        return Beacon(
            words,
            key,
            port=self._parameters.ports.discovery,
            interfaces=self._parameters.beacon.interfaces,
            interval=self._parameters.beacon.interval,
        )

    async def _until_told(self, executor: Executor, accepting: asyncio.Task[None]) -> None:
        told = asyncio.create_task(self._should_exit.wait())
        reasons: set[asyncio.Future[Any]] = {told, executor.lost, accepting}
        await asyncio.wait(reasons, return_when=asyncio.FIRST_COMPLETED)
        told.cancel()
        if accepting.done():
            accepting.result()  # raises: a bug of ours, and a daemon that lets nobody in is none
        self._should_exit.set()

    async def _drain(self, executor: Executor) -> None:
        """Returns when every request has its answer, the time for it is over, or a second signal came."""
        if executor.lost.done():
            return
        log.info("stopping: %d images in flight", executor.pending)
        for connection in self._connections:
            connection.drain()
        answered = [asyncio.create_task(connection.answered()) for connection in self._connections]
        if not answered:
            return
        forced = asyncio.create_task(self._force_exit.wait())
        everything = asyncio.gather(*answered)
        reasons: set[asyncio.Future[Any]] = {everything, forced, executor.lost}
        await asyncio.wait(
            reasons,
            timeout=self._parameters.timeouts.drain,
            return_when=asyncio.FIRST_COMPLETED,
        )
        forced.cancel()
        if not everything.done():
            log.warning("stopped with %d images unanswered", executor.pending)
            await tasks.end(answered)
            await executor.close()

    async def _close_connections(self) -> None:
        """Returns when the last answers have left, or their time is over."""
        connections = dict(self._connections)
        for task in connections.values():
            task.cancel()
        closed = [asyncio.create_task(connection.closed()) for connection in connections]
        if closed:
            await asyncio.wait(closed, timeout=CLOSE_TIMEOUT)
        for connection in connections:
            connection.abort()

    def _door(self) -> Admission[socket.socket]:
        limits = self._parameters.daemon
        room = room_for_connections(limits.max_connections)
        if room < limits.max_connections:
            log.warning(
                "the system allows this process descriptors for %d clients, not %d "
                "(params/daemon/max_connections): raise its limit (ulimit -n, LimitNOFILE)",
                room,
                limits.max_connections,
            )
        return Admission(room, limits.max_connections_per_address)

    async def _accept(self, executor: Executor) -> None:
        """Lets clients in, one after the other, until it is cancelled."""
        loop = asyncio.get_running_loop()
        self._listener.setblocking(False)
        self._listener.listen(BACKLOG)
        while True:
            try:
                client, address = await loop.sock_accept(self._listener)
            except OSError as error:
                if error.errno in NO_ROOM:
                    log.error("a client cannot be let in: %s", error.strerror)
                    await asyncio.sleep(ACCEPT_PAUSE)
                continue  # otherwise it was gone before it came
            try:
                leaving = self._admission.enter(client, str(address[0]))
            except RemoteProtocolError as reason:
                self._refuse(client, reason, executor)
            else:
                if leaving is not None:
                    with contextlib.suppress(OSError):  # it went by itself
                        leaving.shutdown(socket.SHUT_RDWR)
                self._let_in(client, executor)

    def _let_in(self, client: socket.socket, executor: Executor) -> None:
        def left(_: object) -> None:
            self._admission.leave(client)
            self._guests.discard(guest)

        guest = asyncio.create_task(self._connected(client, executor))
        self._guests.add(guest)  # or nothing would hold on to it
        guest.add_done_callback(left)

    async def _connected(self, client: socket.socket, executor: Executor) -> None:
        task = asyncio.current_task()
        assert task is not None
        try:
            connection = await self._connection(client, executor)
            self._connections[connection] = task
            try:
                await connection.serve()
                await connection.left()
            finally:
                del self._connections[connection]
        except OSError:
            log.debug("a client was gone before it was served")
        except asyncio.CancelledError:
            pass  # the server stops; the connection has tidied up

    def _refuse(self, client: socket.socket, reason: RemoteProtocolError, executor: Executor) -> None:
        if len(self._refusals) >= MOST_REFUSALS:
            client.close()
            return
        refusal = asyncio.create_task(self._explain(client, reason, executor))
        self._refusals.add(refusal)
        refusal.add_done_callback(self._refusals.discard)

    async def _explain(self, client: socket.socket, reason: RemoteProtocolError, executor: Executor) -> None:
        with contextlib.suppress(OSError):
            connection = await self._connection(client, executor)
            await connection.refuse(reason)
            await connection.left()

    async def _connection(self, client: socket.socket, executor: Executor) -> Connection:
        try:
            patience = self._parameters.timeouts.handshake
            reader, writer = await accepted(client, self._credentials, limit=CHUNK, patience=patience)
        except BaseException:
            client.close()
            raise
        return Connection(
            reader,
            writer,
            parameters=self._parameters,
            executor=executor,
            welcome=self._welcome,
            budget=self._budget,
            greeted=lambda: self._admission.greeted(client),
            credentials=self._credentials,
            draining=self._should_exit.is_set,
            status=lambda id: self._status(id, executor),
        )

    def _status(self, id: int, executor: Executor) -> Status:
        now = asyncio.get_running_loop().time()
        throughput = executor.throughput
        return Status(
            id,
            software=f"pyraface {__version__}",
            waiting=executor.waiting,
            working=executor.working,
            connections=len(self._connections),
            answered=throughput.total,
            rate=throughput.rate(now),
            uptime=throughput.elapsed(now),
        )

    def _watch_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        if self._stop_at_eof:
            try:
                loop.add_reader(_STDIN, self._stdin_readable)
            except OSError as error:
                raise ServerError(
                    "--stop-at-eof needs a pipe or a terminal as standard input: a file's end cannot be waited for"
                ) from error

    def _stdin_readable(self) -> None:
        try:
            over = not os.read(_STDIN, 4096)
        except BlockingIOError:  # somebody else has read what was there
            return
        except OSError:  # a terminal that is gone
            over = True
        if over:
            asyncio.get_running_loop().remove_reader(_STDIN)
            self._stop()

    def _stop(self) -> None:
        if self._should_exit.is_set():
            self._force_exit.set()
        self._should_exit.set()


def _watch_silence(listener: socket.socket, seconds: float) -> None:
    """Has the system end each accepted connection whose peer is gone without a word: switched off, or cut off."""
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    # whole seconds, at most 32767; TCP_USER_TIMEOUT, in milliseconds, then decides
    pause = min(max(1, int(seconds / 4)), 32767)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, pause)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, pause)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(seconds * 1000))


def listen(host: str, port: int) -> socket.socket:
    """Returns a TCP socket bound to host and port; port 0 takes a free one.

    Raises:
        ServerError: it cannot be had; says why and what to do.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise ServerError(
            f"cannot listen on {host}:{port}: {error.strerror}; is another daemon running? --port takes another"
        ) from error


def _words(welcome: Welcome, port: int) -> Announcement:
    return Announcement(
        PROTOCOL_VERSIONS[-1], welcome.instance, welcome.name, port, fingerprint=welcome.fingerprint
    )


def _notify(state: str) -> None:
    """Tells systemd (Type=notify) how far we are; sd_notify(3) describes the datagram."""
    path = os.environ.get("NOTIFY_SOCKET")
    if not path:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        try:
            sock.sendto(state.encode(), "\0" + path[1:] if path.startswith("@") else path)
        except OSError as error:
            log.warning("the service manager at %s does not listen: %s", path, error)
