"""Files that another program keeps for itself: real leases, as a Samba server has them, held by another process."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pyraface.client.inputs import file_reader as reader_module
from pyraface.client.inputs.file_reader import File, FileReader
from pyraface.core.errors import ErrorCode, OutputError, UnreadableError
from pyraface.core.host import file_leases, keyfile
from pyraface.core.parameters import load
from pyraface.core.pipeline import Pipeline
from tests.support import ROOT, parameters_xml, run

HOLDER = """
import fcntl, os, signal, sys, time
files = [os.open(path, os.O_RDWR) for path in sys.argv[2:]]
signal.signal(signal.SIGIO, lambda *_: None)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGIO])
for file in files:
    fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
print("leased", flush=True)
signal.sigwait([signal.SIGIO])
print("asked", flush=True)
time.sleep(float(sys.argv[1]))
for file in files:
    fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_UNLCK)
print(time.monotonic(), flush=True)
"""
"""Has a write lease on every file; the first open of one by another process has it give up all, some seconds later."""

FOR_EVER = 3600.0


@contextmanager
def leased(*paths: Path, seconds: float) -> Iterator[subprocess.Popen[str]]:
    """Another process has leases on the files, and gives them up `seconds` after it was asked to."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(seconds), *map(str, paths)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stderr is not None
            if holder.stdout.readline() != "leased\n":
                pytest.skip(f"this file system has no leases: {holder.stderr.read().strip()[-200:]}")
            yield holder
        finally:
            holder.kill()


def wait_until_asked(holder: subprocess.Popen[str]) -> None:
    """Returns when another process has tried to open one of the files."""
    assert holder.stdout is not None
    assert holder.stdout.readline() == "asked\n"


def given_up(holder: subprocess.Popen[str]) -> float:
    """Returns when the holder gave the files up, on the clock of `time.monotonic`."""
    assert holder.stdout is not None
    return float(holder.stdout.readline())


@contextmanager
def reading() -> Iterator[FileReader]:
    files = FileReader(limit=lambda: (1 << 20, "attic"), servers=lambda: 0)
    try:
        yield files
    finally:
        files.close()


@pytest.fixture
def break_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A simulated fs.lease-break-time of 0.3 s, and no margin: the real one is the whole machine's, and is left alone."""
    file = tmp_path / "lease-break-time"
    file.write_text("0.3\n")
    monkeypatch.setattr(file_leases, "BREAK_TIME", file)
    monkeypatch.setattr(file_leases, "MARGIN", 0.0)


