from __future__ import annotations

import pytest

from pyraface.core.throughput import SPAN, Speed, Throughput


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


def test_nothing_done_is_no_speed() -> None:
    speed = Speed()
    speed.begin(5.0)
    assert float(speed) == 0.0


def test_the_time_without_work_does_not_count_in_the_speed() -> None:
    speed = Speed()
    for start in (0.0, 1000.0, 5000.0):
        speed.begin(start)
        for second in range(1, 5):
            speed.count(start + second / 2, 12_000_000)
    assert float(speed) == pytest.approx(24.0)


def test_the_speed_is_that_of_all_pixels_whatever_the_sizes() -> None:
    speed = Speed()
    speed.begin(0.0)
    now = 0.0
    for pixels in (1_000_000, 9_000_000) * 200:
        now += pixels / 10_000_000
        speed.count(now, pixels)
    assert float(speed) == pytest.approx(10.0)


def test_failed_images_do_not_count_in_the_speed() -> None:
    speed = Speed()
    speed.begin(0.0)
    speed.count(2.0, 8_000_000)
    speed.count(100.0, 0)
    speed.count(102.0, 8_000_000)
    assert float(speed) == pytest.approx(4.0)


def test_a_server_that_becomes_slower_has_its_new_speed_before_long() -> None:
    speed = Speed()
    speed.begin(0.0)
    for second in range(1000):
        speed.count(float(second), 10_000_000)
    for second in range(200):
        speed.count(1000.0 + 10 * second, 10_000_000)
    assert float(speed) == pytest.approx(1.0, rel=0.3)
