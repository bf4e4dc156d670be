"""What a terminal shows while it runs: a line for each server that matters most, and the totals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.text import Text

from ...core.text import one_line
from ..pool.status import Availability
from .rates import Pace
from .terminal import Column, table

COLUMNS = (
    Column("server", 0, least=16),
    Column("device", 5, least=10),
    Column("images/s", 2, right=True),
    Column("in flight", 3, right=True),
    Column("done", 4, right=True),
    Column("state", 1),
)

MOST_LINES = 12
"""Servers with a line of their own; who has more looks at those in trouble first."""

_STYLES = {"lost": "red", "resting": "red", "no answer yet": "yellow", "slow": "yellow", "stopping": "yellow"}
"""Of servers in trouble, the worst first."""


def state_of(pace: Pace) -> str:
    """Returns in a word how a server is."""
    status = pace.last
    assert status is not None
    if status.state is Availability.DRAINING:
        return "stopping"
    if status.state is not Availability.CONNECTED:
        return str(status.state.value)
    if pace.slow:
        return "slow" if status.done else "no answer yet"
    return "working" if status.in_flight else "idle"


def servers(paces: Iterable[Pace], *, width: int, height: int) -> list[Text]:
    """Returns a head and a line for each server, as many as leave half of the terminal free.

    Those in trouble come first, then those that have done most; the last line counts those that have none.
    """
    ranked = sorted(paces, key=_rank)
    if not ranked:
        return []
    room = max(1, min(MOST_LINES, height // 2 - 3))
    shown, others = ranked[:room], ranked[room:]
    head, *lines = table(COLUMNS, [_row(pace) for pace in shown], width)
    found = [Text(head, "dim")]
    found += [Text(line, _STYLES.get(state_of(pace), "")) for line, pace in zip(lines, shown, strict=True)]
    if others:
        counts = Counter(state_of(pace) for pace in others)
        states = ", ".join(f"{count} {state}" for state, count in counts.most_common())
        found.append(Text(f"and {len(others)} more: {states}", "dim"))
    return found


def view(lines: list[Text], totals: str, *, done: int, total: int | None) -> RenderableType:
    """Returns all of it: servers, totals, and a bar once it is known how many images there are."""
    parts: list[RenderableType] = [*lines, Text(one_line(totals))]
    for line in lines:
        line.no_wrap = True
    if total:
        parts.append(ProgressBar(total=total, completed=min(done, total)))
    return Group(*parts)


def _rank(pace: Pace) -> tuple[int, int]:
    assert pace.last is not None
    state = state_of(pace)
    return (list(_STYLES).index(state) if state in _STYLES else len(_STYLES), -pace.last.done)


def _row(pace: Pace) -> list[str]:
    status = pace.last
    assert status is not None
    there = status.state is not Availability.LOST
    return [
        status.name,
        status.device,
        f"{pace.rate:.2f}" if there else "",
        str(status.in_flight) if there else "",
        str(status.done),
        state_of(pace),
    ]
