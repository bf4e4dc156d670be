"""Subprocesses: the command line and environment that run a module of this installation."""

from __future__ import annotations

import os
import sys
from pathlib import Path

_ROOT = Path(__file__).absolute().parent.parent.parent.parent
"""The folder that contains the package pyraface: site-packages or a checkout."""

WORKING_DIRECTORY = "/"
"""The working directory of such a process. `python -m` searches it for modules first, so it must not be a user's folder of
photographs, which may contain, for example, a numpy.py."""


def python_module(name: str, *arguments: str) -> tuple[list[str], dict[str, str]]:
    """Returns the command line and the environment that run module `name` of the running installation."""
    paths = [os.path.abspath(path) for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    if _ROOT.name not in ("site-packages", "dist-packages"):
        paths.insert(0, str(_ROOT))
    environment = dict(os.environ)
    environment.pop("PYTHONPATH", None)
    if paths:
        environment["PYTHONPATH"] = os.pathsep.join(paths)
    return [sys.executable, "-m", name, *arguments], environment
