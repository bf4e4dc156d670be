"""Files are read whole, once, by several threads, in bounded memory; one that changes meanwhile is noticed."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import threading
import weakref
from pathlib import Path
from typing import Any

import pytest

from pyraface.client.inputs import file_reader as reader_module
from pyraface.client.inputs.file_reader import File, FileReader
from pyraface.core.errors import ErrorCode, UnreadableError
from tests.support import run

MOST = 1 << 20


def reader() -> FileReader:
    return FileReader(limit=lambda: (MOST, "attic"), servers=lambda: 0)


def read_one(path: Path) -> File:
    async def talk() -> File:
        files = reader()
        try:
            file = await files.read(str(path))
            assert file is not None
            return file
        finally:
            files.close()

    return run(talk())


def test_a_file_comes_with_its_bytes_digest_size_and_time(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(b"photograph")
    os.utime(path, ns=(1, 1_234_567_890_123_456_789))
    file = read_one(path)
    assert (file.path, file.data, file.size) == (str(path), b"photograph", 10)
    assert file.modified == 1_234_567_890_123_456_789
    assert file.digest == "sha256:" + hashlib.sha256(b"photograph").hexdigest()


@pytest.mark.parametrize("kind", ["absent", "folder", "pipe", "NUL", "too large"])
def test_what_has_no_bytes_to_send_is_said(tmp_path: Path, kind: str) -> None:
    path = tmp_path / ("a\0b" if kind == "NUL" else "photo.jpg")
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "too large":
        path.write_bytes(bytes(MOST + 1))
    with pytest.raises(UnreadableError) as caught:
        read_one(path)
    assert caught.value.code is (ErrorCode.FRAME_TOO_LARGE if kind == "too large" else ErrorCode.UNREADABLE)


def test_the_limit_is_that_of_the_servers_at_the_time_and_its_error_says_whose(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(bytes(1001))
    limits = iter([(1000, "attic"), (1001, "cellar")])

    async def talk() -> None:
        files = FileReader(limit=lambda: next(limits), servers=lambda: 1)
        with pytest.raises(UnreadableError) as caught:
            await files.read(str(path))
        assert str(caught.value) == (
            "a file of 1001 bytes; attic accepts at most 1000 (its params/daemon/max_frame_bytes)"
        )
        assert await files.read(str(path)) is not None
        files.close()

    run(talk())


def test_no_server_can_have_a_file_read_that_no_message_can_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader_module, "MAX_FILE_BYTES", 1000)
    path = tmp_path / "photo.jpg"
    path.write_bytes(bytes(1001))

    async def talk() -> None:
        files = FileReader(limit=lambda: (1 << 62, "attic"), servers=lambda: 1)
        with pytest.raises(UnreadableError, match="at most 1000") as caught:
            await files.read(str(path))
        assert caught.value.code is ErrorCode.FRAME_TOO_LARGE
        files.close()

    run(talk())


@pytest.mark.parametrize("kind", ["photograph", "folder", "device"])
def test_a_file_is_closed_whatever_it_was(tmp_path: Path, kind: str) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"photograph")
    path = {"photograph": tmp_path / "photo.jpg", "folder": tmp_path, "device": Path("/dev/zero")}[kind]
    before = os.listdir("/proc/self/fd")
    for _ in range(5):
        with contextlib.suppress(UnreadableError):
            read_one(path)
    assert len(os.listdir("/proc/self/fd")) <= len(before)


def change_after_stat(monkeypatch: pytest.MonkeyPatch, change: list[object]) -> None:
    """Has each of `change` done once, between a look at the file and its reading."""
    at_once = os.fstat
    steps = iter(change)

    def fstat(number: int) -> os.stat_result:
        status = at_once(number)
        step = next(steps, None)
        if callable(step):
            step()
        return status

    monkeypatch.setattr(reader_module.os, "fstat", fstat)


def test_a_file_that_changes_while_it_is_read_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(b"old old old")
    for new in (b"new", b"new new new new", b"new new new"):
        change_after_stat(monkeypatch, [lambda new=new: path.write_bytes(new)])
        file = read_one(path)
        assert file.data == new
        assert file.digest == "sha256:" + hashlib.sha256(new).hexdigest()


def test_a_file_that_never_rests_is_said_to_be_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(b"x")

    def grow() -> None:
        with path.open("ab") as file:
            file.write(b"x")

    change_after_stat(monkeypatch, [grow] * 100)
    with pytest.raises(UnreadableError, match="being written to") as caught:
        read_one(path)
    assert caught.value.code is ErrorCode.UNREADABLE


def test_no_more_is_held_than_fits_and_a_large_file_has_its_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader_module, "HELD_BYTES", 1000)
    sizes = [300] * 4 + [5000] + [300] * 35
    for number, size in enumerate(sizes):
        (tmp_path / f"{number}.jpg").write_bytes(bytes(size))

    async def talk() -> list[int]:
        files = reader()
        held: set[File] = set()
        order: list[int] = []
        most = 0

        async def one(number: int) -> None:
            nonlocal most
            file = await files.read(str(tmp_path / f"{number}.jpg"))
            assert file is not None
            held.add(file)
            assert file.size == 5000 or sum(other.size for other in held) <= 1000
            assert file.size != 5000 or len(held) == 1
            most = max(most, len(held))
            order.append(number)
            await asyncio.sleep(0.02 + number % 3 * 0.007)  # never all at the same time
            held.remove(file)
            files.release(file)

        await asyncio.gather(*map(one, range(len(sizes))))
        assert most == 3
        files.close()
        return order

    order = run(talk())
    assert sorted(order) == list(range(len(sizes)))
    assert order.index(4) < 20, "it was overtaken by the others"


def test_more_servers_may_hold_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader_module, "HELD_BYTES", 100)
    monkeypatch.setattr(reader_module, "HELD_BYTES_A_SERVER", 100)
    path = tmp_path / "photo.jpg"
    path.write_bytes(bytes(100))

    async def held_with(servers: int) -> int:
        files = FileReader(limit=lambda: (MOST, "attic"), servers=lambda: servers)
        tasks = [asyncio.create_task(files.read(str(path))) for _ in range(7)]
        await asyncio.sleep(0.3)
        done = sum(task.done() for task in tasks)
        files.close()
        await asyncio.gather(*tasks, return_exceptions=True)
        return done

    assert run(held_with(0)) == 1
    assert run(held_with(3)) == 4


def test_what_is_skipped_or_no_longer_wanted_is_not_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader_module, "HELD_BYTES", 1)
    path = tmp_path / "photo.jpg"
    path.write_bytes(bytes(100))
    entered, go_on = threading.Event(), threading.Event()

    def slow(file: File) -> bool:
        assert threading.current_thread() is not threading.main_thread()
        entered.set()
        assert go_on.wait(60)
        return file.path == "nothing"

    def fails(_: File) -> bool:
        raise OSError("no reason")

    async def talk() -> None:
        files = reader()
        for _ in range(3):
            assert await files.read(str(path), lambda _: True) is None
        with pytest.raises(OSError, match="no reason"):
            await files.read(str(path), fails)
        cancelled = asyncio.create_task(files.read(str(path), slow))
        while not entered.is_set():
            await asyncio.sleep(0.01)
        cancelled.cancel()
        go_on.set()
        file = await files.read(str(path))  # which fits only if nothing else is held
        assert file is not None
        files.close()

    run(talk(), timeout=30)


def test_a_file_that_came_in_the_moment_of_a_cancellation_is_not_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader_module, "HELD_BYTES", 150)
    path = tmp_path / "photo.jpg"
    path.write_bytes(bytes(100))

    async def talk() -> None:
        files = reader()
        there = threading.Event()
        deliver = files._deliver

        def delivered(*arguments: Any) -> None:
            deliver(*arguments)
            cancelled.cancel()  # before whoever waits goes on
            there.set()

        monkeypatch.setattr(files, "_deliver", delivered)
        cancelled = asyncio.create_task(files.read(str(path)))
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        assert there.is_set()
        monkeypatch.setattr(files, "_deliver", deliver)
        assert await files.read(str(path))  # which fits only if nothing else is held
        files.close()

    run(talk(), timeout=30)


def test_whoever_waits_when_it_is_closed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader_module, "HELD_BYTES", 1)
    path = tmp_path / "photo.jpg"
    path.write_bytes(bytes(100))

    async def talk() -> None:
        files = reader()
        assert await files.read(str(path))
        waiting = asyncio.create_task(files.read(str(path)))
        await asyncio.sleep(0.05)
        files.close()
        with pytest.raises(UnreadableError, match="closed"):
            await waiting
        with pytest.raises(UnreadableError, match="closed"):
            await files.read(str(path))

    run(talk(), timeout=30)


def test_a_file_that_nobody_has_any_more_is_not_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(bytes(100))

    async def talk() -> None:
        files = reader()
        for _ in range(2 * reader_module.THREADS):  # each thread has had one
            file = await files.read(str(path))
            assert file is not None
            files.release(file)
            kept = weakref.ref(file)
            del file
            for _ in range(1000):
                if kept() is None:
                    break
                await asyncio.sleep(0.01)
            assert kept() is None
        files.close()

    run(talk())
