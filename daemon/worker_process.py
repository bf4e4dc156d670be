"""Worker process: the worker as the daemon sees it: its messages, its log, and its end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass, field

from ..core.errors import ErrorCode, RemoteProtocolError, tells_of_memory
from ..core.host import tasks
from ..core.host.message_streams import read_message
from ..core.host.running_clock import Timer
from ..core.host.send_buffer import SendBuffer
from ..core.protocol import wire
from ..core.protocol.messages import Failed, Found, Message, Request
from ..core.text import one_line

Answer = Found | Failed

worker_log = logging.getLogger("pyraface.worker")
libraries_log = logging.getLogger("pyraface.libraries")
"""Logger of the worker's libraries, separate so that their lines do not use up the worker's own limit."""

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
    request: Request | None
    """With the client's id; None once it is answered."""
    answer: asyncio.Future[Answer]
    deaths: int = 0
    """Workers that died, or ran out of memory, while they held this image."""
    cancelled: bool = False
    """The client no longer waits for the answer, so the image is not tried again."""

    @property
    def size(self) -> int:
        """Bytes of the image, until the job is answered."""
        return len(self.request.image) if self.request is not None else 0

    @property
    def suspect(self) -> bool:
        """Whether the next try is alone."""
        return self.deaths > 0

    def settle(self, answer: Answer) -> None:
        """Sets the answer, unless there is one."""
        self.request = None
        if not self.answer.done():
            self.answer.set_result(answer)

    def fail(self, code: ErrorCode, message: str) -> None:
        """Sets an error as the answer."""
        self.settle(Failed.because(self.id, code, message))


@dataclass(eq=False)
class Child:
    """One worker process, and the images that it holds.

    frugal: whether it has one image at a time.
    retired: whether the daemon ends it, and no image is to blame.
    starved: whether a library said that there was too little memory.
    """

    process: asyncio.subprocess.Process
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    frugal: bool = False
    codec: wire.Codec = field(default_factory=lambda: wire.Codec(max_frame_bytes=MAX_ANSWER_BYTES))
    jobs: dict[int, Job] = field(default_factory=dict)
    timer: Timer | None = None
    retired: bool = False
    starved: bool = False
    relay: asyncio.Task[None] = field(init=False)
    sending: asyncio.Task[None] = field(init=False)

    def __post_init__(self) -> None:
        # images wait in the bytes that were received: the transport would copy them
        self._send_buffer = SendBuffer(self.writer, lambda: None)
        self.sending = asyncio.create_task(self._send_buffer.run(), name="messages to the worker")
        assert self.process.stderr is not None
        self.relay = asyncio.create_task(self._relay(self.process.stderr), name="the worker's log")

    def send(self, message: Message) -> None:
        self._send_buffer.put(*wire.encode_parts(message))

    async def receive(self) -> Message | None:
        """Returns the worker's next message, None at its end."""
        try:
            return await read_message(self.reader, self.codec)
        except (RemoteProtocolError, OSError, EOFError):
            return None

    async def end(self, *, patience: float = 0.0) -> int:
        """Ends the process, however busy it is, and returns its exit status.

        Args:
            patience: seconds that it has to end by itself, so that the status says how it did.
        """
        if self.timer is not None:
            self.timer.cancel()
        self.writer.close()
        await tasks.end([self.sending])
        if patience:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self.process.wait(), patience)
        self.kill()
        status = await self.process.wait()
        await self.relay
        return status

    def kill(self) -> None:
        """Ends the process at once; `end` is still to be awaited."""
        with contextlib.suppress(ProcessLookupError):  # it died just now
            self.process.kill()

    async def _relay(self, stream: asyncio.StreamReader) -> None:
        """Logs the standard error of the worker until its end: its own lines, and those of its libraries."""
        line = b""
        while data := await stream.read(wire.CHUNK):
            *whole, line = (line + data).split(b"\n")
            for text in whole:
                self._log_line(text)
            line = line[:MAX_LINE]
        if line:
            self._log_line(line)

    def _log_line(self, line: bytes) -> None:
        text = one_line(line[:MAX_LINE].decode("ascii", "backslashreplace"), MAX_LINE)
        level, _, rest = text.partition(" ")
        name, _, message = rest.partition(" ")
        if level in _LEVELS and name in _OWN_LOGS:
            logging.getLogger(name).log(getattr(logging, level), "%s", message)
        elif text.strip():
            self.starved |= tells_of_memory(text)
            libraries_log.warning("%s", text)
