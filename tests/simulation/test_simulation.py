"""Thousands of runs in virtual time, over the scheduler that real ones use: nothing lost, nothing twice, nobody idle."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyraface.client.scheduling.instructions import Reason
from pyraface.client.scheduling.scheduler import MOST_CRASHES, MOST_SILENCES
from tests.simulation import world as simulation
from tests.simulation.world import Event, Fault, Scenario

IMAGES = 40


@st.composite
def scenarios(draw: st.DrawFn) -> Scenario:
    """Few servers and few images, and whatever may happen to them; at the end somebody is there."""
    servers = draw(st.integers(1, 8))
    images = draw(st.integers(1, IMAGES))
    number = st.integers(0, servers - 1)
    event = st.builds(
        Event, st.floats(0.0, 60.0), number, st.sampled_from(list(Fault)), st.floats(0.1, 300.0)
    )
    some_images = st.frozensets(st.integers(0, images - 1), max_size=5)
    return Scenario(
        speeds=tuple(draw(st.lists(st.floats(0.1, 10.0), min_size=servers, max_size=servers))),
        images=images,
        credits=draw(st.integers(1, 6)),
        events=tuple(draw(st.lists(event, max_size=12))),
        joins=draw(st.dictionaries(number, st.floats(0.0, 60.0), max_size=servers)),
        stragglers=draw(st.sampled_from([0.0, 0.1])),
        failing=draw(some_images),
        poison=draw(some_images),
        broken=draw(st.frozensets(number, max_size=1)) if servers > 2 else frozenset(),
        seed=draw(st.integers(0, 1000)),
    )


@settings(max_examples=1000)
@given(scenarios())
def test_whatever_happens_no_image_is_lost_or_done_twice_or_failed_without_a_reason(
    scenario: Scenario,
) -> None:
    report = simulation.run(scenario)  # which asserts that each has ended, once
    assert report.done + report.failed.total() == scenario.images
    for image, reason in report.reasons.items():
        happened = report.held.get(image, {})
        if reason == Reason.LOST.value:
            crashes, silences = happened.get("crashed", 0), happened.get("silent", 0)
            assert crashes >= MOST_CRASHES or silences >= MOST_SILENCES, happened
        elif reason == Reason.REFUSED.value:
            assert image in scenario.failing or scenario.broken
        else:
            assert reason == "no server"
    for image in (scenario.failing | scenario.poison) - report.reasons.keys():
        pytest.fail(f"image {image} cannot have been done")


@settings(max_examples=200)
@given(scenarios())
def test_the_same_seed_is_the_same_run(scenario: Scenario) -> None:
    first, second = simulation.run(scenario), simulation.run(scenario)
    first.python = second.python = 0.0
    assert first == second


def test_eight_servers_over_a_twentyfold_range_are_hardly_ever_idle() -> None:
    report = simulation.run(simulation.scenarios()["roomful"])
    assert report.efficiency >= 0.97, report
    assert report.done == 10_000


def test_a_thousand_servers_one_of_which_crashes_every_minute_are_hardly_ever_idle() -> None:
    whole = simulation.scenarios()["million"]
    assert whole.images == 1_000_000
    # a tenth of the images for a tenth of the servers: the whole takes half a minute, and is run by hand
    report = simulation.run(simulation.thousandfold(100, 100_000))
    assert report.efficiency >= 0.90, report
    assert report.done == 100_000


def test_a_straggler_at_the_end_does_not_hold_up_the_whole() -> None:
    scenario = Scenario((1.0,) * 4, 100, noise=0.0, spread=0.0, stragglers=0.0)
    calm = simulation.run(scenario).seconds
    hung = Event(calm - 1.5, 0, Fault.HANG, 500.0)
    trouble = simulation.run(Scenario((1.0,) * 4, 100, noise=0.0, spread=0.0, stragglers=0.0, events=(hung,)))
    assert trouble.done == 100
    assert trouble.seconds < calm + 6.0


def test_servers_that_join_late_are_used_to_the_full() -> None:
    report = simulation.run(simulation.scenarios()["latecomers"])
    assert report.efficiency >= 0.97, report
