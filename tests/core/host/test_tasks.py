"""Tasks end when they are told to, even where asyncio loses the first word."""

from __future__ import annotations

import asyncio

import pytest

from pyraface.core.host import tasks
from tests.support import run


def test_nothing_to_end_is_fine() -> None:
    run(tasks.end([]))


def test_tasks_that_failed_or_are_done_are_fine() -> None:
    async def talk() -> None:
        async def fail() -> None:
            raise ValueError

        failed = asyncio.create_task(fail())
        done = asyncio.create_task(asyncio.sleep(0))
        await asyncio.wait({failed, done})
        await tasks.end([failed, done])
        assert isinstance(failed.exception(), ValueError)

    run(talk())


def test_a_task_that_misses_its_cancellation_is_told_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "AGAIN", 0.1)

    async def talk() -> None:
        missed = 0

        async def deaf() -> None:
            nonlocal missed
            while True:
                try:
                    await asyncio.sleep(60)
                except asyncio.CancelledError:
                    missed += 1
                    if missed == 3:
                        raise

        task = asyncio.create_task(deaf())
        await asyncio.sleep(0)
        await tasks.end([task])
        assert task.cancelled()
        assert missed == 3

    run(talk(), timeout=10)


@pytest.mark.parametrize("times", [0, 1, 3])
def test_what_must_be_finished_is_however_often_it_is_cancelled(times: int) -> None:
    async def talk() -> None:
        finished = False

        async def tidy_up() -> None:
            nonlocal finished
            await asyncio.sleep(0.05)
            finished = True

        task = asyncio.create_task(tasks.finish(tidy_up()))
        for _ in range(times):
            await asyncio.sleep(0.005)
            task.cancel()
        await asyncio.wait({task})
        assert finished
        assert task.cancelled() == (times > 0)

    run(talk())


def test_an_exception_while_tidying_up_is_raised() -> None:
    async def fails() -> None:
        raise OSError("no")

    with pytest.raises(OSError, match="no"):
        run(tasks.finish(fails()))
