"""Pool: the servers of a client, used as one, to which it sends images as the scheduler instructs."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Awaitable, Callable, Coroutine, Hashable, Iterator, Set
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple

from ...core import fingerprints
from ...core.computed_by import ComputedBy
from ...core.errors import REFUSALS, ErrorCode, ServerLostError
from ...core.given_boxes import GivenBoxes
from ...core.host import tasks
from ...core.host.keyfile import Keys
from ...core.host.running_clock import RunningClock, Timer
from ...core.parameters import ImageLimits, Parameters
from ...core.protocol.messages import Detect, Encode, Failed, Found, Request
from ...core.text import plural
from ..scheduling.instructions import Disconnect, GiveUp, Reason, Send, Withdraw
from ..scheduling.scheduler import Scheduler
from . import local_daemon
from .connection import Answer, ServerConnection
from .parameters_comparison import Comparison
from .servers_option import LOCAL
from .status import Availability, ServerStatus
from .supervisor import Supervisor

COST_BYTES = 4 << 20
"""Bytes of a file that cost as much as the fixed cost of an image. The search always takes tiles of one size; the costs of
sending and decoding grow with the file. The number of pixels would be a better measure, but the client would have to parse
every image format to learn it, and pyraface leaves that to a confined process."""


class Answered(NamedTuple):
    """Outcome of an image: the name of the server that answered ("" if none did), its fingerprint, what computed the
    answer, and the answer."""

    server: str
    fingerprint: str
    computed_by: ComputedBy | None
    answer: Answer


@dataclass(eq=False)
class _Server:
    """One server, over all its connections."""

    key: Hashable
    """Its key in the scheduler."""
    address: str
    """That of the most recent connection."""
    name: str
    connection: ServerConnection
    """The most recent connection."""
    search: str
    """The search requested from it; "": its default."""
    faces_from: int
    """The size of the smallest face requested from it."""
    lacking: set[ErrorCode] = field(default_factory=set)
    """Errors of which the user was told that such images go to other servers."""

    @property
    def fingerprint(self) -> str:
        """Fingerprint of what it is asked for: the search, its parameters and the size."""
        return fingerprints.from_size(self.connection.welcome.fingerprint_of(self.search), self.faces_from)

    def answered(self, answer: Answer) -> Answered:
        """Returns an answer of this server, whose name stands in the message where a package is missing there."""
        if isinstance(answer, Failed) and answer.code is ErrorCode.FORMAT_NOT_READ and answer.elsewhere:
            answer = Failed.because(
                answer.id, answer.code, f"server {self.name}: {answer.message}", elsewhere=True
            )
        return Answered(self.name, self.fingerprint, self.connection.welcome.computed_by, answer)


@dataclass(eq=False)
class _Job:
    number: int
    """Its key in the scheduler."""
    request: Request
    """Its id is that of no connection yet."""
    answer: asyncio.Future[Answered]
    """Cancelled when the caller no longer waits for it."""
    failure: Answered | None = None
    """The answer of the last server that refused it."""
    cancels: dict[Hashable, asyncio.Future[None]] = field(default_factory=dict)
    """One future per server that has the image, by key; done when its answer is no longer needed."""


class Pool:
    """Any number of servers, used as one. Use as `async with`; then `ask`.

    Args:
        servers: "auto,local,HOST[:PORT],...", any of them, as for `Client`.
        tell: called with one line for each event that the user should know about.
        faces_from, search: as in `messages.Detect`; a server that cannot do the search is not used.
        keys: keys of the servers that may receive images; None: the keys in this user's key file.

    Attributes:
        needed: as for `Client.start_daemon_if`; None: a daemon is always started.

    Raises (on entering):
        ServerError: no server can be reached, and none can be started.
        KeyFileError: this user's key file is invalid.
    """

    def __init__(
        self,
        servers: str,
        parameters: Parameters,
        tell: Callable[[str], None],
        *,
        faces_from: int = 0,
        search: str = "",
        keys: Keys | None = None,
    ) -> None:
        self._parameters = parameters
        self._faces_from = faces_from
        self._search = search
        self._tell = tell
        self.needed: Callable[[str], Awaitable[bool]] | None = None
        self._supervisor = Supervisor(servers, parameters, self, tell, search=search, keys=keys)
        self._scheduler = Scheduler()
        self._tasks: set[asyncio.Task[object]] = set()
        self._fingerprints: set[str] = set()
        self._servers: dict[Hashable, _Server] = {}
        """By key."""
        self._jobs: dict[Hashable, _Job] = {}
        """By number, until `ask` returns."""
        self._numbers = itertools.count()
        self._sources = 0
        self._wake: Timer | None = None
        self._draining = self._closing = False
        self._missed: dict[Hashable, Timer] = {}
        """Servers that were lost and are expected back."""
        self._abandoned = False
        self._comparison = Comparison(parameters, search=search, faces_from=faces_from)

    async def __aenter__(self) -> Pool:
        self._clock = RunningClock()
        try:
            await self._supervisor.find()
        except BaseException:
            await tasks.finish(self._close())
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await tasks.finish(self._close())

    @property
    def servers(self) -> int:
        """Number of servers that are connected."""
        return self._scheduler.servers

    @property
    def capacity(self) -> int:
        """Number of images that all servers together should hold, so that no server is idle."""
        return self._scheduler.capacity

    @property
    def file_limit(self) -> tuple[int, str]:
        """The bytes of the largest file that a server accepts, and its name; lost ones count while they are expected back.

        Any thread may ask for it.
        """
        known = [(one.connection.welcome.max_frame_bytes, one.name) for one in self._expected]
        if not known:
            return self._parameters.daemon.max_frame_bytes, "this client, which has no server yet,"
        most, name = max(known)
        return most, name if len(known) == 1 else f"of {plural(len(known), 'server')}, {name}"

    @property
    def image_limits(self) -> ImageLimits:
        """The limits on the pixels of an image that a server may accept."""
        limits = self._parameters.images
        known = [one.connection.welcome.max_pixels for one in self._expected]
        return replace(limits, max_pixels=max(known, default=limits.max_pixels))

    @property
    def _expected(self) -> list[_Server]:
        """The servers that are connected or expected back."""
        servers = list(self._servers.values())
        return [one for one in servers if not one.connection.lost.done() or one.key in self._missed]

    def status(self) -> list[ServerStatus]:
        """Returns the status of every server that was ever connected, in the order of their first connections."""
        return [self._status(server) for server in self._servers.values()]

    @contextlib.contextmanager
    def feeding(self) -> Iterator[None]:
        """Tells the scheduler that more images are coming: an idle server waits for them and gets no speculative copy."""
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
        """Fingerprints of all servers that were ever connected, and of a daemon on this machine if it was considered.

        The set grows when another server connects.
        """
        return self._fingerprints

    def drain(self) -> None:
        """Stops sending images: images that no server has are cancelled."""
        self._draining = True
        self._decide()

    async def ask(self, image: bytes, given: GivenBoxes | None = None) -> Answered:
        """Returns the answer for the bytes of an image file, and the server that gave it.

        Args:
            given: the boxes that are to be encoded; None: the image is searched for faces.

        If every server fails, the answer is the failure of the last one. Cancelling the call cancels the request at the
        server.
        """
        asked: dict[str, Any] = {"faces_from": self._faces_from, "search": self._search}
        request = Detect(0, image, **asked) if given is None else Encode(0, given, image, **asked)
        job = _Job(next(self._numbers), request, asyncio.get_running_loop().create_future())
        self._jobs[job.number] = job
        self._scheduler.put(job.number, 1.0 + len(image) / COST_BYTES)
        self._decide()
        if self._abandoned:
            self.no_server_left()
        try:
            answered = await job.answer
            if given is None or not answered.fingerprint:
                return answered
            return answered._replace(fingerprint=fingerprints.of_given(answered.fingerprint))
        finally:
            if job.answer.cancelled():
                self._scheduler.withdraw(job.number)
                self._decide()
            del self._jobs[job.number]

    def _status(self, server: _Server) -> ServerStatus:
        connection = server.connection
        scheduled = self._scheduler.server(server.key)
        state = Availability.CONNECTED
        if connection.lost.done():
            state = Availability.LOST
        elif connection.draining.is_set():
            state = Availability.DRAINING
        elif self._now < scheduled.backoff_until or scheduled.stuck or not connection.reachable():
            state = Availability.RESTING
        return ServerStatus(
            name=server.name,
            address=server.address,
            engine=connection.welcome.engine,
            device=connection.welcome.device,
            state=state,
            credits=scheduled.credits,
            in_flight=len(scheduled.in_flight),
            done=scheduled.done,
            rate=scheduled.rate,
            deviation=connection.welcome.deviation,
        )

    @property
    def _now(self) -> float:
        return self._clock.now()

    # ------------------------------------------------------------------------------------------ what the supervisor reports

    def joined(self, key: Hashable, place: str, connection: ServerConnection) -> None:
        """Starts to send images to the server."""
        welcome = connection.welcome
        name = place if place == LOCAL else f"{welcome.name} ({place})"
        server = self._servers.get(key)
        # the same process as before: it survived the images that it had when the connection ended
        survived = server is not None and server.connection.welcome.instance == welcome.instance
        if server is None:
            server = self._servers[key] = _Server(
                key, place, name, connection, self._search, self._faces_from
            )
        server.name, server.address, server.connection = name, place, connection
        for line in self._comparison.lines(name, welcome, child=place == LOCAL):
            self._tell(line)
        self._fingerprints.add(server.fingerprint)
        self._tell(f"server {name}: {welcome.engine} on {welcome.device}")
        if key in self._missed:
            self._missed.pop(key).cancel()
        self._abandoned = False
        self._scheduler.server_up(key, welcome.credits, self._now, survived=survived)
        self._decide()

    def draining(self, key: Hashable) -> None:
        """Stops sending images to the server."""
        self._scheduler.server_draining(key, self._now)

    def path_changed(self, key: Hashable, *, reachable: bool) -> None:
        """Offers the server's images to others as well while it is out of reach, and sends it no more."""
        self._scheduler.path_changed(key, self._now, reachable=reachable)
        self._decide()

    def left(self, key: Hashable) -> None:
        """Puts the server's images back into the queue."""
        server = self._servers[key]
        lost = server.connection.lost
        silent = not lost.done() or lost.result().silent  # not done: it is reached by another connection
        if not self._closing:
            reason = str(lost.result()).partition(": ")[2] if lost.done() else "out of reach at this address"
            self._tell(f"server lost: {server.name}: {reason}")
        self._scheduler.server_down(key, self._now, silent=silent)
        self._expect(key)
        self._decide()

    async def needs_local(self) -> bool:
        """Returns whether results are missing that a daemon on this machine would have."""
        if self.needed is None:
            return True
        fingerprint = local_daemon.fingerprint(self._parameters, self._search, self._faces_from)
        # its results stand, even if the daemon can do only another search
        self._fingerprints.add(fingerprint)
        return await self.needed(fingerprint)

    def no_server_left(self) -> None:
        """Fails the waiting images, because no server is expected."""
        self._abandoned = True
        for number in self._scheduler.withdraw_all():
            self._give_up(self._jobs[number], None)

    # ------------------------------------------------------------------------------------------ servers and images

    def _decide(self) -> None:
        """Carries out the scheduler's instructions."""
        if self._closing:
            return
        if self._draining:
            for number in self._scheduler.withdraw_all():
                self._jobs[number].answer.cancel()
        for instruction in self._scheduler.decide(self._now):
            if isinstance(instruction, Send):
                self._send(self._servers[instruction.server], self._jobs[instruction.job])
            elif isinstance(instruction, Withdraw):
                cancelled = self._jobs[instruction.job].cancels[instruction.server]
                if not cancelled.done():
                    cancelled.set_result(None)
            elif isinstance(instruction, GiveUp):
                self._give_up(self._jobs[instruction.job], instruction.reason)
            elif isinstance(instruction, Disconnect):
                connection = self._servers[instruction.server].connection
                self._keep(connection.close("answers pings, but no longer any image", silent=True))
        if self._wake is not None:
            self._wake.cancel()
        wake = self._scheduler.wake
        self._wake = None if wake is None else self._clock.call_at(wake, self._decide)

    def _send(self, server: _Server, job: _Job) -> None:
        cancelled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        job.cancels[server.key] = cancelled
        self._keep(self._run(server, job, cancelled))

    async def _run(self, server: _Server, job: _Job, cancelled: asyncio.Future[None]) -> None:
        """Sends one image to one server, and reports the outcome to the scheduler."""
        try:
            answer = await server.connection.request(job.request, cancelled)
        except ServerLostError:
            return  # server_down puts the image back
        now = self._now
        if isinstance(answer, Failed) and answer.code in (
            ErrorCode.BUSY,
            ErrorCode.DRAINING,
            ErrorCode.CANCELLED,
        ):
            if answer.code is ErrorCode.DRAINING:
                self._scheduler.server_draining(server.key, now)
            self._scheduler.postponed(server.key, job.number, now)
        elif isinstance(answer, Failed) and answer.elsewhere:
            job.failure = server.answered(answer)
            self._tell_of_lack(server, answer)
            self._scheduler.refused(server.key, job.number, now, tried=answer.code not in REFUSALS)
        elif (
            self._scheduler.answered(server.key, job.number, now, learn=isinstance(answer, Found))
            and not job.answer.done()  # it may have been cancelled a moment ago
        ):
            job.answer.set_result(server.answered(answer))
        self._decide()

    def _tell_of_lack(self, server: _Server, answer: Failed) -> None:
        """Tells the user once that other servers get the images for which this one has too little memory, or no package."""
        lacks = answer.code in (ErrorCode.OUT_OF_MEMORY, ErrorCode.FORMAT_NOT_READ)
        # of a single server, the image's own error says it
        if lacks and answer.code not in server.lacking and self._scheduler.servers > 1:
            server.lacking.add(answer.code)
            self._tell(f"server {server.name}: {answer.message}; such images go to other servers")

    def _give_up(self, job: _Job, reason: Reason | None) -> None:
        if not job.answer.done():
            text = "every server that was given this image disconnected"
            if reason is Reason.LOST:
                text = "several servers disconnected while they had this image"
            lost = Failed.because(0, ErrorCode.SERVER_LOST, text)
            job.answer.set_result(job.failure if job.failure is not None else Answered("", "", None, lost))

    def _expect(self, key: Hashable) -> None:
        """Has images wait for a lost server: for a while, and for as long as it is announced."""
        self._missed[key] = self._clock.call_later(self._parameters.timeouts.read, partial(self._waited, key))

    def _waited(self, key: Hashable) -> None:
        del self._missed[key]
        if self._supervisor.in_sight(key):
            self._expect(key)
            return
        self._scheduler.server_gone(key)
        if not (self._scheduler.servers or self._missed):
            self.no_server_left()
        self._decide()

    def _keep(self, work: Coroutine[Any, Any, object]) -> None:
        """Runs a coroutine until it is done or the client is closed."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _close(self) -> None:
        self._closing = True
        if self._wake is not None:
            self._wake.cancel()
        await tasks.end(self._tasks)
        await self._supervisor.close()
        for timer in self._missed.values():
            timer.cancel()
        self._clock.stop()
