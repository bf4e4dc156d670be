"""World: servers in virtual time that the client's own Scheduler divides images among, any number of either.

Servers work off their images one by one, in the order they came, at speeds of their own. Images take longer or shorter than
the scheduler is told. Servers crash, hang, straggle, are cut off, drain and come (back) as the scenario says, and images
may be ones that servers fail at, or that crash them. Everything follows from the seed.

`run` asserts that every image ends exactly once. Efficiency is the servers' seconds spent on answers that counted, over the
seconds in which they were there, connected and able to work, until the last image was done. Images are read as the client
reads them: as many as the scheduler has capacity for, and a few more.
"""

from __future__ import annotations

import math
import random
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from heapq import heappop, heappush
from typing import Any

from pyraface.client.api import READ_AHEAD
from pyraface.client.scheduling.instructions import Disconnect, GiveUp, Send, Withdraw
from pyraface.client.scheduling.scheduler import Scheduler

SILENCE = 20.0
"""Seconds until the client takes a server that is cut off for lost."""

ALONE = 120.0
"""Seconds without any server after which what waits has failed."""

WARM_UP = 5.0
"""Seconds from a crash that an image caused until the server is back."""


class Fault(Enum):
    """What may happen to a server, for some seconds."""

    CRASH = "crash"
    """It loses what it has; it comes back after that time."""
    HANG = "hang"
    """It does nothing, though its connection lives."""
    STRAGGLE = "straggle"
    """It works at a tenth of its speed."""
    PARTITION = "partition"
    """Nothing gets through. After `SILENCE` the connection is lost; a new one is made after that time."""
    DRAIN = "drain"
    """It takes nothing more, finishes what it has and goes; it comes back after that time."""


@dataclass(frozen=True)
class Event:
    """A fault of a server: when, which, for how long."""

    at: float
    server: int
    fault: Fault
    seconds: float


@dataclass(frozen=True)
class Scenario:
    """What is simulated.

    Attributes:
        speeds: cost a second, of each server.
        images: how many; each is of cost 1 in the mean.
        joins: seconds after the start at which servers come, by number; the others are there at the start.
        noise: how far wrong the costs are that the scheduler is told: sigma of a log-normal distribution.
        spread: of the costs, likewise.
        stragglers: share of images that take ten times what they should.
        latency: seconds a message takes.
        failing: images that every server fails at, sooner or later.
        poison: images that crash every server that works on them.
        broken: servers that fail at every image, at once.
    """

    speeds: tuple[float, ...]
    images: int
    credits: int = 4
    events: tuple[Event, ...] = ()
    joins: Mapping[int, float] = field(default_factory=dict)
    noise: float = 0.4
    spread: float = 0.5
    stragglers: float = 0.002
    latency: float = 0.005
    failing: frozenset[int] = frozenset()
    poison: frozenset[int] = frozenset()
    broken: frozenset[int] = frozenset()
    seed: int = 0


@dataclass
class Report:
    """What came of it.

    Attributes:
        done, failed: images by outcome; failed by reason.
        seconds: virtual ones, from start to end.
        available: server-seconds that could have been used.
        useful: of these, on answers that counted; wasted: on answers that came second, or that nobody waited for.
        copies: images sent to a server beyond the first time.
        python: real seconds that the simulation took.
    """

    images: int
    done: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    available: float = 0.0
    useful: float = 0.0
    wasted: float = 0.0
    sent: int = 0
    python: float = 0.0
    reasons: dict[int, str] = field(default_factory=dict)
    held: dict[int, Counter[str]] = field(default_factory=dict)
    """For each image that was with a server when something happened to that: how often it crashed, fell silent, hung."""

    @property
    def efficiency(self) -> float:
        return self.useful / self.available if self.available else 0.0

    def __str__(self) -> str:
        failed = ", ".join(f"{count} {reason}" for reason, count in sorted(self.failed.items())) or "none"
        return (
            f"{self.images} images in {self.seconds:.1f} virtual s ({self.python:.1f} s of Python): "
            f"efficiency {self.efficiency:.2%}, duplicate work {self.wasted / max(self.available, 1e-9):.2%}, "
            f"sent {self.sent - self.images} times more than once; failed: {failed}"
        )


