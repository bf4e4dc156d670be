"""Daemons that stand still, as in a container that is paused (docker pause) or on a machine that is suspended."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import psutil
import pytest

from pyraface.core.protocol import wire
from pyraface.core.protocol.messages import Detect, Found, Ping, Pong
from tests.stub_daemon import stub_daemon
from tests.support import ROOT, DaemonProcess, Peer, environment, parameters_xml, run, wait_for_lines

FREEZER = Path("/sys/fs/cgroup/freezer")

Paused = Callable[[DaemonProcess], AbstractContextManager[None]]


def family(server: DaemonProcess) -> list[psutil.Process]:
    return [psutil.Process(server.process.pid), server.worker]


@contextmanager
def stopped(server: DaemonProcess) -> Iterator[None]:
    """As a laptop's lid, or Ctrl-Z: each process is stopped."""
    processes = family(server)
    for process in processes:
        process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            process.send_signal(signal.SIGCONT)


@contextmanager
def frozen(server: DaemonProcess) -> Iterator[None]:
    """As `docker pause` does it: by the freezer of control groups."""
    group = FREEZER / f"pyraface-test-{server.process.pid}"
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"no freezer: {error}")
    try:
        for process in family(server):
            (group / "cgroup.procs").write_text(str(process.pid))
        (group / "freezer.state").write_text("FROZEN")
        yield
    finally:
        (group / "freezer.state").write_text("THAWED")
        for process in family(server):
            (FREEZER / "cgroup.procs").write_text(str(process.pid))
        group.rmdir()


@pytest.mark.parametrize("paused", [stopped, frozen])
def test_an_image_does_not_fail_for_the_time_in_which_its_server_stood_still(
    tmp_path: Path, astronaut_jpeg: bytes, paused: Paused
) -> None:
    async def talk(server: DaemonProcess) -> None:
        peer, _ = await Peer.welcomed(server.port)
        peer.send(Detect(1, astronaut_jpeg))
        await asyncio.sleep(1)
        with paused(server):
            await asyncio.sleep(8)
        answer = await peer.next()
        assert isinstance(answer, Found), answer
        await peer.close()

    with stub_daemon(tmp_path, seconds=5, image_timeout=7) as server:
        run(talk(server))
        assert "the worker is replaced" not in server.said


@pytest.mark.parametrize("paused", [stopped, frozen])
def test_a_client_is_not_idle_or_slow_while_its_server_stands_still(
    tmp_path: Path, astronaut_jpeg: bytes, paused: Paused
) -> None:
    async def talk(server: DaemonProcess) -> None:
        quiet, _ = await Peer.welcomed(server.port)
        sending, _ = await Peer.welcomed(server.port)
        frame = wire.encode(Detect(1, astronaut_jpeg))
        sending.writer.write(frame[: len(frame) // 2])
        await asyncio.sleep(0.5)
        with paused(server):
            await asyncio.sleep(5)
        quiet.send(Ping(7))
        assert isinstance(await quiet.next(), Pong)
        sending.writer.write(frame[len(frame) // 2 :])
        assert isinstance(await sending.next(), Found)
        for peer in (quiet, sending):
            await peer.close()

    with stub_daemon(tmp_path, seconds=0, idle_timeout=4, frame_timeout=4, slow_timeout=3) as server:
        run(talk(server))


def test_an_image_that_takes_too_long_still_fails_after_a_pause(
    tmp_path: Path, astronaut_jpeg: bytes
) -> None:
    async def talk(server: DaemonProcess) -> float:
        peer, _ = await Peer.welcomed(server.port)
        peer.send(Detect(1, astronaut_jpeg))
        await asyncio.sleep(0.5)
        with stopped(server):
            await asyncio.sleep(4)
        began = time.monotonic()
        answer = await peer.next()
        assert getattr(answer, "code", None) == "too-slow"
        await peer.close()
        return time.monotonic() - began

    with stub_daemon(tmp_path, seconds=60, image_timeout=2) as server:
        assert 0.3 < run(talk(server)) < 4


def test_a_run_whose_client_and_server_stood_still_together_does_every_image(
    tmp_path: Path, astronaut_jpeg: bytes
) -> None:
    parameters, output, album = tmp_path / "hasty.xml", tmp_path / "faces.jsonl", tmp_path / "album"
    parameters.write_text(parameters_xml(read_timeout=2, image_timeout=3, idle_timeout=3))
    album.mkdir()
    for number in range(40):
        (album / f"{number}.jpg").write_bytes(astronaut_jpeg + bytes([number]))
    places = ["--servers", "local", "--parameters", str(parameters), "--output", str(output)]
    process = subprocess.Popen(
        [sys.executable, "-m", "pyraface.client", *places, str(album)],
        cwd=ROOT,
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_for_lines(process, output)
        client = psutil.Process(process.pid)
        everyone = [client, *client.children(recursive=True)]
        assert len(everyone) == 3
        for one in everyone:
            one.send_signal(signal.SIGSTOP)
        left = 40 - output.read_bytes().count(b"\n")
        time.sleep(7)
        for one in everyone:
            one.send_signal(signal.SIGCONT)
        said = process.communicate(timeout=120)[1]
    finally:
        process.kill()
        process.communicate()
    assert left
    assert (process.returncode, output.read_text().count("\n")) == (0, 40), said
    assert "40 images, 40 faces, 0 failed" in said
