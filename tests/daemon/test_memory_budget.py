"""Budget: the accounts of bytes, and the deadline of a frame."""

from __future__ import annotations

import asyncio
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyraface.core.errors import ErrorCode, LimitError
from pyraface.core.host.running_clock import RunningClock
from pyraface.daemon.memory_budget import SMALL_FRAME, Budget, FrameDeadline, Share
from tests.support import run


def test_each_connection_has_its_part_whatever_the_others_hold() -> None:
    budget = Budget(400, connections=1)
    assert (budget.part, budget.to_lend) == (100, 300)
    budget = Budget(1200, connections=3)  # a part is 100, and 900 are lent
    budget.lent = 800  # to others
    greedy, other, third = (Share(budget, 1000) for _ in range(3))
    assert greedy.take(200)
    assert not other.take(101)
    assert other.take(60)
    assert other.take(40)
    assert not other.take(1)
    assert third.take(100)
    assert not third.take(1)
    greedy.free(200)
    assert third.take(50)
    assert not other.take(51)
    assert other.take(50)


def test_a_connection_holds_no_more_than_its_own_limit_but_for_one_frame_alone() -> None:
    share = Share(Budget(1000, connections=1), 100)
    assert share.take(60)
    assert not share.take(41)
    assert share.take(40)
    share.free(60)
    share.free(40)
    assert share.take(300)
    assert not share.take(1)


def test_the_sum_is_never_exceeded_not_even_by_a_single_frame() -> None:
    budget = Budget(40_000, connections=1)
    assert (budget.part, budget.largest) == (10_000, 40_000)
    share = Share(budget, 100_000)
    assert not share.take(40_001)
    assert share.take(40_000)
    assert budget.lent == budget.to_lend
    assert Budget(1024, connections=1).largest == SMALL_FRAME, "small frames are not counted"


def test_small_frames_do_not_keep_a_large_one_waiting_for_ever() -> None:
    """What borrows later waits behind it; what has room in its own part does not, nor behind a connection that is full."""

    async def talk() -> None:
        budget = Budget(1600, connections=4)  # a part is 100, and 1200 are lent
        clock = RunningClock()
        holder, large, small = (Share(budget, 10_000) for _ in range(3))
        assert holder.take(200)
        waiting = asyncio.create_task(large.claim(1300, 30, clock))
        await asyncio.sleep(0)
        assert not small.take(101), "it is behind the large one"
        assert small.take(100)
        holder.free(200)
        assert await waiting
        assert not holder.take(101)
        large.free(1300)
        assert small.take(1)
        full = Share(budget, 50)
        assert full.take(50)
        stays = asyncio.create_task(full.claim(150, 30, clock))
        await asyncio.sleep(0)
        assert holder.take(200), "the one ahead waits for its own answers"
        stays.cancel()

    run(talk())


def test_claims_behind_one_that_is_given_up_are_granted() -> None:
    async def talk() -> None:
        budget = Budget(1600, connections=4)
        clock = RunningClock()
        holder, large, small = (Share(budget, 10_000) for _ in range(3))
        assert holder.take(200)
        given_up = asyncio.create_task(large.claim(1300, 0.1, clock))
        await asyncio.sleep(0)
        behind = asyncio.create_task(small.claim(300, 30, clock))
        assert not await given_up
        assert await behind

    run(talk())


def test_who_waits_gets_what_is_freed_in_the_order_they_came() -> None:
    async def talk() -> None:
        budget = Budget(1200, connections=3)  # a part is 100, and 900 are lent
        budget.lent = 800  # to others
        holder = Share(budget, 1000)
        assert holder.take(200)
        order: list[str] = []

        async def want(name: str, size: int) -> None:
            assert await Share(budget, 1000).claim(size, 30, RunningClock())
            order.append(name)

        tasks = [
            asyncio.create_task(want(name, size)) for name, size in [("a", 160), ("b", 160), ("small", 10)]
        ]
        await asyncio.sleep(0.05)
        assert order == ["small"]
        holder.free(200)
        await asyncio.sleep(0.05)
        assert order == ["small", "a"]
        assert len(budget.waiting) == 1
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert not budget.waiting
        assert budget.lent == 860

    run(talk())


