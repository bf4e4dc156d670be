"""Key file: processes that write it in the same moment."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pyraface.core.host import keyfile
from tests.support import ROOT, environment


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty configuration directory."""
    home = tmp_path / "config"
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home))
    return home


def test_daemons_that_start_in_the_same_moment_agree(home: Path) -> None:
    code = "from pyraface.core.host import keyfile; print(keyfile.load_or_make()[0].hex())"
    started = [
        subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env=environment(), stdout=subprocess.PIPE)
        for _ in range(4)
    ]
    said = {process.communicate(timeout=60)[0] for process in started}
    assert said == {keyfile.load()[0].hex().encode() + b"\n"}
    assert [entry.name for entry in (home / "pyraface").iterdir()] == ["key"]


def test_of_machines_that_are_paired_at_the_same_time_no_key_is_lost(home: Path) -> None:
    code = (
        "import sys; from pyraface.core.host import keyfile; print(flush=True); sys.stdin.read();"
        "keyfile.add(sys.argv[1].encode() * 32)"
    )
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code, letter],
            cwd=ROOT,
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for letter in "abcdef"
    ]
    for process in started:
        assert process.stdout is not None
        assert process.stdout.readline() == b"\n", "it has not imported what it needs"
    for process in started:
        assert process.stdin is not None
        process.stdin.close()
    assert [process.wait(60) for process in started] == [0] * 6
    for process in started:
        assert process.stdout is not None
        process.stdout.close()
    assert sorted(keyfile.load()) == [letter.encode() * 32 for letter in "abcdef"]
    assert [entry.name for entry in (home / "pyraface").iterdir()] == ["key"]
