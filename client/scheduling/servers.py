"""ScheduledServers: the servers as the scheduler sees them, and the server that would finish a job first."""

from __future__ import annotations

import math
from enum import Enum
from weakref import WeakKeyDictionary

from .heapset import HeapSet
from .instructions import Key
from .jobs import Job

HOLD_SECONDS = 5.0
"""Seconds of work that a server holds: the next images travel and are decoded while it has one in the engine."""

LEAST_HELD = 2
"""Jobs that even a slow server holds: one in the engine, one in transit."""

STUCK_TIMES, STUCK_LEAST, STUCK_UNKNOWN = 8.0, 10.0, 60.0
"""A server is stuck when it takes this many times as long as a job should, and at least this many seconds; the last is the
limit, in seconds, while its rate is unknown."""

STRAGGLER_TIMES, STRAGGLER_LEAST = 2.0, 0.25
"""The same for a straggler, which matters only at the end of a run: another attempt costs nothing then."""

ABANDON_AFTER = 3600.0
"""Seconds after which the connection to a stuck server is given up."""

MEMORY = 15 / 16
"""Weight of the earlier answers in a server's rate after each new answer."""

OUTLIER = 4.0
"""A job that takes longer than expected counts as at most this many times as long: the cause may be a pause."""


class Link(Enum):
    """Whether a server can be sent jobs."""

    CONNECTED = "connected"
    DRAINING = "draining"
    """It finishes its jobs and takes no more."""
    UNREACHABLE = "unreachable"
    """Nothing that is sent is acknowledged: it gets no job, and its jobs are given to others as well."""
    LOST = "lost"
    """There is no connection, but it is expected back."""
    GONE = "gone"
    """There is no connection, and it is not expected."""


class Progress(Enum):
    """Whether a server answers in time. The state is one of a connected or a draining server that has jobs."""

    ON_TIME = "on time"
    STRAGGLING = "straggling"
    """It is late at the end of a run, where its jobs are given to idle servers as well."""
    STUCK = "stuck"
    """It is far too late at any time: its jobs are given to others, and it gets none until it answers."""
    ABANDONED = "abandoned"
    """It was stuck for so long that its connection is being ended."""


class Isolation(Enum):
    """Whether a server serves a suspect, which is tried with no other job beside it."""

    SHARED = "shared"
    EMPTYING = "emptying"
    """It gets nothing until it has no job; then it gets a suspect."""
    ALONE = "alone"
    """It has a suspect."""


class ScheduledServer:
    """One server, over all its connections.

    Attributes:
        granted: jobs that the server takes at a time, as it said when it connected.
        capacity: jobs that it should hold now, counted in `ScheduledServers.capacity`.
        blamed: the jobs that the last loss was counted against, each with whether the server fell silent.
        in_flight: its jobs in the order in which they were sent, cancelled ones among them.
        backlog: the cost of all these.
        since: when it began with the oldest: at its last answer, or when that job was sent to it.
        failures: in a row.
        answers: since it was connected.
        backoff_until: when it gets jobs again.
        done: jobs that it was the first to answer.
        work, busy, images: cost done, the seconds that took, and the number of jobs; recent ones count most.
    """

    def __init__(self, key: Key) -> None:
        self.key = key
        self.link = Link.GONE
        self.progress = Progress.ON_TIME
        self.isolation = Isolation.SHARED
        self.granted = self.capacity = 0
        self.blamed = WeakKeyDictionary[Job, bool]()
        self.in_flight: dict[Key, Job] = {}
        self.backlog = self.since = 0.0
        self.failures = self.answers = self.done = 0
        self.backoff_until = -math.inf
        self.work = self.busy = self.images = 0.0

    @property
    def connected(self) -> bool:
        """Whether there is a connection to it."""
        return self.link not in (Link.LOST, Link.GONE)

    @property
    def overdue(self) -> bool:
        """Whether an answer is no longer expected of it."""
        return self.progress is not Progress.ON_TIME

    @property
    def stuck(self) -> bool:
        """Whether it has not answered for so long that it gets no job until it does."""
        return self.progress in (Progress.STUCK, Progress.ABANDONED)

    @property
    def credits(self) -> int:
        """Jobs that it takes at a time; 0 while it takes none."""
        return self.granted if self.link is Link.CONNECTED else 0

    @property
    def rate(self) -> float:
        """Images a second, over its recent answers; 0 before the first."""
        return self.images / self.busy if self.busy else 0.0