def test_a_photograph_with_a_lease_is_read_as_soon_as_it_is_given_up(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(b"photograph")

    async def talk() -> File | None:
        with reading() as files:
            return await files.read(str(path))

    with leased(path, seconds=1) as holder:
        file = run(talk(), timeout=30)
        assert file is not None
        assert file.data == b"photograph"
        wait_until_asked(holder)
        assert time.monotonic() - given_up(holder) < 5


def test_files_with_a_lease_hold_up_no_other_file(tmp_path: Path) -> None:
    kept = [tmp_path / f"kept{number}.jpg" for number in range(2 * reader_module.THREADS)]
    free = [tmp_path / f"free{number}.jpg" for number in range(20)]
    for path in [*kept, *free]:
        path.write_bytes(path.name.encode())

    async def talk() -> None:
        with reading() as files:
            waiting = [asyncio.create_task(files.read(str(path))) for path in kept]
            for path in free:
                file = await files.read(str(path))
                assert file is not None
                assert file.data == path.name.encode()
            assert not any(task.done() for task in waiting), "the holder still has them"
            for task, path in zip(waiting, kept, strict=True):
                file = await task
                assert file is not None
                assert file.data == path.name.encode()

    with leased(*kept, seconds=3):
        run(talk(), timeout=40)


@pytest.mark.usefixtures("break_time")
def test_a_lease_that_is_never_given_up_is_an_error_that_names_the_remedy(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(b"photograph")

    async def talk() -> None:
        with reading() as files:
            await files.read(str(path))

    with leased(path, seconds=FOR_EVER), pytest.raises(UnreadableError) as caught:
        run(talk(), timeout=30)
    assert caught.value.code is ErrorCode.UNREADABLE
    assert str(caught.value) == (
        "cannot be read: another program has a lease on it (a Samba server, for example), and did not give it up within "
        "0.3 s: close the file there"
    )


@pytest.mark.parametrize("ending", ["drain", "close", "cancel"])
def test_the_wait_for_a_lease_ends_with_the_run(tmp_path: Path, ending: str) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(b"photograph")

    async def talk() -> None:
        with reading() as files:
            waiting = asyncio.create_task(files.read(str(path)))
            while not files._kept:
                await asyncio.sleep(0.01)
            end: dict[str, Callable[[], object]] = {
                "drain": files.drain,
                "close": files.close,
                "cancel": waiting.cancel,
            }
            end[ending]()
            with pytest.raises(UnreadableError if ending == "close" else asyncio.CancelledError):
                await waiting

    with leased(path, seconds=FOR_EVER):
        run(talk(), timeout=10)


@pytest.mark.parametrize(
    ("code", "attempts"), [(errno.EBUSY, 3), (errno.ETXTBSY, 3), (errno.ESTALE, 2)], ids=errno.errorcode.get
)
def test_a_passing_error_of_a_network_disk_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, attempts: int
) -> None:
    """The errors are simulated: they take a Windows program at a share, and another machine that replaces a file on NFS."""
    path = tmp_path / "photo.jpg"
    path.write_bytes(b"photograph")
    left = [code] * (attempts - 1)
    at_once = reader_module._at_once

    def fails(name: str, flags: int) -> int:
        if left:
            raise OSError(left.pop(), "simulated")
        return at_once(name, flags)

    monkeypatch.setattr(reader_module, "_at_once", fails)

    async def talk() -> None:
        with reading() as files:
            file = await files.read(str(path))
            assert file is not None
            assert file.data == b"photograph"

    run(talk(), timeout=30)
    assert not left


@pytest.mark.parametrize(
    "code", [errno.EIO, errno.EACCES, errno.EHOSTDOWN, errno.ESTALE], ids=errno.errorcode.get
)
def test_a_lasting_error_is_the_result_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """The errors are simulated: a broken disk, and file servers that refuse or are gone."""
    attempts = 0

    def fails(_: str, __: int) -> int:
        nonlocal attempts
        attempts += 1
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(reader_module, "_at_once", fails)

    async def talk() -> None:
        with reading() as files:
            await files.read(str(tmp_path / "photo.jpg"))

    with pytest.raises(UnreadableError, match=os.strerror(code)):
        run(talk(), timeout=30)
    assert attempts == (2 if code == errno.ESTALE else 1)


@pytest.mark.usefixtures("break_time")
def test_an_output_that_another_program_keeps_is_waited_for_and_then_named(tmp_path: Path) -> None:
    from pyraface.client.outputs.journal import Journal

    path = tmp_path / "results.jsonl"
    path.write_bytes(b"")

    async def opened() -> None:
        with await file_leases.patiently(lambda: Journal(str(path))):
            pass

    with (
        leased(path, seconds=FOR_EVER),
        pytest.raises(OutputError, match=r"results\.jsonl .* close the file there"),
    ):
        run(opened(), timeout=30)
    path.write_bytes(b"")
    with leased(path, seconds=0.1):
        run(opened(), timeout=30)


def test_a_key_file_and_parameters_with_a_lease_are_read_once_it_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    keys = keyfile.load_or_make()
    with leased(Path(keyfile.path()), seconds=0.5):
        assert keyfile.load() == keys
    xml = tmp_path / "parameters.xml"
    xml.write_text(parameters_xml(queue=7))
    with leased(xml, seconds=0.5):
        assert load(xml).daemon.queue == 7


def test_a_pipeline_reads_a_file_with_a_lease(tmp_path: Path, astronaut_jpeg: bytes) -> None:
    xml = tmp_path / "parameters.xml"
    xml.write_text(parameters_xml(search="everywhere"))
    path = tmp_path / "photo.jpg"
    path.write_bytes(astronaut_jpeg)
    pipeline = Pipeline(load(xml))
    with leased(path, seconds=0.5):
        assert len(pipeline.detect(path)) == 1


def pyraface(*words: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "pyraface", *map(str, words)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_run_over_an_archive_with_leases_ends_with_every_image(
    tmp_path: Path, astronaut_jpeg: bytes
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(4):
        # a trailing byte each, so that no two files are the same
        (folder / f"{number}.jpg").write_bytes(astronaut_jpeg + bytes([number]))
    output = tmp_path / "out.jsonl"
    output.write_bytes(b"")
    with leased(folder / "0.jpg", folder / "1.jpg", output, seconds=3):
        process = pyraface("--servers", "local", "--output", output, folder)
        _, notices = process.communicate(timeout=120)
    assert process.returncode == 0, notices
    lines = [json.loads(line) for line in output.read_text().splitlines()]
    assert sorted(Path(line["path"]).name for line in lines) == ["0.jpg", "1.jpg", "2.jpg", "3.jpg"]
    assert all(len(line["faces"]) == 1 for line in lines)


def test_an_interrupted_run_does_not_wait_for_a_lease(tmp_path: Path, astronaut_jpeg: bytes) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(2):
        (folder / f"{number}.jpg").write_bytes(astronaut_jpeg + bytes([number]))
    output = tmp_path / "out.jsonl"
    with leased(folder / "0.jpg", seconds=FOR_EVER) as holder:
        process = pyraface("--servers", "local", "--output", output, folder)
        until(lambda: output.exists() and output.read_text().count("\n") == 1)
        asked = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, notices = process.communicate(timeout=60)
        taken = time.monotonic() - asked
        assert holder.poll() is None
    assert process.returncode == 130, notices
    assert "resume with" in notices
    assert taken < 20, (
        "the kernel takes a lease away after 45 s, and an interrupted run waits 30 s for images in flight"
    )


def test_a_run_whose_output_has_a_lease_can_be_interrupted(tmp_path: Path, astronaut_jpeg: bytes) -> None:
    photo, output = tmp_path / "photo.jpg", tmp_path / "out.jsonl"
    photo.write_bytes(astronaut_jpeg)
    output.write_bytes(b"")
    with leased(output, seconds=FOR_EVER) as holder:
        process = pyraface("--servers", "local", "--output", output, photo)
        wait_until_asked(holder)
        asked = time.monotonic()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
        assert time.monotonic() - asked < 20
    assert process.returncode == 130


def until(condition: Callable[[], bool], *, seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