def test_a_claim_is_given_up_after_its_time() -> None:
    async def talk() -> None:
        share = Share(Budget(100, connections=1), 100)
        assert share.take(100)
        began = time.monotonic()
        assert not await share.claim(10, 0.1, RunningClock())
        assert time.monotonic() - began >= 0.09
        assert share.held == 100
        share.free(100)  # no claim is left
        assert share.held == 0

    run(talk())


def test_a_claim_that_is_granted_to_a_task_that_ends_is_freed() -> None:
    async def talk() -> None:
        share = Share(Budget(100, connections=1), 100)
        share.take(100)
        waiting = asyncio.create_task(share.claim(40, 30, RunningClock()))
        await asyncio.sleep(0)
        share.free(100)  # grants it
        assert share.held == 40
        waiting.cancel()  # before it runs again
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert share.held == 0

    run(talk())


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 82), st.booleans()), max_size=60),
    st.integers(1, 100),
)
def test_whatever_comes_and_goes_the_books_are_right_and_nobody_waits_for_ever(
    steps: list[tuple[int, int, bool]], own: int
) -> None:
    async def talk() -> None:
        budget = Budget(100, connections=4)  # a part is 6, and 76 are lent
        shares = [Share(budget, own) for _ in range(4)]
        held: list[tuple[Share, int]] = []
        waiting: dict[asyncio.Task[bool], tuple[Share, int]] = {}
        clock = RunningClock()

        async def settle() -> None:
            for _ in range(3):
                await asyncio.sleep(0)
            for task in [task for task in waiting if task.done()]:
                held.append(waiting.pop(task))
                assert task.result()

        for number, size, gives in steps:
            if gives and held:
                share, amount = held.pop(0)
                share.free(amount)
            elif not any(share is shares[number] for share, _ in waiting.values()):
                waiting[asyncio.create_task(shares[number].claim(size, 60, clock))] = (shares[number], size)
            await settle()
            for share in shares:
                mine = [amount for owner, amount in held if owner is share]
                assert share.held == sum(mine)
                assert share.held <= own or len(mine) == 1
            borrowed = [share.borrowed for share in shares]
            assert budget.lent == sum(borrowed)
            assert budget.lent <= 76
            assert sum(share.held for share in shares) <= 100
        while held:
            share, amount = held.pop(0)
            share.free(amount)
            await settle()
        assert not waiting
        assert budget.lent == 0

    run(talk())


def deadline(*, seconds: float = 60, rate: int = 16384) -> FrameDeadline:
    return FrameDeadline(seconds, window=10, min_bytes_per_second=rate)


def test_a_frame_that_takes_too_long_is_told_so_however_fast_it_comes() -> None:
    watch = deadline()
    for _ in range(59):
        watch.waited(1, 10_000_000)
    with pytest.raises(LimitError, match="frame_timeout") as error:
        watch.waited(1, 10_000_000)
    assert error.value.code is ErrorCode.FRAME_TIMED_OUT


def test_a_frame_that_comes_too_slowly_is_told_so_at_the_end_of_a_window() -> None:
    watch = deadline(rate=100)
    for _ in range(9):
        watch.waited(1, 1)
    watch.waited(1, 991)  # a burst makes up for it
    assert watch.left == 10
    watch.waited(9, 999)
    assert watch.left == 1
    with pytest.raises(LimitError, match="min_bytes_per_second") as error:
        watch.waited(1, 0)
    assert error.value.code is ErrorCode.SLOW_SENDER


def test_no_least_pace_is_no_limit() -> None:
    watch = deadline(rate=0)
    for _ in range(5):
        watch.waited(10, 0)
