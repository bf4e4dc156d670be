"""A short run of the fuzzer over each target; CONTRIBUTING.md has the command of a long one."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.targets import TARGETS
from tests.support import environment

CORPUS = Path(__file__).resolve().parent / "corpus"

RUNS = {
    "codec": 20_000,
    "payload": 20_000,
    "datagram": 20_000,
    "xml": 5_000,
    "image": 3_000,
    "size": 20_000,
    "metadata": 20_000,
    "xmp": 3_000,
    "picasa": 5_000,
    "people": 5_000,
    "journal": 10_000,
    "compressed": 2_000,
    "pairing": 500,
    "outputs": 1_500,
}


@pytest.mark.parametrize("target", TARGETS)
def test_every_input_of_the_corpus_has_a_documented_outcome(target: str) -> None:
    inputs = sorted((CORPUS / target).iterdir())
    assert inputs
    for path in inputs:
        TARGETS[target](path.read_bytes())


@pytest.mark.parametrize("target", TARGETS)
def test_a_short_run_of_the_fuzzer_finds_nothing(target: str, tmp_path: Path) -> None:
    if importlib.util.find_spec("atheris") is None:
        pytest.skip(f"no atheris for Python {sys.version.split()[0]} on this machine")
    found = tmp_path / "found"
    shutil.copytree(CORPUS / target, found)
    done = subprocess.run(
        # the same inputs in every run: a new one is for the long run to find, not for someone else's change to fail by
        [sys.executable, "-m", "tests.fuzz", target, f"-runs={RUNS[target]}", "-seed=1", str(found)],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-6000:]
    executed = re.search(r"Done (\d+) runs", done.stderr)
    assert executed is not None, done.stderr[-2000:]
    assert int(executed[1]) >= RUNS[target]
