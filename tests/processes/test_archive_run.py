"""Resuming: the command, interrupted and killed at any moment, with a real daemon; in the end each image has its line."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pty
import random
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from pyraface.core.protocol.messages import Inquire, Status
from tests.stub_daemon import stub_daemon
from tests.support import ROOT, Peer, daemon, environment, pyraface, run, wait_for_lines


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "pyraface.client", *map(str, arguments)]


def start(*arguments: str | Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(*arguments), cwd=ROOT, env=environment(), stderr=subprocess.PIPE, text=True
    )


def lines_of(output: Path) -> dict[str, dict[str, object]]:
    """Each image's line without what differs from run to run."""
    lines = [json.loads(line) for line in output.read_text().splitlines()]
    by_path = {Path(line["path"]).name: line for line in lines}
    assert len(by_path) == len(lines), "an image stands twice in the output"
    return {
        name: {key: value for key, value in line.items() if key not in ("seconds", "server")}
        for name, line in by_path.items()
    }


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """60 small images, all different, one of them no image."""
    folder = tmp_path / "album"
    for number in range(60):
        path = folder / f"{number % 3}" / f"{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 10), (number, 0, 0)).save(path)
    (folder / "0" / "00.png").write_text("no image")
    return folder


@pytest.mark.parametrize("seed", range(2))
def test_a_client_that_is_killed_again_and_again_ends_like_one_that_was_not(
    tmp_path: Path, album: Path, seed: int
) -> None:
    chance = random.Random(seed)
    output, undisturbed = tmp_path / "faces.jsonl", tmp_path / "undisturbed.jsonl"
    with stub_daemon(tmp_path, seconds=0.03) as server:
        arguments = ("--servers", f"127.0.0.1:{server.port}", album, "--output")
        assert pyraface(*arguments, undisturbed).returncode == 1
        kills = 0
        for _ in range(5):
            process = start(*arguments, output)
            before = output.read_bytes().count(b"\n") if output.exists() else 0
            if chance.random() < 0.8:
                wait_for_lines(process, output, min(before + chance.randrange(1, 15), 59))
            time.sleep(chance.random() * 0.1)
            process.kill()
            kills += process.wait() == -signal.SIGKILL
            process.communicate()
            if output.exists():  # a disk that writes in blocks of its own
                whole = output.read_bytes()
                output.write_bytes(whole[: len(whole) - chance.choice([0, 0, 1, 30])])
        assert kills >= 2
        last = pyraface(*arguments, output)
    assert last.returncode == 1, last.stderr
    assert f"resuming {output}: " in last.stderr
    assert "already recorded" in last.stderr
    assert lines_of(output) == lines_of(undisturbed)
    assert len(lines_of(output)) == 60


def test_faces_of_a_killed_run_are_those_of_one_that_was_not(tmp_path: Path, astronaut_jpeg: bytes) -> None:
    folder = tmp_path / "photographs"
    folder.mkdir()
    for number in range(16):  # what stands after the end of a JPEG is of no account
        (folder / f"{number:02}.jpg").write_bytes(astronaut_jpeg + bytes([number]))
    output, undisturbed = tmp_path / "faces.jsonl", tmp_path / "undisturbed.jsonl"
    with daemon(tmp_path) as server:
        arguments = ("--servers", f"127.0.0.1:{server.port}", folder, "--output")
        process = start(*arguments, output)
        wait_for_lines(process, output, 4)
        process.kill()
        process.communicate()
        (folder / "00.jpg").rename(folder / "renamed.jpg")
        assert pyraface(*arguments, output).returncode == 0
        assert pyraface(*arguments, undisturbed).returncode == 0
    assert lines_of(output) == lines_of(undisturbed)
    assert len(lines_of(output)["renamed.jpg"]["faces"]) == 1  # type: ignore[arg-type]


