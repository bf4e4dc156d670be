"""Jobs: the images that have not ended, each with its state and its history."""

from __future__ import annotations

from enum import Enum
from typing import Protocol

from .instructions import Key

MOST_FORGIVEN = 8
"""Losses of servers that are not counted against a job because the server was there again, the same process as before.
Further ones are: the job may break connections."""

MOST_HOLDERS = 3
"""A job with which this many servers are overdue is sent to no other: it may simply take long."""


class JobState(Enum):
    """State of a job."""

    WAITING = "waiting"
    """The job is to be sent to a server. Servers that are overdue with it may still hold it."""
    IN_FLIGHT = "in flight"
    """One server or several hold the job."""
    DONE = "done"
    """The job has ended; servers may still hold cancelled copies."""


class Holder(Protocol):
    """A server, as far as its jobs know it."""

    @property
    def key(self) -> Key:
        """Identifies it."""

    @property
    def overdue(self) -> bool:
        """Whether an answer is no longer expected of it."""


class Job:
    """One image.

    Attributes:
        cost: the work expected, in any unit.
        holders: the servers that hold it.
        refusals: the servers that refused it.
        failures: number of servers that failed at it.
        crashes: number of servers that closed the connection while they held it.
        silences: number of servers that fell silent while they held it.
        forgiven: how many of these two turned out to be the fault of the network, and were taken back.
    """

    def __init__(self, key: Key, cost: float) -> None:
        self.key = key
        self.cost = cost
        self.state = JobState.WAITING
        self.holders: list[Holder] = []
        self.refusals: set[Key] = set()
        self.failures = self.crashes = self.silences = self.forgiven = 0

    @property
    def suspect(self) -> bool:
        """Whether it may have crashed a server or silenced several; it is then tried alone, with no other job in flight."""
        return self.crashes > 0 or self.silences > 1

    def blame(self, *, silent: bool) -> None:
        """Counts the loss of a server that held it; `silent`: the server fell silent, otherwise it broke off."""
        self.silences += silent
        self.crashes += not silent

    def forgive(self, *, silent: bool) -> None:
        """Takes such a count back, MOST_FORGIVEN times."""
        if self.forgiven < MOST_FORGIVEN:
            self.forgiven += 1
            self.silences -= silent
            self.crashes -= not silent

    @property
    def answer_expected(self) -> bool:
        """Whether a server that is not overdue holds it."""
        return any(not server.overdue for server in self.holders)

    @property
    def needs_another(self) -> bool:
        """Whether it should wait for one more server."""
        return (
            self.state is not JobState.WAITING
            and not self.answer_expected
            and len(self.holders) < MOST_HOLDERS
        )

    @property
    def may_be_copied(self) -> bool:
        """Whether a speculative copy may be made: never of a suspect, or of a job that a server refused."""
        return (
            self.state is JobState.IN_FLIGHT
            and len(self.holders) == 1
            and not self.suspect
            and not self.refusals
        )
