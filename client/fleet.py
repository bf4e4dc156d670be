"""All servers together: found, connected, kept up, lost, and given images as the scheduler decides."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine, Iterator, Set
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ..core import keyfile, tasks
from ..core.errors import ErrorCode, ServerError
from ..core.keyfile import Keys
from ..core.messages import Failed, Found
from ..core.parameters import Parameters
from .connection import ANOTHER_KEY, Answer, ServerConnection, ServerLost, connect
from .decisions import Cancel, Disconnect, GiveUp, Reason, Send
from .discovery import Discovery, Location, locations
from .local import LocalServer
from .scheduler import Scheduler
from .status import ServerStatus, State
from .terminal import printable

log = logging.getLogger("pyraface.client")

FIRST_BACK_OFF, LONGEST_BACK_OFF = 0.5, 30.0
"""Seconds before a lost server is tried again."""

COST_BYTES = 4 << 20
"""Bytes of a file that cost as much as an image does anyhow: the tiles that are searched are of one size, whatever the
photograph's; what grows with it is sending and decoding. Its pixels would tell better, but to learn them a client would
have to read formats of all kinds, which pyraface leaves to a process that can do no harm; and what is sent is bytes."""

LIMITS = frozenset({ErrorCode.IMAGE_TOO_LARGE, ErrorCode.FRAME_TOO_LARGE})
"""With these a server says at once that an image is not for it, which is no failure."""


class Answered(NamedTuple):
    """What became of an image: the name of the server that answered ("" if none did), its fingerprint, its answer."""

    server: str
    fingerprint: str
    answer: Answer


@dataclass(eq=False)
class _Server:
    """What listens at an address: over all its connections."""

    address: str
    name: str
    connection: ServerConnection
    """The last one."""
    faces_from: int
    """The smallest face that it is asked for."""

    @property
    def fingerprint(self) -> str:
        """Of all that its faces depend on: what it is, and what it is asked for."""
        fingerprint = self.connection.welcome.fingerprint
        return f"{fingerprint}-from-{self.faces_from}" if self.faces_from else fingerprint

    def answered(self, answer: Answer) -> Answered:
        return Answered(self.name, self.fingerprint, answer)


@dataclass(eq=False)
class _Job:
    image: bytes
    answer: asyncio.Future[Answered]
    """Cancelled when nobody waits for it any more."""
    failure: Answered | None = None
    """What the last server that refused it said."""
    cancels: dict[_Server, asyncio.Future[None]] = field(default_factory=dict)
    """Of the servers that have it; done when they need not answer any more."""


class Fleet:
    """Any number of servers, used as one. Use as `async with`; then `ask`.

    Args:
        servers: "auto", "local" or "HOST[:PORT],...", as for `Client`.
        tell: is told in one line what a person may want to know.
        faces_from: the smallest face wanted, as in `messages.Detect`.
        keys: of servers that may have our images; None: those in this user's key file.

    Raises (on entering):
        ServerError: no server can be reached, and none started.
        KeyFileError: this user's key file is wrong.
    """

    def __init__(
        self,
        servers: str,
        parameters: Parameters,
        tell: Callable[[str], None],
        *,
        faces_from: int = 0,
        keys: Keys | None = None,
    ) -> None:
        self._parameters = parameters
        self._faces_from = faces_from
        self._wanted = servers
        self._tell = tell
        self._keys = keys
        self._locations = [] if servers in ("auto", "local") else locations(servers, self._parameters)
        self._scheduler: Scheduler[_Job, _Server] = Scheduler()
        self._tasks: set[asyncio.Task[object]] = set()
        self._heard_of: dict[Location, asyncio.Event] = {}
        self._instances: set[str] = set()
        self._fingerprints: set[str] = set()
        self._connections: set[ServerConnection] = set()
        self._servers: dict[str, _Server] = {}
        self._sources = 0
        self._wake: asyncio.TimerHandle | None = None
        self._draining = self._closing = False
        self._exit = contextlib.AsyncExitStack()
        self._alone: asyncio.TimerHandle | None = None
        self._forsaken = False
        self._first: tuple[str, str] | None = None
        """Name and fingerprint of the first server."""

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
    def room(self) -> int:
        """How many images all servers together should hold, so that none is idle."""
        return self._scheduler.room

    def status(self) -> list[ServerStatus]:
        """Returns how each server is that was ever reached, in the order in which they were."""
        return [self._status(server) for server in self._servers.values()]

    @contextlib.contextmanager
    def feeding(self) -> Iterator[None]:
        """Meanwhile more images are on their way: an idle server rather waits for them than does another's again."""
        self._sources += 1
        self._scheduler.more_to_come = True
        try:
            yield
        finally:
            self._sources -= 1
            self._scheduler.more_to_come = self._sources > 0
            self._decide()

    @property
    def fingerprints(self) -> Set[str]:
        """Those of all servers that were ever reached; it grows when another is."""
        return self._fingerprints

    def drain(self) -> None:
        """From here on no image is begun: those that no server has are cancelled."""
        self._draining = True
        self._decide()

    async def ask(self, image: bytes) -> Answered:
        """Returns who answered for the bytes of an image file, and the answer.

        An image that no server can do is answered too: with the last server's failure. Cancelling this cancels the
        request at the server.
        """
        job = _Job(image, asyncio.get_running_loop().create_future())
        self._scheduler.put(job, 1.0 + len(image) / COST_BYTES)
        self._decide()
        if self._forsaken:
            self._give_up_all()
        try:
            return await job.answer
        finally:
            if job.answer.cancelled():
                self._scheduler.withdraw(job)
                self._decide()

    def _status(self, server: _Server) -> ServerStatus:
        connection = server.connection
        load = self._scheduler.load(server, self._now)
        state = State.CONNECTED
        if connection.lost.done():
            state = State.LOST
        elif connection.draining.is_set():
            state = State.DRAINING
        elif load.resting or load.stuck:
            state = State.RESTING
        return ServerStatus(
            name=server.name,
            address=server.address,
            engine=connection.welcome.engine,
            device=connection.welcome.device,
            state=state,
            credits=load.credits,
            in_flight=load.in_flight,
            done=load.done,
            rate=load.rate,
        )

    @property
    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    async def _find_servers(self) -> None:
        if self._keys is None and self._parameters.security.keyed and self._wanted != "local":
            self._keys = keyfile.load()
        if self._wanted == "auto":
            discovery = await self._exit.enter_async_context(Discovery(self._parameters, self._keys or ()))
            await self._connect_to(await discovery.first(), must=False)
            self._keep(self._look_for_more(discovery))
            for place, name in discovery.strangers.items():
                self._tell(f"not used: {printable(name)} ({place}): {ANOTHER_KEY} {place.host}")
            if self._scheduler.servers:
                return
            whose = " with a key of ours" if discovery.strangers else ""
            self._tell(f"no server{whose} answered on the network: starting one on this machine")
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
        self._keep(self._use_local(local, self._join_local(await local.start())))

    def _join_local(self, connection: ServerConnection) -> _Server:
        self._connections.add(connection)
        server = self._join("local", connection)
        assert server is not None  # it is at no other address
        return server

    async def _use_local(self, local: LocalServer, server: _Server) -> None:
        """Uses the child daemon as long as it lives: it ends the connection of a client that stood still for long."""
        while True:
            await self._until_lost(server)
            await asyncio.sleep(FIRST_BACK_OFF)
            try:
                connection = await local.connect()
            except ServerError as error:
                log.debug("%s", error)
                break
            self._join_local(connection)
        if self._wanted == "local":
            self._give_up_all()  # nobody tries to bring it back

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
        connection = await connect(place.host, place.port, self._parameters, self._keys or ())
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
        server = self._servers.setdefault(place, _Server(place, name, connection, self._faces_from))
        server.name, server.connection = name, connection
        self._compare(server)
        self._instances.add(welcome.instance)
        self._fingerprints.add(server.fingerprint)
        self._tell(f"server {name}: {welcome.engine} on {welcome.device}")
        self._scheduler.server_up(server, welcome.credits, self._now)
        self._company()
        self._decide()
        return server

    def _compare(self, server: _Server) -> None:
        """Says so if this server's faces may differ from those of the first."""
        fingerprint = server.connection.welcome.fingerprint
        if self._first is None:
            self._first = server.name, fingerprint
        elif fingerprint != self._first[1]:
            self._tell(
                f"server {server.name} has another engine, device or parameters than {self._first[0]}: "
                "its faces may differ a little"
            )

    async def _until_lost(self, server: _Server) -> None:
        """Returns when a server is lost, its images given back."""
        connection = server.connection
        watch = asyncio.create_task(self._watch_draining(server))
        silent = False
        try:
            lost = await asyncio.shield(connection.lost)
            silent = lost.silent
            self._tell(f"server lost: {server.name}: {str(lost).partition(': ')[2]}")
        finally:
            watch.cancel()
            self._instances.discard(connection.welcome.instance)
            self._scheduler.server_down(server, self._now, silent=silent)
            self._company()
            self._decide()
            await self._disconnect(connection)

    async def _watch_draining(self, server: _Server) -> None:
        await server.connection.draining.wait()
        self._scheduler.server_draining(server, self._now)

    def _decide(self) -> None:
        """Carries out what the scheduler decides."""
        if self._closing:
            return
        if self._draining:
            for job in self._scheduler.withdraw_all():
                job.answer.cancel()
        for decision in self._scheduler.decide(self._now):
            if isinstance(decision, Send):
                cancelled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                decision.job.cancels[decision.server] = cancelled
                self._keep(self._run(decision.server, decision.job, cancelled))
            elif isinstance(decision, Cancel):
                cancelled = decision.job.cancels[decision.server]
                if not cancelled.done():
                    cancelled.set_result(None)
            elif isinstance(decision, GiveUp):
                self._give_up(decision.job, decision.reason)
            elif isinstance(decision, Disconnect):
                connection = decision.server.connection
                self._keep(connection.close("answers pings, but no image any more", silent=True))
        if self._wake is not None:
            self._wake.cancel()
        wake = self._scheduler.wake
        self._wake = None if wake is None else asyncio.get_running_loop().call_at(wake, self._decide)

    async def _run(self, server: _Server, job: _Job, cancelled: asyncio.Future[None]) -> None:
        """Has one server do one image, and tells the scheduler how it went."""
        try:
            answer = await server.connection.request(job.image, cancelled, faces_from=self._faces_from)
        except ServerLost:
            return  # server_down gives the image back
        now = self._now
        if isinstance(answer, Failed) and answer.code in (
            ErrorCode.BUSY,
            ErrorCode.DRAINING,
            ErrorCode.CANCELLED,
        ):
            if answer.code is ErrorCode.DRAINING:
                self._scheduler.server_draining(server, now)
            self._scheduler.postponed(server, job, now)
        elif isinstance(answer, Failed) and answer.elsewhere:
            job.failure = server.answered(answer)
            self._scheduler.refused(server, job, now, tried=answer.code not in LIMITS)
        elif (
            self._scheduler.answered(server, job, now, learn=isinstance(answer, Found))
            and not job.answer.done()  # nobody may wait since a moment ago
        ):
            job.answer.set_result(server.answered(answer))
        self._decide()

    def _give_up(self, job: _Job, reason: Reason | None) -> None:
        if not job.answer.done():
            text = "no server lived to answer it"
            if reason is Reason.LOST:
                text = "servers were lost while they had it, again and again"
            lost = Failed.because(0, ErrorCode.SERVER_LOST, text)
            job.answer.set_result(job.failure if job.failure is not None else Answered("", "", lost))

    def _company(self) -> None:
        """Without any server, images wait for one only so long."""
        if self._scheduler.servers:
            self._forsaken = False
            if self._alone is not None:
                self._alone.cancel()
                self._alone = None
        elif self._alone is None:
            limit = self._parameters.timeouts.read
            self._alone = asyncio.get_running_loop().call_later(limit, self._give_up_all)

    def _give_up_all(self) -> None:
        self._forsaken = True
        for job in self._scheduler.withdraw_all():
            self._give_up(job, None)

    def _keep(self, work: Coroutine[Any, Any, object]) -> None:
        """Runs something until it is done, or the client closed."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _close(self) -> None:
        self._closing = True
        if self._wake is not None:
            self._wake.cancel()
        await tasks.end(self._tasks)
        # those whose task had not even begun
        await asyncio.gather(*[self._disconnect(connection) for connection in list(self._connections)])
        if self._alone is not None:
            self._alone.cancel()
        self._give_up_all()  # whoever still waits would wait for ever
        await self._exit.aclose()
