"""The servers: what each has, how fast it is, when it should be done, and which one would finish an image first."""

from __future__ import annotations

import itertools
import math
from heapq import heappop, heappush
from typing import Generic

from .instructions import J, S
from .queue import Image

AHEAD = 5.0
"""Seconds of work that a server holds: the next images travel and are decoded while it has one in the engine."""

LEAST_AHEAD = 2
"""Images that a server holds, however slow it is: one in the engine, one on the way."""

STUCK_TIMES, STUCK_LEAST, STUCK_UNKNOWN = 8.0, 10.0, 60.0
"""A server is stuck when it takes so many times what an image should, but at least so many seconds; without any rate."""

LATE_TIMES, LATE_LEAST = 2.0, 0.25
"""It is late, which counts at the end of the work: another try costs nothing then."""

FORSAKEN = 3600.0
"""Seconds after which the connection of a server that is stuck is given up."""

MEMORY = 15 / 16
"""How much of what a server has shown counts after one more image."""

OUTLIER = 4.0
"""An image that takes longer than expected counts at most so many times: it may be the image, or a pause."""


class Server(Generic[J, S]):
    """One that is, or was, connected."""

    def __init__(self, server: S) -> None:
        self.server = server
        self.up = self.draining = False
        self.credits = 0
        self.room = 0
        """Images that it should hold; counted in the roster's `room`."""
        self.flying: dict[J, Image[J, S]] = {}
        """What it has, in the order in which it was sent, cancelled ones too."""
        self.backlog = 0.0
        """The cost of all that."""
        self.since = 0.0
        """When it began with the oldest: at its last answer, or when it got that one."""
        self.alone = False
        """It has a suspect."""
        self.emptying = False
        """It gets nothing until it is empty, and a suspect then."""
        self.late = self.stuck = self.forsaken = False
        self.streak = 0
        """Failures in a row."""
        self.answers = 0
        """Since it was connected."""
        self.rest_until = -math.inf
        self.alarm = math.inf
        """When it is looked at, whatever happens."""
        self.version = 0
        """What the heaps hold about it is true if it is of this version."""
        self.done = 0
        self.work = self.busy = self.images = 0.0
        """Cost done, seconds that took, and images, the last ones counting most."""

    @property
    def overdue(self) -> bool:
        """Whether nobody counts on it."""
        return self.late or self.stuck


Filed = tuple[float, int, Server[J, S]]
"""An entry of a heap: what it is ordered by, the version of the server that is true for, the server."""