class _Server:
    """One machine."""

    def __init__(self, number: int, speed: float) -> None:
        self.number = number
        self.speed = speed
        self.alive = self.connected = False
        self.epoch = 0
        """Of its connection: what was said on an earlier one is not heard."""
        self.queue: deque[tuple[int, float]] = deque()
        """(image, when it has arrived)."""
        self.working: int | None = None
        self.began = self.ends = 0.0
        self.work = 0
        """Counts what it begins: an end that was put off is not the end."""
        self.slow_until = self.hung_until = self.cut_until = -math.inf
        self.draining = False
        self.there_since = 0.0


class _World:
    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.chance = random.Random(scenario.seed)
        self.scheduler = Scheduler()
        self.servers = [_Server(number, speed) for number, speed in enumerate(scenario.speeds)]
        self.now = 0.0
        self.agenda: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self.order = 0
        self.next_image = 0
        self.ended = bytearray(scenario.images)
        self.work: dict[int, float] = {}
        """What images really take, of those that have not ended."""
        self.report = Report(scenario.images)
        self.woken_at = math.inf
        self.alone_since = 0.0

    def at(self, moment: float, what: Callable[..., None], *arguments: Any) -> None:
        self.order += 1
        heappush(self.agenda, (moment, self.order, what, arguments))

    def run(self) -> Report:
        started = time.perf_counter()
        scenario = self.scenario
        self.scheduler.more_to_come = scenario.images > 0
        for server in self.servers:
            self.at(scenario.joins.get(server.number, 0.0), self.comes, server)
        for event in scenario.events:
            self.at(event.at, self.happens, event)
        self.at(ALONE, self.nobody)
        agenda = self.agenda
        while self.report.done + self.report.failed.total() < scenario.images:
            self.now, _, what, arguments = heappop(agenda)
            what(*arguments)
        assert all(count == 1 for count in self.ended), "an image was lost, or ended twice"
        assert not self.work
        assert not self.scheduler._jobs
        for server in self.servers:
            self.away(server)
        self.report.seconds = self.now
        self.report.python = time.perf_counter() - started
        return self.report

    # ----------------------------------------------------------------------------------------------- the client

    def client(self) -> None:
        """Feeds the scheduler, and does what it decides."""
        scheduler = self.scheduler
        while True:
            while self.next_image < self.scenario.images and (
                len(self.work) < scheduler.capacity + READ_AHEAD
            ):
                self.put()
            decisions = scheduler.decide(self.now)
            if not decisions:
                break
            for decision in decisions:
                if isinstance(decision, Send):
                    self.send(self.servers[decision.server], decision.job)
                elif isinstance(decision, Withdraw):
                    server = self.servers[decision.server]
                    self.at(self.arrives(server), self.cancelled, server, server.epoch, decision.job)
                elif isinstance(decision, GiveUp):
                    self.end(decision.job, decision.reason.value)
                else:
                    assert isinstance(decision, Disconnect)
                    self.lost(self.servers[decision.server], self.servers[decision.server].epoch, "silent")
        wake = scheduler.wake
        if wake is not None and (wake < self.woken_at or self.woken_at <= self.now):
            self.woken_at = wake
            self.at(wake, self.client)

    def put(self) -> None:
        scenario = self.scenario
        cost = (
            self.chance.lognormvariate(-(scenario.spread**2) / 2, scenario.spread) if scenario.spread else 1.0
        )
        wrong = self.chance.lognormvariate(0.0, scenario.noise) if scenario.noise else 1.0
        if self.chance.random() < scenario.stragglers:
            wrong *= 10.0
        self.work[self.next_image] = cost * wrong
        self.scheduler.put(self.next_image, cost)
        self.next_image += 1
        if self.next_image == scenario.images:
            self.scheduler.more_to_come = False

    def send(self, server: _Server, image: int) -> None:
        self.report.sent += 1
        server.queue.append((image, self.arrives(server)))
        if server.working is None:
            self.work_on(server)

    def arrives(self, server: _Server) -> float:
        """When what is said now is heard at the other end: a network that is cut delivers when it is whole again."""
        return max(self.now, server.cut_until) + self.scenario.latency

    def end(self, image: int, failure: str | None = None) -> None:
        self.ended[image] += 1
        del self.work[image]
        if failure is None:
            self.report.done += 1
        else:
            self.report.failed[failure] += 1
            self.report.reasons[image] = failure

    def answer(self, server: _Server, epoch: int, image: int, seconds: float, refused: bool) -> None:
        """An answer reaches the client."""
        if epoch != server.epoch:
            return
        if refused:
            self.scheduler.refused(server.number, image, self.now)
        elif self.scheduler.answered(server.number, image, self.now):
            self.report.useful += seconds
            self.end(image)
        else:
            self.report.wasted += seconds
        self.client()

    def nothing(self, server: _Server, epoch: int, image: int) -> None:
        """The answer to a cancel reaches the client."""
        if epoch == server.epoch:
            self.scheduler.postponed(server.number, image, self.now)
            self.client()

    def lost(self, server: _Server, epoch: int, how: str) -> None:
        """The client notices that a connection has ended."""
        if epoch != server.epoch or not server.connected:
            return
        self.away(server)
        server.epoch += 1
        server.connected = False
        if how == "silent":  # the server notices too, and forgets this client
            self.forget(server)
        self.count(server, how)
        self.scheduler.server_down(server.number, self.now, silent=how == "silent")
        self.at(self.now + ALONE, self.gone, server, server.epoch)
        if not any(other.connected for other in self.servers):
            self.alone_since = self.now
            self.at(self.now + ALONE, self.nobody)
        self.client()

    def gone(self, server: _Server, epoch: int) -> None:
        """A server that was lost has not come back."""
        if epoch == server.epoch and not server.connected:
            self.scheduler.server_gone(server.number)
            self.client()

    def nobody(self) -> None:
        """Without any server for so long, what waits has failed."""
        if any(server.connected for server in self.servers) or self.now < self.alone_since + ALONE:
            return
        while True:
            for image in self.scheduler.withdraw_all():
                self.end(image, "no server")
            if self.next_image == self.scenario.images:
                return
            self.put()

    # ----------------------------------------------------------------------------------------------- the servers

    def comes(self, server: _Server) -> None:
        """A server is connected, if it is there."""
        if server.connected:
            return
        if self.now < server.cut_until:
            self.at(server.cut_until, self.comes, server)
            return
        server.alive = server.connected = True
        server.draining = False
        server.there_since = max(self.now, server.hung_until)
        self.scheduler.server_up(server.number, self.scenario.credits, self.now)
        self.client()

    def away(self, server: _Server) -> None:
        """Counts the time in which a server could have worked."""
        if server.connected:
            self.report.available += max(0.0, self.now - server.there_since)
            server.there_since = max(server.there_since, self.now)

    def unavailable(self, server: _Server, until: float) -> None:
        """It cannot work from now on until then."""
        self.away(server)
        server.there_since = max(server.there_since, until)

    def work_on(self, server: _Server) -> None:
        """Begins with the next image."""
        image, arrived = server.queue.popleft()
        server.working = image
        server.began = max(self.now, arrived, server.hung_until)
        takes = self.work.get(image, 0.0) / server.speed
        if server.began < server.slow_until:
            takes *= 10.0
        server.ends = server.began + (0.001 if server.number in self.scenario.broken else takes)
        server.work += 1
        self.at(server.ends, self.finished, server, server.work)

    def finished(self, server: _Server, work: int) -> None:
        if work != server.work or server.working is None:
            return
        image = server.working
        server.working = None
        if image in self.scenario.poison:
            self.crash(server, WARM_UP)
            return
        failed = image in self.scenario.failing or server.number in self.scenario.broken
        if server.connected:
            took = server.ends - server.began
            self.at(self.arrives(server), self.answer, server, server.epoch, image, took, failed)
        if server.queue:
            self.work_on(server)
        elif server.draining:
            self.at(self.arrives(server), self.lost, server, server.epoch, "drained")

    def cancelled(self, server: _Server, epoch: int, image: int) -> None:
        """A cancel reaches the server: what it has not begun is answered at once."""
        if epoch != server.epoch:
            return
        for entry in server.queue:
            if entry[0] == image:
                server.queue.remove(entry)
                self.at(self.arrives(server), self.nothing, server, epoch, image)
                break

    def forget(self, server: _Server) -> None:
        server.queue.clear()
        server.working = None
        server.work += 1

    def count(self, server: _Server, how: str) -> None:
        for image in self.scheduler.server(server.number).in_flight:
            self.report.held.setdefault(image, Counter())[how] += 1

    def crash(self, server: _Server, back_after: float) -> None:
        self.away(server)
        self.forget(server)
        server.alive = False
        server.hung_until = -math.inf
        if server.connected:
            server.there_since = math.inf
            self.at(self.arrives(server), self.lost, server, server.epoch, "crashed")
        self.at(self.now + back_after + self.scenario.latency, self.comes, server)

    def happens(self, event: Event) -> None:
        server = self.servers[event.server]
        if not server.connected or not server.alive:
            return
        until = self.now + event.seconds
        if event.fault is Fault.CRASH:
            self.crash(server, event.seconds)
        elif event.fault is Fault.STRAGGLE:
            server.slow_until = until
        elif event.fault is Fault.HANG:
            self.unavailable(server, until)
            server.hung_until = max(server.hung_until, until)
            self.count(server, "hung")
            if server.working is not None:
                server.ends += event.seconds
                server.began += event.seconds
                server.work += 1
                self.at(server.ends, self.finished, server, server.work)
        elif event.fault is Fault.PARTITION:
            server.cut_until = max(server.cut_until, until)
            if event.seconds > SILENCE:  # what it still does is lost; otherwise it may do what it has
                self.unavailable(server, until)
                self.at(self.now + SILENCE, self.lost, server, server.epoch, "silent")
                self.at(until, self.comes, server)
        elif event.fault is Fault.DRAIN and not server.draining:
            server.draining = True
            self.scheduler.server_draining(server.number, self.now)
            if server.working is None:
                self.at(self.arrives(server), self.lost, server, server.epoch, "drained")
            self.at(until, self.comes, server)