def test_servers_with_other_parameters_do_all_again(tmp_path: Path, album: Path) -> None:
    output = tmp_path / "faces.jsonl"
    with stub_daemon(tmp_path, seconds=0.0) as server:
        assert pyraface("--servers", f"127.0.0.1:{server.port}", album, "--output", output).returncode == 1
    before = lines_of(output)
    with stub_daemon(tmp_path, seconds=0.0, upsample=1) as server:
        done = pyraface("--servers", f"127.0.0.1:{server.port}", album, "--output", output)
        assert "60 images recorded with another search or other parameters: processed again" in done.stderr
        assert "; 60 done again: 60 recorded with another search or other parameters" in done.stderr
        again = pyraface("--servers", f"127.0.0.1:{server.port}", album, "--output", output)
        one = ("--servers", f"127.0.0.1:{server.port}", album / "1" / "01.png", "--output", output)
        closer = pyraface(*one, "--faces-from", "40")
        assert "60 images recorded with another" in closer.stderr
        assert "1 already recorded" in pyraface(*one, "--faces-from", "40").stderr
    assert "60 already recorded; 1 of these failed" in again.stderr
    assert again.returncode == 1
    after = lines_of(output)
    assert after.keys() == before.keys()
    assert {line["fingerprint"] for line in before.values()}.isdisjoint(
        line["fingerprint"] for line in after.values()
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_takes_what_is_on_its_way_and_says_how_to_resume(
    tmp_path: Path, album: Path, number: signal.Signals
) -> None:
    output = tmp_path / "faces of 2026.jsonl"
    with stub_daemon(tmp_path, seconds=0.3, credits=3) as server:
        words = ("--overwrite", "--servers", f"127.0.0.1:{server.port}", "--output", output, album)
        process = start(*words)
        wait_for_lines(process, output, 4)
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
        assert process.returncode == 130
        assert "Traceback" not in said
        done = output.read_bytes().count(b"\n")
        assert 4 <= done < 30
        assert len(lines_of(output)) == done
        assert f"interrupted: {done} images" in said
        hint = re.search(r"^resume with: (.*)$", said, re.MULTILINE)
        assert hint is not None
        assert shlex.split(hint[1]) == ["pyraface", *map(str, words[1:])]
        on_its_way = re.findall(r"cancel|ended", server.said)
        assert not on_its_way
    with stub_daemon(tmp_path, "--port", str(server.port), seconds=0.0) as server:
        last = pyraface(*shlex.split(hint[1])[1:])
    assert f"{done} already recorded" in last.stderr
    assert len(lines_of(output)) == 60


async def has_images(port: int) -> None:
    """Returns when a server has been given images."""
    peer, _ = await Peer.welcomed(port)
    while True:
        peer.send(Inquire(1))
        status = await peer.next()
        assert isinstance(status, Status)
        if status.working + status.waiting:
            break
        await asyncio.sleep(0.02)
    await peer.close()


def test_a_second_interrupt_ends_it_at_once(tmp_path: Path, album: Path) -> None:
    output = tmp_path / "faces.jsonl"
    with stub_daemon(tmp_path, seconds=0.0) as server:
        worker = server.worker
        worker.suspend()
        try:
            process = start("--servers", f"127.0.0.1:{server.port}", "--output", output, album)
            assert process.stderr is not None
            run(has_images(server.port))
            process.send_signal(signal.SIGINT)
            while "a second interrupt stops" not in (line := process.stderr.readline()):
                assert line, "it ended"
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=20)
        finally:
            worker.resume()
    assert process.returncode == 130
    assert "interrupted: 0 images" in said
    assert "Traceback" not in said


@pytest.mark.skipif(shutil.which("prlimit") is None, reason="no prlimit")
def test_a_full_disk_stops_the_run_and_says_how_to_resume(tmp_path: Path, album: Path) -> None:
    output = tmp_path / "faces.jsonl"
    with stub_daemon(tmp_path, seconds=0.0) as server:
        arguments = ("--servers", f"127.0.0.1:{server.port}", "--output", output, album)
        done = pyraface(*arguments, prefix=("prlimit", "--fsize=6000"))
        assert done.returncode == 2
        assert (
            f"pyraface: {output} cannot be written: File too large; after correcting that, resume"
            in done.stderr
        )
        assert "Traceback" not in done.stderr
        assert 0 < len(lines_of(output)) < 60
        assert pyraface(*arguments).returncode == 1
    assert len(lines_of(output)) == 60


def test_a_file_of_others_and_a_file_in_use_are_refused(tmp_path: Path, album: Path) -> None:
    other = tmp_path / "notes.jsonl"
    other.write_text("not yours")
    refused = pyraface("--servers", "127.0.0.1:1", "--output", other, album)
    assert refused.returncode == 2
    assert "notes.jsonl: line 1 was not written by pyraface" in refused.stderr
    assert other.read_text() == "not yours"
    output = tmp_path / "faces.jsonl"
    with stub_daemon(tmp_path, seconds=0.2) as server:
        process = start("--servers", f"127.0.0.1:{server.port}", "--output", output, album)
        wait_for_lines(process, output, 1)
        second = pyraface("--servers", f"127.0.0.1:{server.port}", "--output", output, album)
        assert second.returncode == 2
        assert "is being written by another run" in second.stderr
        process.kill()
        process.communicate()


