"""Lines: the content of an output file, line by line, at places that count the bytes of the lines themselves."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from typing import NamedTuple, Protocol

from ...core.errors import OutputError
from .output_file import CHUNK, OutputFile

PROBE_BYTES = 4096
"""Bytes written and removed again to check that the disk has room. After a crash, their rest is an incomplete line."""

BROKEN = ".broken"
"""Ending of the name of the file to which broken lines are moved."""

READ_AT_ONCE = 1 << 16


class Change(NamedTuple):
    """The bytes from `start` to `end` (exclusive), and what stands in their place: whole lines, or nothing."""

    start: int
    end: int
    lines: bytes


class Lines(Protocol):
    """Lines of a file that is plain or compressed. First read all of them and `cut`, then append.

    Places are those of bytes in the lines, decompressed. All methods that write raise OutputError.
    """

    def lines(self, longest: int, *, tolerant: bool = False) -> Iterator[bytes]:
        """Yields the lines with their ends, then the bytes after the last end. A long line is yielded in pieces.

        Args:
            longest: most bytes of a line or a piece.
            tolerant: pass over damaged bytes, which are then in `damage`.

        Raises:
            OutputError: the file is damaged.
        """

    def damage(self) -> list[tuple[int, int]]:
        """Returns the parts of the file, first byte and the one after the last, that could not be read as lines."""

    def line_at(self, start: int) -> bytes:
        """Returns the line that begins at a place, without its end."""

    def cut(self, size: int) -> None:
        """Removes what is behind a place, and whatever keeps the file from being continued."""

    def check_room(self, beginning: bytes) -> None:
        """Checks that the disk has room. `beginning` are the first bytes of a line."""

    def append(self, line: bytes) -> None:
        """Writes all of a line or nothing, so that it can be read even if the program is killed right after."""

    def end(self) -> None:
        """Completes the file."""

    def rewrite(self, changes: Iterable[Change]) -> None:
        """Replaces the file, in one step, with a copy in which lines are changed, in the order of the file."""


class PlainLines:
    """Lines of a file that is not compressed."""

    def __init__(self, output: OutputFile) -> None:
        self._output = output

    def lines(self, longest: int, *, tolerant: bool = False) -> Iterator[bytes]:
        """Yields the lines; nothing of a plain file is damaged."""
        del tolerant
        yield from in_lines(self._pieces(), longest)

    def damage(self) -> list[tuple[int, int]]:
        """Returns nothing: any byte may stand in a line."""
        return []

    def line_at(self, start: int) -> bytes:
        """Returns the line that begins at byte `start`, without its end."""
        line = b""
        while b"\n" not in line:
            piece = self._output.read(start + len(line), READ_AT_ONCE)
            if not piece:
                raise OutputError(f"{self._output.name} was changed by another program while it was written")
            line += piece
        return line.partition(b"\n")[0]

    def cut(self, size: int) -> None:
        """Truncates the file to `size` bytes."""
        self._output.cut(size)

    def check_room(self, beginning: bytes) -> None:
        """Writes the beginning of a line and removes it again."""
        self._output.check_room(beginning.ljust(PROBE_BYTES))

    def append(self, line: bytes) -> None:
        """Writes a line."""
        self._output.append(line)

    def end(self) -> None:
        """Does nothing: the file is complete after every line."""

    def rewrite(self, changes: Iterable[Change]) -> None:
        """Replaces the file with a changed copy."""

        def pieces() -> Iterator[bytes | tuple[int, int]]:
            position = 0
            for start, end, lines in changes:
                yield position, start
                yield lines
                position = end
            yield position, self._output.size

        self._output.rewrite(pieces())

    def _pieces(self) -> Iterator[bytes]:
        position = 0
        while piece := self._output.read(position, CHUNK):
            position += len(piece)
            yield piece


def changed(
    content: bytes, position: int, change: Change | None, changes: Iterator[Change]
) -> tuple[bytes, Change | None]:
    """Returns some content with changes made, and the first change behind it.

    Args:
        content: from the place `position` on. What a change writes stands where its end lies.
        change: the first one that does not end before `position`.
        changes: those behind it.
    """
    parts, end = [], position + len(content)
    while change is not None and change.start < end:
        parts.append(content[: max(0, change.start - position)])
        if change.end > end:
            return b"".join(parts), change
        parts.append(change.lines)
        content, position = content[change.end - position :], change.end
        change = next(changes, None)
    return b"".join([*parts, content]), change


def in_lines(pieces: Iterable[bytes], longest: int) -> Iterator[bytes]:
    """Yields the lines of a stream with their ends, then what follows the last end; a long line in pieces of `longest`."""
    with io.BufferedReader(_Stream(pieces), CHUNK) as stream:
        while line := stream.readline(longest):
            yield line


class _Stream(io.RawIOBase):
    """Pieces of bytes as a file."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._left = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, into: memoryview) -> int:  # type: ignore[override]
        while not self._left:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._left = memoryview(piece)
        count = min(len(into), len(self._left))
        into[:count] = self._left[:count]
        self._left = self._left[count:]
        return count