class Roster(Generic[J, S]):
    """All servers. After anything about one has changed, `file` it anew."""

    def __init__(self) -> None:
        self.room = 0
        self.ending = False
        """Whether nothing waits and nothing comes: from then on it is known who will be done last."""
        self.mean_cost = 1.0
        self.emptying = 0
        """Servers that are."""
        self._costs = 0
        self._servers: dict[S, Server[J, S]] = {}
        self._versions = itertools.count(1)
        # those with room: the idle ones by speed, the others by when they would finish one image more
        self._idle: list[Filed[J, S]] = []
        self._open: list[Filed[J, S]] = []
        self._last: list[Filed[J, S]] = []
        """At the end, those with something, by when they will be done, negative: the last one first."""
        self._alarms: list[Filed[J, S]] = []
        self._rates = 0.0
        self._known = 0

    def __getitem__(self, server: S) -> Server[J, S]:
        return self._servers[server]

    def get(self, server: S) -> Server[J, S] | None:
        """Returns what is known of a server; None for one that never was up."""
        return self._servers.get(server)

    def get_or_add(self, server: S) -> Server[J, S]:
        """Returns what is known of a server, nothing yet if it never was up."""
        s = self._servers.get(server)
        if s is None:
            s = self._servers[server] = Server(server)
        return s

    @property
    def up(self) -> list[S]:
        """The servers that are connected."""
        return [s.server for s in self._servers.values() if s.up]

    @property
    def known(self) -> bool:
        """Whether any server has shown its rate."""
        return self._known > 0

    @property
    def wake(self) -> float | None:
        """When `due` may have something."""
        return self._alarms[0][0] if self._alarms else None

    # ------------------------------------------------------------------------------------------ rates and expectations

    def expect_cost(self, cost: float) -> None:
        """Counts an image for the mean."""
        self._costs = min(self._costs + 1, 1000)
        self.mean_cost += (cost - self.mean_cost) / self._costs

    def learn(self, s: Server[J, S], cost: float, now: float) -> None:
        """A server has done an image since its last answer."""
        seconds = max(now - s.since, 1e-4)
        if s.busy:
            seconds = min(seconds, OUTLIER * cost * s.busy / s.work)
            self._rates -= s.work / s.busy
        else:
            self._known += 1
        # sums, not a mean of rates: answers that come in pairs, and guesses that are wrong, average out
        s.work = MEMORY * s.work + cost
        s.busy = MEMORY * s.busy + seconds
        s.images = MEMORY * s.images + 1
        self._rates += s.work / s.busy

    def rate(self, s: Server[J, S]) -> float:
        """Returns cost a second; of a server that has shown nothing, what those that have do on the average."""
        if s.busy:
            return s.work / s.busy
        return self._rates / self._known if self._known else 1.0

    def finish(self, s: Server[J, S], now: float) -> float:
        """Returns when a server should have done all it has."""
        if not s.flying:
            return now
        rate = self.rate(s)
        oldest = next(iter(s.flying.values()))
        return max(s.since, now - oldest.cost / rate) + s.backlog / rate

    # ------------------------------------------------------------------------------------------ who is next

    def file(self, s: Server[J, S], now: float) -> None:
        """Enters a server where it belongs."""
        s.version = version = next(self._versions)
        rate = self.rate(s)
        room = self._room(s, rate)
        self.room += room - s.room
        s.room = room
        has = len(s.flying)
        if now < s.rest_until:
            self._set_alarm(s, s.rest_until)
        elif has < room and not (s.alone or s.emptying or s.late or s.stuck):
            if has:
                heappush(self._open, (self.finish(s, now) + self.mean_cost / rate, version, s))
            else:
                heappush(self._idle, (-rate, version, s))
                if len(self._idle) > 4 * len(self._servers) + 16:
                    self._idle = sorted(entry for entry in self._idle if _true(entry))
        if has:
            self._set_alarm(s, self._deadline(s))
            if self.ending:
                heappush(self._last, (-self.finish(s, now), version, s))

    def _room(self, s: Server[J, S], rate: float) -> int:
        if not s.up or s.draining:
            return 0
        if s.streak > 1:
            return 1  # to prove itself
        ahead = int(AHEAD * rate / self.mean_cost) + 1 if s.images else 0
        return min(s.credits, max(LEAST_AHEAD, ahead))

    def take_best(self, cost: float, now: float) -> Server[J, S] | None:
        """Takes out the server, of those with room, that would finish an image first; it is to be filed again."""
        _clean(self._idle)
        _clean(self._open)
        heap = self._idle or self._open
        if self._idle and self._open:
            idle, opened = self._idle[0][2], self._open[0][2]
            if now + cost / self.rate(idle) > self.finish(opened, now) + cost / self.rate(opened):
                heap = self._open
        return heappop(heap)[2] if heap else None

    def fastest_idle(self) -> Server[J, S] | None:
        """Returns the fastest of those that have nothing."""
        _clean(self._idle)
        return self._idle[0][2] if self._idle else None

    def end(self, now: float) -> None:
        """Begins to keep track of who will be done last."""
        self.ending = True
        self._last = []
        for s in self._servers.values():
            if s.flying:
                self.file(s, now)

    def last_alone(self, now: float) -> tuple[Image[J, S], float] | None:
        """Returns the image in one server's hands alone that would be done last of all, and when; once `end`ed."""
        while self._last:
            finish, version, s = heappop(self._last)
            if version != s.version:
                continue
            found = self._last_of(s, now)
            if found is None:
                continue
            heappush(self._last, (-found[1], version, s))
            if found[1] >= -finish:
                return found
        return None

    def _last_of(self, s: Server[J, S], now: float) -> tuple[Image[J, S], float] | None:
        finish = self.finish(s, now)
        for image in reversed(s.flying.values()):
            if image.may_be_copied:
                return image, finish
            finish -= image.cost / self.rate(s)
        return None

    # ------------------------------------------------------------------------------------------ time

    def due(self, now: float) -> list[tuple[Server[J, S], bool]]:
        """Returns servers whose time has come, each with whether it is overdue; all are to be filed again."""
        found = []
        while self._alarms and self._alarms[0][0] <= now:
            at, _, s = heappop(self._alarms)
            if at == s.alarm:
                s.alarm = math.inf
                found.append((s, bool(s.flying) and now >= self._deadline(s)))
        return found

    def _set_alarm(self, s: Server[J, S], at: float) -> None:
        """Has a server looked at then. One that was set too early is set anew when it has gone off."""
        if at < s.alarm:
            s.alarm = at
            heappush(self._alarms, (at, next(self._versions), s))

    def _deadline(self, s: Server[J, S]) -> float:
        """When a server that has something is overdue, for the next time."""
        if s.forsaken:
            return math.inf
        oldest = next(iter(s.flying.values()))
        expected = oldest.cost / self.rate(s) if self._known else math.inf
        stuck = max(STUCK_TIMES * expected, STUCK_LEAST) if s.images else STUCK_UNKNOWN
        if s.stuck:
            return s.since + stuck + FORSAKEN
        if self.ending and not s.late:
            return s.since + min(max(LATE_TIMES * expected, LATE_LEAST), stuck)
        return s.since + stuck


def _true(entry: Filed[J, S]) -> bool:
    return entry[1] == entry[2].version


def _clean(heap: list[Filed[J, S]]) -> None:
    """Drops what is no longer true from the head of a heap."""
    while heap and heap[0][1] != heap[0][2].version:
        heappop(heap)
