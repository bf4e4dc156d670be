"""What is shown during a run on a real terminal (a pty), with real daemons."""

from __future__ import annotations

import os
import pty
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from tests.stub_daemon import stub_daemon
from tests.support import ROOT, environment, parameters_xml

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
    piped: str = "",
) -> str:
    """Runs pyraface, `piped` into a command, with its errors on a terminal; `watch` is told its text so far. Returns all."""
    ours, theirs = pty.openpty()
    words = [sys.executable, "-m", "pyraface.client", *map(str, arguments)]
    process = subprocess.Popen(
        ["sh", "-c", f"{shlex.join(words)} | {piped}"] if piped else words,
        cwd=ROOT,
        env=environment(TERM="xterm-256color", COLUMNS=str(columns), LINES="24"),
        stdout=theirs if to_terminal or piped else subprocess.DEVNULL,
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


@pytest.mark.parametrize("arguments", [[], ["--output", "/dev/stdout"]])
def test_lines_of_a_program_that_reads_the_results_are_not_torn_apart(
    tmp_path: Path, album: Path, arguments: list[str]
) -> None:
    file = tmp_path / "client.xml"
    file.write_text(parameters_xml())
    with stub_daemon(tmp_path, seconds=0.02) as one:
        words = [*arguments, "--parameters", file, "--servers", f"127.0.0.1:{one.port}", album]
        shown = on_a_terminal(*words, columns=80, piped="cut -c 1-40")
    assert "\x1b" not in shown
    assert sum(line.startswith('{"path":') for line in shown.splitlines()) == 61
    assert "61 images, 0 faces, 1 failed" in shown


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
