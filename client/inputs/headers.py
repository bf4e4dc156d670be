"""Headers: what the first bytes of a photograph say before it is sent: its size, or the error that it will have."""

from __future__ import annotations

import itertools
import os
import stat
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ...core.errors import ImageError
from ...core.host import file_leases
from ...core.images.signatures import HEAD_BYTES, format_of
from ...core.images.sizes import size_of
from ...core.text import plural
from .file_reader import THREADS

STRETCH = 512
"""Files that are looked at together."""


@dataclass(frozen=True)
class Limits:
    """Limits of the servers: bytes of a file, and pixels of a photograph and of its longer side."""

    file_bytes: int
    pixels: int
    side: int


@dataclass(frozen=True)
class Header:
    """Header of a file.

    Attributes:
        pixels: of the photograph; None where its header does not say it.
        problem: why the photograph will have an error; "" where its header shows no reason.
    """

    path: str
    pixels: int | None = None
    problem: str = ""


def headers(paths: Iterable[str], limits: Limits) -> Iterator[Header]:
    """Yields the header of each file, in the order of the paths. Several threads read: network disks answer late."""
    paths = iter(paths)
    while stretch := list(itertools.islice(paths, STRETCH)):
        found: list[Header | None] = [None] * len(stretch)
        errors: list[Exception] = []

        def work(
            first: int,
            stretch: list[str] = stretch,
            found: list[Header | None] = found,
            errors: list[Exception] = errors,
        ) -> None:
            try:
                for at in range(first, len(stretch), THREADS):
                    found[at] = header_of(stretch[at], limits)
            except Exception as error:  # noqa: BLE001  it is raised where the headers are awaited
                errors.append(error)

        # daemon threads: a disk that does not answer must not keep the program from ending
        threads = [threading.Thread(target=work, args=(first,), daemon=True) for first in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]
        yield from filter(None, found)


def header_of(path: str, limits: Limits) -> Header:
    """Returns the header of a file, of which a few thousand bytes are read."""
    try:
        # O_NONBLOCK: a pipe has no writer, perhaps for ever
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except BlockingIOError:  # another program keeps it for itself for a while: a run waits for it
        return Header(path)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        return Header(path, problem=_unreadable(error))
    try:
        return _header(path, file, limits)
    except OSError as error:
        return Header(path, problem=_unreadable(error))
    finally:
        os.close(file)


def _header(path: str, file: int, limits: Limits) -> Header:
    status = os.fstat(file)
    if not stat.S_ISREG(status.st_mode):
        return Header(path, problem="no regular file")
    if status.st_size > limits.file_bytes:
        return Header(
            path, problem=f"more than {plural(limits.file_bytes, 'byte')} (params/daemon/max_frame_bytes)"
        )
    try:
        format = format_of(os.pread(file, HEAD_BYTES, 0))
    except ImageError as error:
        return Header(path, problem=str(error).partition(";")[0])
    size = size_of(format, lambda at, length: os.pread(file, length, at))
    if size is None:
        return Header(path)
    pixels = size[0] * size[1]
    if pixels > limits.pixels:
        return Header(path, problem=f"more than {plural(limits.pixels, 'pixel')} (params/images/max_pixels)")
    if max(size) > limits.side:
        return Header(
            path, problem=f"a side of more than {plural(limits.side, 'pixel')} (params/images/max_side)"
        )
    return Header(path, pixels)


def _unreadable(error: OSError | ValueError) -> str:
    return f"cannot be read: {file_leases.reason(error) if isinstance(error, OSError) else error}"
