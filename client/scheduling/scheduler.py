"""Scheduler: which server gets which image, and what happens to the images of a server that fails.

It performs no I/O and has no clock. The caller reports events with their time (in seconds, of any clock that only goes
forward), and then carries out the instructions that `decide(now)` returns; `wake` is the time of the next decision if
there is no event before.

A job waits, or some server has it, until it ends in exactly one way: `answered` returned True for it, a GiveUp named it, or
it was withdrawn. The rules:

- A job goes to the server that would finish it first, given the jobs it has and the rate it has shown.
- A server holds as many jobs as keep it busy (`servers.HOLD_SECONDS`), within its credits; before its first answer, two.
- When no job waits and none is to come, idle servers get speculative copies of jobs that others would finish later. The
  first answer counts.
- A server that is silent for far longer than expected is stuck: others get its jobs too, and it gets none until it answers.
- The jobs of a lost server go to the head of the queue. If it broke off, any of them may be the cause: each is retried
  alone, so that one that crashes a second server is identified with certainty, and given up.
- A server that fails repeatedly gets no job for a while (backoff), twice as long each time, and then one job to prove
  itself.
"""

from __future__ import annotations

from weakref import WeakKeyDictionary

from . import backoff
from .instructions import Disconnect, GiveUp, Instruction, Key, Reason, Send, Withdraw
from .jobs import Job, JobState
from .queue import JobQueue
from .servers import Isolation, Link, Progress, ScheduledServer, ScheduledServers

MOST_FAILURES = 2
"""A job is given up when this many servers failed at it. If a server fails at every job, only its first failures count."""

MOST_REFUSALS = 6
"""A job is also given up when this many servers did not do it, whether or not their failures count."""

MOST_CRASHES = 2
"""A job is given up when this many servers broke off with it, the last with no other job in flight; or twice as many."""

MOST_SILENCES = 4
"""A job is given up when this many servers fell silent with it: more than crashes, because a network may be the cause."""

COPY_MARGIN = 1.25
"""A speculative copy is made if it would be done before the original even if it took this many times as long as expected."""


