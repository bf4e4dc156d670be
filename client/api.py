"""The library: `Client`, and `detect_faces` for a script without asyncio."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import logging
import os
import stat
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Coroutine, Iterable
from dataclasses import dataclass
from typing import Any

from ..core import parameters as parameters_file
from ..core import tasks
from ..core.errors import ErrorCode, ServerError
from ..core.messages import Failed
from ..core.parameters import Parameters
from .connection import Answer, ServerConnection, ServerLost, connect
from .discovery import Discovery, Location
from .local import LocalServer
from .results import Result
from .scheduler import Scheduler

log = logging.getLogger("pyraface.client")

Image = str | os.PathLike[str] | bytes
"""A file's path, or the bytes of one."""

BUSY_PAUSE = 0.5
"""Seconds before a server that said busy gets its next image from us."""

FIRST_BACK_OFF, LONGEST_BACK_OFF = 0.5, 30.0
"""Seconds before a lost server is tried again."""

READ_AHEAD = 4
"""Images read from disk beyond those that servers have credit for."""


@dataclass(eq=False)
class _Job:
    image: bytes
    answer: asyncio.Future[tuple[str, Answer]]
    """(name of the server, its answer); cancelled when nobody waits for it any more."""
    failure: tuple[str, Failed] | None = None
    """What the last server that refused it said."""


@dataclass(frozen=True, eq=False)
class _Server:
    name: str
    connection: ServerConnection


