"""All servers together: found, connected, kept up, lost, and given images as the scheduler decides."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..core import tasks
from ..core.errors import ErrorCode, ServerError
from ..core.messages import Failed
from ..core.parameters import Parameters
from .connection import Answer, ServerConnection, ServerLost, connect
from .discovery import Discovery, Location, locations
from .local import LocalServer
from .scheduler import Scheduler
from .status import ServerStatus, State

log = logging.getLogger("pyraface.client")

BUSY_PAUSE = 0.5
"""Seconds before a server that said busy gets its next image from us."""

FIRST_BACK_OFF, LONGEST_BACK_OFF = 0.5, 30.0
"""Seconds before a lost server is tried again."""


class Answered(NamedTuple):
    """What became of an image: the name of the server that answered ("" if none did), its fingerprint, its answer."""

    server: str
    fingerprint: str
    answer: Answer


@dataclass(eq=False)
class _Job:
    image: bytes
    answer: asyncio.Future[Answered]
    """Cancelled when nobody waits for it any more."""
    failure: Answered | None = None
    """What the last server that refused it said."""


@dataclass(frozen=True, eq=False)
class _Server:
    name: str
    place: str
    connection: ServerConnection

    def answered(self, answer: Answer) -> Answered:
        return Answered(self.name, self.connection.welcome.fingerprint, answer)


@dataclass(eq=False)
class _Record:
    """The server at an address, beyond its connections."""

    server: _Server
    """The last one that was connected."""
    since: float
    """The loop's time when it was."""
    connected: bool = True
    done: int = 0
    done_before: int = 0
    """Images that it answered; in all, and over connections that have ended."""


class Fleet:
    """Any number of servers, used as one. Use as `async with`; then `ask`.

    Args:
        servers: "auto", "local" or "HOST[:PORT],...", as for `Client`.
        tell: is told in one line what a person may want to know.
        faces_from: the smallest face wanted, as in `messages.Detect`.

    Raises (on entering):
        ServerError: no server can be reached, and none started.
    """

    def __init__(
        self, servers: str, parameters: Parameters, tell: Callable[[str], None], *, faces_from: int = 0
    ) -> None:
        self._parameters = parameters
        self._faces_from = faces_from
        self._wanted = servers
        self._tell = tell
        self._locations = [] if servers in ("auto", "local") else locations(servers, self._parameters)
        self._scheduler: Scheduler[_Job, _Server] = Scheduler()
        self._tasks: set[asyncio.Task[object]] = set()
        self._heard_of: dict[Location, asyncio.Event] = {}
        self._instances: set[str] = set()
        self._connections: set[ServerConnection] = set()
        self._records: dict[str, _Record] = {}
        self._exit = contextlib.AsyncExitStack()
        self._alone: asyncio.TimerHandle | None = None
        self._forsaken = self._draining = False
        self._first: _Server | None = None

    async def __aenter__(self) -> Fleet:
        try:
            await self._find_servers()
        except BaseException:
            await tasks.finish(self._close())
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await tasks.finish(self._close())

    @property
    def servers(self) -> int:
        """How many servers are connected."""
        return self._scheduler.servers

    @property
    def credits(self) -> int:
        """How many images all servers together take at a time."""
        return self._scheduler.credits

    def status(self) -> list[ServerStatus]:
        """Returns how each server is that was ever reached, in the order in which they were."""
        return [self._status(place, record) for place, record in self._records.items()]

    @property
    def fingerprints(self) -> set[str]:
        """Those of all servers that were ever reached."""
        return {record.server.connection.welcome.fingerprint for record in self._records.values()}

    def drain(self) -> None:
        """From here on no server gets an image: those that wait for one are cancelled."""
        self._draining = True
        self._assign()

    async def ask(self, image: bytes) -> Answered:
        """Returns who answered for the bytes of an image file, and the answer.

        An image that no server can do is answered too: with the last server's failure. Cancelling this cancels the
        request at the server.
        """
        job = _Job(image, asyncio.get_running_loop().create_future())
        self._scheduler.put(job)
        self._assign()
        if self._forsaken:
            self._give_up_all()
        try:
            return await job.answer
        finally:
            if self._scheduler.waits(job):  # cancelled; if a server has it, that still has to answer
                self._scheduler.withdraw(job)

    def _status(self, place: str, record: _Record) -> ServerStatus:
        server, welcome = record.server, record.server.connection.welcome
        state = State.CONNECTED
        if not record.connected:
            state = State.LOST
        elif server.connection.draining.is_set():
            state = State.DRAINING
        seconds = asyncio.get_running_loop().time() - record.since
        done = record.done - record.done_before
        return ServerStatus(
            name=server.name,
            address=place,
            engine=welcome.engine,
            device=welcome.device,
            state=state,
            credits=welcome.credits if state is State.CONNECTED else 0,
            in_flight=self._scheduler.in_flight(server),
            done=record.done,
            rate=done / seconds if done and state is not State.LOST else 0.0,
        )

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
        server = _Server(name, place, connection)
        before = self._records[place].done if place in self._records else 0
        now = asyncio.get_running_loop().time()
        self._records[place] = _Record(server, now, done=before, done_before=before)
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
            self._records[server.place].connected = False
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
        if self._draining:
            for job in self._scheduler.withdraw_all():
                job.answer.cancel()
        while (assignment := self._scheduler.assign()) is not None:
            self._keep(self._run(*assignment))

    async def _run(self, server: _Server, job: _Job) -> None:
        """Has one server do one image, and tells the scheduler how it went."""
        try:
            answer = await server.connection.request(job.image, job.answer, faces_from=self._faces_from)
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
            job.failure = server.answered(answer)
            if self._scheduler.refused(server, job):
                self._give_up(job)
        else:
            self._scheduler.settled(job)
            self._records[server.place].done += 1
            job.answer.set_result(server.answered(answer))
        self._assign()

    def _give_up(self, job: _Job) -> None:
        if not job.answer.done():
            lost = Failed.because(0, ErrorCode.SERVER_LOST, "no server lived to answer it")
            job.answer.set_result(job.failure if job.failure is not None else Answered("", "", lost))

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
        await tasks.end(self._tasks)
        # those whose task had not even begun
        await asyncio.gather(*[self._disconnect(connection) for connection in list(self._connections)])
        if self._alone is not None:
            self._alone.cancel()
        self._give_up_all()  # whoever still waits would wait for ever
        await self._exit.aclose()
