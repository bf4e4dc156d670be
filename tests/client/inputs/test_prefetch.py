"""Paths found ahead by a thread: all of them, in their order, in little memory."""

from __future__ import annotations

import asyncio
import threading
import time
import tracemalloc
from collections.abc import Iterator

import pytest

from pyraface.client.inputs import prefetch
from pyraface.client.inputs.prefetch import Prefetcher
from tests.support import run


@pytest.mark.parametrize(
    "count", [0, 1, prefetch.PACK - 1, prefetch.PACK, prefetch.PACK + 1, 5 * prefetch.PACK + 7]
)
@pytest.mark.parametrize("slow", [False, True])
def test_every_path_comes_once_and_in_order(count: int, slow: bool) -> None:
    paths = [f"photographs/ü/\udcff{number}.jpg" for number in range(count)]
    totals: list[int] = []

    def walk() -> Iterator[str]:
        for number, path in enumerate(paths):
            if slow and number % 500 == 0:
                time.sleep(0.001)
            yield path

    async def talk() -> list[str]:
        found = []
        async for path in Prefetcher(walk(), ended=totals.append):
            found.append(path)
            if slow and len(found) % 100 == 0:
                await asyncio.sleep(0)
        return found

    assert run(talk()) == paths
    assert totals == [count]


def test_the_first_path_comes_while_the_walk_goes_on() -> None:
    go_on = threading.Event()

    def walk() -> Iterator[str]:
        yield "first"
        assert go_on.wait(60)
        yield "second"

    async def talk() -> list[str]:
        found = []
        async for path in Prefetcher(walk()):
            found.append(path)
            go_on.set()
        return found

    assert run(talk()) == ["first", "second"]


def test_a_million_paths_wait_in_little_memory_and_are_counted() -> None:
    totals: list[int] = []
    counted = asyncio.Event()

    async def talk() -> int:
        def note(total: int) -> None:
            totals.append(total)
            counted.set()

        paths = (f"/archive/2019/summer/IMG_{number:07}.jpg" for number in range(300_000))
        upcoming = Prefetcher(paths, ended=note)
        await counted.wait()
        held = tracemalloc.get_traced_memory()[0]
        assert sum([1 async for _ in upcoming]) == 300_000
        return held

    tracemalloc.start()
    try:
        assert run(talk()) < 300_000 * 12
    finally:
        tracemalloc.stop()
    assert totals == [300_000]


def test_the_walk_waits_when_too_much_waits_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefetch, "MAX_PACKED_BYTES", 10_000)
    walked = 0

    def walk() -> Iterator[str]:
        nonlocal walked
        for walked in range(100_000):
            yield f"{walked}.jpg"

    async def talk() -> int:
        upcoming = Prefetcher(walk())
        before = -1
        while before != walked:
            before = walked
            await asyncio.sleep(0.3)
        assert walked < 20_000
        return sum([1 async for _ in upcoming])

    assert run(talk()) == 100_000


def test_an_error_of_the_walk_is_raised_after_what_it_found() -> None:
    def walk() -> Iterator[str]:
        yield "first"
        raise OSError("the disk is gone")

    async def talk() -> None:
        async for path in Prefetcher(walk()):
            found.append(path)

    found: list[str] = []
    with pytest.raises(OSError, match="the disk is gone"):
        run(talk())
    assert found == ["first"]


def test_a_walk_that_hangs_keeps_nobody() -> None:
    hanging = threading.Event()

    def walk() -> Iterator[str]:
        yield "first"
        hanging.wait(60)
        yield "second"

    async def talk() -> list[str]:
        upcoming = Prefetcher(walk())
        found = []
        async for path in upcoming:
            found.append(path)
            upcoming.stop()
        return found

    assert run(talk(), timeout=20) == ["first"]
    hanging.set()
    for thread in threading.enumerate():
        if thread.name == "walk":
            thread.join(10)
            assert not thread.is_alive()