class Scheduler:
    """Scheduler of jobs and servers, which the caller identifies by keys.

    Attributes:
        more_to_come: whether more jobs are coming, so that an idle server should wait for them rather than get a
            speculative copy; set by the caller.
    """

    def __init__(self) -> None:
        self.more_to_come = False
        self._servers = ScheduledServers()
        self._jobs: dict[Key, Job] = {}
        self._queue = JobQueue()
        self._instructions: list[Instruction] = []

    # ------------------------------------------------------------------------------------------ the state

    @property
    def servers(self) -> int:
        """Number of servers that are connected."""
        return len(self._servers.connected)

    @property
    def capacity(self) -> int:
        """Number of jobs that all servers together should hold."""
        return self._servers.capacity

    @property
    def wake(self) -> float | None:
        """When to `decide` again if there is no event before; None if time alone changes nothing."""
        return self._servers.wake

    def server(self, server_key: Key) -> ScheduledServer:
        """Returns the state of a server that was connected at least once, to be read only."""
        return self._servers[server_key]

    # ------------------------------------------------------------------------------------------ events

    def put(self, job: Key, cost: float = 1.0) -> None:
        """Adds a job; `cost` is the work expected, in any unit."""
        self._jobs[job] = new = Job(job, cost)
        self._queue.append(new)
        self._servers.expect_cost(cost)
        self._servers.ending = False

    def withdraw(self, key: Key) -> None:
        """Ends a job whose result is no longer needed. Servers that have it are told."""
        job = self._jobs.get(key)
        if job is not None:
            self._end(job)

    def withdraw_all(self) -> list[Key]:
        """Ends every job that no server has, and returns them."""
        waiting = [job for job in self._jobs.values() if job.state is JobState.WAITING and not job.holders]
        for job in waiting:
            self._end(job)
        return [job.key for job in waiting]

    def server_up(self, server_key: Key, credits: int, now: float, *, survived: bool = False) -> None:
        """A server is connected, for the first time or again; it takes `credits` jobs at a time.

        Args:
            survived: whether it is the process that was lost before: the jobs that it had then are no cause of that.
        """
        server = self._servers.get_or_add(server_key)
        if survived and server.failures:
            self._forgive(server, now)
        server.blamed.clear()
        server.link, server.granted, server.answers = Link.CONNECTED, credits, 0
        self._servers.file(server, now)

    def path_changed(self, server_key: Key, now: float, *, reachable: bool) -> None:
        """A connected server acknowledges nothing more: others may get its jobs, and it gets none. Or it does again."""
        server = self._servers.get(server_key)
        if server is None or not server.connected:
            return
        if server.link is not Link.DRAINING:
            server.link = Link.CONNECTED if reachable else Link.UNREACHABLE
        if reachable:
            server.since = now
            self._on_time(server)
        elif server.in_flight and not server.stuck:
            self._late(server, Progress.STUCK)
        self._servers.file(server, now)

    def server_draining(self, server_key: Key, now: float) -> None:
        """A server takes no more jobs, but finishes those it has."""
        server = self._servers.get(server_key)
        if server is not None and server.connected:
            server.link = Link.DRAINING
            self._servers.file(server, now)

    def server_down(self, server_key: Key, now: float, *, silent: bool = False) -> None:
        """A server is lost: its jobs are put back. It is expected back, until it is reported as gone.

        Args:
            silent: whether the server stopped sending, which may be the network's fault; otherwise it broke off, as a
                crashed server does.
        """
        server = self._servers.get(server_key)
        if server is None or not server.connected:
            return
        enough = MOST_CRASHES if len(server.in_flight) == 1 else 2 * MOST_CRASHES
        held = [job for job in server.in_flight.values() if job.state is not JobState.DONE]
        server.blamed = WeakKeyDictionary((job, silent) for job in held)
        server.in_flight.clear()
        self._emptied(server)
        server.link = Link.LOST
        server.progress = Progress.ON_TIME
        server.failures = 1 if server.answers else server.failures + 1
        if pause := backoff.after_failures(server.failures):
            server.backoff_until = now + pause
        back = []
        for job in held:
            job.holders.remove(server)
            job.blame(silent=silent)
            if job.crashes >= enough or job.silences >= MOST_SILENCES:
                self._give_up(job, Reason.LOST)
            else:
                self._queue.remove(job)  # it may have become a suspect
                if job.needs_another:
                    back.append(job)
        self._queue.put_back(back)
        self._servers.file(server, now)

    def server_gone(self, server_key: Key) -> None:
        """A lost server is not expected back: no job waits for it."""
        server = self._servers.get(server_key)
        if server is None or server.connected:
            return
        server.link = Link.GONE
        for job in [*self._queue.refused, *self._queue.suspects]:
            if self._hopeless(job):
                self._give_up(job, Reason.REFUSED)

    def answered(self, server_key: Key, job: Key, now: float, *, learn: bool = True) -> bool:
        """A server has answered. Returns whether this is the one answer of the job; if not, it came too late.

        Args:
            learn: whether the time taken is typical of the server; a file that is not an image takes almost none.
        """
        server, held = self._freed(server_key, job)
        if server is None or held is None:
            return False
        if learn:
            self._servers.learn(server, held.cost, now)
        server.since = now
        server.failures = 0
        server.answers += 1
        first = held.state is not JobState.DONE
        if first:
            server.done += 1
            held.holders.remove(server)
            self._end(held)
        self._servers.file(server, now)
        return first

    def refused(self, server_key: Key, job: Key, now: float, *, tried: bool = True) -> None:
        """A server did not do a job that another may do.

        Args:
            tried: whether the server failed; otherwise the image exceeds its limits, which is no failure of server or job.
        """
        server, held = self._freed(server_key, job)
        if server is None or held is None:
            return
        server.since = now
        if tried:
            server.failures += 1
            if pause := backoff.after_failures(server.failures):
                server.backoff_until = now + pause
        if held.state is not JobState.DONE:
            held.holders.remove(server)
            held.refusals.add(server_key)
            if tried and server.failures <= MOST_FAILURES:
                held.failures += 1
            if not held.answer_expected:  # otherwise a better answer may come
                many = held.failures >= MOST_FAILURES or (tried and len(held.refusals) >= MOST_REFUSALS)
                if many or self._hopeless(held):
                    self._give_up(held, Reason.REFUSED)
                else:
                    self._queue.remove(held)  # it fits fewer servers than before
                    self._put_back(held)
        self._servers.file(server, now)

    def postponed(self, server_key: Key, job: Key, now: float) -> None:
        """A server was too busy for a job, or was told to cancel it: others may do it."""
        server, held = self._freed(server_key, job)
        if server is None or held is None:
            return
        server.since = now
        if held.state is not JobState.DONE:
            server.backoff_until = max(server.backoff_until, now + backoff.BUSY)
            held.holders.remove(server)
            self._put_back(held)
        self._servers.file(server, now)

    # ------------------------------------------------------------------------------------------ decisions

    def decide(self, now: float) -> list[Instruction]:
        """Returns instructions, to be carried out in this order."""
        while due := self._servers.due(now):
            for server, overdue in due:
                if overdue:
                    self._overdue(server)
                self._servers.file(server, now)
        while (send := self._next(now)) is not None:
            self._instructions.append(send)
        instructions, self._instructions = self._instructions, []
        return instructions

    def _next(self, now: float) -> Send | None:
        unfit: list[ScheduledServer] = []
        found: Send | None = None
        while self._queue.count and found is None:
            cost = self._queue.next_cost
            server = self._servers.take_best(self._servers.mean_cost if cost is None else cost, now)
            if server is None:
                break
            job = self._first_for(server)
            if job is None:
                unfit.append(server)
            else:
                found = self._send(server, job, now)
        for other in unfit:
            self._servers.file(other, now)
        return found if found is not None or self.more_to_come else self._copy(now)

    def _first_for(self, server: ScheduledServer) -> Job | None:
        """Returns the first waiting job for this server."""
        if self._queue.suspects:
            if not server.in_flight:
                suspect = self._queue.suspect_for(server.key)
                if suspect is not None:
                    return suspect
            elif self._servers.emptying < len(self._queue.suspects):
                server.isolation = Isolation.EMPTYING
                self._servers.emptying += 1
                return None
        return self._queue.first_for(server.key)

    def _send(self, server: ScheduledServer, job: Job, now: float) -> Send:
        self._queue.remove(job)
        job.holders.append(server)
        if not server.in_flight:
            server.since = now
        server.in_flight[job.key] = job
        server.backlog += job.cost
        server.isolation = Isolation.ALONE if job.suspect else Isolation.SHARED
        self._servers.file(server, now)
        return Send(server.key, job.key)

    def _copy(self, now: float) -> Send | None:
        """Makes a speculative copy, for the fastest idle server, of the job that would be done last, if that helps."""
        idle = self._servers.fastest_idle()
        if idle is None or not self._servers.rate_known:
            return None
        if not self._servers.ending:
            self._servers.begin_end(now)
        last = self._servers.last_to_copy(now)
        if last is None:
            return None
        job, finish = last
        if now + COPY_MARGIN * job.cost / self._servers.speed(idle) >= finish:
            return None
        return self._send(idle, job, now)

    # ------------------------------------------------------------------------------------------ servers and jobs

    def _freed(self, server_key: Key, key: Key) -> tuple[ScheduledServer | None, Job | None]:
        """Takes a job from a server, which has answered and so is not overdue; None if it had no such job."""
        server = self._servers.get(server_key)
        job = server.in_flight.pop(key, None) if server is not None else None
        if server is None or job is None:
            return None, None
        server.backlog -= job.cost
        if not server.in_flight:
            self._emptied(server)
        self._on_time(server)
        return server, job

    def _on_time(self, server: ScheduledServer) -> None:
        if server.overdue:
            server.progress = Progress.ON_TIME
            for job in server.in_flight.values():
                self._queue.remove(job)

    def _forgive(self, server: ScheduledServer, now: float) -> None:
        """Takes back what the last loss of a server counted against it and its jobs: the network was the cause."""
        server.failures -= 1
        server.backoff_until = now + backoff.after_failures(server.failures)
        waiting = []
        for job, silent in server.blamed.items():
            if job.state is not JobState.DONE:
                if job.state is JobState.WAITING:
                    waiting.append(job)
                self._queue.remove(job)  # it may be a suspect no longer
                job.forgive(silent=silent)
        self._queue.put_back(waiting)

    def _emptied(self, server: ScheduledServer) -> None:
        server.backlog = 0.0
        self._stop_emptying(server)
        server.isolation = Isolation.SHARED

    def _stop_emptying(self, server: ScheduledServer) -> None:
        if server.isolation is Isolation.EMPTYING:
            server.isolation = Isolation.SHARED
            self._servers.emptying -= 1

    def _overdue(self, server: ScheduledServer) -> None:
        """A server has not answered by its deadline."""
        if server.progress is Progress.STUCK:
            server.progress = Progress.ABANDONED
            self._instructions.append(Disconnect(server.key))
            return
        if self._servers.ending and server.progress is Progress.ON_TIME:
            self._late(server, Progress.STRAGGLING)
        else:
            self._late(server, Progress.STUCK)

    def _late(self, server: ScheduledServer, progress: Progress) -> None:
        """Offers the jobs of a server to others as well."""
        server.progress = progress
        self._stop_emptying(server)
        self._queue.put_back(
            [job for job in server.in_flight.values() if job.state is not JobState.DONE and job.needs_another]
        )

    def _put_back(self, job: Job) -> None:
        if job.needs_another:
            self._queue.put_back([job])

    def _end(self, job: Job) -> None:
        self._queue.remove(job)
        job.state = JobState.DONE
        del self._jobs[job.key]
        if job.holders:
            self._instructions += [Withdraw(server.key, job.key) for server in job.holders]
            job.holders = []

    def _give_up(self, job: Job, reason: Reason) -> None:
        self._end(job)
        self._instructions.append(GiveUp(job.key, reason))

    def _hopeless(self, job: Job) -> bool:
        """Whether every server that is connected or expected refused a job. While none is connected, a new one may do it."""
        return bool(self._servers.connected) and job.refusals.issuperset(self._servers.expected)
