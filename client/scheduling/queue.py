"""Queue: the jobs that wait for a server, in their order."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from .instructions import Key
from .jobs import Job, JobState


class JobQueue:
    """First in, first out; jobs that are put back go to the head.

    Suspects and refused jobs do not fit every server and are kept separately. The queue may contain jobs that no longer
    wait: removing one from its middle would take time in proportion to its length.

    Attributes:
        count: number of waiting jobs.
        suspects: waiting jobs that are tried alone, in their order.
        refused: waiting jobs that a server refused, in their order.
    """

    def __init__(self) -> None:
        self.count = 0
        self.suspects: dict[Job, None] = {}
        self.refused: dict[Job, None] = {}
        self._queue: deque[Job] = deque()

    @property
    def next_cost(self) -> float | None:
        """The cost of the next job; None if it is not known."""
        return self._queue[0].cost if self._queue else None

    def append(self, job: Job) -> None:
        """Adds a new job at the end."""
        job.state = JobState.WAITING
        self.count += 1
        self._queue.append(job)

    def put_back(self, jobs: Iterable[Job]) -> None:
        """Adds jobs at the head, in this order."""
        plain = []
        for job in jobs:
            job.state = JobState.WAITING
            self.count += 1
            if job.suspect:
                self.suspects[job] = None
            elif job.refusals:
                self.refused[job] = None
            else:
                plain.append(job)
        self._queue.extendleft(reversed(plain))

    def remove(self, job: Job) -> None:
        """Removes a job, if it is waiting; it is then in flight."""
        if job.state is JobState.WAITING:
            job.state = JobState.IN_FLIGHT
            self.count -= 1
            self.suspects.pop(job, None)
            self.refused.pop(job, None)
            self._clean()
            if len(self._queue) > 2 * self.count + 16:
                self._queue = deque(job for job in self._queue if self._belongs(job))

    def suspect_for(self, server: Key) -> Job | None:
        """Returns the first suspect that this server has not refused, without removing it."""
        return next((job for job in self.suspects if server not in job.refusals), None)

    def first_for(self, server: Key) -> Job | None:
        """Returns the first job for this server, except suspects, without removing it."""
        for job in self.refused:
            if server not in job.refusals:
                return job
        return self._queue[0] if self._queue else None

    def _clean(self) -> None:
        """Removes jobs that no longer wait from the head, so that ended ones do not stay in memory."""
        while self._queue and not self._belongs(self._queue[0]):
            self._queue.popleft()

    def _belongs(self, job: Job) -> bool:
        return job.state is JobState.WAITING and job not in self.suspects and job not in self.refused
