"""Figures as a person reads them."""

from __future__ import annotations

import pytest

from pyraface.client.console import number_formats


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0 s"),
        (59.4, "59 s"),
        (59.6, "1:00 min"),
        (3599, "59:59 min"),
        (3600, "1:00 h"),
        (86399, "23:59 h"),
        (90000, "1 d 1 h"),
    ],
)
def test_a_duration_is_as_exact_as_a_person_wants_it(seconds: float, shown: str) -> None:
    assert number_formats.duration(seconds) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.0, "less than 0.1 s"),
        (0.049, "less than 0.1 s"),
        (0.06, "0.1 s"),
        (59.94, "59.9 s"),
        (59.96, "1:00 min"),
        (90, "1:30 min"),
    ],
)
def test_a_measured_time_is_never_no_time(seconds: float, shown: str) -> None:
    assert number_formats.measured(seconds) == shown


@pytest.mark.parametrize(
    ("per_second", "shown"),
    [
        (0.0, "0.00"),
        (17.736, "17.74"),
        (0.1, "0.10"),
        (0.0999, "0.10"),
        (1 / 300, "0.0033"),
        (0.00011, "0.00011"),
        (1e-5, "<0.0001"),
    ],
)
def test_a_rate_is_zero_only_where_nothing_was_done(per_second: float, shown: str) -> None:
    assert number_formats.rate(per_second) == shown


@pytest.mark.parametrize(
    ("ratio", "shown"),
    [
        (0.0, "less than 1% of it"),
        (0.004, "less than 1% of it"),
        (0.04, "4% of it"),
        (0.996, "as much as it"),
        (1.004, "as much as it"),
        (1.04, "104% of it"),
        (1.5, "1.5 times it"),
        (2.04, "2.0 times it"),
        (9.96, "10.0 times it"),
        (12.3, "12 times it"),
    ],
)
def test_a_multiple_is_never_zero_times(ratio: float, shown: str) -> None:
    assert number_formats.multiple(ratio, "it") == shown
