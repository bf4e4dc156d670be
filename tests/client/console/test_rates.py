"""When a server counts as slow, and what is said of it at the end: watched in a time of the tests' own."""

from __future__ import annotations

import dataclasses

import pytest

from pyraface.client.console.rates import LATELY, SPAN, Rates, ServerRate
from pyraface.client.pool.status import Availability, ServerStatus

STATUS = ServerStatus(
    "attic (10.0.0.1:5000)", "10.0.0.1:5000", "onnx", "cpu", Availability.CONNECTED, 4, 4, 0, 0.0, 0.0
)


class Watched:
    """A server that does `rate` images a second, looked at every half second."""

    def __init__(self) -> None:
        self.server_rate = ServerRate()
        self.now = 1000.0
        self.done = 0.0

    def run(
        self, seconds: float, rate: float, *, in_flight: int = 4, state: Availability = Availability.CONNECTED
    ) -> ServerRate:
        for _ in range(int(seconds * 2)):
            self.now += 0.5
            self.done += rate / 2
            status = dataclasses.replace(STATUS, done=int(self.done), in_flight=in_flight, state=state)
            self.server_rate.observe(self.now, status)
        return self.server_rate


def test_a_server_that_goes_on_as_it_did_is_not_slow() -> None:
    server_rate = Watched().run(10 * SPAN, 2.0)
    assert server_rate.rate == pytest.approx(2.0, rel=0.05)
    assert not server_rate.slow
    assert server_rate.trouble() == ""


@pytest.mark.parametrize(("rate", "slow"), [(1.0, False), (0.6, False), (0.4, True), (0.0, True)])
def test_one_that_does_less_than_a_quarter_of_what_it_did_is_slow(rate: float, slow: bool) -> None:
    watched = Watched()
    watched.run(2 * SPAN, 2.0)
    server_rate = watched.run(2 * SPAN, rate)
    assert server_rate.slow == slow
    assert server_rate.trouble().startswith("slow for ") == slow
    assert ("images/s at the end, 2.0" in server_rate.trouble()) == slow


def test_a_server_that_takes_half_a_minute_for_an_image_is_judged_too() -> None:
    watched = Watched()
    assert not watched.run(4 * SPAN, 1 / 25).slow
    assert watched.run(2 * SPAN, 1 / 400).slow


def test_one_that_is_fast_again_is_not_slow_any_more_and_still_named_at_the_end() -> None:
    watched = Watched()
    watched.run(2 * SPAN, 2.0)
    watched.run(2 * SPAN, 0.1)
    server_rate = watched.run(2 * SPAN, 2.0)
    assert not server_rate.slow
    assert 0.5 * SPAN < server_rate.slow_seconds < 3 * SPAN
    assert server_rate.trouble().startswith("slow for ")


def test_one_that_has_nothing_to_do_is_not_slow() -> None:
    watched = Watched()
    watched.run(2 * SPAN, 2.0)
    assert not watched.run(5 * SPAN, 0.0, in_flight=0).slow
    assert watched.run(SPAN, 2.0).trouble() == ""


def test_one_that_has_just_got_work_again_is_not_slow() -> None:
    watched = Watched()
    watched.run(2 * SPAN, 2.0)
    watched.run(2 * SPAN, 0.0, in_flight=0)
    assert not watched.run(2, 0.0).slow


def test_the_rate_shown_is_that_of_the_last_half_minute() -> None:
    watched = Watched()
    watched.run(SPAN, 2.0)
    assert watched.run(LATELY + 1, 0.5).rate == pytest.approx(0.5, abs=0.05)


def test_idle_time_does_not_make_a_rate_smaller() -> None:
    watched = Watched()
    watched.run(SPAN, 2.0)
    watched.run(SPAN / 2, 0.0, in_flight=0)
    assert watched.run(SPAN / 4, 2.0).rate == pytest.approx(2.0, rel=0.1)


def test_one_that_has_never_answered_is_slow_and_named_as_such() -> None:
    watched = Watched()
    assert not watched.run(SPAN / 2, 0.0).slow
    server_rate = watched.run(2 * SPAN, 0.0)
    assert server_rate.slow
    assert server_rate.trouble() == "never answered"


def test_a_few_images_are_no_rate_to_compare_with() -> None:
    watched = Watched()
    watched.run(12, 0.31)
    assert not watched.run(2 * SPAN, 0.05).slow


def test_a_connection_that_ended_counts_each_time_it_did() -> None:
    watched = Watched()
    watched.run(5, 2.0)
    watched.run(5, 0.0, in_flight=0, state=Availability.LOST)
    assert watched.server_rate.trouble() == "lost once"
    watched.run(5, 2.0)
    assert watched.server_rate.trouble() == "lost once and reconnected"
    watched.run(5, 0.0, in_flight=0, state=Availability.LOST)
    watched.run(5, 0.0, in_flight=0, state=Availability.RESTING)
    assert watched.server_rate.trouble() == "lost 2 times and reconnected; failed repeatedly"


def test_what_is_kept_of_a_server_does_not_grow() -> None:
    server_rate = Watched().run(100 * SPAN, 2.0)
    assert len(server_rate._samples) <= 2 * SPAN + 3


def test_who_becomes_slow_is_told_once() -> None:
    rates = Rates()
    told = 0
    for second in range(int(6 * SPAN)):
        done = 2 * second if second < 3 * SPAN else int(6 * SPAN)
        told += len(rates.observe(float(second), [dataclasses.replace(STATUS, done=done)]))
    assert told == 1


def test_no_server_is_blamed_for_the_time_in_which_nobody_looked() -> None:
    rates, now, done = Rates(), 0.0, 0
    for stretch in range(2):
        for _ in range(int(2 * SPAN)):
            now += 1.0
            done += 2
            assert not rates.observe(now, [dataclasses.replace(STATUS, done=done)]), stretch
        now += 7200.0  # Ctrl-Z, and two hours later
    (server_rate,) = rates
    assert server_rate.trouble() == ""
    assert server_rate.steady == pytest.approx(2.0, rel=0.1)


@pytest.mark.parametrize(
    ("deviation", "done", "named"), [(0.02, 5, False), (0.03, 5, True), (0.03, 0, False)]
)
def test_a_server_whose_encodings_deviate_is_named_if_it_answered_anything(
    deviation: float, done: int, named: bool
) -> None:
    server_rate = ServerRate()
    server_rate.observe(1000.0, dataclasses.replace(STATUS, done=done, deviation=deviation))
    expected = "its encodings deviate from those of other devices, by 0.03 for the reference face"
    assert server_rate.trouble() == (expected if named else "")
