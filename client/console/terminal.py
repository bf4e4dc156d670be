"""Terminal: lines on the standard streams, and tables that fit the width of a terminal."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TextIO

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ...core.text import one_line

GAP = 2
"""Spaces between two columns."""

NARROWEST = 8
"""Least width of a line, in cells, on a terminal of any width."""


def say(text: str, *, end: str = "\n") -> None:
    """Prints text on standard error as one line."""
    print(one_line(text), end=end, file=sys.stderr, flush=True)


def size(stream: TextIO) -> os.terminal_size:
    """Returns the size of the terminal of a stream. COLUMNS and LINES count only where the system does not know it: an
    exported COLUMNS keeps the width that the terminal had before it was resized."""
    try:
        found = os.get_terminal_size(stream.fileno())
    except (OSError, ValueError):
        found = os.terminal_size((0, 0))
    return found if found.columns and found.lines else shutil.get_terminal_size()


@dataclass(frozen=True)
class Column:
    """Column of a table.

    Attributes:
        title: the text at its head.
        rank: in a table that is too wide, the column with the highest rank is left out first.
        least: least width in cells, when the column is cut to fit; 0: the column is never cut.
        right: whether the column is aligned to the right, as numbers are.
    """

    title: str
    rank: int
    least: int = 0
    right: bool = False


def table(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int | None) -> list[str]:
    """Returns a header line and a line for each row, each at most `width` cells wide (None: no limit).

    Columns that are empty in every row are left out; in a table that is too wide, so are the least important columns. Rich
    can do neither, and makes a table wider than asked for where a column has its least width; it cuts and aligns the cells.
    """
    cells = [[one_line(cell) for cell in row] for row in rows]
    filled = [at for at in range(len(columns)) if any(row[at] for row in cells)]
    if not filled:
        return [""] * (1 + len(rows))
    needed = {
        at: max(cell_len(text) for text in (columns[at].title, *(row[at] for row in cells))) for at in filled
    }
    least = {at: min(columns[at].least or needed[at], needed[at]) for at in filled}
    gaps = GAP * (len(filled) - 1)
    width = max(width, NARROWEST) if width is not None else sum(needed.values()) + gaps
    while len(least) > 1 and sum(least.values()) + GAP * (len(least) - 1) > width:
        del least[max(least, key=lambda at: columns[at].rank)]
    grid = Table(box=None, padding=(0, GAP, 0, 0), pad_edge=False, header_style="")
    for at, cells_wide in _widths(least, needed, width - GAP * (len(least) - 1)).items():
        grid.add_column(
            Text(columns[at].title),
            justify="right" if columns[at].right else "left",
            no_wrap=True,
            width=cells_wide,
        )
    for row in cells:
        grid.add_row(*(Text(row[at]) for at in least))
    lines = Console(width=width, color_system=None).render_lines(grid, pad=False)
    return ["".join(segment.text for segment in line).rstrip() for line in lines]


def _widths(least: dict[int, int], needed: dict[int, int], room: int) -> dict[int, int]:
    """Returns the widths of columns that share `room` cells, from the least width of each to what it needs.

    Cells to spare are given in proportion to what a column misses. A single column has no least width.
    """
    if len(least) == 1:
        return {at: min(needed[at], room) for at in least}
    widths = dict(least)
    spare = room - sum(least.values())
    missing = sum(needed[at] - cells for at, cells in least.items())
    for at, cells in least.items():
        short = needed[at] - cells
        given = min(short, spare * short // missing) if short else 0
        widths[at] += given
        spare, missing = spare - given, missing - short
    return widths
