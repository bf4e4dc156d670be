"""How a module of this very pyraface is run in another process, and what a process needs from the one that ran it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

_ROOT = Path(__file__).absolute().parent.parent.parent.parent
"""The folder that holds the package pyraface, be it site-packages or a checkout."""

WORKING_DIRECTORY = "/"
"""Where such a process is to be started. `python -m` looks for modules in its working directory first, which must
not be somebody's folder of photographs with, say, a numpy.py in it."""


def python_module(name: str, *arguments: str) -> tuple[list[str], dict[str, str]]:
    """Returns the command line and the environment that run module `name` of the package that is running now."""
    paths = [os.path.abspath(path) for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    if _ROOT.name not in ("site-packages", "dist-packages"):
        paths.insert(0, str(_ROOT))
    environment = dict(os.environ)
    environment.pop("PYTHONPATH", None)
    if paths:
        environment["PYTHONPATH"] = os.pathsep.join(paths)
    return [sys.executable, "-m", name, *arguments], environment


def open_standard_streams() -> None:
    """Opens what is closed of standard input, output and error (`<&- >&-` in a shell).

    Their numbers would go to the first files and sockets otherwise; libuv ends the process when it closes one of those.
    """
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(number)
