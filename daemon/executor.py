"""Executor: the daemon's side of its worker: a queue, a time limit for each image, and restarts.

At most `images_ahead` images are with the worker at a time; the rest wait in the queue, where they can be cancelled and
survive the worker. The worker processes images in order, so the oldest image that it holds is the one in progress.

When the worker dies, any image that it held may be to blame. Each is tried once more, alone; one that ends the worker
again is answered with an error. An image over the time limit is answered at once, and the worker is replaced.
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
from dataclasses import dataclass, field

from ..core.engines import EngineName
from ..core.errors import EngineError, ErrorCode, RemoteProtocolError
from ..core.host import subprocesses, tasks, threads
from ..core.host.message_streams import read_message
from ..core.host.running_clock import RunningClock, Timer
from ..core.protocol import wire
from ..core.protocol.messages import Cancel, Closing, Detect, Failed, Found, Message, Welcome
from ..core.text import one_line, plural
from ..core.throughput import Throughput

log = logging.getLogger("pyraface.executor")
worker_log = logging.getLogger("pyraface.worker")
libraries_log = logging.getLogger("pyraface.libraries")
"""Logger of the worker's libraries, separate so that their lines do not use up the worker's own limit."""

Answer = Found | Failed

START_TIMEOUT = 600.0
"""Seconds for a worker to load its models and search one picture: under 2 on x86, up to a minute for CUDA on a Jetson,
minutes where TensorRT plans for the first time."""

FIRST_BACK_OFF, LONGEST_BACK_OFF = 0.2, 30.0
"""Seconds before a worker is replaced, doubled until one answers an image."""

MOST_FAILED_STARTS = 5
"""Workers in a row that never became ready: the machine then has a problem that another worker does not solve."""

MAX_ANSWER_BYTES = 1 << 28
"""Limit for one answer: half a million faces. A worker that a hostile image has taken over must not be able to fill the
daemon's memory."""

_OWN_LOGS = (worker_log.name, "pyraface.pipeline")

_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")

MAX_LINE = 500
"""Bytes of one line from the worker that are read, and characters of it that are logged."""


@dataclass(eq=False)
class Job:
    """One image on its way through; `answer` is set exactly once."""

    id: int
    image: bytes
    faces_from: int
    search: str
    answer: asyncio.Future[Answer]
    suspect: bool = False
    """The worker died while it held this image; the next try is alone."""
    cancelled: bool = False
    """The client no longer waits for the answer, so the image is not tried again."""

    def settle(self, answer: Answer) -> None:
        """Sets the answer, unless there is one."""
        self.image = b""
        if not self.answer.done():
            self.answer.set_result(answer)

    def fail(self, code: ErrorCode, message: str) -> None:
        """Sets an error as the answer."""
        self.settle(Failed.because(self.id, code, message))


@dataclass(eq=False)
class _Worker:
    """One worker process, and the images that it holds."""

    process: asyncio.subprocess.Process
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    codec: wire.Codec
    jobs: dict[int, Job] = field(default_factory=dict)
    timer: Timer | None = None
    relay: asyncio.Task[None] = field(init=False)

    def __post_init__(self) -> None:
        assert self.process.stderr is not None
        self.relay = asyncio.create_task(_relay(self.process.stderr), name="the worker's log")

    def send(self, message: Message) -> None:
        self.writer.write(wire.encode(message))

    async def receive(self) -> Message | None:
        """Returns the worker's next message, None at its end."""
        try:
            return await read_message(self.reader, self.codec)
        except (RemoteProtocolError, OSError, EOFError):
            return None

    async def end(self) -> int:
        """Ends the process, however busy it is, and returns its exit status."""
        if self.timer is not None:
            self.timer.cancel()
        self.writer.close()
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        status = await self.process.wait()
        await self.relay
        return status


