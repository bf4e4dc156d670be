"""Standard streams: opened where they are closed, and notices for people on them, which never hold up the work.

A full pipe, a terminal stopped by Ctrl-S and a journal that does not read all make a write wait. Results are worth waiting
for; notices, which are progress, errors and log lines, are not.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import io
import os
import stat
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable
from typing import TextIO, cast

from ..errors import OutputError, ReaderGoneError

MOST_WAITING = 1 << 18
"""Bytes of notices that wait for a reader: about 2,500 lines, more than any burst of them."""

END_PATIENCE = 1.0
"""Seconds without progress after which the end of the program drops the notices that still wait."""

LONGEST_END = 5.0
"""Maximum of seconds that the end of the program waits for a reader, however slow."""


class NoticeStream(io.TextIOBase):
    """Standard stream whose notices are written by a thread: `write` never waits and never fails. A regular file has no
    reader to wait for, so notices in one are written at once.

    Notices for which there is no room, or which cannot be written, are dropped, and the next one is preceded by their
    number. The stream's own file descriptor is used, because O_NONBLOCK would apply to other programs on the same terminal.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._file = stream.fileno()
        self._at_once = stat.S_ISREG(os.fstat(self._file).st_mode)
        self._line = b""
        """The beginning of a line; a line is kept or dropped as a whole."""
        self._waiting: deque[bytes] = deque()
        self._bytes = 0
        """Bytes that wait, or are being written."""
        self._dropped = 0
        self._progress = 0
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        atexit.register(self.end)

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._stream.encoding

    @property
    def behind(self) -> bool:
        """Whether notices wait for a reader."""
        return self._bytes > 0

    def isatty(self) -> bool:
        return self._stream.isatty()

    def fileno(self) -> int:
        return self._file

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        """Takes text, which is passed on at the end of its line, or by `flush`."""
        with self._changed:
            self._line += text.encode(self.encoding, "backslashreplace")
            if self._line.endswith(b"\n") or len(self._line) > MOST_WAITING:
                self._put()
        return len(text)

    def flush(self) -> None:
        """Passes the beginning of a line to the thread; does not wait."""
        with self._changed:
            if self._line:
                self._put()

    def end(self) -> None:
        """Waits for the thread at the end of the program, as long as it makes progress."""
        atexit.unregister(self.end)
        self.settle()

    def settle(self) -> None:
        """Waits until all notices are written, as long as the thread makes progress."""
        self.flush()
        over = time.monotonic() + LONGEST_END
        with self._changed:
            while self._bytes:
                before = self._progress
                patience = min(END_PATIENCE, over - time.monotonic())
                if not self._changed.wait_for(lambda seen=before: self._progress != seen, patience):  # type: ignore[misc]
                    return

    def _put(self) -> None:
        """Passes the line to the thread, or drops it."""
        line, self._line = self._line, b""
        if self._bytes and self._bytes + len(line) > MOST_WAITING:
            self._dropped += max(1, line.count(b"\n"))
            return
        if self._dropped:
            lines = b"line" if self._dropped == 1 else b"%d lines" % self._dropped
            line = b"(%b dropped before this one: not read in time)\n" % lines + line
            self._dropped = 0
        self._bytes += len(line)
        if self._at_once:
            self._write(line)
            return
        self._waiting.append(line)
        self._changed.notify_all()
        if self._thread is None:
            # a daemon thread, because the end of the program must not wait for a reader
            self._thread = threading.Thread(target=self._run, name="notices", daemon=True)
            try:
                self._thread.start()
            except RuntimeError:  # the system allows this user no further thread
                self._thread = None
                self._write(self._waiting.popleft())

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting)
                line = self._waiting.popleft()
            self._write(line)

    def _write(self, line: bytes) -> None:
        left = line
        try:
            while left:
                left = left[os.write(self._file, left) :]
        except OSError:  # a terminal or a reader that is gone, a full disk
            with self._changed:
                self._dropped += max(1, left.count(b"\n"))
        with self._changed:
            self._bytes -= len(line)
            self._progress += 1
            self._changed.notify_all()


def prepare() -> None:
    """Prepares the standard streams of a program: opens closed ones, and makes standard error a stream of notices.

    Standard output shows a character that its encoding does not have as its escape, such as \\xfc.
    """
    open_closed()
    sys.stderr = notices(sys.stderr)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def notices(stream: TextIO | None) -> TextIO:
    """Returns a stream of notices over a standard stream; over a closed one, a stream that drops them."""
    if stream is None:
        return open(os.devnull, "w", errors="backslashreplace")
    with contextlib.suppress(OSError):  # a stream in memory
        stream = cast("TextIO", NoticeStream(stream))
    return stream


def behind() -> bool:
    """Returns whether notices on standard error wait for a reader."""
    return isinstance(sys.stderr, NoticeStream) and sys.stderr.behind


def print_lines(lines: Iterable[str]) -> None:
    """Prints lines on standard output.

    Raises:
        OutputError: standard output is closed, or cannot be written.
        ReaderGoneError: it is a pipe without a reader.
    """
    if sys.stdout is None:
        raise OutputError("standard output is closed")
    try:
        # in one piece, which an interrupt does not tear apart
        sys.stdout.write("".join(f"{line}\n" for line in lines))
        sys.stdout.flush()
    except OSError as error:
        silence_output()
        if error.errno == errno.EPIPE:
            raise ReaderGoneError("the reader of standard output has ended") from error
        raise OutputError(f"standard output cannot be written: {error.strerror}") from error


def settle() -> None:
    """Waits until the notices on standard error are written, as long as they are read."""
    if isinstance(sys.stderr, NoticeStream):
        sys.stderr.settle()


def silence_output() -> None:
    """Redirects standard output to /dev/null, so that its buffer does not fail once more at exit."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)


def open_closed() -> None:
    """Opens standard input, output and error where they are closed (`<&- >&-` in a shell).

    Otherwise the first files and sockets would get their numbers; libuv aborts the process when it closes one of these.
    """
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(number)
