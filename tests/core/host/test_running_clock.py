"""The clock that stands still with its process."""

from __future__ import annotations

import asyncio
import time

import pytest

from pyraface.core.host.running_clock import LONGEST_STEP, RunningClock
from tests.support import run

STILL = LONGEST_STEP + 0.5


def stand_still(seconds: float) -> None:
    """The event loop sees no difference between this and a process that is stopped."""
    time.sleep(seconds)


def test_the_clock_goes_while_the_process_runs_and_only_then() -> None:
    async def talk() -> None:
        clock = RunningClock()
        began, real = clock.now(), time.monotonic()
        await asyncio.sleep(0.3)
        assert clock.now() - began == pytest.approx(time.monotonic() - real, abs=0.1)
        stand_still(STILL)
        await asyncio.sleep(0)
        assert clock.now() - began < 1.5
        clock.stop()

    run(talk())


def test_an_event_loop_that_is_busy_is_no_process_that_stands_still() -> None:
    async def talk() -> None:
        clock = RunningClock()
        began = clock.now()
        stand_still(0.5)
        await asyncio.sleep(0.1)
        assert clock.now() - began >= 0.5
        clock.stop()

    run(talk())


def test_a_timer_is_late_by_the_time_in_which_the_process_stood_still() -> None:
    async def talk() -> None:
        clock = RunningClock()
        due, cancelled = asyncio.Event(), asyncio.Event()
        clock.call_later(2, due.set)
        clock.call_later(2, cancelled.set).cancel()
        await asyncio.sleep(0.1)
        stand_still(STILL)
        for _ in range(5):
            await asyncio.sleep(0.01)
        assert not due.is_set()
        await asyncio.wait_for(due.wait(), 3)
        assert not cancelled.is_set()
        clock.stop()

    run(talk())


def test_work_that_ends_while_the_process_stands_still_is_in_time() -> None:
    async def talk() -> None:
        clock = RunningClock()

        async def work() -> str:
            await asyncio.sleep(2.9)
            return "done"

        waiting = asyncio.create_task(clock.wait_for(work(), 2))
        await asyncio.sleep(0.1)
        stand_still(STILL)
        assert await waiting == "done"
        clock.stop()

    run(talk())


def test_work_that_takes_too_long_is_cancelled() -> None:
    async def talk() -> None:
        clock = RunningClock()
        work = asyncio.create_task(asyncio.sleep(60))
        with pytest.raises(asyncio.TimeoutError):
            await clock.wait_for(work, 0.2)
        assert work.cancelled()
        never = asyncio.get_running_loop().create_future()
        await clock.wait([never, never], 0.1)
        assert not never.done()
        clock.stop()

    run(talk())
