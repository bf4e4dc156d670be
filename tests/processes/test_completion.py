"""What bash, zsh and fish offer after TAB: each shell itself is asked, with the script that the programs print."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pyraface.client import commands
from pyraface.client.client import program_parser
from pyraface.core.host import completion
from pyraface.daemon.__main__ import parser as daemon_parser
from tests.support import ROOT, environment

MODULES = {"pyraface": "pyraface.client", "pyraface-daemon": "pyraface.daemon"}

LONGEST = 60.0
"""Seconds that a shell may take."""

CASES = [
    ("pyraface serv", ["servers"]),
    ("pyraface --ou", ["--output"]),
    ("pyraface --search gu", ["--search", "guided"]),
    ("pyraface --servers loc", ["--servers", "local"]),
    ("pyraface alb", ["album/"]),
    ("pyraface album/0", ["album/001.JPG"]),
    ("pyraface my", ["my photos/"]),
    ("pyraface album --quiet my", ["album", "--quiet", "my photos/"]),
    ("pyraface detect --overwrite album/0", ["detect", "--overwrite", "album/001.JPG"]),
    ("pyraface --output res", ["--output", "results.jsonl"]),
    ("pyraface --parameters own", ["--parameters", "own.xml"]),
    ("pyraface servers --js", ["servers", "--json"]),
    ("pyraface-daemon parame", ["parameters"]),
    ("pyraface-daemon --engine dl", ["--engine", "dlib"]),
]
"""What is typed before TAB, and the arguments that the command then has."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with photographs, and with the programs in `bin`; run by a shell, they print their arguments."""
    place = tmp_path_factory.mktemp("place")
    for folder in ("album", "my photos", "bin"):
        (place / folder).mkdir()
    for name in ("album/001.JPG", "album/002.txt", "results.jsonl", "resume.txt", "own.xml", "own.txt"):
        (place / name).touch()
    for name, module in MODULES.items():
        program = place / "bin" / name
        program.write_text(
            "#!/bin/sh\n"
            f'[ -z "$_ARGCOMPLETE" ] || exec {sys.executable} -m {module} "$@"\n'
            "printf 'ran'; printf ' <%s>' \"$@\"; printf ' end\\n'\n"
        )
        program.chmod(0o755)
        for shell in completion.SHELLS:
            words = [sys.executable, "-m", module, "--print-completion", shell]
            done = subprocess.run(
                words, cwd=ROOT, env=environment(), capture_output=True, text=True, check=True
            )
            (place / f"{name}.{shell}").write_text(done.stdout)
    return place


def in_place(place: Path) -> dict[str, str]:
    return environment(
        PATH=f"{place / 'bin'}:{os.environ['PATH']}", HOME=str(place), TERM="dumb", PS1="ready> "
    )


STARTS = {
    "bash": ["bash", "--norc", "--noprofile", "-i"],
    "zsh": ["zsh", "-f", "-i"],
}


@pytest.fixture(scope="module", params=["bash", "zsh"])
def shell(request: pytest.FixtureRequest, place: Path) -> Iterator[Callable[[str], str]]:
    """Types a line in a shell on a terminal; returns what the terminal shows until the command has run."""
    name: str = request.param
    if shutil.which(name) is None:
        pytest.skip(f"no {name} here")
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        STARTS[name],
        cwd=place,
        env=in_place(place),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)

    def typed(line: str, until: str) -> str:
        os.write(ours, line.encode())
        shown = ""
        over = time.monotonic() + LONGEST
        while until not in shown:
            assert time.monotonic() < over, f"after {line!r}: {shown!r}"
            if select.select([ours], [], [], 0.1)[0]:
                shown += os.read(ours, 4096).decode(errors="replace")
        return shown

    if name == "zsh":
        typed("autoload -U compinit; compinit -u -D; echo init'iali'zed\n", "initialized")
    for program in MODULES:
        typed(f"source ./{program}.{name}; echo comp'let'es {program}\n", f"completes {program}")
    yield lambda line: typed(line, " end")
    os.close(ours)
    process.kill()
    process.wait()


