"""Which server gets which image: decisions only, no I/O and no clock.

An image waits or is with one server, until it ends in exactly one way: `settled`, withdrawn, or given up by `server_down`
or `refused`. A refusal by a server that an image has been taken back from changes nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

J = TypeVar("J", bound=Hashable)
S = TypeVar("S", bound=Hashable)

MOST_LOST = 3
"""An image is given up when so many servers were lost while they held it: it may be what kills them."""


@dataclass(eq=False)
class _Load(Generic[J]):
    credits: int
    jobs: dict[J, None] = field(default_factory=dict)
    """In the order in which they were given to it."""


@dataclass(eq=False)
class _History(Generic[S]):
    lost: int = 0
    refused: set[S] = field(default_factory=set)


class Scheduler(Generic[J, S]):
    """Images wait in the order they came; those given back go first."""

    def __init__(self) -> None:
        self._waiting: deque[J] = deque()
        self._servers: dict[S, _Load[J]] = {}
        self._history: dict[J, _History[S]] = {}

    @property
    def servers(self) -> int:
        """How many servers there are."""
        return len(self._servers)

    @property
    def credits(self) -> int:
        """How many images all servers together take at a time."""
        return sum(load.credits for load in self._servers.values())

    def in_flight(self, server: S) -> int:
        """How many images a server has; a lost one has none."""
        load = self._servers.get(server)
        return 0 if load is None else len(load.jobs)

    def put(self, job: J) -> None:
        """A new image."""
        self._history[job] = _History()
        self._waiting.append(job)

    def server_up(self, server: S, credits: int) -> None:
        """A server that takes `credits` images at a time."""
        self._servers[server] = _Load(credits)

    def server_down(self, server: S) -> list[J]:
        """A server is lost: its images are given back. Returns those that are given up."""
        load = self._servers.pop(server, None)
        if load is None:
            return []
        given_up = []
        for job in reversed(load.jobs):
            self._history[job].lost += 1
            if self._history[job].lost >= MOST_LOST:
                given_up.append(job)
            else:
                self._waiting.appendleft(job)
        given_up += [job for job in self._waiting if self._hopeless(job)]
        for job in given_up:
            self.withdraw(job)
        return given_up

    def server_draining(self, server: S) -> None:
        """A server takes nothing more, but finishes what it has."""
        if server in self._servers:
            self._servers[server].credits = 0

    def assign(self) -> tuple[S, J] | None:
        """Returns the next image and the server it goes to, None while no server has credit for any.

        The server with the largest share of its credits free gets it: the ones that answer fast free theirs fast.
        """
        for job in self._waiting:
            refused = self._history[job].refused
            free = [
                ((load.credits - len(load.jobs)) / load.credits, server)
                for server, load in self._servers.items()
                if len(load.jobs) < load.credits and server not in refused
            ]
            if free:
                share = max(share for share, _ in free)
                server = next(server for other, server in free if other == share)
                self._waiting.remove(job)
                self._servers[server].jobs[job] = None
                return server, job
            if not refused:
                return None  # no server has credit at all: those behind it will not fare better
        return None

    def settled(self, job: J) -> None:
        """An image has its final answer, be it from a server that it was taken back from."""
        self.withdraw(job)

    def refused(self, server: S, job: J) -> bool:
        """A server could not do an image that another may. Returns whether it is given up: no other is there."""
        if not self._release(server, job):
            return False
        self._history[job].refused.add(server)
        self._waiting.appendleft(job)
        if self._hopeless(job):
            self.withdraw(job)
            return True
        return False

    def postponed(self, server: S, job: J) -> None:
        """A server had no time for an image just now: it waits again, for any server."""
        if self._release(server, job):
            self._waiting.appendleft(job)

    def waits(self, job: J) -> bool:
        """Whether an image waits for a server; otherwise one has it, or it has ended."""
        return job in self._waiting

    def withdraw(self, job: J) -> None:
        """Nobody wants this image's faces any more."""
        if job in self._waiting:
            self._waiting.remove(job)
        for load in self._servers.values():
            load.jobs.pop(job, None)
        self._history.pop(job, None)

    def withdraw_all(self) -> list[J]:
        """Takes back every image that waits for a server, and returns them."""
        waiting = list(self._waiting)
        self._waiting.clear()
        for job in waiting:
            del self._history[job]
        return waiting

    def _release(self, server: S, job: J) -> bool:
        """Takes an image from a server; returns whether it was there."""
        load = self._servers.get(server)
        if load is None or job not in load.jobs:
            return False
        del load.jobs[job]
        return True

    def _hopeless(self, job: J) -> bool:
        """Whether every server there is has refused an image. Without any server there is hope for a new one."""
        return bool(self._servers) and self._servers.keys() <= self._history[job].refused
