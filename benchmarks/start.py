"""Start: the time that a program takes to start."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from .common import timed

ROOT = Path(__file__).resolve().parent.parent


def compare(module: str, *, turns: int) -> tuple[list[float], list[float]]:
    """Returns the seconds of an empty Python program, and those of --help of a module that is a program, in turns."""

    def run(*arguments: str) -> float:
        command = [sys.executable, *arguments]
        return timed(lambda: subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=True))[0]

    empty, ours = [], []
    for _ in range(turns):
        empty.append(run("-c", "pass"))
        ours.append(run("-m", module, "--help"))
    return empty, ours
