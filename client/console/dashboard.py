"""Dashboard: the live display of a run, with a line for each of the most important servers and the totals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.text import Text

from ...core.text import one_line
from ..pool.status import Availability
from . import number_formats
from .rates import ServerRate
from .terminal import Column, table

COLUMNS = (
    Column("server", 0, least=16),
    Column("device", 5, least=10),
    Column("images/s", 2, right=True),
    Column("in flight", 4, right=True),
    Column("done", 3, right=True),
    Column("state", 1),
)

MOST_LINES = 12
"""Servers that get a separate line; if there are more, servers in trouble come first."""

_STYLES = {
    "lost": "red",
    "resting": "red",
    "no answer yet": "magenta",
    "slow": "magenta",
    "stopping": "magenta",
}
"""Colours of the states of servers in trouble, the worst first: both can be read on a light and on a dark background, which
yellow and blue cannot."""

LONGEST_BAR = 60
"""Cells of the bar: it fits into every usual terminal, so that a terminal that becomes narrower does not wrap it."""


def state_of(server_rate: ServerRate) -> str:
    """Returns the word that the display shows for the state of a server."""
    status = server_rate.last
    assert status is not None
    if status.state is Availability.DRAINING:
        return "stopping"
    if status.state is not Availability.CONNECTED:
        return str(status.state.value)
    if server_rate.slow:
        return "slow" if status.done else "no answer yet"
    return "working" if status.in_flight else "idle"


def servers(rates: Iterable[ServerRate], *, width: int, height: int) -> list[Text]:
    """Returns a header line and the lines of the servers, at most half of the terminal's height.

    Servers in trouble come first, then the servers with the most images done; a last line counts the others by state.
    """
    ranked = sorted(rates, key=_rank)
    if not ranked:
        return []
    room = max(1, min(MOST_LINES, height // 2 - 3))
    shown, others = ranked[:room], ranked[room:]
    head, *lines = table(COLUMNS, [_row(server_rate) for server_rate in shown], width)
    found = [Text(head, "dim")]
    found += [
        Text(line, _STYLES.get(state_of(server_rate), ""))
        for line, server_rate in zip(lines, shown, strict=True)
    ]
    if others:
        counts = Counter(state_of(server_rate) for server_rate in others)
        states = ", ".join(f"{count} {state}" for state, count in counts.most_common())
        found.append(Text(f"and {len(others)} more: {states}", "dim"))
    return found


def view(lines: list[Text], totals: str, *, done: int, total: int | None) -> RenderableType:
    """Returns the whole display: servers, totals, and a bar once the number of images is known."""
    parts: list[RenderableType] = [*lines, Text(one_line(totals))]
    for line in lines:
        line.no_wrap = True
    if total:
        parts.append(
            ProgressBar(
                total,
                min(done, total),
                width=LONGEST_BAR,
                style="dim",
                complete_style="default",
                finished_style="default",
            )
        )
    return Group(*parts)


def _rank(server_rate: ServerRate) -> tuple[int, int]:
    assert server_rate.last is not None
    state = state_of(server_rate)
    return (list(_STYLES).index(state) if state in _STYLES else len(_STYLES), -server_rate.last.done)


def _row(server_rate: ServerRate) -> list[str]:
    status = server_rate.last
    assert status is not None
    there = status.state is not Availability.LOST
    return [
        status.name,
        status.device,
        number_formats.rate(server_rate.rate) if there else "",
        str(status.in_flight) if there else "",
        str(status.done),
        state_of(server_rate),
    ]
