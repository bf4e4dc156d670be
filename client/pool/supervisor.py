"""Supervisor: the connections to the servers wanted, restored when they are lost."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Protocol

from ...core.errors import SearchUnavailableError, ServerError
from ...core.host import keyfile, tasks
from ...core.host.interfaces import broadcast_advice
from ...core.host.keyfile import Keys
from ...core.parameters import AUTOMATIC, Parameters
from ...core.text import one_line
from .connection import ServerConnection
from .discovery import Discovery, Location, locations
from .handshake import ANOTHER_KEY, connect
from .local_daemon import LocalDaemon

log = logging.getLogger("pyraface.client")

FIRST_BACKOFF, LONGEST_BACKOFF = 0.5, 30.0
"""Shortest and longest backoff, in seconds, before a lost server is tried again."""

OTHERS = 0.5
"""Seconds after one server is reached in which others count as found at the start: a run begins with all that are well, and
no server that is not holds it up."""

LOCAL = "local"
"""The address of the child daemon; other servers have "HOST:PORT"."""


class Follower(Protocol):
    """Receiver of events about the server at an address."""

    def joined(self, place: str, connection: ServerConnection) -> None:
        """The server is connected, for the first time or again."""

    def draining(self, place: str) -> None:
        """The server takes no further images."""

    def left(self, place: str) -> None:
        """The server is lost, or its connection is about to be closed."""

    def no_server_left(self) -> None:
        """There is no server, and none is expected."""


class Supervisor:
    """Keeps a connection to each server: call `find` once; connections are then restored until `close`.

    Args:
        servers: "auto", "local" or "HOST[:PORT],...", as for `Client`.
        tell: called with one line for each event that the user should know about.
        search: a server that cannot do this search is not used; "": any search will do.
        keys: keys of the servers that may receive images; None: the keys in this user's key file.

    Raises:
        ServerError: `servers` is not a list of addresses.
    """

    def __init__(
        self,
        servers: str,
        parameters: Parameters,
        follower: Follower,
        tell: Callable[[str], None],
        *,
        search: str = "",
        keys: Keys | None = None,
    ) -> None:
        self._wanted = servers
        self._search = search
        self._parameters = parameters
        self._follower = follower
        self._tell = tell
        self._keys = keys
        self._locations = [] if servers in ("auto", "local") else locations(servers, parameters.ports.images)
        self._tasks: set[asyncio.Task[object]] = set()
        self._heard_of: dict[Location, asyncio.Event] = {}
        self._instances: set[str] = set()
        """Instances of the servers in use."""
        self._unsuitable: set[Location] = set()
        """Servers that cannot do the search, of which the user was told."""
        self._connections: set[ServerConnection] = set()
        self._exit = contextlib.AsyncExitStack()

    async def find(self) -> None:
        """Connects to the servers that answer at once; servers that appear later are connected when they do.

        Raises:
            ServerError: no server can be reached, and none can be started.
            KeyFileError: this user's key file is invalid.
        """
        if self._keys is None and self._parameters.security.keyed and self._wanted != "local":
            self._keys = keyfile.load()
        if self._wanted == "auto":
            discovery = await self._exit.enter_async_context(self._discovery())
            await self._connect_to(await discovery.first(), must=False)
            self._keep(self._look_for_more(discovery))
            for place, name in discovery.strangers.items():
                self._tell(f"not used: {one_line(name)} ({place}): {ANOTHER_KEY} {place.host}")
            if self._instances:
                return
            whose = " with a key of ours" if discovery.strangers else ""
            whose += f" that can do the search {self._search}" if self._unsuitable else ""
            self._tell(f"no server{whose} answered on the network: starting one on this machine")
            if not discovery.strangers and (advice := broadcast_advice()):
                self._tell(f"{advice}; a server that is named is reached: --servers HOST")
        if self._wanted in ("auto", "local"):
            await self._start_local()
        else:
            await self._connect_to(self._locations, must=True)

    async def close(self) -> None:
        """Ends every connection, and the child daemon."""
        await tasks.end(self._tasks)
        # connections whose task had not started
        await asyncio.gather(*[self._disconnect(connection) for connection in list(self._connections)])
        self._follower.no_server_left()
        await self._exit.aclose()

    def _discovery(self) -> Discovery:
        keys = (self._keys or ()) if self._parameters.security.keyed else None
        return Discovery(self._parameters.beacon, port=self._parameters.ports.discovery, keys=keys)

    async def _connect_to(self, locations: list[Location], *, must: bool) -> None:
        """Connects to these servers; returns soon after the first is reached.

        Raises:
            ServerError: `must` is set, and none can be reached.
        """
        attempts = {self._keep_up(place): place for place in locations}
        waiting: set[asyncio.Future[ServerError | None]] = set(attempts)
        while waiting:
            limit = OTHERS if self._instances else None
            done, waiting = await asyncio.wait(waiting, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
            if not done:
                break
        failures = [attempt.result() for attempt in attempts if attempt.done()]
        if must and not waiting and None not in failures:
            unsuitable = all(isinstance(failure, SearchUnavailableError) for failure in failures)
            problem = f"no server can do the search {self._search}" if unsuitable else "no server reached"
            raise ServerError(f"{problem}: " + "; ".join(str(failure) for failure in failures))
        for attempt, place in attempts.items():
            attempt.add_done_callback(partial(self._tell_outcome, place))

    def _tell_outcome(self, place: Location, attempt: asyncio.Future[ServerError | None]) -> None:
        failure = None if attempt.cancelled() else attempt.result()
        if isinstance(failure, SearchUnavailableError):
            self._tell_unsuitable(place, failure)
        elif failure is not None:
            self._tell(f"not reached: {failure}")

    async def _start_local(self) -> None:
        local = LocalDaemon(self._parameters, search=self._search)
        self._exit.push_async_callback(local.stop)
        connection = await local.start()
        self._connections.add(connection)
        found = connection.welcome.searches[0]
        if not self._search and self._parameters.detection.search == "auto" and found != AUTOMATIC:
            self._tell(
                f"{AUTOMATIC} cannot run on this machine, so the search is {found}; --search {AUTOMATIC} says why"
            )
        self._join(LOCAL, connection)
        self._keep(self._use_local(local, connection))

    async def _use_local(self, local: LocalDaemon, connection: ServerConnection) -> None:
        """Uses the child daemon while it runs, connecting again if it closed the connection of a suspended client."""
        while True:
            await self._until_lost(LOCAL, connection)
            await asyncio.sleep(FIRST_BACKOFF)
            try:
                connection = await local.connect()
            except ServerError as error:
                log.debug("%s", error)
                break
            self._connections.add(connection)
            self._join(LOCAL, connection)
        if self._wanted == "local":
            self._follower.no_server_left()  # it is not started again

    async def _look_for_more(self, discovery: Discovery) -> None:
        async for place in discovery.more():
            if place in self._heard_of:
                self._heard_of[place].set()
            else:
                self._keep_up(place).add_done_callback(partial(self._tell_outcome, place))

    def _keep_up(self, place: Location) -> asyncio.Future[ServerError | None]:
        """Uses a server whenever it is connected. The future is the outcome of the first attempt to reach it."""
        first: asyncio.Future[ServerError | None] = asyncio.get_running_loop().create_future()

        def ended(use: asyncio.Task[object]) -> None:
            if first.done():
                return
            if use.cancelled():
                first.cancel()
            elif (error := use.exception()) is not None:
                first.set_exception(error)

        self._heard_of[place] = asyncio.Event()
        self._keep(self._use(place, first)).add_done_callback(ended)
        return first

    async def _use(self, place: Location, first: asyncio.Future[ServerError | None]) -> None:
        backoff = 0.0
        while True:
            failure: ServerError | None = None
            try:
                connection = await self._connect(place)
            except ServerError as error:
                log.debug("%s", error)
                failure = error
            joined = failure is None and self._join(str(place), connection)
            told = first.done()
            if not told:
                first.set_result(failure)
            if isinstance(failure, SearchUnavailableError):
                if told:
                    self._tell_unsuitable(place, failure)
                # not until it announces itself: that is no news of its searches
                await asyncio.sleep(LONGEST_BACKOFF)
                backoff = 0.0
            elif failure is not None:
                backoff = min(max(FIRST_BACKOFF, 2 * backoff), LONGEST_BACKOFF)
            elif joined:
                await self._until_lost(str(place), connection)
                backoff = FIRST_BACKOFF
            else:
                log.debug("%s: %s once more, at another address", place, connection.welcome.name)
                await self._disconnect(connection)
                backoff = LONGEST_BACKOFF
            await self._pause(place, backoff)

    async def _connect(self, place: Location) -> ServerConnection:
        connection = await connect(place.host, place.port, self._parameters, self._keys or ())
        self._connections.add(connection)
        searches = connection.welcome.searches
        if self._search and self._search not in searches:
            await self._disconnect(connection)
            raise SearchUnavailableError(
                f"{one_line(connection.welcome.name)} ({place}) cannot do the search {self._search}, only "
                f"{one_line(', '.join(searches))}: its log names what it lacks"
            )
        return connection

    def _tell_unsuitable(self, place: Location, error: SearchUnavailableError) -> None:
        if place not in self._unsuitable:
            self._unsuitable.add(place)
            self._tell(f"not used: {error}")

    async def _disconnect(self, connection: ServerConnection) -> None:
        self._connections.discard(connection)
        await connection.close()

    async def _pause(self, place: Location, seconds: float) -> None:
        """Waits for some seconds, or less if the server announces itself."""
        await asyncio.sleep(min(FIRST_BACKOFF, seconds))
        heard_of = self._heard_of[place]
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(heard_of.wait(), seconds - FIRST_BACKOFF)
        heard_of.clear()

    def _join(self, place: str, connection: ServerConnection) -> bool:
        """Puts a server into use. Returns False if it is in use already, at another address."""
        if connection.welcome.instance in self._instances:
            return False
        self._instances.add(connection.welcome.instance)
        self._follower.joined(place, connection)
        return True

    async def _until_lost(self, place: str, connection: ServerConnection) -> None:
        """Waits until a server in use is lost."""
        watch = asyncio.create_task(self._watch_draining(place, connection))
        try:
            await asyncio.shield(connection.lost)
        finally:
            watch.cancel()
            self._instances.discard(connection.welcome.instance)
            self._follower.left(place)
            await self._disconnect(connection)

    async def _watch_draining(self, place: str, connection: ServerConnection) -> None:
        await connection.draining.wait()
        self._follower.draining(place)

    def _keep(self, work: Coroutine[Any, Any, object]) -> asyncio.Task[object]:
        """Runs a coroutine until it is done or the client is closed."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