def test_retry_failed_does_the_failed_ones_again(tmp_path: Path, album: Path) -> None:
    output = tmp_path / "faces.jsonl"
    with stub_daemon(tmp_path, seconds=0.0) as server:
        arguments = ("--servers", f"127.0.0.1:{server.port}", "--output", output, album)
        pyraface(*arguments)
        again = pyraface(*arguments)
        retried = pyraface(*arguments, "--retry-failed")
    assert "0 images" in again.stderr
    assert "1 failed (--retry-failed retries them)" in again.stderr
    assert "1 image, 0 faces, 1 failed" in retried.stderr
    assert len(lines_of(output)) == 60


def test_an_archive_that_changed_ends_like_one_that_was_done_anew(tmp_path: Path, album: Path) -> None:
    output, anew = tmp_path / "faces.jsonl", tmp_path / "anew.jsonl"
    with stub_daemon(tmp_path, seconds=0.0) as server:
        arguments = ("--servers", f"127.0.0.1:{server.port}", album, "--output")
        pyraface(*arguments, output)
        (album / "0" / "03.png").rename(album / "moved.png")
        (album / "0").rename(album / "zero")
        shutil.copy(album / "1" / "01.png", album / "2" / "copy.png")
        Image.new("RGB", (9, 9)).save(album / "1" / "04.png")
        os.utime(album / "1" / "07.png", (1, 1))
        (album / "1" / "10.png").write_text("no longer an image")
        again = pyraface(*arguments, output)
        pyraface(*arguments, anew)
    assert "2 images, 0 faces, 1 failed" in again.stderr
    assert lines_of(output) == lines_of(anew)
    assert len(lines_of(output)) == 61


def test_images_that_were_moved_are_not_waited_for(tmp_path: Path, album: Path) -> None:
    output = tmp_path / "faces.jsonl"
    with stub_daemon(tmp_path, seconds=0.0) as server:
        pyraface("--servers", f"127.0.0.1:{server.port}", "--output", output, album)
    (album / "1").rename(album / "one")
    Image.new("RGB", (9, 9)).save(album / "new.png")
    with stub_daemon(tmp_path, seconds=2.0) as slow:  # so that the display shows the total
        arguments = ("--servers", f"127.0.0.1:{slow.port}", "--output", output, album)
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            command(*arguments), cwd=ROOT, env=environment(TERM="xterm", COLUMNS="100"), stderr=theirs
        )
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # how Linux says that the other side of a terminal is closed
            while data := os.read(ours, 4096):
                shown += data
        os.close(ours)
        process.wait()
    assert re.search(rb"[01] of 1 image,", shown), shown
    assert b"40 already recorded; 20 recorded under another path; 1 of these failed" in re.sub(
        rb"\s+", b" ", shown
    )


def test_250_small_images_take_less_of_the_client_than_its_start(tmp_path: Path) -> None:
    """About .3 ms each on a quiet machine; on a busy one both take longer."""
    images = 3000
    Image.new("RGB", (8, 8)).save(tmp_path / "one.png")
    image = (tmp_path / "one.png").read_bytes()
    for number in range(images):
        path = tmp_path / "small" / f"{number // 1000}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image + number.to_bytes(4, "big"))  # which no decoder looks at
    with stub_daemon(tmp_path, seconds=0.0, credits=16) as server:
        arguments = ("--quiet", "--servers", f"127.0.0.1:{server.port}", "--output")
        one = seconds_of_cpu(*arguments, tmp_path / "one.jsonl", tmp_path / "one.png")
        all_ = seconds_of_cpu(*arguments, tmp_path / "small.jsonl", tmp_path / "small")
    assert len(lines_of(tmp_path / "small.jsonl")) == images
    assert (all_ - one) / one < images / 250


def seconds_of_cpu(*arguments: str | Path) -> float:
    """What a run took of a processor, whatever else ran."""
    process = subprocess.Popen(command(*arguments), cwd=ROOT, env=environment())
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return usage.ru_utime + usage.ru_stime
