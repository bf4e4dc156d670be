"""Whoever asks how the programs are used does not wait for what only their work needs."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import pyraface.client
from tests.support import ROOT, environment

HEAVY = {
    "asyncio",
    "defusedxml",
    "dlib",
    "face_recognition",
    "logging",
    "msgpack",
    "numpy",
    "onnx",
    "onnxruntime",
} | {
    "PIL",
    "rich",
    "socket",
    "sqlite3",
    "uvloop",
}


@pytest.mark.parametrize("option", ["--help", "--version"])
@pytest.mark.parametrize("module", ["pyraface.client.client", "pyraface.daemon.__main__"])
def test_help_imports_neither_an_engine_nor_anything_else_that_takes_time(module: str, option: str) -> None:
    code = (
        "import importlib, json, sys\n"
        f"main = importlib.import_module({module!r}).main\n"
        "try:\n"
        f"    main([{option!r}])\n"
        "except SystemExit as end:\n"
        "    assert end.code == 0\n"
        "print(json.dumps(sorted(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment(), capture_output=True, text=True, check=True
    )
    text, _, modules = done.stdout.rstrip().rpartition("\n")
    assert text.startswith("usage: pyraface" if option == "--help" else "pyraface ")
    assert not HEAVY & set(json.loads(modules))


def test_every_public_name_of_the_client_is_there_when_it_is_asked_for() -> None:
    code = "from pyraface.client import *\nprint(Client.__name__, Result.__name__, detect_faces.__name__)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment(), capture_output=True, text=True, check=True
    )
    assert done.stdout == "Client Result detect_faces\n"
    assert set(pyraface.client.__all__) <= set(dir(pyraface.client))
    for name in pyraface.client.__all__:
        assert getattr(pyraface.client, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'Clients'"):
        pyraface.client.Clients  # type: ignore[attr-defined]  # noqa: B018
