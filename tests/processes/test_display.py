"""What is shown during a run on a real terminal (a pty), with real daemons."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import shlex
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from PIL import Image

from tests.stub_daemon import stub_daemon
from tests.support import ROOT, DaemonProcess, environment, parameters_xml

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")

ERASED = "\r\x1b[2K\x1b[C\x1b[J\r"
"""The end of a live area."""

PROGRAM = (sys.executable, "-m", "pyraface.client")

SHELL = ("bash", "--norc", "--noprofile", "--noediting", "-i")

CRASHES = """
import sys
from pyraface.client.client import main
from pyraface.client.outputs.journal import Journal
def write(journal, result):
    raise KeyError("an error that no code expects")
Journal.write = write
sys.exit(main())
"""
"""Simulated: a fault of the program itself."""

LONGEST = 60.0
"""Seconds that any of it may take."""


@pytest.fixture(scope="module")
def album(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small images, and one that is none, with a name that would say something to a terminal."""
    folder = tmp_path_factory.mktemp("album")
    for number in range(60):
        Image.new("RGB", (16, 16), (number, 0, 0)).save(folder / f"{number:03}.png")
    (folder / "z:smile:[red]\x1b[2J.png").write_text("no image")
    return folder


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images for longer than a test takes."""
    folder = tmp_path_factory.mktemp("archive")
    for number in range(3000):
        Image.new("RGB", (2, 2), (number % 256, number // 256, 0)).save(folder / f"{number:04}.png")
    return folder


@pytest.fixture(scope="module")
def attic(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    with stub_daemon(tmp_path_factory.mktemp("daemon"), seconds=0.1, name="attic") as server:
        yield server


@pytest.fixture
def words(tmp_path: Path, attic: DaemonProcess, archive: Path) -> list[object]:
    """The command line of a run that goes on for longer than a test takes."""
    file = tmp_path / "client.xml"
    file.write_text(parameters_xml())
    output = tmp_path / "faces.jsonl"
    return ["--parameters", file, "--servers", f"127.0.0.1:{attic.port}", "--output", output, archive]


class Terminal:
    """A terminal with a run of pyraface, `piped` into a command; its standard error goes there, in the foreground.

    Attributes:
        shown: all that the terminal was told so far.
    """

    def __init__(
        self,
        *arguments: object,
        columns: int = 100,
        to_terminal: bool = False,
        piped: str = "",
        program: tuple[str, ...] = PROGRAM,
        variables: dict[str, str] | None = None,
    ) -> None:
        self.shown = ""
        self._ours, self._theirs = pty.openpty()
        self.resize(columns)
        words = [*program, *map(str, arguments)]
        names = environment(**{"TERM": "xterm-256color", "COLUMNS": "", "LINES": "", **(variables or {})})
        self.process = subprocess.Popen(
            ["sh", "-c", f"{shlex.join(words)} | {piped}"] if piped else words,
            cwd=ROOT,
            env={name: value for name, value in names.items() if value},
            stdin=self._theirs,
            stdout=self._theirs if to_terminal or piped else subprocess.DEVNULL,
            stderr=self._theirs,
            start_new_session=True,
            # its controlling terminal, with the program in the foreground
            preexec_fn=lambda: fcntl.ioctl(2, termios.TIOCSCTTY, 0) and None,
        )
        self.modes = termios.tcgetattr(self._theirs)

    def resize(self, columns: int, lines: int = 24) -> None:
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def type(self, characters: bytes) -> None:
        os.write(self._ours, characters)

    def until(self, condition: Callable[[str], object]) -> None:
        """Reads until the condition holds for `shown`."""
        over = time.monotonic() + LONGEST
        while not condition(self.shown):
            assert time.monotonic() < over, f"it did not come: {self.shown[-2000:]!r}"
            self._read(0.05)

    def to_the_end(self) -> str:
        """Reads until the program has ended; returns `shown`."""
        over = time.monotonic() + LONGEST
        while self.process.poll() is None:
            assert time.monotonic() < over, f"it did not end: {self.shown[-2000:]!r}"
            self._read(0.05)
        self._read(0.0)
        return self.shown

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._ours)
        os.close(self._theirs)

    def unchanged(self) -> bool:
        """Whether the modes of the terminal are those of the beginning, its cursor is seen, and its lines wrap."""
        wraps = re.findall(r"\x1b\[\?7([hl])", self.shown)
        return (
            termios.tcgetattr(self._theirs) == self.modes
            and "\x1b[?25l" not in self.shown
            and (not wraps or wraps[-1] == "h")
        )

    def _read(self, patience: float) -> None:
        while select.select([self._ours], [], [], patience)[0]:
            self.shown += os.read(self._ours, 1 << 16).decode(errors="replace")
            patience = 0.0


def on_a_terminal(
    *arguments: object,
    columns: int,
    watch: Callable[[str], object] = lambda _: True,
    to_terminal: bool = False,
    piped: str = "",
) -> str:
    """Runs pyraface on a terminal; `watch` is told its text so far until it returns true. Returns all."""
    terminal = Terminal(*arguments, columns=columns, to_terminal=to_terminal, piped=piped)
    try:
        terminal.until(watch)
        return terminal.to_the_end().replace("\r\n", "\n")
    finally:
        terminal.close()


@pytest.fixture
def terminals() -> Iterator[Callable[..., Terminal]]:
    """Makes terminals that are closed at the end."""
    made: list[Terminal] = []

    def make(*arguments: object, **settings: object) -> Terminal:
        made.append(Terminal(*arguments, **settings))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for terminal in made:
        terminal.close()


FRAME = re.compile(r"\x1b\[\?7l(.*?)\x1b\[\?7h", re.DOTALL)
"""A drawing of the live area."""


def frames(shown: str) -> list[list[str]]:
    """Returns the lines of each drawing of the live area, without their colours."""
    return [ESCAPES.sub("", frame).splitlines() for frame in FRAME.findall(shown)]


def left(shown: str) -> str:
    """Returns what stays on the terminal: every drawing that was erased is gone, and an echo (^C) in it."""
    return re.sub(rf"({FRAME.pattern}(\^.)?)?{re.escape(ERASED)}", "", shown, flags=re.DOTALL).replace(
        "\r\n", "\n"
    )


def working(shown: str) -> bool:
    """Whether the last drawing has the line of a server that works."""
    drawn = frames(shown)
    return bool(drawn) and any("working" in line for line in drawn[-1])


def test_a_terminal_shows_a_line_a_server_and_the_summary_names_the_one_that_was_lost(
    tmp_path: Path, album: Path
) -> None:
    file = tmp_path / "client.xml"
    file.write_text(parameters_xml())
    with (
        stub_daemon(tmp_path, seconds=0.1, name="attic") as one,
        stub_daemon(tmp_path, seconds=0.1, name="cellar[red]") as two,
    ):

        def kill_one_of_them(text: str) -> bool:
            if re.search(r"attic \S+ +no device +\d+\.\d\d +\d +[1-9]", text):
                two.process.kill()
                return True
            return False

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
    *_, trouble, summary = text.splitlines()
    assert trouble.rpartition("\r")[2] == f"server cellar[red] (127.0.0.1:{two.port}): lost once"
    assert summary.startswith("61 images, 0 faces, 1 failed, in ")
    assert "z:smile:[red]\\x1b[2J.png: not-an-image: " in text
    assert "\x1b[2J" not in shown, "a file name cleared the screen"


@pytest.mark.parametrize("columns", [30, 60, 80, 120, 200])
def test_no_line_of_the_display_is_wider_than_the_terminal(tmp_path: Path, album: Path, columns: int) -> None:
    file = tmp_path / "client.xml"
    file.write_text(parameters_xml())
    with stub_daemon(tmp_path, seconds=0.02, name="a" * 60) as one:
        shown = on_a_terminal(
            "--parameters", file, "--servers", f"127.0.0.1:{one.port}", album, columns=columns
        )
    drawn = [line for frame in frames(shown) for line in frame]
    assert all(len(line) <= columns for line in drawn)
    servers = [line for line in drawn if line.startswith("aaaa")]
    assert servers
    assert all("working" in line or "idle" in line for line in servers)
    assert all(("no device" in line) == (columns >= 80) for line in servers)


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


def test_a_resize_is_followed_whatever_width_was_exported(
    terminals: Callable[..., Terminal], words: list[object]
) -> None:
    terminal = terminals(*words, columns=120, variables={"COLUMNS": "120", "LINES": "24"})
    terminal.until(working)
    assert max(map(len, frames(terminal.shown)[-1])) > 60
    for columns in (60, 110, 70):
        before = len(terminal.shown)
        terminal.resize(columns)
        terminal.until(lambda shown, before=before: len(frames(shown[before:])) >= 2)  # type: ignore[misc]
        drawn = frames(terminal.shown[before:])[-1]
        assert all(len(line) <= columns for line in drawn)
        assert any("no device" in line for line in drawn) == (columns > 60)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_run_that_is_interrupted_leaves_the_terminal_as_it_was(
    terminals: Callable[..., Terminal], words: list[object], number: signal.Signals
) -> None:
    terminal = terminals(*words)
    terminal.until(working)
    terminal.process.send_signal(number)
    lines = left(terminal.to_the_end()).splitlines()
    assert terminal.process.returncode == 130
    assert [line.split(":")[0] for line in lines] == [
        "parameters",
        "server attic (127.0.0.1",
        "stopping",
        "interrupted",
        "resume with",
    ]
    assert terminal.unchanged()


@pytest.mark.parametrize("number", [signal.SIGQUIT, signal.SIGKILL])
def test_a_run_that_is_killed_leaves_a_terminal_without_a_fault(
    terminals: Callable[..., Terminal], words: list[object], number: signal.Signals
) -> None:
    terminal = terminals(*words)
    terminal.until(working)
    terminal.process.send_signal(number)
    shown = terminal.to_the_end()
    assert terminal.process.returncode == -number
    assert ("working" in left(shown)) == (number is signal.SIGKILL)
    assert terminal.unchanged()


def test_a_run_that_crashes_leaves_the_terminal_as_it_was(
    terminals: Callable[..., Terminal], words: list[object]
) -> None:
    terminal = terminals(*words, program=(sys.executable, "-c", CRASHES))
    lines = left(terminal.to_the_end()).splitlines()
    assert any(line.startswith("Traceback ") for line in lines)
    assert lines[-1] == "KeyError: 'an error that no code expects'"
    assert terminal.unchanged()


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash, which stops and continues programs")
def test_a_stopped_run_gives_the_terminal_back_and_takes_it_again_in_the_foreground(
    terminals: Callable[..., Terminal], words: list[object]
) -> None:
    output = Path(str(words[-2]))
    terminal = terminals(program=SHELL, variables={"PS1": "prompt> "})

    def told(command: str, condition: Callable[[str], object]) -> str:
        """Types a command, and returns what is shown from then until the condition holds for it."""
        before = len(terminal.shown)
        terminal.type(command.encode())
        terminal.until(lambda shown: condition(shown[before:]))
        return terminal.shown[before:]

    def prompted(shown: str) -> bool:
        return shown.endswith("prompt> ")

    terminal.until(prompted)
    told(shlex.join([*PROGRAM, *map(str, words)]) + "\n", working)
    assert "Stopped" in told("\x1a", prompted)
    assert "working" not in left(terminal.shown)
    assert terminal.unchanged()
    told("bg\n", prompted)
    size = output.stat().st_size
    in_background = told("", lambda _: output.stat().st_size > size + 5000) + told("echo typed\n", prompted)
    assert "\x1b" not in in_background
    told("fg\n", working)
    assert re.search(r"\ninterrupted: \d+ images, ", left(told("\x03", prompted)))
    assert "working" not in left(terminal.shown)
    assert terminal.unchanged()


@pytest.mark.parametrize(
    "variables", [{"TERM": "dumb"}, {"TERM": ""}, {"TERM": "dumb", "FORCE_COLOR": "1"}], ids=str
)
def test_a_terminal_that_cannot_move_its_cursor_gets_plain_lines(
    terminals: Callable[..., Terminal],
    tmp_path: Path,
    attic: DaemonProcess,
    album: Path,
    variables: dict[str, str],
) -> None:
    file = tmp_path / "client.xml"
    file.write_text(parameters_xml())
    words = ["--parameters", file, "--servers", f"127.0.0.1:{attic.port}", album / "000.png"]
    shown = terminals(*words, variables=variables).to_the_end()
    assert "\x1b" not in shown
    assert "1 image, 0 faces, 0 failed, in " in shown


def test_color_is_asked_for_in_vain_where_standard_error_is_no_terminal(
    tmp_path: Path, attic: DaemonProcess, album: Path
) -> None:
    file = tmp_path / "client.xml"
    file.write_text(parameters_xml())
    words = [*PROGRAM, "--parameters", file, "--servers", f"127.0.0.1:{attic.port}", album / "000.png"]
    words += ["--output", tmp_path / "faces.jsonl", "--overwrite"]
    for variables in ({"FORCE_COLOR": "1"}, {"TTY_COMPATIBLE": "1"}, {"CLICOLOR_FORCE": "1"}):
        done = subprocess.run(
            words,
            cwd=ROOT,
            env=environment(TERM="xterm-256color", **variables),
            capture_output=True,
            text=True,
            check=False,
            timeout=LONGEST,
        )
        assert "\x1b" not in done.stdout + done.stderr
        assert "1 image, 0 faces, 0 failed, in " in done.stderr


@pytest.mark.parametrize("no_color", ["", "1"])
def test_no_color_takes_the_colors_away_and_nothing_else(
    terminals: Callable[..., Terminal], tmp_path: Path, album: Path, no_color: str
) -> None:
    file = tmp_path / "client.xml"
    file.write_text(parameters_xml())
    with (
        stub_daemon(tmp_path, seconds=0.1, name="attic") as one,
        stub_daemon(tmp_path, seconds=0.1, name="cellar") as two,
    ):
        places = f"127.0.0.1:{one.port},127.0.0.1:{two.port}"
        words = ["--parameters", file, "--servers", places, album]
        terminal = terminals(*words, variables={"NO_COLOR": no_color})
        terminal.until(working)
        two.process.kill()
        terminal.until(lambda shown: any("lost" in line for line in frames(shown)[-1]))
    # 30 to 49, 90 to 107, and 38;5;n are colors; 0 and 2 are none and dim
    colored = re.search(r"\x1b\[(?:\d+;)*(?:3\d|4\d|9\d|10\d)(?:;\d+)*m", terminal.shown)
    assert bool(colored) == (not no_color)


class Tmux:
    """A terminal that wraps its lines anew when it is resized, as most do, with what a person sees of it."""

    def __init__(self, place: Path, columns: int, command: str) -> None:
        self._words = ["tmux", "-S", str(place / "tmux"), "-f", os.devnull]
        size = ["-x", str(columns), "-y", "24"]
        self._do("new-session", "-d", "-s", "test", *size, "-c", str(ROOT), command)
        self._do("set-option", "-t", "test", "remain-on-exit", "on")

    def resize(self, columns: int, lines: int) -> None:
        self._do("resize-window", "-t", "test", "-x", str(columns), "-y", str(lines))

    def type(self, key: str) -> None:
        self._do("send-keys", "-t", "test", key)

    def screen(self) -> list[str]:
        """Returns the lines on the screen."""
        return [line.rstrip() for line in self._do("capture-pane", "-t", "test", "-p").splitlines()]

    def until(self, condition: Callable[[list[str]], object]) -> list[str]:
        """Waits until the condition holds for the screen; returns that."""
        over = time.monotonic() + LONGEST
        while not condition(screen := self.screen()):
            assert time.monotonic() < over, "\n".join(screen)
            time.sleep(0.05)
        return screen

    def close(self) -> None:
        with suppress(subprocess.CalledProcessError):
            self._do("kill-server")

    def _do(self, *words: str) -> str:
        done = subprocess.run(
            [*self._words, *words],
            env=environment(LC_ALL="C.UTF-8"),
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        )
        return done.stdout


@pytest.mark.skipif(shutil.which("tmux") is None, reason="no tmux, the terminal of this test")
def test_a_terminal_that_wraps_its_lines_anew_shows_one_table_after_any_resize(
    tmp_path: Path, words: list[object]
) -> None:
    # below other lines, as in a shell: of a screen that is almost empty, tmux moves the upper lines of the table into its
    # history when they are wrapped, where no program can erase them
    tmux = Tmux(tmp_path, 120, f"seq 40; {shlex.join([*PROGRAM, *map(str, words)])}")

    def table(screen: list[str]) -> list[str]:
        return [line for line in screen if line.startswith("server  ")]

    def settled(columns: int) -> Callable[[list[str]], bool]:
        """Returns whether a screen has a table that was drawn for this width, down to its bar."""
        return lambda screen: (
            any(line[:1] in "━╺╸" for line in screen if line)
            and any(("device" in line) == (columns > 60) for line in table(screen))
        )

    try:
        tmux.until(settled(120))
        for columns, lines in ((60, 24), (100, 24), (60, 12), (120, 30), (80, 24)):
            tmux.resize(columns, lines)
            screen = tmux.until(settled(columns))
            assert len(table(screen)) == 1, screen
            assert sum("working" in line for line in screen) == 1, screen
            assert sum(" of 3000 images, " in line for line in screen) == 1, screen
        tmux.type("C-c")
        screen = tmux.until(lambda screen: any(line.startswith("resume with: ") for line in screen))
        assert not table(screen)
        assert not any("━" in line or "working" in line for line in screen)
    finally:
        tmux.close()
