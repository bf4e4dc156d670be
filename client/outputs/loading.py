"""Loading: an existing output is read line by line; a line that is broken is named, or moved to another file."""

from __future__ import annotations

import contextlib
import os
from typing import BinaryIO

from ...core.errors import OutputError
from .formats import Format
from .former_lines import completed
from .index import Head, Index
from .lines import BROKEN, Change, Lines
from .output_file import CHUNK, OutputFile

MAX_LINE_BYTES = 256 << 20
"""Limit for a line, far beyond any real one: it would hold a hundred thousand faces. A longer line is never read whole."""


def load(output: OutputFile, lines: Lines, format_: Format, index: Index) -> None:
    """Adds the lines of an output to an index, and cuts off an incomplete last line.

    Raises:
        OutputError: pyraface did not write the file, or a line of it is broken.
    """
    start = 0
    for number, line in enumerate(lines.lines(MAX_LINE_BYTES), 1):
        if output.stopped:
            return
        if not line.endswith(b"\n"):
            if len(line) == MAX_LINE_BYTES or (number == 1 and not _may_be_cut(line, format_)):
                raise foreign(
                    output, number, "it is too long" if number > 1 else "it does not begin like one"
                )
            break
        head: Head | None = None
        # a block that was not written before a power cut contains zeros
        if number == 1 or b"\0" not in line:
            try:
                head = format_.head(line)
            except (ValueError, RecursionError) as error:
                raise foreign(output, number, str(error)) from None
        index.add(head, start, start + len(line))
        start += len(line)
    lines.cut(start)


def foreign(output: OutputFile, number: int, reason: str) -> OutputError:
    """Returns the error for a line that pyraface did not write, or that was damaged since."""
    return OutputError(
        f"{output.name}: line {number} was not written by pyraface ({reason}): choose another name, move what is broken to "
        f"{output.name}{BROKEN} with --repair, or replace the file with --overwrite"
    )


def repair(output: OutputFile, lines: Lines, format_: Format) -> int:
    """Moves broken lines to FILE.broken, and damaged parts of a compressed file as they are; returns their number.

    The faces of a line are checked as well. All is on the disk there before it is removed here: a program that is killed in
    between leaves it in both files.

    Raises:
        OutputError: no line was written by pyraface, or a file cannot be written; then nothing is removed.
    """
    broken: list[Change] = []
    start, whole, within = 0, False, False
    with _BrokenFile(f"{output.name}{BROKEN}") as file:
        for line in lines.lines(MAX_LINE_BYTES, tolerant=True):
            if output.stopped:
                return 0
            end, ended = start + len(line), line.endswith(b"\n")
            if not (ended or within or len(line) == MAX_LINE_BYTES) and _may_be_cut(line, format_):
                break
            if not within and _is_whole(line, format_):
                whole = True
            elif within or not start or b"\0" not in line:  # with zeros, it is what a power cut left
                file.add(line)
                broken.append(Change(broken.pop().start if within else start, end, b""))
                within = not ended  # a line that is too long comes in pieces
            start = end
        damaged = lines.damage()
        for part in damaged:
            for position in range(*part, CHUNK):
                file.add(output.read(position, min(CHUNK, part[1] - position)))
        if not (broken or damaged):
            return 0
        if not whole:
            file.undo()
            raise OutputError(
                f"{output.name}: no line was written by pyraface, so nothing is moved: choose another name, or replace the "
                "file with --overwrite"
            )
        file.sync()
    lines.cut(start)
    lines.rewrite(broken)
    return len(broken) + len(damaged)


def _may_be_cut(line: bytes, format_: Format) -> bool:
    """Returns whether these bytes can be the rest of an incomplete line of an output."""
    return line.startswith(format_.beginning) or format_.beginning.startswith(line)


def _is_whole(line: bytes, format_: Format) -> bool:
    """Returns whether all of a line, not its head alone, can be read."""
    try:
        format_.head(line)
        completed(format_.decode(line))
    except (ValueError, RecursionError):
        return False
    return True


class _BrokenFile:
    """File for broken lines, which stand behind what it holds. It is made when there is one."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._file: BinaryIO | None = None
        self._size = 0

    def __enter__(self) -> _BrokenFile:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, data: bytes) -> None:
        """Writes some bytes, whose last line may go on with those of the next call.

        Raises:
            OutputError: the file cannot be written; it is as before.
        """
        try:
            if self._file is None:
                self._file = open(self._name, "ab", buffering=0)  # noqa: SIM115
                self._size = self._file.tell()
                if self._size and not self._ends_with_a_line():
                    self._file.write(b"\n")
            with memoryview(data) as view:
                written = 0
                while written < len(data):
                    written += self._file.write(view[written:])
        except OSError as error:
            self.undo()
            raise OutputError(
                f"{self._name} cannot be written: {error.strerror}; nothing was moved"
            ) from error

    def sync(self) -> None:
        """Brings all that was written to the disk."""
        assert self._file is not None
        try:
            os.fsync(self._file)
        except OSError as error:
            raise OutputError(
                f"{self._name} cannot be written: {error.strerror}; nothing was moved"
            ) from error

    def undo(self) -> None:
        """Brings the file back to what it was."""
        if self._file is None:
            return
        with contextlib.suppress(OSError):
            self._file.truncate(self._size)
            if not self._size:
                os.unlink(self._name)

    def _ends_with_a_line(self) -> bool:
        with open(self._name, "rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read() == b"\n"
