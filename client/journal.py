"""The output: one JSON line an image. A file that is there already is gone on with.

A file holds whole lines only, whatever ends the program: one that could not be written whole is cut off at once, or, after
a SIGKILL, when the file is opened again. While a run goes on, the later of two lines of one path counts; at its end the
earlier is removed, by writing the file anew beside itself and putting that in its place.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import select
import stat
import sys
import threading
from collections.abc import Container
from types import TracebackType

from ..core.errors import PyrafaceError
from .index import Entry, Head, Index, State
from .reading import File
from .results import Result

CHUNK = 1 << 20

MAX_LINE_BYTES = 256 << 20
"""No line is as long: it would have a hundred thousand faces. A file without line ends is not read whole to see that."""

_BEGINNING = b'{"path":'

_PROBE = _BEGINNING.ljust(4096)
"""Written and cut off again to see whether there is room: what remains of it if the program ends there is a cut line."""


class OutputError(PyrafaceError):
    """The output cannot be written; the message says where and why."""


class Journal:
    """Writes results to a file, or to standard output; knows what earlier runs wrote to the file.

    Use as a context manager; then `load` and `begin` before anything else, and `finish` at the end of a run that was not
    interrupted. Its methods may be called from any thread.

    A file that no line was written to is not left behind.

    Args:
        path: None for standard output.
        overwrite: forget what a file holds, when the first line is written.
        retry_failed: images that failed at a server are to be done again.

    Raises:
        OutputError: it cannot be written, or another run writes to it; standard output is closed.

    Attributes:
        waits: whether `write` may have to wait until somebody reads: from the event loop, call it in a thread.
        known: images of this run that have their line from an earlier one.
        known_failed: those of them that failed.
        repeated: images of this run whose line is that of another file with the same bytes.
        replaces: whether what the file holds is still to be forgotten.
    """

    def __init__(self, path: str | None, *, overwrite: bool = False, retry_failed: bool = False) -> None:
        self.known = self.known_failed = self.repeated = 0
        self._name = path or "standard output"
        self._path = path or ""
        self._retry_failed = retry_failed
        self._fingerprints: Container[str] = ()
        self._index = Index()
        self._lock = threading.Lock()
        self._stopped = False
        self._new = False
        if path is None:
            if sys.stdout is None:
                raise OutputError("standard output is closed: name a file with --output")
            self._file = os.dup(sys.stdout.fileno())
        else:
            self._file = self._open()
        status = os.fstat(self._file)
        self._regular = stat.S_ISREG(status.st_mode)
        self.waits = not self._regular
        self._stopping = os.eventfd(0, os.EFD_CLOEXEC)
        self._keeps = self._regular and path is not None
        """Whether the file is ours to read, cut and write anew."""
        self.replaces = overwrite and self._keeps
        self._new = self._keeps and status.st_size == 0
        """Whether no line stands in it."""

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        with self._lock:
            os.close(self._stopping)
            if self._new:  # while it is locked: whoever opens it now sees that it is gone
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self._path)
            try:
                if self._keeps and not self._new:
                    os.fsync(self._file)
                os.close(self._file)
            except OSError as failure:
                if error is None:
                    raise self._error(failure) from failure

    def stop(self) -> None:
        """Ends `load` and `finish`, wherever another thread is with them, and the waiting of `write` for a reader.

        The file stays as it is.
        """
        if not self._stopped:
            self._stopped = True
            os.eventfd_write(self._stopping, 1)

    def load(self) -> None:
        """Reads what earlier runs wrote, line by line, and cuts off a last line that is not whole.

        Raises:
            OutputError: the file is not one that this program wrote, or there is no room for more.
        """
        with self._lock:
            if self._keeps:
                if not self.replaces:
                    self._read()
                self._check_room()
            self._index.sort()

    def _read(self) -> None:
        start = 0
        with open(self._file, "rb", buffering=CHUNK, closefd=False) as stream:
            stream.seek(0)
            number = 0
            while not self._stopped and (line := stream.readline(MAX_LINE_BYTES)):
                number += 1
                if not line.endswith(b"\n"):
                    if len(line) == MAX_LINE_BYTES or (number == 1 and not _may_be_cut(line)):
                        raise self._foreign(
                            number, "it is too long" if number > 1 else "it does not begin like one"
                        )
                    break
                head: Head | None = None
                if (
                    number == 1 or b"\0" not in line
                ):  # what a power cut leaves of a block that was never written
                    try:
                        head = Head.parse(line)
                    except (ValueError, RecursionError) as error:
                        raise self._foreign(number, str(error)) from None
                self._index.add(head, start, start + len(line))
                start += len(line)
        if not self._stopped:
            os.ftruncate(self._file, start)
            self._new = start == 0

    def begin(self, fingerprints: Container[str]) -> list[str]:
        """Says what is there already, in lines for a person.

        Args:
            fingerprints: those of the servers of this run, now and later: what has another is done again.
        """
        self._fingerprints = fingerprints
        if not len(self._index):
            return []
        done, done_otherwise = self._index.count(State.DONE, fingerprints)
        failed, failed_otherwise = self._index.count(State.FAILED, fingerprints)
        _, unanswered = self._index.count(State.UNANSWERED, ())
        words = [f"{_images(done)} done"]
        if failed:
            hint = "tried again" if self._retry_failed else "--retry-failed tries them again"
            words.append(f"{failed} failed ({hint})")
        if unanswered:
            words.append(f"{unanswered} without an answer, tried again")
        lines = [f"going on with {self._name}: {', '.join(words)}"]
        if otherwise := done_otherwise + failed_otherwise:
            lines.append(f"{_images(otherwise)} to be done again: parameters or engines were others then")
        return lines

    def has(self, path: str) -> bool:
        """Returns whether an image needs not be read: its line is there, and the file has not changed since."""
        with self._lock:
            entry = self._index.at(path)
        if entry is None or not self._stands(entry):
            return False
        try:
            status = os.stat(path)
        except (OSError, ValueError):
            return False
        if (entry.size, entry.modified) != (status.st_size, status.st_mtime_ns):
            return False
        with self._lock:
            self._index.see(entry.number)
            self.known += 1
            self.known_failed += entry.state is State.FAILED
        return True

    def repeat(self, file: File) -> bool:
        """Returns whether an image needs not be sent: a file with the same bytes has a line, which was written for it.

        Raises:
            OutputError: the line could not be written.
        """
        with self._lock:
            same = next(
                (entry for entry in self._index.with_digest(file.digest) if self._stands(entry)), None
            )
            if same is None:
                return False
            try:
                content = json.loads(self._line(same.start))
            except (ValueError, RecursionError):  # only its beginning was read until now
                return False
            if content["digest"] != file.digest:
                return False
            content.update(path=file.path, size=file.size, modified=file.modified)
            self._append(content, file.path)
            self._index.repeat(same.number)
            self.repeated += 1
            self.known_failed += same.state is State.FAILED
        return True

    def write(self, result: Result) -> None:
        """Writes the line for one image; whoever reads the file sees whole lines only.

        Faces are not given up for a failure that no server has seen: of a file that cannot be read just now, say, the
        line from before stays.

        Raises:
            OutputError: the disk is full, or the reader of a pipe is gone.
        """
        with self._lock:
            before = self._index.at(result.path)
            if (
                before is not None
                and before.state is State.DONE
                and result.error is not None
                and not result.fingerprint
            ):
                self._index.see(before.number)
                return
            self._append(result.as_json(), result.path)

    def forget(self, path: str) -> None:
        """A directory could be read this time: its line, if it has one, says otherwise."""
        with self._lock:
            entry = self._index.at(path)
            if entry is not None:
                self._index.drop(entry.number)

    def finish(self) -> None:
        """Removes lines that count no more: of paths that have a later line, and of files that have moved.

        A line whose file is gone stays, unless the same bytes were seen at another path: nobody wants to lose a night's
        work because a disk was not there in the morning.

        Raises:
            OutputError: the file could not be written anew; it is as it was.
        """
        if not self._keeps:
            return
        with self._lock:
            for entry in self._index.doubtful():
                if not os.path.lexists(Head.parse(self._line(entry.start)).path):
                    self._index.drop(entry.number)
            if next(self._index.dropped(), None) is not None:
                self._write_anew()

    def _open(self) -> int:
        try:
            regular = stat.S_ISREG(os.stat(self._path).st_mode)
        except OSError:
            regular = True  # it will be, or opening it says why not
        if regular:
            self._path = os.path.realpath(self._path)  # a link stays one when the file is written anew
        flags = os.O_RDWR | os.O_CREAT if regular else os.O_WRONLY  # a device, a pipe
        while True:
            try:
                file = os.open(self._path, flags | os.O_CLOEXEC, 0o666)
            except OSError as error:
                raise self._error(error) from error
            if self._locked(file):
                return file

    def _locked(self, file: int) -> bool:
        """Locks a file; returns False if it is no longer the one at the path: a run that ended put another there."""
        if not stat.S_ISREG(os.fstat(file).st_mode):
            return True
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            raise OutputError(
                f"{self._name} is being written by another run: wait for its end, or choose another name"
            ) from None
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP):  # a file system without locks
                os.close(file)
                raise self._error(error) from error
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file), os.stat(self._path)):
                return True
        os.close(file)
        return False

    def _check_room(self) -> None:
        end = os.lseek(self._file, 0, os.SEEK_END)
        self._write(_PROBE)
        os.ftruncate(self._file, end)
        os.lseek(self._file, end, os.SEEK_SET)

    def _stands(self, entry: Entry) -> bool:
        """Whether an image with this line needs no server."""
        if entry.state is State.FAILED and self._retry_failed:
            return False
        return entry.state in (State.DONE, State.FAILED) and entry.fingerprint in self._fingerprints

    def _line(self, start: int) -> bytes:
        """Returns the line that begins at a byte."""
        line = b""
        while b"\n" not in line:
            piece = os.pread(self._file, 1 << 16, start + len(line))
            if not piece:
                raise OutputError(f"{self._name} was changed by another program while it was written")
            line += piece
        return line.partition(b"\n")[0]

    def _append(self, content: dict[str, object], path: str) -> None:
        # ascii: a file name that is no valid UTF-8 is kept as \udcXX, and read back as the very same name
        line = json.dumps(content, separators=(",", ":")).encode("ascii") + b"\n"
        before = self._index.at(path)
        if self.replaces:
            os.ftruncate(self._file, 0)
            os.lseek(self._file, 0, os.SEEK_SET)
            self.replaces, self._new = False, True
        self._write(line)
        self._new = False
        if before is not None:
            self._index.drop(before.number)

    def _write(self, data: bytes) -> None:
        """Writes all, or nothing of it."""
        written = 0
        try:
            with memoryview(data) as view:
                while written < len(data):
                    piece = view[written:]
                    if not self._regular:
                        self._wait_for_room()
                        piece = piece[: select.PIPE_BUF]
                    with contextlib.suppress(BlockingIOError):  # a terminal that another program left so
                        written += os.write(self._file, piece)
        except OSError as error:
            if self._regular and written:
                with contextlib.suppress(OSError):
                    os.ftruncate(self._file, os.lseek(self._file, -written, os.SEEK_CUR))
            raise self._error(error) from error

    def _wait_for_room(self) -> None:
        """Returns when PIPE_BUF bytes can be written without waiting; raises OSError when nobody wants that any more."""
        either = select.poll()
        either.register(self._file, select.POLLOUT)
        either.register(self._stopping, select.POLLIN)
        if self._stopping in dict(either.poll()):
            raise OSError(errno.EINTR, "interrupted")

    def _write_anew(self) -> None:
        """Puts a file without the lines that count no more in the place of this one. Whatever ends it, one is there."""
        folder, name = os.path.split(self._path)
        beside = os.path.join(folder, f".{name}.new")
        status = os.fstat(self._file)
        try:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(beside)  # of a run that was killed here: this one has the lock
            new = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(new, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.fchmod(new, stat.S_IMODE(status.st_mode))
                with contextlib.suppress(PermissionError):
                    os.fchown(new, status.st_uid, status.st_gid)
                position = 0
                for start, end in self._index.dropped():
                    self._copy(new, position, start)
                    position = end
                self._copy(new, position, status.st_size)
                os.fsync(new)
                os.replace(beside, self._path)
            except BaseException:
                os.close(new)
                with contextlib.suppress(OSError):
                    os.unlink(beside)
                raise
        except OSError as error:
            raise OutputError(
                f"{self._name} holds lines that count no more, and cannot be written without them: {error.strerror}; "
                "of two lines of one path the later counts, and the next run tries again"
            ) from error
        os.close(self._file)
        self._file = new
        with contextlib.suppress(
            OSError
        ):  # some file systems cannot; then the name is not on the disk at once
            directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)

    def _copy(self, new: int, start: int, end: int) -> None:
        while start < end:
            if self._stopped:
                raise OSError(errno.EINTR, "interrupted")
            data = os.pread(self._file, min(CHUNK, end - start), start)
            if not data:
                raise OSError(errno.EIO, "it has become shorter")
            with memoryview(data) as view:
                written = 0
                while written < len(data):
                    written += os.write(new, view[written:])
            start += len(data)

    def _error(self, error: OSError) -> OutputError:
        return OutputError(f"{self._name} cannot be written: {error.strerror}")

    def _foreign(self, number: int, reason: str) -> OutputError:
        return OutputError(
            f"{self._name}: line {number} is none of this program's ({reason}): choose another name, or replace the file "
            "with --overwrite"
        )


def _images(count: int) -> str:
    return "1 image" if count == 1 else f"{count} images"


def _may_be_cut(line: bytes) -> bool:
    """Whether these bytes can be what is left of the first line of an output."""
    return line.startswith(_BEGINNING) or _BEGINNING.startswith(line)