class Executor:
    """Passes images to the worker, and its answers back.

    `start()` first; `submit()` any time after; `close()` at the end.

    Args:
        engine: "auto", "onnx" or "dlib".
        xml: the text of parameters.xml, for the worker.
        queue: images that wait at most; one more is answered as busy.
        images_ahead: images that the worker holds at most.
        image_timeout: seconds that the worker may take for one.

    Attributes:
        throughput: counts the images that are done.
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
    ) -> None:
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.throughput = Throughput(asyncio.get_running_loop().time())
        self.clock = RunningClock()
        self._engine = engine
        self._xml = xml
        self._max_waiting = queue
        self._images_ahead = images_ahead
        self._image_timeout = image_timeout
        self._ids = itertools.count()
        self._queue: deque[Job] = deque()
        self._worker: _Worker | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self._back_off = FIRST_BACK_OFF

    async def start(self) -> Welcome:
        """Returns the first worker's welcome, once it is ready.

        Raises:
            EngineError: the worker did not become ready; the message says why.
        """
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

    def submit(self, image: bytes, faces_from: int = 0, search: str = "") -> Job:
        """Returns the job for an image file's bytes; await its `answer`. A full queue answers at once: busy.

        Args:
            faces_from, search: as in `messages.Detect`.
        """
        job = Job(next(self._ids), image, faces_from, search, asyncio.get_running_loop().create_future())
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

    async def _spawn(self) -> tuple[_Worker, Welcome]:
        ours, theirs = socket.socketpair()
        try:
            command, environment = subprocesses.python_module(
                "pyraface.daemon.worker",
                *("--channel", str(theirs.fileno()), "--engine", self._engine),
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
        worker = _Worker(process, reader, writer, wire.Codec(max_frame_bytes=MAX_ANSWER_BYTES))
        try:
            welcome = await self.clock.wait_for(self._greet(worker), START_TIMEOUT)
        except asyncio.TimeoutError:
            await worker.end()
            raise EngineError(f"the worker was not ready within {START_TIMEOUT:g} s") from None
        except BaseException:
            await worker.end()
            raise
        return worker, dataclasses.replace(welcome, instance="")

    async def _spawn_again(self) -> _Worker:
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

    async def _greet(self, worker: _Worker) -> Welcome:
        assert worker.process.stdin is not None
        with contextlib.suppress(ConnectionError):  # a worker that is dead already is reported below
            worker.process.stdin.write(self._xml)
            await worker.process.stdin.drain()
            worker.process.stdin.close()
        message = await worker.receive()
        if isinstance(message, Welcome):
            return message
        if isinstance(message, Closing):
            raise EngineError(message.message)
        raise EngineError(f"the worker ended during its start, {_ended(await worker.end())}")

    async def _supervise(self, worker: _Worker) -> None:
        while True:
            self._worker = worker
            self._feed()
            while (message := await worker.receive()) is not None:
                if isinstance(message, (Found, Failed)):
                    self._answered(worker, message)
            self._worker = None
            # first of all, so that close() and cancel() find them
            self._take_back(list(worker.jobs.values()))
            status = await worker.end()
            log.error("the worker ended, %s; it held %s", _ended(status), plural(len(worker.jobs), "image"))
            worker = await self._replace()

    async def _replace(self) -> _Worker:
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

    def _take_back(self, jobs: list[Job]) -> None:
        again: list[Job] = []
        for job in jobs:
            if job.answer.done():
                continue
            if job.suspect and not job.cancelled:
                job.fail(ErrorCode.EXECUTOR_LOST, "the worker died while it held this image, twice")
            else:
                job.suspect = True
                again.append(job)
        self._put_back(again)

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
        while self._queue and len(worker.jobs) < self._images_ahead:
            if worker.jobs and (self._queue[0].suspect or any(job.suspect for job in worker.jobs.values())):
                break
            job = self._queue.popleft()
            worker.jobs[job.id] = job
            worker.send(Detect(job.id, job.image, faces_from=job.faces_from, search=job.search))
            if len(worker.jobs) == 1:
                self._set_timer(worker)

    def _answered(self, worker: _Worker, answer: Answer) -> None:
        job = worker.jobs.pop(answer.id, None)
        if job is None:  # it has just exceeded its time, and has its answer
            return
        self._back_off = FIRST_BACK_OFF
        job.settle(answer)
        self._set_timer(worker)
        self._feed()

    def _set_timer(self, worker: _Worker) -> None:
        """Starts the time limit of the oldest image that the worker holds: the one in progress."""
        if worker.timer is not None:
            worker.timer.cancel()
            worker.timer = None
        if worker.jobs:
            worker.timer = self.clock.call_later(self._image_timeout, lambda: self._overdue(worker))

    def _overdue(self, worker: _Worker) -> None:
        oldest = next(iter(worker.jobs.values()))
        limit = self._image_timeout
        oldest.fail(ErrorCode.TOO_SLOW, f"not done within {limit:g} s (params/timeout/image_timeout)")
        log.error("an image was not done within %g s; the worker is replaced", limit)
        # the others only waited behind it
        innocent = [job for job in worker.jobs.values() if job is not oldest]
        worker.jobs.clear()
        self._put_back(innocent)
        self._worker = None
        with contextlib.suppress(ProcessLookupError):  # it died just now
            worker.process.kill()


async def _relay(stream: asyncio.StreamReader) -> None:
    """Logs the standard error of the worker until its end: its own lines, and those of its libraries."""
    line = b""
    while data := await stream.read(wire.CHUNK):
        *whole, line = (line + data).split(b"\n")
        for text in whole:
            _log_line(text)
        line = line[:MAX_LINE]
    if line:
        _log_line(line)


def _log_line(line: bytes) -> None:
    text = one_line(line[:MAX_LINE].decode("ascii", "backslashreplace"), MAX_LINE)
    level, _, rest = text.partition(" ")
    name, _, message = rest.partition(" ")
    if level in _LEVELS and name in _OWN_LOGS:
        logging.getLogger(name).log(getattr(logging, level), "%s", message)
    elif text.strip():
        libraries_log.warning("%s", text)


def with_id(answer: Answer, id: int) -> Answer:
    """Returns the same answer under another id: that of the client's request."""
    return dataclasses.replace(answer, id=id)


def _ended(status: int) -> str:
    return f"killed by signal {-status}" if status < 0 else f"with exit status {status}"
