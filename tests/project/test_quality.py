"""ruff, mypy --strict, the import contracts and bandit, as tests: one command runs everything (pip-audit: test_audit.py)."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import ROOT

BIN = Path(sys.executable).parent


@pytest.mark.parametrize(
    "command",
    [
        ["ruff", "check", "."],
        ["ruff", "format", "--check", "."],
        ["mypy"],
        ["lint-imports", "--no-cache"],
        ["bandit", "--quiet", "--ini", "setup.cfg", "--recursive", "core", "daemon", "client"],
    ],
    ids=" ".join,
)
def test_clean(command: list[str]) -> None:
    program = shutil.which(command[0], path=str(BIN)) or shutil.which(command[0])
    assert program is not None, f"{command[0]} is not installed: pip install -e '.[test]'"
    done = subprocess.run([program, *command[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_bash_scripts_parse() -> None:
    for script in (ROOT / ".ci" / "run", ROOT / "boot" / "firewall.sh"):
        subprocess.run(["bash", "-n", str(script)], check=True)
