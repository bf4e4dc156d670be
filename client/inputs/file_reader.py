"""FileReader: files read ahead of the servers, by several threads, in a bounded amount of memory."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import os
import queue
import stat
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from ...core.errors import ErrorCode, UnreadableError
from ...core.host import file_leases
from ...core.text import plural

THREADS = 8
"""Files read at the same time. A network disk answers each request late, but many requests at once; for a local disk two
threads would be as fast."""

HELD_BYTES, HELD_BYTES_A_SERVER = 128 << 20, 32 << 20
"""Bytes of files held at once, prefetched or in flight: a base and a share per server. The share is three photographs of
10 MB, so that a server always has work."""

MAX_FILE_BYTES = (1 << 31) - 1
"""The largest file that is read whatever a server allows: parameters.xml sets no higher limit for a message."""

CLOSED = "cannot be read: the client was closed"

ATTEMPTS = 3
"""Attempts at a file that is being written to."""


@dataclass(frozen=True, eq=False)
class File:
    """A file as it was read.

    Attributes:
        path: as the caller gave it; "" for an image given as bytes.
        size: in bytes.
        modified: the time of its last change, in nanoseconds since 1970; None for an image given as bytes.
        digest: "sha256:" and the hexadecimal SHA-256 of its bytes.
        data: the bytes.
    """

    path: str
    size: int
    modified: int | None
    digest: str
    data: bytes = field(repr=False)


def digest_of(data: bytes) -> str:
    """Returns the digest of a file's bytes, as it is written to the output."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


@dataclass(eq=False)
class _Order:
    path: str
    skip: Callable[[File], bool] | None
    loop: asyncio.AbstractEventLoop
    file: asyncio.Future[File | None]
    patience: file_leases.Patience = field(default_factory=file_leases.Patience)


