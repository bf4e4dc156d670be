"""Supervisor: the connections to the servers wanted, restored when they are lost."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine, Hashable
from functools import partial
from typing import Any

from ...core.errors import PyrafaceError, SearchUnavailableError, ServerError
from ...core.host import dialer, keyfile, tasks
from ...core.host.interfaces import broadcast_advice
from ...core.host.keyfile import Keys
from ...core.parameters import AUTOMATIC, Parameters
from ...core.text import one_line
from .connection import ServerConnection
from .discovery import Discovery, Location, Sighting
from .first_attempts import Attempt, first_reached
from .handshake import ANOTHER_KEY, connect
from .known_servers import KnownServer, KnownServers
from .local_daemon import LocalDaemon
from .servers_option import LOCAL, Wanted
from .supervisor_events import Follower

log = logging.getLogger("pyraface.client")

FIRST_BACKOFF, LONGEST_BACKOFF = 0.5, 30.0
"""Shortest and longest backoff, in seconds, before a lost server is tried again."""

LONGEST_ALONE = 2.0
"""The longest backoff while no server is connected: the images wait for one."""


class Supervisor:
    """Keeps a connection to each server: call `find` once; connections are then restored until `close`.

    Args:
        servers: "auto,local,HOST[:PORT],...", any of them, as for `Client`.
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
        self._wanted = Wanted.parse(servers, parameters.ports.images)
        self._search = search
        self._parameters = parameters
        self._follower = follower
        self._tell = tell
        self._keys = keys
        self._tasks: set[asyncio.Task[object]] = set()
        self._known = KnownServers(parameters.beacon.interval)
        self._in_use: dict[str, KnownServer] = {}
        """By instance."""
        self._unsuitable: set[KnownServer] = set()
        """Servers that cannot do the search, of which the user was told."""
        self._connections: dict[ServerConnection, Location | None] = {}
        """All that are open, each with its address; the child daemon's has none."""
        self._local_runs = False
        self._exit = contextlib.AsyncExitStack()

    async def find(self) -> None:
        """Connects to the servers that answer at once; servers that appear later are connected when they do.

        Raises:
            ServerError: no server can be reached, and none can be started.
            KeyFileError: this user's key file is invalid.
        """
        if self._keys is None and self._parameters.security.keyed and self._wanted.others:
            self._keys = keyfile.load()
        attempts = [self._keep_up(self._known.add_named(place)) for place in self._wanted.named]
        discovery: Discovery | None = None
        if self._wanted.auto:
            discovery = await self._exit.enter_async_context(self._discovery())
            await discovery.first()
            heard = [self._hear(sighting) for sighting in discovery.sightings]
            attempts += [attempt for attempt in heard if attempt is not None]
        must = not (self._wanted.auto or self._wanted.local)
        await first_reached(attempts, search=self._search, must=must)
        for attempt in attempts:
            if attempt.done():
                self._tell_failure(attempt)
            else:
                attempt.add_done_callback(self._tell_failure)
        if discovery is not None:
            self._keep(self._look_for_more(discovery))
            for place, name in discovery.strangers.items():
                self._tell(f"not used: {one_line(name)} ({place}): {ANOTHER_KEY} {place.host}")
        if (self._wanted.local or not self._in_use) and not await self._needs_local():
            return
        if self._wanted.local:
            await self._add_local()
        elif discovery is not None and not self._in_use:
            whose = " with a key of ours" if discovery.strangers else ""
            whose += f" that can do the search {self._search}" if self._unsuitable else ""
            self._tell(f"no server{whose} answered on the network: starting one on this machine")
            if not discovery.strangers and (advice := broadcast_advice()):
                self._tell(f"{advice}; a server that is named is reached: --servers HOST")
            await self._start_local()

    async def _needs_local(self) -> bool:
        """Returns whether a server on this machine is wanted and has anything to do."""
        if not (self._wanted.local or self._wanted.auto):
            return False
        needed = await self._follower.needs_local()
        if not needed and not self._wanted.others:
            self._follower.no_server_left()
        return needed

    def in_sight(self, key: Hashable) -> bool:
        """Returns whether the server is announced, though it is not connected."""
        return isinstance(key, KnownServer) and self._known.in_sight(key, self._now)

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

    @property
    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    async def _add_local(self) -> None:
        """Starts the local server beside the others, unless a server that was found runs on this machine.

        Raises:
            ServerError: it cannot be started, and there is no other server.
        """
        neighbours = [connection for connection in self._connections if connection.on_this_machine]
        if neighbours and self._wanted.auto:
            self._tell(
                f"server {one_line(neighbours[0].welcome.name)} runs on this machine already: no other is started"
            )
        elif self._in_use:
            self._keep(self._start_beside())
        else:
            await self._start_local()

    async def _start_beside(self) -> None:
        try:
            await self._start_local()
        except PyrafaceError as error:
            self._tell(str(error))

    async def _start_local(self) -> None:
        local = LocalDaemon(self._parameters, search=self._search)
        self._exit.push_async_callback(local.stop)
        connection = await local.start()
        self._connections[connection] = None
        found = connection.welcome.searches[0]
        if not self._search and self._parameters.detection.search == "auto" and found != AUTOMATIC:
            self._tell(
                f"{AUTOMATIC} cannot run on this machine, so the search is {found}; --search {AUTOMATIC} says why"
            )
        self._local_runs = True
        for other in self._connections:
            if other is not connection:
                self._tell_if_shared(other)
        self._keep(self._use_local(local, connection))

    async def _use_local(self, local: LocalDaemon, connection: ServerConnection) -> None:
        """Uses the child daemon while it runs, connecting again if it closed the connection of a suspended client."""
        server = KnownServer()
        while True:
            self._in_use[connection.welcome.instance] = server
            self._follower.joined(server, LOCAL, connection)
            await self._until_lost(server, connection)
            await asyncio.sleep(FIRST_BACKOFF)
            try:
                connection = await local.connect()
            except ServerError as error:
                log.debug("%s", error)
                self._tell(f"the server on this machine has ended: {one_line(local.last_line())}")
                break
            self._connections[connection] = None
        self._local_runs = False
        if not self._wanted.others:
            self._follower.no_server_left()  # it is not started again

    async def _look_for_more(self, discovery: Discovery) -> None:
        async for sighting in discovery.more():
            if (attempt := self._hear(sighting)) is not None:
                attempt.add_done_callback(self._tell_failure)

    def _hear(self, sighting: Sighting) -> Attempt | None:
        """Takes note of an announcement. Returns the first attempt to reach the server, if it is new."""
        server, new = self._known.hear(sighting, self._now)
        server.news.set()
        if server.connection is not None and (server.place, server.instance) != (
            sighting.location,
            sighting.instance,
        ):
            server.connection.ping()  # the answer, or its lack, shows whether the present address is still good
        return self._keep_up(server) if new else None

    def _tell_failure(self, attempt: Attempt) -> None:
        if not attempt.cancelled() and (failure := attempt.result()) is not None:
            unsuitable = isinstance(failure, SearchUnavailableError)
            self._tell(f"{'not used' if unsuitable else 'not reached'}: {failure}")

    def _keep_up(self, server: KnownServer) -> Attempt:
        """Uses a server whenever it is connected. The future is the outcome of the first attempt to reach it."""
        first: Attempt = asyncio.get_running_loop().create_future()

        def ended(use: asyncio.Task[object]) -> None:
            if use.cancelled():
                first.cancel()
            elif not first.done() and (error := use.exception()) is not None:
                first.set_exception(error)

        self._keep(self._use(server, first)).add_done_callback(ended)
        return first

    async def _use(self, server: KnownServer, first: Attempt) -> None:
        backoff = 0.0
        connection: ServerConnection | None = None
        while True:
            failure: ServerError | None = None
            if connection is None:
                try:
                    connection = await self._connect(server)
                except ServerError as error:
                    log.debug("%s", error)
                    failure = error
            joined = connection is not None and self._join(server, connection)
            told = first.done()
            if not told:
                first.set_result(failure)
            if connection is not None and joined:
                connection = await self._until_lost(server, connection)
                if connection is not None:
                    continue
                backoff = FIRST_BACKOFF
            elif connection is not None:
                log.debug("%s: in use already, at another address", connection.welcome.name)
                await self._disconnect(connection)
                connection = None
                backoff = LONGEST_BACKOFF
            elif isinstance(failure, SearchUnavailableError):
                if told and server not in self._unsuitable:
                    self._tell(f"not used: {failure}")
                self._unsuitable.add(server)
                # not until it announces itself: that is no news of its searches
                await asyncio.sleep(LONGEST_BACKOFF)
                backoff = 0.0
            else:
                longest = LONGEST_BACKOFF if self._in_use else LONGEST_ALONE
                backoff = min(max(FIRST_BACKOFF, 2 * backoff), longest)
            await self._pause(server, backoff)

    async def _connect(self, server: KnownServer) -> ServerConnection:
        """Returns a connection to a server at any of its addresses."""
        places = self._known.places(server)
        if not places:
            raise ServerError(f"{server.name} has another server at its address")
        return await dialer.race(places, partial(self._connect_at, server), self._disconnect)

    async def _connect_at(self, server: KnownServer, place: Location) -> ServerConnection:
        connection = await connect(place.host, place.port, self._parameters, self._keys or ())
        self._connections[connection] = place
        welcome = connection.welcome
        try:
            if server.named is None and welcome.instance != server.instance:
                # perhaps it is the same one after a restart
                self._hear(Sighting(welcome.instance, welcome.name, place))
            if welcome.instance != server.instance and place != server.named:
                server.addresses.pop(place, None)
                raise ServerError(f"{place}: another server has this address now")
            if self._search and self._search not in welcome.searches:
                raise SearchUnavailableError(
                    f"{one_line(welcome.name)} ({place}) cannot do the search {self._search}, only "
                    f"{one_line(', '.join(welcome.searches))}: its log names what it lacks"
                )
        except ServerError:
            await self._disconnect(connection)
            raise
        return connection

    async def _disconnect(self, connection: ServerConnection) -> None:
        self._connections.pop(connection, None)
        await connection.close()

    async def _pause(self, server: KnownServer, seconds: float) -> None:
        """Waits for some seconds, or less if the server announces itself."""
        await asyncio.sleep(min(FIRST_BACKOFF, seconds))
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(server.news.wait(), seconds - FIRST_BACKOFF)
        server.news.clear()

    def _join(self, server: KnownServer, connection: ServerConnection) -> bool:
        """Puts a server into use. Returns False if it is in use already, under another address that the user named."""
        welcome, place = connection.welcome, self._connections[connection]
        assert place is not None
        owner = self._in_use.setdefault(welcome.instance, server)
        if owner is not server:
            owner.heard_at(place, self._now)
            return False
        server.instance, server.name = welcome.instance, welcome.name
        server.connection, server.place = connection, place
        self._follower.joined(server, str(place), connection)
        if self._local_runs:
            self._tell_if_shared(connection)
        return True

    def _tell_if_shared(self, connection: ServerConnection) -> None:
        """Tells the user if a server runs on this machine beside the local one, as far as its address shows."""
        if connection.on_this_machine:
            words = "has an address of this machine: if it runs here, it and the local server slow each other"
            self._tell(f"server {one_line(connection.welcome.name)} {words}")

    async def _until_lost(self, server: KnownServer, connection: ServerConnection) -> ServerConnection | None:
        """Waits until a server in use is lost. Returns another connection to it, if one took the place of this."""
        watch = asyncio.create_task(self._watch_draining(server, connection))
        replacement: ServerConnection | None = None
        try:
            while not connection.lost.done():
                await connection.out_of_reach()
                if connection.lost.done():
                    break
                self._follower.path_changed(server, reachable=False)
                replacement = await self._replace(server, connection)
                if replacement is not None:
                    return replacement
                if connection.reachable():
                    self._follower.path_changed(server, reachable=True)
            return None
        finally:
            watch.cancel()
            self._in_use.pop(connection.welcome.instance, None)
            server.connection = None
            self._follower.left(server)
            closing = self._keep(self._disconnect(connection))
            if replacement is None:
                await closing
            # otherwise the server is used at once: nothing is left to be sent over the old connection

    async def _replace(self, server: KnownServer, connection: ServerConnection) -> ServerConnection | None:
        """Reaches a server anew while its connection is out of reach. Returns None if that is not any more, or is lost."""
        while not (connection.reachable() or connection.lost.done()):
            attempt = asyncio.create_task(self._connect(server))
            reasons: set[asyncio.Future[Any]] = {attempt, connection.lost}
            try:
                await asyncio.wait(reasons, return_when=asyncio.FIRST_COMPLETED)
            finally:
                await tasks.end([attempt])
            if attempt.cancelled() or attempt.exception() is not None:
                await asyncio.wait({connection.lost}, timeout=FIRST_BACKOFF)
            elif connection.reachable():
                await self._disconnect(attempt.result())
            else:
                return attempt.result()
        return None

    async def _watch_draining(self, server: KnownServer, connection: ServerConnection) -> None:
        await connection.draining.wait()
        self._follower.draining(server)

    def _keep(self, work: Coroutine[Any, Any, object]) -> asyncio.Task[object]:
        """Runs a coroutine until it is done or the client is closed."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
