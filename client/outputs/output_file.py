"""Output file: a file or a pipe that is written by one run at a time.

What was written only in part is cut off at once, or, after a SIGKILL, when the file is read again (`Lines`). To remove
lines, a new file is written beside the old one and then replaces it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import stat
import sys
from collections.abc import Iterable

from ...core.errors import OutputError, ReaderGoneError
from ...core.host import file_leases

CHUNK = 1 << 20


class OutputFile:
    """Regular file, locked while it is open; or a device, a pipe or standard output.

    While one thread is in a method, other threads may call only `stop`.

    Args:
        path: None for standard output.
        unchanged: only read the file, which another run may write: it is neither locked nor changed, nor made.

    Raises:
        OutputError: the file cannot be written, another run writes to it, or standard output is closed.

    Attributes:
        name: the name of the file in error messages.
        waits: whether `append` may have to wait for a reader.
        watched: whether it is a terminal, a pipe or a socket, which is read while it is written.
        keeps: whether it is a regular file, which can be read, cut and replaced.
        empty: whether it is a regular file without content.
        unchanged: whether it is only read.
        stopped: whether `stop` was called.
    """

    def __init__(self, path: str | None, *, unchanged: bool = False) -> None:
        self.name = path or "standard output"
        self.stopped = False
        self._path = path or ""
        self.unchanged = unchanged
        if unchanged:
            self._file = self._open_to_read()
        elif path is None:
            if sys.stdout is None:
                raise OutputError("standard output is closed: name a file with --output")
            self._file = os.dup(sys.stdout.fileno())
        else:
            self._file = self._open()
        status = os.fstat(self._file)
        self._regular = stat.S_ISREG(status.st_mode)
        self._stopping = os.eventfd(0, os.EFD_CLOEXEC)
        self.waits = not self._regular
        mode = status.st_mode
        self.watched = stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(self._file)
        self.keeps = self._regular and path is not None
        self.empty = self.keeps and status.st_size == 0 and not unchanged

    def close(self) -> None:
        """Closes the file. An empty one is deleted.

        Raises:
            OutputError: the data written may not have reached the disk.
        """
        self.stop()
        os.close(self._stopping)
        if self.empty:  # while it is locked: another run that opens it now notices the deletion
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path)
        try:
            if self.keeps and not (self.empty or self.unchanged):
                os.fsync(self._file)
            os.close(self._file)
        except OSError as error:
            raise self._error(error) from error

    def stop(self) -> None:
        """Interrupts `rewrite`, and an `append` that waits for a reader; may be called from any thread."""
        if not self.stopped:
            self.stopped = True
            os.eventfd_write(self._stopping, 1)

    @property
    def size(self) -> int:
        """The bytes of a regular file."""
        return os.fstat(self._file).st_size

    def read(self, start: int, most: int) -> bytes:
        """Returns at most so many bytes of a regular file, from byte `start` on; b"" behind its end.

        Raises:
            OutputError: the file cannot be read.
        """
        try:
            return os.pread(self._file, most, start)
        except OSError as error:
            raise OutputError(f"{self.name} cannot be read: {file_leases.reason(error)}") from error

    def cut(self, size: int) -> None:
        """Truncates the file to `size` bytes; the next line is written after them."""
        if self.unchanged:
            return
        os.ftruncate(self._file, size)
        os.lseek(self._file, size, os.SEEK_SET)
        self.empty = size == 0

    def check_room(self, probe: bytes) -> None:
        """Writes bytes and removes them again, to check that the disk has room.

        Raises:
            OutputError: the disk is full, or the file cannot be written.
        """
        if self.unchanged:
            return
        end = os.lseek(self._file, 0, os.SEEK_END)
        self.append(probe)
        self.cut(end)

    def append(self, data: bytes) -> None:
        """Writes all of the data or nothing, so that a regular file contains whole lines only.

        Raises:
            OutputError: the disk is full, the reader of a pipe has gone, or `stop` was called while the reader read nothing.
        """
        written = 0
        try:
            with memoryview(data) as view:
                while written < len(data):
                    piece = view[written:]
                    if not self._regular:
                        self._wait_for_room()
                        piece = piece[: select.PIPE_BUF]
                    with contextlib.suppress(BlockingIOError):  # made non-blocking by another program
                        written += os.write(self._file, piece)
        except OSError as error:
            if self._regular and written:
                with contextlib.suppress(OSError):
                    os.ftruncate(self._file, os.lseek(self._file, -written, os.SEEK_CUR))
            raise self._error(error) from error
        self.empty = False

    def rewrite(self, pieces: Iterable[bytes | tuple[int, int]]) -> None:
        """Replaces the file, in one step, with another: a complete file exists at any moment.

        Args:
            pieces: what the new file consists of: bytes, and ranges of bytes of this file, each by its first byte and the
                one after its last. They may read this file.

        Raises:
            OutputError: the new file could not be written; the old one is unchanged.
        """
        folder, name = os.path.split(self._path)
        beside = os.path.join(folder, f".{name}.new")
        status = os.fstat(self._file)
        try:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(beside)  # left by a run that was killed at this point; this run holds the lock
            new = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                _lock(new)
                os.fchmod(new, stat.S_IMODE(status.st_mode))
                with contextlib.suppress(PermissionError):
                    os.fchown(new, status.st_uid, status.st_gid)
                for piece in pieces:
                    if self.stopped:
                        raise OSError(errno.EINTR, "interrupted")
                    if isinstance(piece, bytes):
                        _write(new, piece)
                    else:
                        self._copy(new, *piece)
                os.fsync(new)
                os.replace(beside, self._path)
            except BaseException:
                os.close(new)
                with contextlib.suppress(OSError):
                    os.unlink(beside)
                raise
        except OSError as error:
            raise OutputError(
                f"{self.name} could not be written anew: {error.strerror}; it stays as it is, where of two lines of one "
                "path the later is valid, and the next run tries again"
            ) from error
        os.close(self._file)
        self._file = new
        self.empty = self.size == 0
        # some file systems cannot sync a directory; there the new name reaches the disk later
        with contextlib.suppress(OSError):
            directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)

    def _wait_for_room(self) -> None:
        """Waits until PIPE_BUF bytes can be written without blocking; raises OSError once `stop` is called."""
        either = select.poll()
        either.register(self._file, select.POLLOUT)
        either.register(self._stopping, select.POLLIN)
        if self._stopping in dict(either.poll()):
            raise OSError(errno.EINTR, "interrupted")

    def _open(self) -> int:
        try:
            regular = stat.S_ISREG(os.stat(self._path).st_mode)
        except OSError:
            regular = True  # a new file; any other error is raised when it is opened
        if regular:
            self._path = os.path.realpath(self._path)  # a link stays a link when the file is replaced
        # a device or a pipe may block; a regular file that another program keeps for itself must not (`file_leases`)
        flags = os.O_RDWR | os.O_CREAT | os.O_NONBLOCK if regular else os.O_WRONLY
        while True:
            try:
                file = os.open(self._path, flags | os.O_CLOEXEC, 0o666)
            except OSError as error:
                raise self._error(error) from error
            if self._locked(file):
                return file

    def _open_to_read(self) -> int:
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            if os.path.isfile(self._path):
                return os.open(self._path, flags)
            if self._path and not os.path.lexists(self._path):
                os.stat(os.path.dirname(self._path) or ".")  # the folder must be there
            return os.open(os.devnull, flags)
        except OSError as error:
            raise OutputError(f"{self.name} cannot be read: {file_leases.reason(error)}") from error

    def _locked(self, file: int) -> bool:
        """Locks a file; returns False if it is no longer the one at the path, because a run that ended replaced it."""
        if not stat.S_ISREG(os.fstat(file).st_mode):
            return True
        try:
            _lock(file)
        except BlockingIOError:
            os.close(file)
            raise OutputError(
                f"{self.name} is being written by another run: wait until that ends, or choose another name"
            ) from None
        except OSError as error:
            os.close(file)
            raise self._error(error) from error
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file), os.stat(self._path)):
                return True
        os.close(file)
        return False

    def _copy(self, new: int, start: int, end: int) -> None:
        while start < end:
            if self.stopped:
                raise OSError(errno.EINTR, "interrupted")
            data = os.pread(self._file, min(CHUNK, end - start), start)
            if not data:
                raise OSError(errno.EIO, "it has become shorter")
            _write(new, data)
            start += len(data)

    def _error(self, error: OSError) -> OutputError:
        if error.errno == errno.EPIPE:
            return ReaderGoneError(f"the reader of {self.name} has ended")
        return OutputError(f"{self.name} cannot be written: {file_leases.reason(error)}")


def _write(file: int, data: bytes) -> None:
    with memoryview(data) as view:
        written = 0
        while written < len(data):
            written += os.write(file, view[written:])


def _lock(file: int) -> None:
    """Locks a file, if its file system supports locks."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP):
            raise
