from __future__ import annotations

import pytest

from pyraface.core.throughput import SPAN, Throughput


def test_nothing_done_is_no_rate() -> None:
    throughput = Throughput(100.0)
    assert (throughput.total, throughput.rate(100.0), throughput.elapsed(100.0)) == (0, 0.0, 0.0)


def test_in_the_first_minute_the_rate_is_that_since_the_start() -> None:
    throughput = Throughput(100.0)
    for tenth in range(200):
        throughput.count(100.0 + tenth / 10)
    assert throughput.rate(120.0) == pytest.approx(10.0)


def test_the_first_answer_does_not_make_a_rate_without_bounds() -> None:
    throughput = Throughput(100.0)
    throughput.count(100.0001)
    assert throughput.rate(100.0001) == 1.0


def test_what_was_done_more_than_a_minute_ago_counts_in_the_total_alone() -> None:
    throughput = Throughput(0.0)
    for second in range(600):
        throughput.count(second)
    assert throughput.rate(600.0) == pytest.approx(1.0, rel=0.02)
    assert throughput.rate(600.0 + SPAN / 2) == pytest.approx(0.5, rel=0.05)
    assert throughput.rate(600.0 + 2 * SPAN) == 0.0
    assert throughput.total == 600


def test_a_fast_server_takes_no_more_memory_than_a_slow_one() -> None:
    throughput = Throughput(0.0)
    for number in range(500_000):
        throughput.count(number / 1000)
    assert throughput.rate(500.0) == pytest.approx(1000.0, rel=0.02)
    assert len(throughput._seconds) <= SPAN + 1