class FileReader:
    """Reads files in threads. Use `read`, then `release` when the bytes are no longer needed; `close` at the end.

    A file is read once, and the bytes that were read are sent. The file is not mapped into memory: if another program
    truncated it meanwhile, this process would crash.

    Args:
        limit: returns the bytes of the largest file that any server accepts at present, and whose limit that is, for people.
            A larger file is not read. Any thread may call it.
        servers: returns the number of servers at present; the more servers, the more bytes may be held. A file larger than
            that limit is read when no other file is held.
    """

    def __init__(self, *, limit: Callable[[], tuple[int, str]], servers: Callable[[], int]) -> None:
        self._limit = limit
        self._servers = servers
        self._held = 0
        self._change = threading.Condition()
        self._turns: deque[object] = deque()
        """Threads that wait for room for their file, in order of arrival: small files cannot keep a large one waiting."""
        self._orders: queue.SimpleQueue[_Order | None] = queue.SimpleQueue()
        self._threads = 0
        self._kept: set[_Order] = set()
        """Files that another program keeps for itself. They wait here, where they occupy no thread."""
        self._drained = False
        self._closed = False

    async def read(self, path: str, skip: Callable[[File], bool] | None = None) -> File | None:
        """Returns a file, which is held until `release`; None if `skip`, called in a thread, returned True for it.

        Raises:
            UnreadableError: the file cannot be read or is too large; its code is unreadable or frame-too-large.
        """
        if self._closed:
            raise UnreadableError(CLOSED, ErrorCode.UNREADABLE)
        loop = asyncio.get_running_loop()
        order = _Order(path, skip, loop, loop.create_future())
        if self._threads < THREADS:
            self._threads += 1
            # daemon threads: a disk that does not answer must not keep the program from ending
            threading.Thread(target=self._work, name="reader", daemon=True).start()
        self._orders.put(order)
        try:
            return await order.file
        except asyncio.CancelledError:
            # the file may have been read before the cancellation
            if order.file.done() and not order.file.cancelled() and order.file.exception() is None:
                file = order.file.result()
                if file is not None:
                    self.release(file)
            raise

    def release(self, file: File) -> None:
        """Frees the bytes of a file that is no longer needed."""
        self._give_back(file.size)

    def drain(self) -> None:
        """Cancels the reads of files that another program keeps for itself, now and later; the others go on."""
        self._drained = True
        for order in self._kept:
            order.file.cancel()

    def close(self) -> None:
        """Ends the threads; files that they are still reading are dropped."""
        with self._change:
            self._closed = True
            self._change.notify_all()
        for order in self._kept:
            if not order.file.done():
                order.file.set_exception(UnreadableError(CLOSED, ErrorCode.UNREADABLE))
        for _ in range(self._threads):
            self._orders.put(None)

    def _work(self) -> None:
        while (order := self._orders.get()) is not None:
            if not order.file.cancelled():
                self._carry_out(order)
            del order  # otherwise the file would stay in memory until the next order

    def _carry_out(self, order: _Order) -> None:
        file: File | None = None
        error: BaseException | None = None
        try:
            file = self._read(order.path)
            if order.skip is not None and order.skip(file):
                self.release(file)
                file = None
        except BaseException as failure:  # noqa: BLE001  it is raised in `read`
            error = failure
            if file is not None:
                self.release(file)
        pause = order.patience.pause(error) if isinstance(error, UnreadableError) else None
        with contextlib.suppress(RuntimeError):  # the loop has ended, and with it the request
            if pause is not None:
                order.loop.call_soon_threadsafe(self._put_off, order, pause)
            else:
                order.loop.call_soon_threadsafe(self._deliver, order, file, error)

    def _put_off(self, order: _Order, pause: float) -> None:
        """Has a file that another program keeps for itself read a little later."""
        if order.file.done():  # cancelled meanwhile
            return
        if self._closed:
            order.file.set_exception(UnreadableError(CLOSED, ErrorCode.UNREADABLE))
        elif self._drained:
            order.file.cancel()
        else:
            self._kept.add(order)
            order.loop.call_later(pause, self._put_again, order)

    def _put_again(self, order: _Order) -> None:
        self._kept.discard(order)
        if not order.file.done():
            self._orders.put(order)

    def _deliver(self, order: _Order, file: File | None, error: BaseException | None) -> None:
        if order.file.done():  # cancelled meanwhile
            if file is not None:
                self.release(file)
        elif error is not None:
            order.file.set_exception(error)
        else:
            order.file.set_result(file)

    def _read(self, path: str) -> File:
        try:
            with open(path, "rb", buffering=0, opener=_at_once) as stream:
                number = stream.fileno()
                for _ in range(ATTEMPTS):
                    before = os.fstat(number)
                    if not stat.S_ISREG(before.st_mode):
                        raise OSError(errno.EINVAL, "it is no regular file")
                    most, whose = self._limit()
                    if before.st_size > min(most, MAX_FILE_BYTES):
                        raise UnreadableError(
                            f"a file of {plural(before.st_size, 'byte')}; {whose} accepts at most "
                            f"{min(most, MAX_FILE_BYTES)} (its params/daemon/max_frame_bytes)",
                            ErrorCode.FRAME_TOO_LARGE,
                        )
                    self._take(before.st_size)
                    try:
                        # no more than that: a file that grows meanwhile must not exceed the bytes granted
                        data = stream.read(before.st_size)
                        after = os.fstat(number)
                        if len(data) == before.st_size and _version(before) == _version(after):
                            return File(path, len(data), before.st_mtime_ns, digest_of(data), data)
                        stream.seek(0)
                    except BaseException:
                        self._give_back(before.st_size)
                        raise
                    self._give_back(before.st_size)
        except OSError as error:
            raise UnreadableError(
                f"cannot be read: {file_leases.reason(error)}", ErrorCode.UNREADABLE
            ) from error
        except ValueError as error:  # a NUL in the name
            raise UnreadableError(f"cannot be read: {error}", ErrorCode.UNREADABLE) from error
        raise UnreadableError("cannot be read: it is being written to", ErrorCode.UNREADABLE)

    def _take(self, size: int) -> None:
        """Waits until `size` more bytes may be held, and counts them."""
        turn = object()
        with self._change:
            self._turns.append(turn)
            try:
                self._change.wait_for(lambda: self._closed or (self._turns[0] is turn and self._fits(size)))
                if self._closed:
                    raise UnreadableError(CLOSED, ErrorCode.UNREADABLE)
                self._held += size
            finally:
                self._turns.remove(turn)
                self._change.notify_all()

    def _fits(self, size: int) -> bool:
        limit = HELD_BYTES + HELD_BYTES_A_SERVER * self._servers()
        return not self._held or self._held + size <= limit

    def _give_back(self, size: int) -> None:
        with self._change:
            self._held -= size
            self._change.notify_all()


def _at_once(path: str, flags: int) -> int:
    """Opens a file without blocking, as a pipe without a writer would, and a file that another program keeps for itself."""
    return os.open(path, flags | os.O_NONBLOCK)


def _version(status: os.stat_result) -> tuple[int, int]:
    return status.st_size, status.st_mtime_ns
