from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from pyraface.client.console.terminal import NARROWEST, Column, table

COLUMNS = (
    Column("name", 0, least=6),
    Column("state", 1),
    Column("device", 3, least=8),
    Column("images/s", 2, right=True),
)
ROWS = [["attic", "ready", "NVIDIA Jetson Nano", "1.50"], ["cellar", "no answer", "", ""]]


def test_a_table_is_as_wide_as_it_needs_to_be_where_nobody_says_how_wide() -> None:
    assert table(COLUMNS, ROWS, None) == [
        "name    state      device              images/s",
        "attic   ready      NVIDIA Jetson Nano      1.50",
        "cellar  no answer",
    ]


def test_what_may_be_cut_is_cut_first() -> None:
    assert table(COLUMNS, ROWS, 40) == [
        "name    state      device       images/s",
        "attic   ready      NVIDIA Jet…      1.50",
        "cellar  no answer",
    ]


@pytest.mark.parametrize("width", range(30, 60))
def test_a_table_that_is_cut_has_the_width_asked_for_and_whole_titles(width: int) -> None:
    columns = (Column("name", 0, least=6), Column("state", 1, least=8), Column("images/s", 2, right=True))
    head, *lines = table(columns, [["a" * 30, "no answer", "12.34"], ["b" * 9, "ready", ""]], width)
    assert head.split() == ["name", "state", "images/s"]
    assert max(map(len, (head, *lines))) == min(width, 30 + 9 + 8 + 2 * 2)


def test_the_least_important_columns_go_where_room_is_short() -> None:
    assert table(COLUMNS, ROWS, 30) == [
        "name    state      images/s",
        "attic   ready          1.50",
        "cellar  no answer",
    ]
    assert table(COLUMNS, ROWS, 20) == ["name    state", "attic   ready", "cellar  no answer"]
    assert table(COLUMNS, [["a" * 30, "", "", ""]], 10) == ["name", "aaaaaaaaa…"]


def test_a_column_that_is_empty_everywhere_is_left_out() -> None:
    assert table(COLUMNS, [["attic", "", "", "1.50"]], None) == ["name   images/s", "attic      1.50"]


def test_without_rows_there_are_no_columns() -> None:
    assert table(COLUMNS, [], None) == [""]


@given(
    st.lists(st.lists(st.text(max_size=30), min_size=4, max_size=4), max_size=5), st.integers(NARROWEST, 100)
)
def test_no_line_is_wider_than_it_may_be_or_commands_the_terminal(rows: list[list[str]], width: int) -> None:
    lines = table(COLUMNS, rows, width)
    assert len(lines) == 1 + len(rows)
    for line in lines:
        assert cell_len(line) <= width
        assert line.isprintable()
