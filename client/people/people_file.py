"""People file: `faces.people.json` beside `faces.jsonl`, read whole and replaced in one step.

Users edit it, and programs run for hours. So a program keeps what it has to say until its end; `update` then reads the file
as it is at that moment, and writes it at once.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from collections.abc import Callable, Iterator

from ...core.errors import PeopleFileError
from ...core.host import file_leases
from ...core.text import one_line
from .people import People
from .people_json import dumped, parsed

MOST_BYTES = 1 << 30
"""Limit on the file: five million faces."""

_ENDINGS = (".gz", ".zst", ".jsonl")


def people_path(output: str | os.PathLike[str]) -> str:
    """Returns the path of the people file that belongs to an output: that of faces.jsonl.gz is faces.people.json."""
    path = os.fspath(output)
    for ending in _ENDINGS:
        path = path.removesuffix(ending)
    return f"{path}.people.json"


def load(path: str | os.PathLike[str]) -> People:
    """Returns the people in a file; an empty collection if it does not exist.

    Raises:
        PeopleFileError: it cannot be read, or is wrong; the message names the file and the field.
    """
    path = os.fspath(path)
    return _read(path)[0]


def update(path: str | os.PathLike[str], change: Callable[[People], None]) -> People:
    """Changes a people file, and returns what is in it then. A file in which nothing changes is not written.

    Args:
        change: is given the people in the file, and changes them. It may be called again, with what is in the file then, if
            the file was changed in between.

    Raises:
        PeopleFileError: the file cannot be read or written, or is wrong; it is unchanged then.
    """
    path = os.fspath(path)
    with contextlib.suppress(ValueError):  # a NUL in the name: opening it says so
        path = os.path.realpath(path)  # a link stays a link
    with _alone(path):
        while True:
            people, before = _read(path)
            old = dumped(people) if before is not None else None
            change(people)
            new = dumped(people)
            if new == old or _replaced(path, new, before):
                return people


def _read(path: str) -> tuple[People, os.stat_result | None]:
    try:
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return People(), None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise _error(path, "read", error) from error
    try:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode):
            raise PeopleFileError(f"{one_line(path, 4096)}: is no regular file")
        if status.st_size > MOST_BYTES:
            raise PeopleFileError(f"{one_line(path, 4096)}: has more than {MOST_BYTES >> 30} GiB")
        with open(file, "rb", closefd=False) as stream:
            data = stream.read(MOST_BYTES + 1)
    except OSError as error:
        raise _error(path, "read", error) from error
    finally:
        os.close(file)
    return parsed(data, path), status


def _replaced(path: str, data: bytes, before: os.stat_result | None) -> bool:
    """Replaces the file; returns False, and leaves it, if it is no longer as it was read."""
    draft = os.path.join(os.path.dirname(path), f".{os.path.basename(path)}.new")
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(draft)  # left by a program that was killed at this point; this one holds the lock
        file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        try:
            with open(file, "wb") as stream:
                if before is not None:
                    os.fchmod(file, stat.S_IMODE(before.st_mode))
                    with contextlib.suppress(PermissionError):
                        os.fchown(file, before.st_uid, before.st_gid)
                stream.write(data)
                stream.flush()
                os.fsync(file)
            if not _unchanged(path, before):
                return False
            os.replace(draft, path)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(draft)
    except OSError as error:
        raise _error(path, "written", error) from error
    _sync_folder(path)
    return True


def _unchanged(path: str, before: os.stat_result | None) -> bool:
    try:
        now = os.stat(path)
    except FileNotFoundError:
        return before is None
    return before is not None and _state(now) == _state(before)


def _state(status: os.stat_result) -> tuple[int, int, int, int]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _sync_folder(path: str) -> None:
    # some file systems cannot sync a directory; there the new name reaches the disk later
    with contextlib.suppress(OSError):
        folder = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


@contextlib.contextmanager
def _alone(path: str) -> Iterator[None]:
    """Locks the folder against other programs of pyraface that write a people file in it, for the moment that takes."""
    try:
        folder = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        raise _error(path, "written", error) from error
    try:
        with contextlib.suppress(OSError):  # a file system without locks gives no protection
            fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _error(path: str, what: str, error: OSError | ValueError) -> PeopleFileError:
    reason = file_leases.reason(error) if isinstance(error, OSError) else str(error)
    return PeopleFileError(f"{one_line(path, 4096)}: cannot be {what}: {reason}")
