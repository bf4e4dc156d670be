"""Many at once, in either order, within bounds, and nothing left running: with work whose end the test decides."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator

import pytest

from pyraface.client.pool.bounded_map import REORDER, bounded_map
from tests.support import run


class Work:
    """Work on numbers that goes on until the test says that one is done."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.ended: list[int] = []
        self.most_at_once = 0
        self._done: dict[int, asyncio.Event] = {}

    async def __call__(self, number: int) -> int:
        self.begun.append(number)
        self.most_at_once = max(self.most_at_once, len(self.begun) - len(self.ended))
        try:
            await self._event(number).wait()
        finally:
            self.ended.append(number)
        if number < 0:
            raise ValueError(f"no work on {number}")
        return number * 10

    def _event(self, number: int) -> asyncio.Event:
        return self._done.setdefault(number, asyncio.Event())

    def finish(self, *numbers: int) -> None:
        for number in numbers:
            self._event(number).set()


async def settle() -> None:
    """Returns when nothing moves any more by itself."""
    for _ in range(20):
        await asyncio.sleep(0)


async def later(numbers: Iterator[int]) -> AsyncIterator[int]:
    for number in numbers:
        await asyncio.sleep(0)
        yield number


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize(("ordered", "expected"), [(False, [20, 10, 0, 30]), (True, [0, 10, 20, 30])])
def test_results_come_in_the_order_asked_for(asynchronous: bool, ordered: bool, expected: list[int]) -> None:
    async def talk() -> None:
        work = Work()
        numbers = later(iter(range(4))) if asynchronous else range(4)
        results = bounded_map(work, numbers, most=lambda: 3, ordered=ordered, until=asyncio.Event())
        found: list[int] = []

        async def take() -> None:
            async for result in results:
                found.append(result)

        taking = asyncio.create_task(take())
        for number in (2, 1, 0, 3):
            await settle()
            assert number in work.begun
            work.finish(number)
        await taking
        assert found == expected
        assert work.most_at_once == 3

    run(talk())


@pytest.mark.parametrize("ordered", [False, True])
def test_nothing_to_do_is_no_result(ordered: bool) -> None:
    async def talk() -> None:
        assert [
            result
            async for result in bounded_map(
                Work(), [], most=lambda: 3, ordered=ordered, until=asyncio.Event()
            )
        ] == []

    run(talk())


def test_a_slow_first_one_lets_others_go_ahead_only_so_far() -> None:
    """However long it takes and however many follow, what is begun and kept is bounded, and order holds."""

    async def talk() -> None:
        work = Work()
        most = 4
        total = 10 * REORDER
        work.finish(*range(1, total))
        results = bounded_map(work, range(total), most=lambda: most, ordered=True, until=asyncio.Event())
        first = asyncio.ensure_future(anext(results))
        for _ in range(5 * REORDER):
            await asyncio.sleep(0)
        assert len(work.begun) == most + REORDER
        assert not first.done()
        work.finish(0)
        assert await first == 0
        assert [result async for result in results] == [10 * number for number in range(1, total)]
        assert work.most_at_once <= most

    run(talk())


@pytest.mark.parametrize("ordered", [False, True])
def test_whoever_takes_results_slowly_gets_no_more_work_done_than_that(ordered: bool) -> None:
    async def talk() -> None:
        work = Work()
        work.finish(*range(10_000))
        results = bounded_map(work, range(10_000), most=lambda: 4, ordered=ordered, until=asyncio.Event())
        for taken in range(100):
            await anext(results)
            await settle()  # all that has begun is done
            assert len(work.begun) <= taken + 4 + 4 + (REORDER if ordered else 0)
        await results.aclose()

    run(talk())


def test_more_are_begun_when_there_is_room_for_more() -> None:
    async def talk() -> None:
        work = Work()
        most = 2
        results = bounded_map(work, range(20), most=lambda: most, ordered=False, until=asyncio.Event())
        first = asyncio.ensure_future(anext(results))
        await settle()
        assert work.begun == [0, 1]
        most = 5
        work.finish(0)
        await first
        second = asyncio.ensure_future(anext(results))
        await settle()
        assert work.begun == [0, 1, 2, 3, 4, 5]
        work.finish(1)
        await second
        await results.aclose()

    run(talk())