class Client:
    """Any number of servers, used as one.

        async with Client("auto") as client:
            result = await client.detect("photo.jpg")

    Args:
        servers: "auto": every server that answers on the network, and if none does, a child daemon on this machine;
            "local": the child daemon; or "HOST[:PORT],...".
        parameters: from `parameters.load()`; None loads them from the usual places.
        on_event: is told in one line what a person may want to know: a server found, lost, started.

    Raises (on entering):
        ServerError: no server can be reached, and none started.
        ParametersError: parameters.xml is wrong.
        RuntimeError: it was entered before.
    """

    def __init__(
        self,
        servers: str = "auto",
        *,
        parameters: Parameters | None = None,
        on_event: Callable[[str], None] | None = None,
    ) -> None:
        self._parameters = parameters if parameters is not None else parameters_file.load()
        self._wanted = servers
        self._tell = on_event if on_event is not None else log.info
        self._locations = [] if servers in ("auto", "local") else _locations(servers, self._parameters)
        self._scheduler: Scheduler[_Job, _Server] = Scheduler()
        self._tasks: set[asyncio.Task[object]] = set()
        self._heard_of: dict[Location, asyncio.Event] = {}
        self._instances: set[str] = set()
        self._connections: set[ServerConnection] = set()
        self._exit = contextlib.AsyncExitStack()
        self._alone: asyncio.TimerHandle | None = None
        self._forsaken = False
        self._first: _Server | None = None
        self._entered = self._closed = False

    async def __aenter__(self) -> Client:
        if self._entered:
            raise RuntimeError("a Client is entered once; make another one")
        self._entered = True
        try:
            await self._find_servers()
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._close()

    @property
    def servers(self) -> int:
        """How many servers are connected."""
        return self._scheduler.servers

    async def detect(self, image: Image) -> Result:
        """Returns what became of one image: a file's path, or its bytes. Failures are in the result, not raised.

        Cancelling this cancels the request at the server.

        Raises:
            RuntimeError: outside of `async with`, where there is no server.
        """
        if not self._entered or self._closed:
            raise RuntimeError("a Client is to be used inside of `async with`")
        path = "" if isinstance(image, bytes) else os.fspath(image)
        if isinstance(image, bytes):
            data = image
            digest = await asyncio.to_thread(_digest, data)
        else:
            try:
                data, digest = await asyncio.to_thread(_read, path, self._parameters.daemon.max_frame_bytes)
            except OverflowError as error:
                return Result(path, error=(ErrorCode.FRAME_TOO_LARGE, str(error)))
            except OSError as error:
                text = f"cannot be read: {error.strerror or error}"
                return Result(path, error=(ErrorCode.UNREADABLE, text))
            except ValueError as error:  # a NUL in the name
                return Result(path, error=(ErrorCode.UNREADABLE, f"cannot be read: {error}"))
        job = _Job(data, asyncio.get_running_loop().create_future())
        self._scheduler.put(job)
        self._assign()
        if self._forsaken:
            self._give_up_all()
        try:
            server, answer = await job.answer
        finally:
            if self._scheduler.waits(job):  # cancelled; if a server has it, that still has to answer
                self._scheduler.withdraw(job)
        return Result.of(path, digest, server, answer)

    async def map(self, images: Iterable[Image] | AsyncIterable[Image]) -> AsyncGenerator[Result, None]:
        """Yields what became of each image, in the order in which they are done.

        Only as many images are read ahead as keeps the servers busy, so the iterable may be as long as it likes. It is
        asked in the event loop; one that may take its time (a directory on a network's disk) should be asynchronous.
        Leaving the loop early (with `contextlib.aclosing`, or by cancelling) cancels what is in flight.
        """
        running: set[asyncio.Task[Result]] = set()
        upcoming = images.__aiter__() if isinstance(images, AsyncIterable) else _asynchronous(images)
        exhausted = False
        try:
            while True:
                while not exhausted and len(running) < self._scheduler.credits + READ_AHEAD:
                    try:
                        running.add(asyncio.create_task(self.detect(await upcoming.__anext__())))
                    except StopAsyncIteration:
                        exhausted = True
                if not running:
                    return
                done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    yield task.result()
        finally:
            await tasks.end(running)

    async def _find_servers(self) -> None:
        if self._wanted == "auto":
            discovery = await self._exit.enter_async_context(Discovery(self._parameters))
            await self._connect_to(await discovery.first(), must=False)
            self._keep(self._look_for_more(discovery))
            if self._scheduler.servers:
                return
            self._tell("no server answered on the network: starting one on this machine")
        if self._wanted in ("auto", "local"):
            await self._start_local()
        else:
            await self._connect_to(self._locations, must=True)

    async def _connect_to(self, locations: list[Location], *, must: bool) -> None:
        """Connects to all of them; raises ServerError if `must` and not one can be reached."""
        attempts = [self._connect(place) for place in locations]
        reached = await asyncio.gather(*attempts, return_exceptions=True)
        failures = [outcome for outcome in reached if isinstance(outcome, BaseException)]
        for failure in failures:
            if not isinstance(failure, ServerError):
                raise failure
        if must and len(failures) == len(locations):
            raise ServerError("no server reached: " + "; ".join(str(failure) for failure in failures))
        for place, outcome in zip(locations, reached, strict=True):
            if isinstance(outcome, ServerConnection):
                self._keep_up(place, outcome)
            else:
                self._tell(f"not reached: {outcome}")
                self._keep_up(place, None)

    async def _start_local(self) -> None:
        local = LocalServer(self._parameters)
        self._exit.push_async_callback(local.stop)
        connection = await local.start()
        self._connections.add(connection)
        server = self._join("local", connection)
        assert server is not None  # it was started just now
        self._keep(self._until_lost(server))

    async def _look_for_more(self, discovery: Discovery) -> None:
        async for place in discovery.more():
            if place in self._heard_of:
                self._heard_of[place].set()
            else:
                self._keep_up(place, None)

    def _keep_up(self, place: Location, connection: ServerConnection | None) -> None:
        """Uses a server as long as it is there, and tries again when it is lost."""
        self._heard_of[place] = asyncio.Event()
        server = self._join(str(place), connection) if connection is not None else None
        self._keep(self._use(place, connection, server))

    async def _use(
        self, place: Location, connection: ServerConnection | None, server: _Server | None
    ) -> None:
        back_off = 0.0
        while True:
            if server is not None:
                await self._until_lost(server)
                back_off = FIRST_BACK_OFF
            elif connection is not None:
                log.debug("%s: %s once more, at another address", place, connection.welcome.name)
                await self._disconnect(connection)
                back_off = LONGEST_BACK_OFF
            await self._pause(place, back_off)
            connection = server = None
            try:
                connection = await self._connect(place)
            except ServerError as error:
                log.debug("%s", error)
                back_off = min(max(FIRST_BACK_OFF, 2 * back_off), LONGEST_BACK_OFF)
            else:
                server = self._join(str(place), connection)

    async def _connect(self, place: Location) -> ServerConnection:
        connection = await connect(place.host, place.port, self._parameters)
        self._connections.add(connection)
        return connection

    async def _disconnect(self, connection: ServerConnection) -> None:
        self._connections.discard(connection)
        await connection.close()

    async def _pause(self, place: Location, seconds: float) -> None:
        """Returns after some seconds, or sooner if the server makes itself heard."""
        await asyncio.sleep(min(FIRST_BACK_OFF, seconds))
        heard_of = self._heard_of[place]
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(heard_of.wait(), seconds - FIRST_BACK_OFF)
        heard_of.clear()

    def _join(self, place: str, connection: ServerConnection) -> _Server | None:
        """From here on the server gets images. Returns None for one that does already, at another address."""
        welcome = connection.welcome
        if welcome.instance in self._instances:
            return None
        name = place if place == "local" else f"{welcome.name} ({place})"
        server = _Server(name, connection)
        self._compare(server)
        self._instances.add(welcome.instance)
        self._tell(f"server {name}: {welcome.engine} on {welcome.device}")
        self._scheduler.server_up(server, welcome.credits)
        self._company()
        self._assign()
        return server

    def _compare(self, server: _Server) -> None:
        """Says so if this server's faces may differ from those of the first."""
        if self._first is None:
            self._first = server
        elif server.connection.welcome.fingerprint != self._first.connection.welcome.fingerprint:
            self._tell(
                f"server {server.name} has another engine, device or parameters than {self._first.name}: "
                "its faces may differ a little"
            )

    async def _until_lost(self, server: _Server) -> None:
        """Returns when a server is lost, its images given back."""
        connection = server.connection
        watch = asyncio.create_task(self._watch_draining(server))
        try:
            lost = await asyncio.shield(connection.lost)
            self._tell(f"server lost: {server.name}: {str(lost).partition(': ')[2]}")
        finally:
            watch.cancel()
            self._instances.discard(connection.welcome.instance)
            for job in self._scheduler.server_down(server):
                self._give_up(job)
            self._company()
            self._assign()
            await self._disconnect(connection)

    async def _watch_draining(self, server: _Server) -> None:
        await server.connection.draining.wait()
        self._scheduler.server_draining(server)

    def _assign(self) -> None:
        while (assignment := self._scheduler.assign()) is not None:
            self._keep(self._run(*assignment))

    async def _run(self, server: _Server, job: _Job) -> None:
        """Has one server do one image, and tells the scheduler how it went."""
        try:
            answer = await server.connection.request(job.image, job.answer)
        except ServerLost:
            return  # server_down gives the image back
        if job.answer.done():  # cancelled meanwhile
            self._scheduler.settled(job)
        elif isinstance(answer, Failed) and answer.code in (ErrorCode.BUSY, ErrorCode.DRAINING):
            if answer.code is ErrorCode.BUSY:
                await asyncio.sleep(BUSY_PAUSE)
            else:
                self._scheduler.server_draining(server)
            self._scheduler.postponed(server, job)
        elif isinstance(answer, Failed) and answer.elsewhere:
            job.failure = (server.name, answer)
            if self._scheduler.refused(server, job):
                self._give_up(job)
        else:
            self._scheduler.settled(job)
            job.answer.set_result((server.name, answer))
        self._assign()

    def _give_up(self, job: _Job) -> None:
        if not job.answer.done():
            lost = Failed.because(0, ErrorCode.SERVER_LOST, "no server lived to answer it")
            job.answer.set_result(job.failure if job.failure is not None else ("", lost))

    def _company(self) -> None:
        """Without any server, images wait for one only so long."""
        if self._scheduler.servers:
            self._forsaken = False
            if self._alone is not None:
                self._alone.cancel()
                self._alone = None
        elif self._alone is None:
            # nobody tries to bring a child daemon back
            limit = self._parameters.timeouts.read if self._locations or self._wanted == "auto" else 0.0
            self._alone = asyncio.get_running_loop().call_later(limit, self._give_up_all)

    def _give_up_all(self) -> None:
        self._forsaken = True
        for job in self._scheduler.withdraw_all():
            self._give_up(job)

    def _keep(self, work: Coroutine[Any, Any, object]) -> None:
        """Runs something until it is done, or the client closed."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _close(self) -> None:
        self._closed = True
        await tasks.end(self._tasks)
        # those whose task had not even begun
        await asyncio.gather(*[self._disconnect(connection) for connection in list(self._connections)])
        if self._alone is not None:
            self._alone.cancel()
        self._give_up_all()  # whoever still waits would wait for ever
        await self._exit.aclose()


def detect_faces(image: Image, *, servers: str = "auto", parameters: Parameters | None = None) -> Result:
    """Returns what became of one image; for scripts without asyncio. For many images use `Client.map`.

    Raises:
        ServerError: no server can be reached, and none started.
        ParametersError: parameters.xml is wrong.
    """

    async def once() -> Result:
        async with Client(servers, parameters=parameters) as client:
            return await client.detect(image)

    return asyncio.run(once())


def _locations(servers: str, parameters: Parameters) -> list[Location]:
    """Returns the places that "HOST[:PORT],..." names; an IPv6 address with a port stands in brackets."""
    found: list[Location] = []
    for entry in servers.split(","):
        host, port = entry.strip(), str(parameters.ports.images)
        if host.startswith("["):
            host, bracket, rest = host[1:].partition("]")
            if not bracket or (rest and not rest.startswith(":")):
                raise ServerError(f"--servers: {entry.strip()!r} is no [IPv6 address]:PORT")
            port = rest[1:] if rest else port
        elif host.count(":") == 1:
            host, _, port = host.partition(":")
        if not host or any(character.isspace() for character in host):
            raise ServerError(f"--servers: {entry!r} is no HOST[:PORT]; use auto, local, or HOST[:PORT],...")
        if not port.isascii() or not port.isdigit() or not 1 <= int(port) <= 65535:
            raise ServerError(f"--servers: {port!r} in {entry.strip()!r} is no port from 1 to 65535")
        found.append(Location(host, int(port)))
    return list(dict.fromkeys(found))


async def _asynchronous(images: Iterable[Image]) -> AsyncGenerator[Image, None]:
    for image in images:
        yield image


def _digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def _read(path: str, most: int) -> tuple[bytes, str]:
    """Returns a file's bytes and their digest.

    Raises:
        OSError: it cannot be read, or is no file: reading a pipe or a device might never end.
        OverflowError: it has more than `most` bytes.
    """
    # non-blocking: opening a pipe that nobody writes to would wait for ever
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "it is no regular file")
        if status.st_size > most:
            raise OverflowError(
                f"a file of {status.st_size} bytes; {most} are allowed (params/daemon/max_frame_bytes)"
            )
        data = file.read()
    return data, _digest(data)
