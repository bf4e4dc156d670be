"""What strangers named, on a terminal: text without its commands, and lines of columns that fit."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TextIO

from rich.cells import cell_len, set_cell_size

from ...core.errors import OutputError
from ...core.text import one_line

GAP = 2
"""Blanks between two columns."""

NARROWEST = 8
"""Cells that a terminal is taken to have at least."""


def say(text: str, *, end: str = "\n") -> None:
    """Prints text on standard error as one line, if that can be written; if not, nothing is said from here on."""
    if sys.stderr is not None:
        try:
            print(one_line(text), end=end, file=sys.stderr, flush=True)
        except OSError:
            silence(sys.stderr)


def silence(stream: TextIO) -> None:
    """Has a standard stream lead nowhere, so that what waits in its buffer does not fail once more at exit."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)


def print_lines(lines: Iterable[str]) -> None:
    """Prints lines on standard output.

    Raises:
        OutputError: it is closed, or cannot be written.
    """
    if sys.stdout is None:
        raise OutputError("standard output is closed")
    try:
        for line in lines:
            print(line)
        sys.stdout.flush()
    except OSError as error:
        silence(sys.stdout)
        raise OutputError(f"standard output cannot be written: {error.strerror}") from error


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        title: its head.
        least: cells that it needs; what is wider is cut when room is short. 0: whatever its cells need.
        rank: where room is short, the column with the highest goes first.
        right: numbers stand at the right.
    """

    title: str
    rank: int
    least: int = 0
    right: bool = False


def table(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int | None) -> list[str]:
    """Returns a head and a line for each row, none of them wider than `width` cells (None: as wide as need be).

    Columns that are empty in every row are left out, and where room is short the least important ones.
    """
    cells = [[one_line(cell) for cell in row] for row in rows]
    needed = [max((cell_len(row[at]) for row in cells), default=0) for at in range(len(columns))]
    widths = [max(need, cell_len(column.title)) for need, column in zip(needed, columns, strict=True)]
    least = [
        min(column.least, width) if column.least else width
        for column, width in zip(columns, widths, strict=True)
    ]
    kept = [at for at in range(len(columns)) if needed[at]]
    if width is not None:
        width = max(width, NARROWEST)
        while len(kept) > 1 and sum(least[at] for at in kept) + GAP * (len(kept) - 1) > width:
            kept.remove(max(kept, key=lambda at: columns[at].rank))
        while (excess := sum(widths[at] for at in kept) + GAP * (len(kept) - 1) - width) > 0:
            shrinking = max(kept, key=lambda at: (widths[at] - least[at], widths[at]))
            widths[shrinking] -= max(1, min(excess, widths[shrinking] - least[shrinking]) // 2)
    head = [column.title for column in columns]
    return [
        (" " * GAP).join(_fitted(row[at], widths[at], right=columns[at].right) for at in kept).rstrip()
        for row in (head, *cells)
    ]


def _fitted(text: str, width: int, *, right: bool) -> str:
    """Returns text in exactly `width` cells."""
    if cell_len(text) > width:
        return set_cell_size(text, width - 1) + "…"
    blanks = " " * (width - cell_len(text))
    return blanks + text if right else text + blanks


def duration(seconds: float) -> str:
    """Returns a time for a person: 12 s, 3:04 min, 5:07 h, 2 d 3 h."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02} min"
    if whole < 86400:
        return f"{whole // 3600}:{whole // 60 % 60:02} h"
    return f"{whole // 86400} d {whole // 3600 % 24} h"
