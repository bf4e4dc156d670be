"""ruff, mypy --strict, the import contracts, bandit and pip-audit, as tests: one command runs everything."""

from __future__ import annotations

import json
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


def test_no_package_that_is_installed_has_a_known_vulnerability() -> None:
    """Asks the package index; where it does not answer such questions, nothing is known, and that is said."""
    program = shutil.which("pip-audit", path=str(BIN)) or shutil.which("pip-audit")
    assert program is not None, "pip-audit is not installed: pip install -e '.[test]'"
    command = [
        program,
        "--local",
        "--skip-editable",
        "--format=json",
        "--progress-spinner=off",
        "--timeout=5",
    ]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip("the service that knows of vulnerabilities did not answer within 120 s")
    if not done.stdout.strip():
        assert "ConnectionError" in done.stderr or "ServiceError" in done.stderr, done.stderr[-2000:]
        pytest.skip("the service that knows of vulnerabilities cannot be reached")
    packages = json.loads(done.stdout)["dependencies"]
    found = [package for package in packages if package.get("vulns")]
    assert not found, json.dumps(found, indent=1)
    if not any("vulns" in package for package in packages):
        pytest.skip(
            f"the service knows none of {len(packages)} packages: it is a mirror without this knowledge"
        )


def test_bash_scripts_parse() -> None:
    for script in (ROOT / ".ci" / "run", ROOT / "boot" / "firewall.sh"):
        subprocess.run(["bash", "-n", str(script)], check=True)
