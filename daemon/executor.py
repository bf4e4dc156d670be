"""Executor: the daemon's side of its worker: a queue, a time limit for each image, and restarts.

At most `images_ahead` images, of BYTES_AHEAD together, are with the worker at a time; the rest wait in the queue, where
they can be cancelled and survive the worker. The worker processes images in order, so the oldest image that it holds is
the one in progress.

When the worker dies, any image that it held may be to blame. Each is tried once more, alone; one that ends the worker
again is answered with an error. If it died for want of memory, the next worker takes less (`scarcity`). An image over the
time limit is answered at once, and the worker is replaced.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import itertools
import logging
import socket
import subprocess
from collections import deque

from ..core.engines import EngineName
from ..core.errors import EngineError, EngineMemoryError, ErrorCode
from ..core.host import subprocesses, tasks, threads
from ..core.host.running_clock import RunningClock
from ..core.protocol import wire
from ..core.protocol.messages import Cancel, Closing, Failed, Found, Request, Welcome
from ..core.text import plural
from ..core.throughput import Speed, Throughput
from .low_memory import Scarcity
from .worker_process import Answer, Child, Job

log = logging.getLogger("pyraface.executor")
START_TIMEOUT = 600.0
"""Seconds for a worker to load its models and search one picture: under 2 on x86, up to a minute for CUDA on a Jetson,
minutes where TensorRT plans for the first time."""

END_TIMEOUT = 1.0
"""Seconds for a worker that closed its channel to end by itself; most often it is dead already."""

FIRST_BACK_OFF, LONGEST_BACK_OFF = 0.2, 30.0
"""Seconds before a worker is replaced, doubled until one answers an image."""

BYTES_AHEAD = 64 << 20
"""Bytes of the files of all images that the worker holds, which keeps them in memory; a larger one is with it alone."""

MOST_FAILED_STARTS = 5
"""Workers in a row that never became ready: the machine then has a problem that another worker does not solve."""


class Executor:
    """Passes images to the worker, and its answers back.

    `start()` first; `submit()` any time after; `close()` at the end.

    Args:
        engine: "auto", "onnx" or "dlib".
        xml: the text of parameters.xml, for the worker.
        queue: images that wait at most; one more is answered as busy.
        images_ahead: images that the worker holds at most; a frugal one holds one.
        image_timeout: seconds that the worker may take for one.
        scarcity: decides how much memory the worker takes.

    Attributes:
        throughput: counts the images that are done.
        speed: of the worker.
        clock: for the time limits of this daemon.
        lost: ends with an EngineError when no worker can be started any more; the daemon must then stop.
    """

    def __init__(
        self,
        engine: EngineName,
        xml: bytes,
        *,
        queue: int,
        images_ahead: int,
        image_timeout: float,
        scarcity: Scarcity,
    ) -> None:
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.throughput = Throughput(asyncio.get_running_loop().time())
        self.speed = Speed()
        self.clock = RunningClock()
        self._engine = engine
        self._xml = xml
        self._max_waiting = queue
        self._images_ahead = images_ahead
        self._image_timeout = image_timeout
        self._scarcity = scarcity
        self._ids = itertools.count()
        self._queue: deque[Job] = deque()
        self._worker: Child | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self._back_off = FIRST_BACK_OFF

    async def start(self) -> Welcome:
        """Returns the first worker's welcome, once it is ready.

        Raises:
            EngineError: the worker did not become ready; the message says why.
        """
        frugal = self._scarcity.frugal
        try:
            worker, self._welcome = await self._spawn()
        except EngineMemoryError:
            if frugal:
                raise
            worker, self._welcome = await self._spawn()
        self._worker = worker
        self._supervisor = asyncio.create_task(self._supervise(worker), name="executor")
        return self._welcome

    @property
    def waiting(self) -> int:
        """Images in the queue."""
        return len(self._queue)

    @property
    def working(self) -> int:
        """Images with the worker."""
        return len(self._worker.jobs) if self._worker is not None else 0

    @property
    def pending(self) -> int:
        """Images without an answer."""
        return self.waiting + self.working

    def submit(self, request: Request) -> Job:
        """Returns the job for a request, whatever its id; await its `answer`. A full queue answers at once: busy."""
        job = Job(next(self._ids), request, asyncio.get_running_loop().create_future())
        if len(self._queue) >= self._max_waiting:
            job.fail(
                ErrorCode.BUSY,
                f"the queue is full: {plural(len(self._queue), 'image')} (params/daemon/queue)",
            )
        else:
            job.answer.add_done_callback(self._count)
            self._queue.append(job)
            self._feed()
        return job

    def cancel(self, job: Job) -> None:
        """Saves the work on an image if it has not begun. The answer still comes, from here or from the worker."""
        if job.cancelled:  # the worker is told once, however often a client asks
            return
        job.cancelled = True
        if job in self._queue:
            self._queue.remove(job)
            job.fail(ErrorCode.CANCELLED, "cancelled by the client")
        elif self._worker is not None and job.id in self._worker.jobs:
            self._worker.send(Cancel(job.id))

    async def close(self) -> None:
        """Ends the worker. Images without an answer get an error."""
        if self._supervisor is not None:
            await tasks.end([self._supervisor])
        left = list(self._queue)
        if self._worker is not None:
            left += self._worker.jobs.values()
            await self._worker.end()
            self._worker = None
        self._queue.clear()
        for job in left:
            job.fail(ErrorCode.DRAINING, "the server stopped before this image was done")
        self.clock.stop()

    def _count(self, answer: asyncio.Future[Answer]) -> None:
        """Counts an image as done, unless it was cancelled or the server stopped before."""
        result = answer.result()
        if not isinstance(result, Failed) or result.code not in (ErrorCode.CANCELLED, ErrorCode.DRAINING):
            self.throughput.count(answer.get_loop().time())

    async def _spawn(self) -> tuple[Child, Welcome]:
        ours, theirs = socket.socketpair()
        frugal = self._scarcity.frugal
        try:
            command, environment = subprocesses.python_module(
                "pyraface.daemon.worker",
                *("--channel", str(theirs.fileno()), "--engine", self._engine),
                *(["--frugal"] if frugal else []),
            )
            process = await asyncio.create_subprocess_exec(
                *command,
                env=environment,
                cwd=subprocesses.WORKING_DIRECTORY,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # Ctrl-C is for the daemon, which still wants the answers in flight
            )
        except OSError as error:
            ours.close()
            reason = threads.REMEDY if threads.refused(error) else error
            raise EngineError(f"the worker cannot be started: {reason}") from error
        finally:
            theirs.close()
        ours.setblocking(False)
        reader, writer = await asyncio.open_unix_connection(sock=ours, limit=wire.CHUNK)
        worker = Child(process, reader, writer, frugal)
        self._scarcity.watch()
        try:
            welcome = await self.clock.wait_for(self._greet(worker), START_TIMEOUT)
        except asyncio.TimeoutError:
            await worker.end()
            raise EngineError(f"the worker was not ready within {START_TIMEOUT:g} s") from None
        except BaseException:
            await worker.end()
            raise
        return worker, dataclasses.replace(welcome, instance="")

    async def _spawn_again(self) -> Child:
        """Returns a worker equal to the first one, so that the welcome that clients received remains true.

        A GPU may be gone, and the engine on a CPU may find other faces.
        """
        worker, welcome = await self._spawn()
        # except for the device's description, which may say why a GPU failed, and for the last digits of a GPU
        as_before = dataclasses.replace(
            welcome, device=self._welcome.device, deviation=self._welcome.deviation
        )
        if as_before == self._welcome:
            return worker
        await worker.end()
        now, before = (f"{one.engine} on {one.device} ({one.software})" for one in (welcome, self._welcome))
        raise EngineError(f"the worker is {now} now, and was {before}: the server must be restarted")

    async def _greet(self, worker: Child) -> Welcome:
        assert worker.process.stdin is not None
        with contextlib.suppress(ConnectionError):  # a worker that is dead already is reported below
            worker.process.stdin.write(self._xml)
            await worker.process.stdin.drain()
            worker.process.stdin.close()
        message = await worker.receive()
        if isinstance(message, Welcome):
            return message
        starved = isinstance(message, Closing) and message.code is ErrorCode.OUT_OF_MEMORY
        if isinstance(message, Closing) and not starved:
            raise EngineError(message.message)
        status = await worker.end()
        if starved or worker.starved or self._scarcity.killed(status):
            self._scarcity.start_failed()
            raise EngineMemoryError(f"too little memory to find faces: {self._scarcity.reason()}")
        raise EngineError(f"the worker ended during its start, {_ended(status)}")

    async def _supervise(self, worker: Child) -> None:
        while True:
            self._worker = worker
            self._feed()
            while (message := await worker.receive()) is not None:
                if isinstance(message, (Found, Failed)):
                    self._answered(worker, message)
            self._worker = None
            # first of all, so that close() and cancel() find them
            held = self._take_back(worker)
            status = await worker.end(patience=END_TIMEOUT)
            self._mourn(worker, status, held)
            worker = await self._replace()

    async def _replace(self) -> Child:
        for failed in itertools.count(1):
            await asyncio.sleep(self._back_off)
            self._back_off = min(2 * self._back_off, LONGEST_BACK_OFF)
            try:
                worker = await self._spawn_again()
            except EngineError as error:
                log.error("%s", error)
                if failed == MOST_FAILED_STARTS:
                    if not self.lost.done():
                        self.lost.set_exception(error)
                    await asyncio.Event().wait()  # until close()
            else:
                log.info("the worker runs again")
                return worker
        raise AssertionError("unreachable")

    def _take_back(self, worker: Child) -> list[Job]:
        """Puts the images that a worker held back into the queue, and returns them."""
        held = [job for job in worker.jobs.values() if not job.answer.done()]
        worker.jobs.clear()
        if not worker.retired:
            for job in held:
                job.deaths += 1
        self._put_back(held)
        return held

    def _mourn(self, worker: Child, status: int, held: list[Job]) -> None:
        """Finds out why a worker ended, and answers the images that are to blame."""
        if worker.retired:
            return
        starved = worker.starved or self._scarcity.killed(status)
        why = ", for want of memory" if starved else ""
        log.error("the worker ended, %s%s; it held %s", _ended(status), why, plural(len(held), "image"))
        if starved:
            self._back_off = FIRST_BACK_OFF  # it would not end again without a reason
            self._scarcity.lower(self.clock.now())
        for job in held:
            if job not in self._queue:  # cancelled meanwhile
                continue
            if starved and worker.frugal:
                self._queue.remove(job)
                job.fail(ErrorCode.OUT_OF_MEMORY, self._scarcity.reason_for_image())
            elif not starved and job.deaths > 1:
                self._queue.remove(job)
                job.fail(ErrorCode.EXECUTOR_LOST, "the worker died while it held this image, twice")
        if not any(job.suspect for job in self._queue):
            self._scarcity.over()

    def _put_back(self, jobs: list[Job]) -> None:
        """Puts jobs at the head of the queue, except cancelled ones, which are answered."""
        for job in reversed(jobs):
            if job.cancelled:
                job.fail(ErrorCode.CANCELLED, "cancelled by the client")
            else:
                self._queue.appendleft(job)

    def _feed(self) -> None:
        """Sends the worker as many images as it may hold, or one suspect alone."""
        worker = self._worker
        if worker is None:
            return
        while self._queue and len(worker.jobs) < (1 if worker.frugal else self._images_ahead):
            if worker.jobs and not self._fits(worker, self._queue[0]):
                break
            job = self._queue.popleft()
            worker.jobs[job.id] = job
            assert job.request is not None  # only answered ones have none, and they have left the queue
            worker.send(dataclasses.replace(job.request, id=job.id))
            if len(worker.jobs) == 1:
                self.speed.begin(self.clock.now())
                self._set_timer(worker)

    @staticmethod
    def _fits(worker: Child, job: Job) -> bool:
        """Returns whether the worker may have this job beside those that it has."""
        held = worker.jobs.values()
        if job.suspect or any(one.suspect for one in held):
            return False
        return job.size + sum(one.size for one in held) <= BYTES_AHEAD

    def _answered(self, worker: Child, answer: Answer) -> None:
        job = worker.jobs.pop(answer.id, None)
        if job is None:  # it has just exceeded its time, and has its answer
            return
        self._back_off = FIRST_BACK_OFF
        pages = answer.pages if isinstance(answer, Found) else ()
        self.speed.count(self.clock.now(), sum(page.width * page.height for page in pages))
        if isinstance(answer, Failed) and answer.code is ErrorCode.OUT_OF_MEMORY:
            log.error("the worker has too little memory for an image: %s", answer.message)
            if not worker.frugal:
                job.deaths += 1
                self._scarcity.lower(self.clock.now())
                self._retire(worker)
                self._put_back([job])
                return
            reason = self._scarcity.reason_for_image()
            answer = Failed.because(answer.id, answer.code, f"{reason} ({answer.message})")
        job.settle(answer)
        if worker.frugal and not any(one.suspect for one in self._queue):
            self._scarcity.over()
            if not self._scarcity.frugal:
                self._retire(worker)
                return
        self._set_timer(worker)
        self._feed()

    def _retire(self, worker: Child) -> None:
        """Ends a worker, which takes too much memory or too little of it; its images are tried again."""
        worker.retired = True
        self._worker = None
        self._take_back(worker)
        self._set_timer(worker)
        worker.kill()

    def _set_timer(self, worker: Child) -> None:
        """Starts the time limit of the oldest image that the worker holds: the one in progress."""
        if worker.timer is not None:
            worker.timer.cancel()
            worker.timer = None
        if worker.jobs:
            self._scarcity.watch()
            worker.timer = self.clock.call_later(self._image_timeout, lambda: self._overdue(worker))

    def _overdue(self, worker: Child) -> None:
        oldest = next(iter(worker.jobs.values()))
        limit = self._image_timeout
        oldest.fail(ErrorCode.TOO_SLOW, f"not done within {limit:g} s (params/timeout/image_timeout)")
        log.error("an image was not done within %g s; the worker is replaced", limit)
        # the others only waited behind it
        innocent = [job for job in worker.jobs.values() if job is not oldest]
        worker.jobs.clear()
        self._put_back(innocent)
        self._worker = None
        worker.kill()


def with_id(answer: Answer, id: int) -> Answer:
    """Returns the same answer under another id: that of the client's request."""
    return dataclasses.replace(answer, id=id)


def _ended(status: int) -> str:
    return f"killed by signal {-status}" if status < 0 else f"with exit status {status}"