def run(scenario: Scenario) -> Report:
    """Returns what came of a scenario.

    Raises:
        AssertionError: an image was lost, or ended twice.
    """
    return _World(scenario).run()


def geometric(count: int, span: float) -> tuple[float, ...]:
    """So many speeds, from 1 to `span`, each as many times the one before."""
    return tuple(span ** (number / max(count - 1, 1)) for number in range(count))


def troubles(
    servers: int, every: float, until: float, *, faults: Sequence[Fault] = tuple(Fault), seed: int = 0
) -> tuple[Event, ...]:
    """Something happens to some server, so often, and lasts up to a minute."""
    chance = random.Random(seed)
    return tuple(
        Event(number * every, chance.randrange(servers), chance.choice(faults), chance.uniform(1.0, 60.0))
        for number in range(1, int(until / every))
    )


def thousandfold(
    servers: int, images: int, *, every: float = 60.0, faults: Sequence[Fault] = (Fault.CRASH,)
) -> Scenario:
    """Many servers over a hundredfold range, the slowest of which takes 10 s for an image; and what happens how often."""
    speeds = tuple(speed / 10 for speed in geometric(servers, 100.0))
    return Scenario(speeds, images, events=troubles(servers, every, 4 * images / sum(speeds), faults=faults))


def scenarios() -> dict[str, Scenario]:
    """The ones that the documentation quotes."""
    roomful = geometric(8, 20.0)
    return {
        # an image takes 3 s on the slowest machine of a roomful, and 0.15 s on the fastest
        "roomful": Scenario(tuple(speed / 3 for speed in roomful), 10_000),
        "roomful in trouble": Scenario(
            tuple(speed / 3 for speed in roomful), 10_000, events=troubles(8, 20.0, 10_000)
        ),
        "one": Scenario((1.0,), 1_000),
        "hundredfold": Scenario((0.1, 10.0), 2_000),
        "latecomers": Scenario(
            tuple(speed / 3 for speed in roomful),
            10_000,
            joins={number: 60.0 * number for number in range(1, 8)},
        ),
        "million": thousandfold(1000, 1_000_000),
        "million in trouble": thousandfold(1000, 1_000_000, every=5.0, faults=tuple(Fault)),
    }
