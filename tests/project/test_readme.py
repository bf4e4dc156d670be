"""The README's code is run; its commands are those of this program."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from pyraface.client.client import parse as parse_client
from pyraface.daemon.__main__ import parser as daemon_parser
from tests.support import ROOT, environment

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(language: str) -> list[tuple[str, str]]:
    """(page and position, text) of every code block of a language in README.md and docs/."""
    found = []
    for page in PAGES:
        texts = re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
        found += [(f"{page.name}-{index}", text) for index, text in enumerate(texts)]
    return found


PYTHON = blocks("python")


@pytest.mark.parametrize("page", ["README.md", "library.md"])
def test_there_is_python_in_the_pages_that_show_the_library(page: str) -> None:
    assert any(name.startswith(page) for name, _ in PYTHON)


@pytest.mark.parametrize("text", [text for _, text in PYTHON], ids=[name for name, _ in PYTHON])
def test_python_blocks_run(text: str, tmp_path: Path, astronaut_jpeg: bytes) -> None:
    (tmp_path / "photo.jpg").write_bytes(astronaut_jpeg)
    (tmp_path / "known.jpg").write_bytes(astronaut_jpeg)
    (tmp_path / "photographs").mkdir()
    (tmp_path / "photographs" / "one.jpg").write_bytes(astronaut_jpeg)
    done = subprocess.run(
        [sys.executable, "-W", "error::ResourceWarning", "-c", text],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout, "an example shows something"
    # face_recognition_models, whose last release is of 2017, warns of what it imports
    assert "Warning" not in done.stderr or "import face_recognition\n" in text


def commands() -> list[str]:
    """Every line of the README's and docs' shell blocks that runs one of our programs."""
    lines = [line for _, text in blocks("sh") for line in text.replace("\\\n", " ").splitlines()]
    parts = [part.strip() for line in lines for part in line.split("&&")]
    return [
        part
        for part in parts
        if re.match(r"(\S*/)?(pyraface|pyraface-daemon|python client/client.py)(\s|$)", part)
    ]


def test_our_commands_in_the_documentation_have_options_that_exist() -> None:
    assert any("--servers auto" in command for command in commands())
    for command in commands():
        words = shlex.split(command.replace("python client/client.py", "pyraface"), comments=True)
        program, arguments = Path(words[0]).name, words[1:]
        {"pyraface": parse_client, "pyraface-daemon": daemon_parser().parse_args}[program](arguments)


def test_relative_links_lead_somewhere() -> None:
    for page in [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]:
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page.name}: {target}"
