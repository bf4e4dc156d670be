"""The manual pages: of every word that the programs take, and without a warning of the programs that show them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pyraface.client import commands
from pyraface.client.client import program_parser
from pyraface.daemon.__main__ import parser as daemon_parser
from tests.support import ROOT

PAGES = ["pyraface.1", "pyraface-daemon.1"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages, beside a folder of programs, as in an environment. Python has no package but its own, as in a build."""
    environment = tmp_path_factory.mktemp("environment")
    (environment / "bin").mkdir()
    folder = environment / "share" / "man" / "man1"
    program = ROOT / "boot" / "man_pages.py"
    subprocess.run([sys.executable, "-I", "-S", "-B", program, folder], check=True, timeout=60)
    return folder


def text(page: Path) -> str:
    """Returns what man shows of a page, on one line."""
    done = subprocess.run(
        ["man", "--warnings=w", "-l", page],
        env={
            **os.environ,
            "LC_ALL": "C.UTF-8",
            "MANWIDTH": "500",
            "MANROFFOPT": "",
            "MAN_KEEP_FORMATTING": "",
        },
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stderr == ""
    return " ".join(done.stdout.split())


needs_man = pytest.mark.skipif(
    shutil.which("man") is None or shutil.which("groff") is None, reason="man or groff is missing"
)


@needs_man
@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_shown_without_a_warning(folder: Path, page: str) -> None:
    shown = text(folder / page)
    assert shown.startswith(f"{page[:-2].upper()}(1) User Commands")
    for heading in ("NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS", "SEE ALSO"):
        assert f" {heading} " in shown


@needs_man
def test_a_page_has_every_option_with_its_help_and_every_subcommand(folder: Path) -> None:
    pages = {page: text(folder / page) for page in PAGES}
    parsers = [
        ("pyraface-daemon.1", daemon_parser()),
        ("pyraface.1", program_parser()),
        *(("pyraface.1", commands.load(name).parser()) for name in commands.SUBCOMMANDS),
    ]
    for page, parser in parsers:
        for action in parser._actions:
            assert all(option in pages[page] for option in action.option_strings)
            words = (parser._get_formatter()._expand_help(action) if action.help else "").split()
            assert " ".join(words) in pages[page]
    for name in commands.SUBCOMMANDS:
        assert name == commands.DEFAULT or f" pyraface {name} " in pages["pyraface.1"]


@needs_man
def test_man_finds_the_page_of_a_program_beside_it(folder: Path) -> None:
    variables = {name: value for name, value in os.environ.items() if name != "MANPATH"}
    variables["PATH"] = f"{folder.parents[2] / 'bin'}:{variables['PATH']}"
    for page in PAGES:
        done = subprocess.run(
            ["man", "-w", page[:-2]], env=variables, capture_output=True, text=True, check=True, timeout=60
        )
        assert done.stdout.strip() == str(folder / page)