class ScheduledServers:
    """All servers. After any change of one, `file` it again.

    Attributes:
        capacity: jobs that all of them should hold.
        mean_cost: the mean cost of a job.
        emptying: number of servers in the state EMPTYING.
        ending: whether no job waits and none is to come: the order in which servers will be done is kept from then on.
    """

    def __init__(self) -> None:
        self.capacity = 0
        self.mean_cost = 1.0
        self.emptying = 0
        self.ending = False
        self._costs = 0
        self._servers: dict[Key, ScheduledServer] = {}
        self._idle = HeapSet[ScheduledServer]()
        """Servers with capacity and without a job, the fastest first."""
        self._open = HeapSet[ScheduledServer]()
        """Servers with capacity and jobs, by the time at which they would finish one more job."""
        self._last = HeapSet[ScheduledServer]()
        """At the end of a run: servers with jobs, the last to be done first."""
        self._alarms = HeapSet[ScheduledServer]()
        """Servers by the time at which they are checked, with or without an event."""
        self._rates = 0.0
        self._known = 0

    def __getitem__(self, key: Key) -> ScheduledServer:
        return self._servers[key]

    def get(self, key: Key) -> ScheduledServer | None:
        """Returns a server; None for one that was never connected."""
        return self._servers.get(key)

    def get_or_add(self, key: Key) -> ScheduledServer:
        """Returns a server, a new one if it was never connected."""
        server = self._servers.get(key)
        if server is None:
            server = self._servers[key] = ScheduledServer(key)
        return server

    @property
    def connected(self) -> list[Key]:
        """The servers with a connection, draining ones among them."""
        return [server.key for server in self._servers.values() if server.connected]

    @property
    def expected(self) -> list[Key]:
        """The servers with a connection, and the lost ones that are expected back."""
        return [server.key for server in self._servers.values() if server.link is not Link.GONE]

    @property
    def rate_known(self) -> bool:
        """Whether any server has shown its rate."""
        return self._known > 0

    @property
    def wake(self) -> float | None:
        """When `due` may return a server."""
        first = self._alarms.peek()
        return None if first is None else first[0]

    # ------------------------------------------------------------------------------------------ rates and expectations

    def expect_cost(self, cost: float) -> None:
        """Counts a job for the mean."""
        self._costs = min(self._costs + 1, 1000)
        self.mean_cost += (cost - self.mean_cost) / self._costs

    def learn(self, server: ScheduledServer, cost: float, now: float) -> None:
        """Takes account of a job that a server has done since its last answer."""
        seconds = max(now - server.since, 1e-4)
        if server.busy:
            seconds = min(seconds, OUTLIER * cost * server.busy / server.work)
            self._rates -= server.work / server.busy
        else:
            self._known += 1
        # sums, not a mean of rates: answers that come in pairs, and wrong estimates, average out
        server.work = MEMORY * server.work + cost
        server.busy = MEMORY * server.busy + seconds
        server.images = MEMORY * server.images + 1
        self._rates += server.work / server.busy

    def speed(self, server: ScheduledServer) -> float:
        """Returns the cost that a server does in a second; before its first answer, the average of the others."""
        if server.busy:
            return server.work / server.busy
        return self._rates / self._known if self._known else 1.0

    def finish(self, server: ScheduledServer, now: float) -> float:
        """Returns when a server should have done all its jobs."""
        if not server.in_flight:
            return now
        speed = self.speed(server)
        oldest = next(iter(server.in_flight.values()))
        return max(server.since, now - oldest.cost / speed) + server.backlog / speed

    # ------------------------------------------------------------------------------------------ which one is next

    def file(self, server: ScheduledServer, now: float) -> None:
        """Updates the place of a server in every order."""
        for heap in (self._idle, self._open, self._last):
            heap.discard(server)
        speed = self.speed(server)
        capacity = self._capacity(server, speed)
        self.capacity += capacity - server.capacity
        server.capacity = capacity
        held = len(server.in_flight)
        if now < server.backoff_until:
            self._set_alarm(server, server.backoff_until)
        elif held < capacity and server.isolation is Isolation.SHARED and not server.overdue:
            if held:
                self._open.push(server, self.finish(server, now) + self.mean_cost / speed)
            else:
                self._idle.push(server, -speed)
        if held:
            self._set_alarm(server, self._deadline(server))
            if self.ending:
                self._last.push(server, -self.finish(server, now))

    def _capacity(self, server: ScheduledServer, speed: float) -> int:
        if server.link is not Link.CONNECTED:
            return 0
        if server.failures > 1:
            return 1  # one job to prove itself
        held = int(HOLD_SECONDS * speed / self.mean_cost) + 1 if server.images else 0
        return min(server.granted, max(LEAST_HELD, held))

    def take_best(self, cost: float, now: float) -> ScheduledServer | None:
        """Removes and returns the server, of those with capacity, that would finish a job first; it must be filed again."""
        idle, opened = self._idle.peek(), self._open.peek()
        heap = self._open if idle is None else self._idle
        if idle is not None and opened is not None:
            at_once, later = idle[1], opened[1]
            if now + cost / self.speed(at_once) > self.finish(later, now) + cost / self.speed(later):
                heap = self._open
        best = heap.pop()
        return None if best is None else best[1]

    def fastest_idle(self) -> ScheduledServer | None:
        """Returns the fastest of the servers without a job."""
        first = self._idle.peek()
        return None if first is None else first[1]

    def begin_end(self, now: float) -> None:
        """Starts to keep the order in which servers will be done."""
        self.ending = True
        self._last.clear()
        for server in self._servers.values():
            if server.in_flight:
                self.file(server, now)

    def last_to_copy(self, now: float) -> tuple[Job, float] | None:
        """Returns, of the jobs that may be copied, the one that would be done last, and that time; after `begin_end`."""
        while (top := self._last.pop()) is not None:
            order, server = top
            found = self._last_of(server, now)
            if found is not None:
                self._last.push(server, -found[1])
                if found[1] >= -order:
                    return found
        return None

    def _last_of(self, server: ScheduledServer, now: float) -> tuple[Job, float] | None:
        finish = self.finish(server, now)
        for job in reversed(server.in_flight.values()):
            if job.may_be_copied:
                return job, finish
            finish -= job.cost / self.speed(server)
        return None

    # ------------------------------------------------------------------------------------------ time

    def due(self, now: float) -> list[tuple[ScheduledServer, bool]]:
        """Returns the servers whose alarm has gone off, each with whether it is overdue; all must be filed again."""
        found = []
        while (first := self._alarms.peek()) is not None and first[0] <= now:
            server = first[1]
            self._alarms.discard(server)
            found.append((server, bool(server.in_flight) and now >= self._deadline(server)))
        return found

    def _set_alarm(self, server: ScheduledServer, at: float) -> None:
        """Sets an alarm, unless there is an earlier one: when that has gone off, the next is set."""
        earlier = self._alarms.order(server)
        if at < (math.inf if earlier is None else earlier):
            self._alarms.push(server, at)

    def _deadline(self, server: ScheduledServer) -> float:
        """Returns when a server that has jobs is overdue, or overdue by one degree more."""
        if server.progress is Progress.ABANDONED:
            return math.inf
        oldest = next(iter(server.in_flight.values()))
        expected = oldest.cost / self.speed(server) if self._known else math.inf
        stuck = max(STUCK_TIMES * expected, STUCK_LEAST) if server.images else STUCK_UNKNOWN
        if server.progress is Progress.STUCK:
            return server.since + stuck + ABANDON_AFTER
        if self.ending and server.progress is Progress.ON_TIME:
            return server.since + min(max(STRAGGLER_TIMES * expected, STRAGGLER_LEAST), stuck)
        return server.since + stuck
