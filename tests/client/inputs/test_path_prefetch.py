"""Paths found ahead by a thread: all of them, in their order, in little memory."""

from __future__ import annotations

import asyncio
import threading
import time
import tracemalloc
from collections.abc import Iterator

import pytest

from pyraface.client.inputs import path_prefetch
from pyraface.client.inputs.path_prefetch import PathPrefetcher
from tests.support import run


@pytest.mark.parametrize("count", [0, 1, 2, 5000])
@pytest.mark.parametrize("slow", [False, True])
def test_every_path_comes_once_and_in_order(count: int, slow: bool) -> None:
    paths = [f"photographs/ü/\udcff{number}.jpg" for number in range(count)]
    totals: list[int] = []

    def scan() -> Iterator[str]:
        for number, path in enumerate(paths):
            if slow and number % 500 == 0:
                time.sleep(0.001)
            yield path

    async def talk() -> list[str]:
        found = []
        async for path in PathPrefetcher(scan(), ended=totals.append):
            found.append(path)
            if slow and len(found) % 100 == 0:
                await asyncio.sleep(0)
        return found

    assert run(talk()) == paths
    assert totals == [count]


def test_the_first_path_comes_while_the_scan_goes_on() -> None:
    go_on = threading.Event()

    def scan() -> Iterator[str]:
        yield "first"
        assert go_on.wait(60)
        yield "second"

    async def talk() -> list[str]:
        found = []
        async for path in PathPrefetcher(scan()):
            found.append(path)
            go_on.set()
        return found

    assert run(talk()) == ["first", "second"]


def test_as_many_paths_as_are_found_ahead_take_little_memory_and_are_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(path_prefetch, "MAX_PATHS", 100_000)  # a fifth, and a fifth of the memory
    totals: list[int] = []
    counted = asyncio.Event()
    number = path_prefetch.MAX_PATHS - 1

    async def talk() -> int:
        def note(total: int) -> None:
            totals.append(total)
            counted.set()

        paths = (f"/archive/2019/summer at the sea/IMG_{number:07}.jpg" for number in range(number))
        upcoming = PathPrefetcher(paths, ended=note)
        await counted.wait()
        held = tracemalloc.get_traced_memory()[0]
        assert sum([1 async for _ in upcoming]) == number
        return held

    tracemalloc.start()
    try:
        assert run(talk()) < 16 << 20
    finally:
        tracemalloc.stop()
    assert totals == [number]


def test_the_scan_pauses_when_too_many_paths_wait_and_goes_on_when_half_are_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(path_prefetch, "MAX_PATHS", 1000)
    scanned = 0

    def scan() -> Iterator[str]:
        nonlocal scanned
        for number in range(10_000):
            scanned += 1
            yield f"{number}.jpg"

    async def settled(expected: int) -> None:
        while scanned < expected:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)  # a scan that does not pause ends in this time
        assert scanned == expected

    async def talk() -> list[str]:
        upcoming = aiter(PathPrefetcher(scan()))
        found = []
        await settled(1000)
        for _ in range(499):
            found.append(await anext(upcoming))
        await settled(1000)
        found.append(await anext(upcoming))
        await settled(1500)
        return found + [path async for path in upcoming]

    assert run(talk()) == [f"{number}.jpg" for number in range(10_000)]


def test_nothing_is_yielded_after_stop_however_much_was_found() -> None:
    async def talk() -> list[str]:
        counted = asyncio.Event()
        upcoming = PathPrefetcher((str(number) for number in range(100)), ended=lambda _: counted.set())
        await counted.wait()
        found = []
        async for path in upcoming:
            found.append(path)
            upcoming.stop()
        return found

    assert run(talk()) == ["0"]


def test_an_error_of_the_scan_is_raised_after_what_it_found() -> None:
    def scan() -> Iterator[str]:
        yield "first"
        raise OSError("the disk is gone")

    async def talk() -> None:
        async for path in PathPrefetcher(scan()):
            found.append(path)

    found: list[str] = []
    with pytest.raises(OSError, match="the disk is gone"):
        run(talk())
    assert found == ["first"]


def test_a_scan_that_hangs_keeps_nobody() -> None:
    hanging = threading.Event()

    def scan() -> Iterator[str]:
        yield "first"
        hanging.wait(60)
        yield "second"

    async def talk() -> list[str]:
        upcoming = PathPrefetcher(scan())
        found = []
        async for path in upcoming:
            found.append(path)
            upcoming.stop()
        return found

    assert run(talk(), timeout=20) == ["first"]
    hanging.set()
    for thread in threading.enumerate():
        if thread.name == "scan":
            thread.join(10)
            assert not thread.is_alive()
