"""Server: the life of a daemon, from its start to the last answer."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
import secrets
import signal
import socket
from collections.abc import Sequence
from typing import Any

from ..core.engines import EngineName
from ..core.errors import ServerError
from ..core.host import tasks
from ..core.host.interfaces import machine_name
from ..core.host.memory import Memory
from ..core.parameters import DaemonParameters, Parameters, as_xml
from ..core.protocol.announcement import Announcement
from ..core.protocol.messages import PROTOCOL_VERSIONS, Welcome
from ..core.text import one_line, place, plural
from . import process
from .admission import Admission
from .beacon import Beacon
from .executor import Executor
from .listener import Listener
from .low_memory import Scarcity
from .sockets import addresses
from .state import ServerState
from .tls import Credentials

log = logging.getLogger("pyraface.server")

_STDIN = 0


class Server:
    """One daemon; `run()` starts it, serves, and stops it.

    Args:
        parameters: from parameters.xml.
        engine: "auto", "onnx" or "dlib".
        sockets: bound TCP sockets, of one port; closed at the end.
        key: the key that clients must prove; None admits every client, without TLS.
        beacon: whether the server announces itself on the network.
        stop_at_eof: whether the end of standard input, or of the parent process, stops it, as SIGTERM does.
    """

    def __init__(
        self,
        parameters: Parameters,
        *,
        engine: EngineName,
        sockets: Sequence[socket.socket],
        key: bytes | None,
        beacon: bool = True,
        stop_at_eof: bool = False,
    ) -> None:
        self._parameters = parameters
        self._engine: EngineName = engine
        self._sockets = sockets
        self._port: int = sockets[0].getsockname()[1]
        self._addresses = addresses(sockets)
        self._credentials = None if key is None else Credentials.for_key(key)
        self._beacon_wanted = beacon
        self._stop_at_eof = stop_at_eof
        limits = parameters.daemon
        room = process.room_for_connections(limits.max_connections)
        self._admission = Admission[socket.socket](room, limits.max_connections_per_address)
        self._should_exit = asyncio.Event()
        self._force_exit = asyncio.Event()

    async def run(self) -> None:
        """Starts, serves until it is told to stop, and stops.

        Raises:
            EngineError: the executor cannot be started, or not started again.
            ServerError: the beacon's UDP port is not available.
        """
        self._watch_signals()
        limits = self._parameters.daemon
        scarcity = Scarcity(Memory(), self._parameters.detection)
        executor = Executor(
            self._engine,
            as_xml(self._parameters),
            queue=limits.queue,
            images_ahead=limits.images_ahead,
            image_timeout=self._parameters.timeouts.image,
            scarcity=scarcity,
        )
        try:
            welcome = await self._start(executor)
            if welcome is not None:
                most = scarcity.bytes_in_flight(limits.max_bytes_in_flight)
                await self._serve(executor, welcome, dataclasses.replace(limits, max_bytes_in_flight=most))
        finally:
            await executor.close()
            self._close_sockets()
        if executor.lost.done():
            executor.lost.result()

    async def _start(self, executor: Executor) -> Welcome | None:
        """Returns the welcome for clients once the executor is ready; None if the daemon was told to stop before that."""
        starting = asyncio.create_task(executor.start())
        stopping = asyncio.create_task(self._should_exit.wait())
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not starting.done():
            await tasks.end([starting])
            return None
        name = self._parameters.beacon.name or machine_name()
        return dataclasses.replace(
            starting.result(),
            name=name[:64],
            instance=secrets.token_hex(8),
            credits=self._parameters.daemon.credits,
        )

    async def _serve(self, executor: Executor, welcome: Welcome, limits: DaemonParameters) -> None:
        """Listens, announces the server, and serves; stops in the opposite order."""
        state = ServerState(
            limits,
            self._parameters.timeouts,
            executor,
            welcome,
            self._credentials,
            self._admission,
        )
        listener = Listener(self._sockets, state)
        accepting = asyncio.create_task(listener.accept(), name="accept")
        beacon = self._beacon(welcome) if self._beacon_wanted else None
        if beacon is not None:
            try:
                beacon.start()
            except OSError as error:
                await tasks.end([accepting])
                raise ServerError(
                    f"{error.strerror}; choose another port (params/ports/server_port_ip_disc) on this machine and on its "
                    "clients, or use --no-beacon"
                ) from error
        self._log_ready(state.welcome)
        process.notify("READY=1")
        await self._until_told_to_stop(executor, accepting)

        # stop announcing, stop accepting, answer what is in flight, close
        process.notify("STOPPING=1")
        state.draining = True
        if beacon is not None:
            await beacon.stop()
        await tasks.end([accepting])
        self._close_sockets()
        await self._drain(executor, listener)
        await listener.close()
        log.info("stopped")

    def _beacon(self, welcome: Welcome) -> Beacon:
        return Beacon(
            Announcement(
                PROTOCOL_VERSIONS[-1],
                welcome.instance,
                welcome.name,
                self._port,
                fingerprint=welcome.fingerprint,
            ),
            None if self._credentials is None else self._credentials.key,
            port=self._parameters.ports.discovery,
            interfaces=self._parameters.beacon.interfaces,
            interval=self._parameters.beacon.interval,
            addresses=self._addresses,
        )

    def _log_ready(self, welcome: Welcome) -> None:
        if self._credentials is None:
            log.warning(
                "authentication is none (params/security/authentication): every machine that reaches this one may use "
                "this server, and everyone on the network can read and change every photograph"
            )
        packaged = "" if self._parameters.stated else " (packaged, with the defaults)"
        if welcome.max_frame_bytes < self._parameters.daemon.max_frame_bytes:
            log.warning(
                "messages have at most %s, less than max_frame_bytes: params/daemon/max_bytes_in_flight, or a "
                "quarter of a scarce memory, has no room for more",
                plural(welcome.max_frame_bytes, "byte"),
            )
        log.info("parameters: %s%s", one_line(self._parameters.source), packaged)
        places = ", ".join(place(address, self._port) for address in self._addresses)
        log.info("ready on %s: %s on %s", places, welcome.engine, welcome.device)
        log.info(
            "searches: %s, unless a client asks for another: %s",
            welcome.searches[0],
            ", ".join(welcome.searches),
        )

    def _close_sockets(self) -> None:
        for sock in self._sockets:
            sock.close()

    async def _until_told_to_stop(self, executor: Executor, accepting: asyncio.Task[None]) -> None:
        """Returns after the first signal, the end of standard input, or the loss of the executor."""
        told = asyncio.create_task(self._should_exit.wait())
        reasons: set[asyncio.Future[Any]] = {told, executor.lost, accepting}
        await asyncio.wait(reasons, return_when=asyncio.FIRST_COMPLETED)
        told.cancel()
        if accepting.done():
            accepting.result()  # raises: a bug of ours, and a daemon that accepts no client is useless
        self._should_exit.set()

    async def _drain(self, executor: Executor, listener: Listener) -> None:
        """Returns when every request has its answer, the time for it is over, or a second signal came."""
        if executor.lost.done():
            return
        log.info("stopping: %s in flight", plural(executor.pending, "image"))
        for connection in listener.connections:
            connection.drain()
        answered = [asyncio.create_task(connection.answered()) for connection in listener.connections]
        if not answered:
            return
        forced = asyncio.create_task(self._force_exit.wait())
        everything = asyncio.gather(*answered)
        reasons: set[asyncio.Future[Any]] = {everything, forced, executor.lost}
        await executor.clock.wait(reasons, self._parameters.timeouts.drain)
        forced.cancel()
        if not everything.done():
            log.warning("stopped with %s unanswered", plural(executor.pending, "image"))
            await tasks.end(answered)
            await executor.close()

    def _watch_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        if self._stop_at_eof:
            try:
                loop.add_reader(_STDIN, self._stdin_readable)
            except OSError as error:
                raise ServerError(
                    "--stop-at-eof needs a pipe or a terminal as standard input: a regular file cannot be watched"
                ) from error
            self._watch_parent()

    def _watch_parent(self) -> None:
        """Stops the server when its parent process ends: a process forked from that may hold the standard input open."""
        try:
            parent = os.pidfd_open(os.getppid())
        except (AttributeError, OSError):  # before Linux 5.3
            return

        def ended() -> None:
            asyncio.get_running_loop().remove_reader(parent)
            os.close(parent)
            if not self._should_exit.is_set():
                self._stop()

        asyncio.get_running_loop().add_reader(parent, ended)

    def _stdin_readable(self) -> None:
        try:
            over = not os.read(_STDIN, 4096)
        except BlockingIOError:  # another process has read it first
            return
        except OSError:  # a terminal that is gone
            over = True
        if over:
            asyncio.get_running_loop().remove_reader(_STDIN)
            if not self._should_exit.is_set():
                self._stop()

    def _stop(self) -> None:
        """Stops the server in order; the second time, at once."""
        if self._should_exit.is_set():
            self._force_exit.set()
        self._should_exit.set()
