"""Jobs: the images that have not ended, each with its state and its history."""

from __future__ import annotations

from enum import Enum
from typing import Protocol

from .instructions import Key


class JobState(Enum):
    """Where a job stands."""

    WAITING = "waiting"
    """It is to be sent to a server. Workers that are overdue with it may have it all the same."""
    IN_FLIGHT = "in flight"
    """Workers have it."""
    DONE = "done"
    """It has ended; cancelled copies may still be with workers."""


class Holder(Protocol):
    """A worker, as far as its jobs know it."""

    @property
    def key(self) -> Key:
        """Its server."""

    @property
    def overdue(self) -> bool:
        """Whether an answer is no longer expected of it."""


class Job:
    """One image.

    Attributes:
        cost: the work expected, in any unit.
        holders: the workers that have it.
        refusals: the servers that refused it.
        failures: how many servers failed at it.
        crashes: how many servers broke off while they had it.
        silences: how many servers fell silent while they had it.
    """

    def __init__(self, key: Key, cost: float) -> None:
        self.key = key
        self.cost = cost
        self.state = JobState.WAITING
        self.holders: list[Holder] = []
        self.refusals: set[Key] = set()
        self.failures = self.crashes = self.silences = 0

    @property
    def suspect(self) -> bool:
        """Whether it may have crashed a server, or silenced several: it is tried with no other job beside it."""
        return self.crashes > 0 or self.silences > 1

    @property
    def answer_expected(self) -> bool:
        """Whether a worker has it that is not overdue."""
        return any(not worker.overdue for worker in self.holders)

    @property
    def may_be_copied(self) -> bool:
        """Whether a speculative copy may be made: never of a suspect, or of a job that servers refuse."""
        return (
            self.state is JobState.IN_FLIGHT
            and len(self.holders) == 1
            and not self.suspect
            and not self.refusals
        )
