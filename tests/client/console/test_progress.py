"""What is shown while it runs: on a real terminal (a pty) with real daemons, and as plain lines elsewhere."""

from __future__ import annotations

import asyncio
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

from pyraface.client.console import progress
from pyraface.client.console.progress import Progress
from pyraface.client.pool.status import Availability, ServerStatus
from pyraface.core.errors import ErrorCode
from pyraface.core.results import Result
from tests.stub_daemon import stub_daemon
from tests.support import ROOT, environment, parameters_xml, run

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@pytest.fixture(scope="module")
def album(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small images, and one that is none, with a name that would say something to a terminal."""
    folder = tmp_path_factory.mktemp("album")
    for number in range(60):
        Image.new("RGB", (16, 16), (number, 0, 0)).save(folder / f"{number:03}.png")
    (folder / "z:smile:[red]\x1b[2J.png").write_text("no image")
    return folder


def on_a_terminal(
    *arguments: object,
    columns: int,
    watch: Callable[[str], None] = lambda _: None,
    to_terminal: bool = False,
) -> str:
    """Runs pyraface with its errors on a terminal; `watch` is told what that got so far. Returns all of it."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "pyraface.client", *map(str, arguments)],
        cwd=ROOT,
        env=environment(TERM="xterm-256color", COLUMNS=str(columns), LINES="24"),
        stdout=theirs if to_terminal else subprocess.DEVNULL,
        stderr=theirs,
    )
    os.close(theirs)
    shown = b""
    try:
        while data := os.read(ours, 4096):
            shown += data
            watch(shown.decode(errors="replace"))
    except OSError:
        pass  # how Linux says that the other side of a terminal is closed
    finally:
        os.close(ours)
        process.kill()
        process.wait()
    return shown.decode()


def test_a_terminal_shows_a_line_a_server_and_the_summary_names_the_one_that_was_lost(
    tmp_path: Path, album: Path
) -> None:
    file = tmp_path / "client.xml"
    file.write_text(parameters_xml())
    with (
        stub_daemon(tmp_path, seconds=0.1, name="attic") as one,
        stub_daemon(tmp_path, seconds=0.1, name="cellar[red]") as two,
    ):

        def kill_one_of_them(text: str) -> None:
            if re.search(r"attic \S+ +no device +\d+\.\d\d +\d +[1-9]", text) and two.process.poll() is None:
                two.process.kill()

        places = f"127.0.0.1:{one.port},127.0.0.1:{two.port}"
        shown = on_a_terminal(
            "--parameters", file, "--servers", places, album, columns=100, watch=kill_one_of_them
        )
    text = ESCAPES.sub("", shown)
    assert re.search(r"server +device +images/s +in flight +done +state", text)
    assert re.search(rf"attic \(127\.0\.0\.1:{one.port}\) +no device +\d+\.\d\d +[1-4] +\d+ +working", text)
    assert re.search(rf"cellar\[red\] \(127\.0\.0\.1:{two.port}\) +no device +\d+ +lost", text)
    assert re.search(r"\d+ of 61 images, \d+\.\d\d images/s, 0 faces(, 1 failed)?, \d+ s left", text)
    assert "━" in text
    *_, failed, trouble, summary = text.splitlines()[-6:]
    assert trouble == f"server cellar[red] (127.0.0.1:{two.port}): lost once"
    assert summary.startswith("61 images, 0 faces, 1 failed, in ")
    assert "z:smile:[red]\\x1b[2J.png: not-an-image: " in text
    assert "\x1b[2J" not in shown, "a file name cleared the screen"
    del failed


@pytest.mark.parametrize("columns", [30, 200])
def test_no_line_of_the_display_is_wider_than_the_terminal(tmp_path: Path, album: Path, columns: int) -> None:
    file = tmp_path / "client.xml"
    file.write_text(parameters_xml())
    with stub_daemon(tmp_path, seconds=0.02, name="a" * 60) as one:
        shown = on_a_terminal(
            "--parameters", file, "--servers", f"127.0.0.1:{one.port}", album, columns=columns
        )
    lines = [line.strip("\r") for line in ESCAPES.sub("", shown).split("\n")]
    servers = [line for line in lines if line.startswith("aaaa")]
    assert servers
    assert all(len(line) <= columns for line in servers)
    assert all("working" in line or "idle" in line for line in servers)
    assert all(("no device" in line) == (columns == 200) for line in servers)


@pytest.mark.parametrize(("arguments", "says"), [(["--quiet"], False), ([], True)])
def test_quiet_shows_nothing_and_results_on_the_terminal_are_not_torn_apart(
    tmp_path: Path, album: Path, arguments: list[str], says: bool
) -> None:
    file = tmp_path / "client.xml"
    file.write_text(parameters_xml())
    with stub_daemon(tmp_path, seconds=0.02) as one:
        place = f"127.0.0.1:{one.port}"
        shown = on_a_terminal(
            *arguments, "--parameters", file, "--servers", place, album, columns=80, to_terminal=True
        )
    assert "\x1b" not in shown
    lines = shown.splitlines()
    results = [line for line in lines if line.startswith('{"path":') and line.endswith("}")]
    assert len(results) == 61
    assert (len(lines) > len(results)) == says
    assert ("61 images, 0 faces, 1 failed" in shown) == says


def status(done: int, *, state: Availability = Availability.CONNECTED) -> ServerStatus:
    return ServerStatus("attic (1.2.3.4:5000)", "1.2.3.4:5000", "onnx", "cpu", state, 4, 4, done, 1.0)


def test_where_there_is_no_terminal_lines_come_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "PLAIN_INTERVAL", 0.2)
    monkeypatch.setattr(progress, "TICK", 0.02)

    async def talk() -> None:
        with Progress() as progress:
            async with progress.following(lambda: [status(progress.images)]):
                progress.add(Result("a.jpg"))
                await asyncio.sleep(0.5)
                progress.expect(3)
                progress.add(Result("b.jpg", error=(ErrorCode.UNREADABLE, "gone")))
                await asyncio.sleep(0.5)

    run(talk())
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "1 image, 1.00 images/s, 0 faces"
    assert "b.jpg: unreadable: gone" in said
    assert re.fullmatch(r"2 of 3 images, [12]\.\d\d images/s, 0 faces, 1 failed, [01] s left", said[-1])
    assert 3 <= len(said) <= 7


def test_a_server_that_becomes_slow_is_named_at_once_and_in_the_summary(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = 1000.0
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: clock))
    monkeypatch.setattr(progress, "TICK", 0.0)
    done = 0

    async def talk() -> None:
        nonlocal clock, done
        with Progress() as progress:
            async with progress.following(lambda: [status(done)]):
                for second in range(400):
                    clock += 1
                    done += 3 if second < 200 else 0
                    for _ in range(5):
                        await asyncio.sleep(0)
            assert progress.troubles()[0].startswith("server attic (1.2.3.4:5000): slow for ")

    run(talk())
    said = capsys.readouterr().err.splitlines()
    (slow,) = [line for line in said if "is slow" in line]
    assert re.fullmatch(
        r"server attic \(1\.2\.3\.4:5000\) is slow: 0\.\d\d images/s, 3\.\d\d at its best", slow
    )
