"""The clock that stands still with its process."""

from __future__ import annotations

import asyncio

import pytest

from pyraface.core.host.running_clock import LONGEST_STEP, TICK, RunningClock
from tests.leaping_time import LeapingLoop, run

STILL = 130.0
"""Seconds of a pause; longer than every limit here."""


def test_the_clock_goes_while_the_process_runs_and_only_then() -> None:
    async def talk(loop: LeapingLoop) -> None:
        clock = RunningClock()
        began = clock.now()
        await asyncio.sleep(30)
        assert clock.now() - began == pytest.approx(30)
        loop.stand_still(STILL)
        await asyncio.sleep(0)
        assert clock.now() - began == pytest.approx(30, abs=TICK)
        clock.stop()

    run(talk)


def test_an_event_loop_that_is_busy_is_no_process_that_stands_still() -> None:
    async def talk(loop: LeapingLoop) -> None:
        clock = RunningClock()
        began = clock.now()
        loop.stand_still(LONGEST_STEP - TICK)
        await asyncio.sleep(0.1)
        assert clock.now() - began == pytest.approx(LONGEST_STEP - TICK + 0.1)
        clock.stop()

    run(talk)


def test_a_timer_is_late_by_the_time_in_which_the_process_stood_still() -> None:
    async def talk(loop: LeapingLoop) -> None:
        clock = RunningClock()
        due, cancelled = asyncio.Event(), asyncio.Event()
        clock.call_later(2, due.set)
        clock.call_later(2, cancelled.set).cancel()
        await asyncio.sleep(0.1)
        loop.stand_still(STILL)
        for _ in range(5):
            await asyncio.sleep(0.01)
        assert not due.is_set()
        await due.wait()
        assert loop.time() == pytest.approx(STILL + 2, abs=TICK)
        await asyncio.sleep(60)
        assert not cancelled.is_set()
        clock.stop()

    run(talk)


def test_work_that_ends_while_the_process_stands_still_is_in_time() -> None:
    async def talk(loop: LeapingLoop) -> None:
        clock = RunningClock()

        async def work() -> str:
            await asyncio.sleep(STILL + 0.9)
            return "done"

        waiting = asyncio.create_task(clock.wait_for(work(), 2))
        await asyncio.sleep(0.1)
        loop.stand_still(STILL)
        assert await waiting == "done"
        clock.stop()

    run(talk)


def test_work_that_takes_too_long_is_cancelled() -> None:
    async def talk(loop: LeapingLoop) -> None:
        clock = RunningClock()
        work = asyncio.create_task(asyncio.sleep(60))
        with pytest.raises(asyncio.TimeoutError):
            await clock.wait_for(work, 20)
        assert work.cancelled()
        assert loop.time() == pytest.approx(20)
        never = asyncio.get_running_loop().create_future()
        await clock.wait([never, never], 10)
        assert loop.time() == pytest.approx(30)
        assert not never.done()
        clock.stop()

    run(talk)