@pytest.mark.parametrize(("line", "arguments"), CASES)
def test_bash_and_zsh_complete_what_is_typed(
    shell: Callable[[str], str], line: str, arguments: list[str]
) -> None:
    ran = "ran" + "".join(f" <{argument}>" for argument in arguments) + " end"
    assert ran in shell(f"{line}\t\n").replace("\r", "")


@pytest.mark.skipif(shutil.which("fish") is None, reason="no fish here")
@pytest.mark.parametrize(("line", "arguments"), CASES)
def test_fish_completes_what_is_typed(place: Path, line: str, arguments: list[str]) -> None:
    program = line.split()[0]
    done = subprocess.run(
        ["fish", "--no-config", "-c", f"source {program}.fish; complete -C '{line}'"],
        cwd=place,
        env=in_place(place),
        capture_output=True,
        text=True,
        check=True,
        timeout=LONGEST,
    )
    assert [offer.split("\t")[0] for offer in done.stdout.splitlines()] == arguments[-1:]


def offers(place: Path, line: str) -> list[str]:
    """Returns what a program offers."""
    variables = {
        "COMP_LINE": line,
        "COMP_POINT": str(len(line)),
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_IFS": "|",
    }
    done = subprocess.run(
        ["sh", "-c", f"exec {sys.executable} -m {MODULES[line.split()[0]]} 8>&1"],
        cwd=place,
        env=environment(HOME=str(place), **variables),
        capture_output=True,
        text=True,
        check=True,
        timeout=LONGEST,
    )
    return [offer.strip() for offer in done.stdout.split("|") if offer]


def test_the_first_word_is_a_subcommand_or_a_path_and_options_come_after_a_dash(place: Path) -> None:
    assert set(offers(place, "pyraface ")) == {*commands.SUBCOMMANDS, "album/", "bin/", "my\\ photos/"}
    assert set(offers(place, "pyraface album ")) == {"album/", "bin/", "my\\ photos/"}
    assert {"--output", "--search", "--version"} <= set(offers(place, "pyraface -"))
    assert "--help" in offers(place, "pyraface servers ")
    assert "--version" not in offers(place, "pyraface servers --")


def test_the_name_of_a_subcommand_is_no_argument_of_it() -> None:
    code = (
        "import argparse; from pyraface.core.host import completion; parser = argparse.ArgumentParser()\n"
        "parser.add_argument('kind', choices=['one', 'two'])\n"
        "completion.answer(parser, {}, skip=1)"
    )
    variables = {"COMP_LINE": "program name t", "COMP_POINT": "14", "_ARGCOMPLETE": "1"}
    done = subprocess.run(
        ["sh", "-c", 'exec "$0" -c "$1" 8>&1', sys.executable, code],
        env=environment(**variables),
        capture_output=True,
        text=True,
        check=True,
        timeout=LONGEST,
    )
    assert done.stdout.strip() == "two"


def test_nothing_is_offered_for_a_value_that_only_the_user_knows(place: Path) -> None:
    for line in (
        "pyraface --faces-from ",
        "pyraface pair ",
        "pyraface-daemon --port ",
        "pyraface-daemon --host ",
    ):
        assert offers(place, line) == []
    assert offers(place, "pyraface nowhere/") == []
    assert offers(place, "pyraface ~/alb") == ["~/album/"]


def test_every_option_whose_value_is_a_file_or_a_word_is_completed() -> None:
    completed = {"paths", "photo", "servers", "output", "parameters"}
    free = {"exclude", "include", "faces_from", "redo_from", "boxes", "page", "host", "port", "fd", "key_fd"}
    parsers = [
        program_parser(),
        daemon_parser(),
        *(commands.load(name).parser() for name in commands.SUBCOMMANDS),
    ]
    for parser in parsers:
        for action in parser._actions:
            if action.nargs != 0 and action.choices is None and action.dest not in free:
                assert action.dest in completed
