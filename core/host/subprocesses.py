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
    """Returns the command line and the environment that run module `name` of the running installation.

    Raises:
        FileNotFoundError: this process is no Python interpreter, and none is found; the message says so.
    """
    environment = dict(os.environ)
    environment["PYTHONPATH"] = os.pathsep.join(_search_path())
    return [_interpreter(), "-m", name, *arguments], environment


def _search_path() -> list[str]:
    """Returns the folders in which this process finds modules, in their order, as a program may have changed it.

    The main program's folder and the working directory, which Python adds by itself, are left out: they are a user's.
    """
    try:
        here = os.getcwd()
    except FileNotFoundError:  # it was deleted
        here = os.sep
    named = [os.path.join(here, path) for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    main = os.path.dirname(getattr(sys.modules.get("__main__"), "__file__", None) or "")
    left_out = {"", here, main} - {*named, str(_ROOT)}
    found = [os.path.join(here, path) for path in sys.path if path not in left_out]
    first = [path for path in (str(_ROOT), *named) if path not in found]
    return list(dict.fromkeys([*first, *found]))


def _interpreter() -> str:
    frozen = getattr(sys, "frozen", False)
    if not frozen and os.path.basename(sys.executable or "").startswith(("python", "pypy")):
        return sys.executable
    # a program into which Python is embedded, such as uWSGI, knows the interpreter's place
    beside = os.path.join(sys.exec_prefix, "bin", f"python{sys.version_info.major}.{sys.version_info.minor}")
    if not frozen and os.access(beside, os.X_OK):
        return beside
    raise FileNotFoundError(
        "this program is no Python interpreter that could start one; start pyraface-daemon, and name it as the server"
    )