@pytest.mark.parametrize("ordered", [False, True])
def test_no_result_waits_for_an_item_that_takes_its_time(ordered: bool) -> None:
    async def talk() -> None:
        never = asyncio.Event()

        async def numbers() -> AsyncIterator[int]:
            yield 0
            yield 1
            await never.wait()

        work = Work()
        work.finish(0, 1)
        async with contextlib.aclosing(
            bounded_map(work, numbers(), most=lambda: 8, ordered=ordered, until=asyncio.Event())
        ) as results:
            assert await asyncio.wait_for(anext(results), 10) == 0
            assert await asyncio.wait_for(anext(results), 10) == 10

    run(talk())


@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("way", ["closed", "cancelled", "work fails"])
def test_an_end_before_the_end_leaves_nothing_running(ordered: bool, way: str) -> None:
    async def talk() -> None:
        before = asyncio.all_tasks()
        work = Work()

        async def numbers() -> AsyncIterator[int]:
            for number in (0, -1, 2, 3):
                yield number
            await asyncio.sleep(3600)

        results = bounded_map(work, numbers(), most=lambda: 8, ordered=ordered, until=asyncio.Event())
        work.finish(0)
        assert await anext(results) == 0
        taking = asyncio.ensure_future(anext(results))
        await settle()
        assert sorted(work.begun) == [-1, 0, 2, 3]
        if way == "work fails":
            work.finish(-1)
            with pytest.raises(ValueError, match="no work on -1"):
                await taking
        else:
            taking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await taking
            if way == "closed":
                await results.aclose()
        assert sorted(work.ended) == [-1, 0, 2, 3]
        assert asyncio.all_tasks() == before

    run(talk())


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("ordered", [False, True])
def test_an_exception_of_the_items_comes_after_the_results_of_those_before_it(
    ordered: bool, asynchronous: bool
) -> None:
    def numbers() -> Iterator[int]:
        yield from range(3)
        raise OSError("the disk is gone")

    async def talk() -> None:
        work = Work()
        items = later(numbers()) if asynchronous else numbers()
        results = bounded_map(work, items, most=lambda: 8, ordered=ordered, until=asyncio.Event())
        found = []

        async def take() -> None:
            async for result in results:
                found.append(result)

        taking = asyncio.create_task(take())
        await settle()
        work.finish(0, 1, 2)
        with pytest.raises(OSError, match="the disk is gone"):
            await taking
        assert found == [0, 10, 20]

    run(talk())


@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("asynchronous", [False, True])
def test_after_it_is_told_to_stop_no_item_is_taken_and_what_is_begun_still_comes(
    ordered: bool, asynchronous: bool
) -> None:
    async def slowly() -> AsyncIterator[int]:
        yield 0
        yield 1
        await asyncio.sleep(3600)

    async def talk() -> None:
        before = asyncio.all_tasks()
        work = Work()
        until = asyncio.Event()
        items = slowly() if asynchronous else iter(range(1000))
        results = bounded_map(work, items, most=lambda: 2, ordered=ordered, until=until)
        first = asyncio.ensure_future(anext(results))
        await settle()
        assert work.begun == [0, 1]
        until.set()
        await settle()
        work.finish(0, 1)
        assert [await first, *[result async for result in results]] == [0, 10]
        assert work.begun == [0, 1]
        assert asyncio.all_tasks() == before

    run(talk())


@pytest.mark.parametrize("ordered", [False, True])
def test_what_is_skipped_or_cancelled_by_itself_has_no_outcome(ordered: bool) -> None:
    async def work(number: int) -> int | None:
        if number % 3 == 1:
            raise asyncio.CancelledError
        return number if number % 3 else None

    async def talk() -> None:
        results = bounded_map(work, range(9), most=lambda: 2, ordered=ordered, until=asyncio.Event())
        assert [result async for result in results] == [2, 5, 8]

    run(talk())


def test_a_context_is_open_as_long_as_there_may_be_more_items() -> None:
    opened: list[bool] = []
    states: list[tuple[int, bool]] = []

    @contextlib.contextmanager
    def feeding() -> Iterator[None]:
        opened.append(True)
        try:
            yield
        finally:
            opened.pop()

    async def work(number: int) -> int:
        await asyncio.sleep(0.1 if number == 5 else 0.001)
        states.append((number, bool(opened)))
        return number

    async def talk() -> None:
        results = bounded_map(
            work, range(6), most=lambda: 2, ordered=False, until=asyncio.Event(), feeding=feeding
        )
        assert sorted([result async for result in results]) == list(range(6))
        early = bounded_map(
            work, range(6), most=lambda: 2, ordered=False, until=asyncio.Event(), feeding=feeding
        )
        async with contextlib.aclosing(early):
            async for _ in early:
                assert opened
                break
        assert not opened

    run(talk())
    assert states[0] == (0, True)
    assert (5, False) in states[:6]
