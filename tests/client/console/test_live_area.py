"""The lines at the bottom of a terminal that are drawn again and again."""

from __future__ import annotations

import io
import os

import pytest
from rich.text import Text

from pyraface.client.console import live_area
from pyraface.client.console.live_area import LiveArea


class Stream(io.StringIO):
    """A terminal of 20 columns and 5 lines."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True

    def new(self) -> str:
        """Returns what was written since the last call."""
        text = self.getvalue()
        self.seek(0)
        self.truncate()
        return text


@pytest.fixture
def stream(monkeypatch: pytest.MonkeyPatch) -> Stream:
    monkeypatch.setattr(live_area, "size", lambda _: os.terminal_size((20, 5)))
    return Stream()


ERASE = "\r\x1b[2K\x1b[C\x1b[J\r"


def frame(*lines: str) -> str:
    up = f"\x1b[{len(lines) - 1}A" if len(lines) > 1 else ""
    return "\x1b[?7l" + "\r\n".join(lines) + f"\r{up}\x1b[?7h"


def test_a_drawing_replaces_the_last_one_and_leaves_the_cursor_at_its_beginning(stream: Stream) -> None:
    area = LiveArea(stream)
    area.draw(Text("one\ntwo"))
    assert stream.new() == ERASE + frame("one", "two")
    area.draw(Text("three"))
    assert stream.new() == ERASE + frame("three")


def test_a_line_is_printed_above_the_area(stream: Stream) -> None:
    area = LiveArea(stream)
    area.print("before")
    assert stream.new() == "before\n"
    area.draw(Text("one\ntwo"))
    stream.new()
    area.print("above")
    assert stream.new() == f"{ERASE}above\n{frame('one', 'two')}"
    area.clear()
    area.clear()
    area.print("after")
    assert stream.new() == f"{ERASE}after\n"


def test_the_area_leaves_a_line_of_the_terminal_and_is_no_wider(stream: Stream) -> None:
    LiveArea(stream).draw(Text("\n".join(f"line {number}, which is too long" for number in range(9))))
    lines = stream.new().removeprefix(ERASE + "\x1b[?7l").split("\r\n")
    assert len(lines) == 4
    assert all(len(line) <= 20 for line in lines[:-1])


@pytest.mark.parametrize(
    ("term", "possible"), [("xterm", True), ("linux", True), ("dumb", False), ("Unknown", False), ("", False)]
)
def test_a_terminal_that_cannot_move_its_cursor_has_no_area(
    stream: Stream, monkeypatch: pytest.MonkeyPatch, term: str, possible: bool
) -> None:
    monkeypatch.setenv("TERM", term)
    assert LiveArea.possible(stream) == possible
    assert not LiveArea.possible(io.StringIO())
