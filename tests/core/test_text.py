"""Text from outside, made safe for a line and for a message."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyraface.core.text import one_line, plural, sendable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("attic", "attic"),
        ("Küche 写真 [red]", "Küche 写真 [red]"),
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("two\nlines\r\t", "two\\nlines\\r\\t"),
        ("\u202egpj.exe", "\\u202egpj.exe"),
        ("\x9b2J", "\\x9b2J"),
        ("broken \udcff", "broken \\udcff"),
    ],
)
def test_text_of_strangers_is_shown_without_what_it_commands(text: str, shown: str) -> None:
    assert one_line(text) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("x" * 10, "x" * 10),
        ("x" * 11, "xxxxxxx..."),
        ("\0" * 1000, "\\x00\\x0..."),
        ("写" * 11, "写写写写写写写..."),
    ],
)
def test_text_over_the_limit_ends_in_dots(text: str, shown: str) -> None:
    assert one_line(text, 10) == shown


@given(text=st.text(), limit=st.integers(3, 50))
def test_whatever_the_text_a_line_is_printable_and_no_longer_than_its_limit(text: str, limit: int) -> None:
    line = one_line(text, limit)
    assert line.isprintable()
    assert len(line) <= limit


@pytest.mark.parametrize(
    ("text", "sent"), [("Küche", "Küche"), ("x" * 11, "x" * 10), ("a\udcffb", "a?b"), ("\n", "\n")]
)
def test_text_to_be_sent_is_utf_8_of_a_bounded_length(text: str, sent: str) -> None:
    assert sendable(text, 10) == sent


def test_a_count_has_its_noun_in_the_number_that_it_takes() -> None:
    assert [plural(count, "other file") for count in (0, 1, 2)] == [
        "0 other files",
        "1 other file",
        "2 other files",
    ]
