"""Client and daemon with notices that are not read: full pipes and stopped terminals."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image

from tests.stub_daemon import SECONDS, stub_daemon
from tests.support import READY, ROOT, Peer, environment, parameters_xml, run

SMALLEST = 4096
"""Bytes that the smallest pipe holds."""


@contextmanager
def unread_pipe() -> Iterator[tuple[int, int]]:
    """A pipe that is soon full: its end for reading, and its end for a process."""
    ours, theirs = os.pipe()
    fcntl.fcntl(theirs, fcntl.F_SETPIPE_SZ, SMALLEST)
    try:
        yield ours, theirs
    finally:
        os.close(ours)
        os.close(theirs)


@contextmanager
def unread_terminal() -> Iterator[tuple[int, int]]:
    """A terminal at which Ctrl-S was pressed."""
    ours, theirs = pty.openpty()
    os.write(ours, b"\x13")
    try:
        yield ours, theirs
    finally:
        os.close(ours)
        os.close(theirs)


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """300 files that are no images: a line of at least 100 bytes about each."""
    folder = tmp_path / ("album" + "-" * 100)
    folder.mkdir()
    for number in range(300):
        (folder / f"{number:03}.jpg").write_text(f"no image {number}")
    return folder


def client(folder: Path, server: int, output: Path, *arguments: str, stderr: int) -> subprocess.Popen[bytes]:
    file = output.with_suffix(".xml")
    file.write_text(parameters_xml())
    places = ["--parameters", str(file), "--servers", f"127.0.0.1:{server}", "--output", str(output)]
    return subprocess.Popen(
        [sys.executable, "-m", "pyraface.client", *places, *arguments, str(folder)],
        cwd=ROOT,
        env=environment(TERM="xterm-256color"),
        stdout=subprocess.DEVNULL,
        stderr=stderr,
    )


@pytest.mark.parametrize("unread", [unread_pipe, unread_terminal])
def test_a_client_whose_words_are_not_read_does_every_image(
    tmp_path: Path, album: Path, unread: object
) -> None:
    output = tmp_path / "faces.jsonl"
    with stub_daemon(tmp_path, seconds=0.0) as server, unread() as (_, theirs):  # type: ignore[operator]
        process = client(album, server.port, output, stderr=theirs)
        try:
            assert process.wait(60) == 1
        finally:
            process.kill()
            process.wait()
    assert len(output.read_text().splitlines()) == 300


def test_a_client_whose_words_are_not_read_ends_when_it_is_told_to(tmp_path: Path, album: Path) -> None:
    output = tmp_path / "faces.jsonl"
    for number in range(300):
        Image.new("RGB", (16, 16), (number % 256, number // 256, 1)).save(album / f"z{number:03}.png")
    with stub_daemon(tmp_path, seconds=0.2) as server, unread_terminal() as (_, theirs):
        process = client(album, server.port, output, stderr=theirs)
        try:
            deadline = time.monotonic() + 60
            while not output.exists() or output.read_text().count("\n") < 310:
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.05)
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 130
        finally:
            process.kill()
            process.wait()


def test_a_daemon_whose_log_is_not_read_serves_every_client_and_stops_when_it_is_told_to(
    tmp_path: Path,
) -> None:
    file = tmp_path / "server.xml"
    file.write_text(parameters_xml())
    places = ["--parameters", str(file), "--host", "127.0.0.1", "--port", "0", "--no-beacon"]
    with unread_pipe() as (ours, theirs):
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.stub_daemon", *places],
            cwd=ROOT,
            env=environment(**{SECONDS: "0.0"}),
            stderr=theirs,
        )
        try:
            log = b""
            while (ready := READY.search(log)) is None:
                log += os.read(ours, SMALLEST)
            port = int(ready[2])

            async def talk() -> None:
                for _ in range(60):
                    peer, _ = await Peer.welcomed(port, client="x" * 128)
                    await peer.close()

            run(talk(), 60)
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
        finally:
            process.kill()
            process.wait()


def test_a_daemon_whose_log_is_not_read_ends_with_its_error() -> None:
    with unread_pipe() as (_, theirs), socket.create_server(("127.0.0.1", 0)) as taken:
        os.write(theirs, b"x" * SMALLEST)
        port = str(taken.getsockname()[1])
        process = subprocess.Popen(
            [sys.executable, "-m", "pyraface.daemon", "--host", "127.0.0.1", "--port", port],
            cwd=ROOT,
            env=environment(),
            stderr=theirs,
        )
        try:
            assert process.wait(20) == 1
        finally:
            process.kill()
            process.wait()
