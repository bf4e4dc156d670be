"""Whoever asks how the programs are used does not wait for what only their work needs."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

import pyraface.client
from pyraface.client import commands
from pyraface.client.client import main
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


CLIENT, DAEMON = "pyraface.client.client", "pyraface.daemon.__main__"


@pytest.mark.parametrize(
    ("module", "words"),
    [
        (CLIENT, ["--help"]),
        (CLIENT, ["--version"]),
        *((CLIENT, [name, "--help"]) for name in commands.SUBCOMMANDS),
        (DAEMON, ["--help"]),
        (DAEMON, ["--version"]),
    ],
)
def test_help_imports_neither_an_engine_nor_anything_else_that_takes_time(
    module: str, words: list[str]
) -> None:
    code = (
        "import importlib, json, sys\n"
        f"main = importlib.import_module({module!r}).main\n"
        "try:\n"
        f"    main({words!r})\n"
        "except SystemExit as end:\n"
        "    assert end.code == 0\n"
        "print(json.dumps(sorted(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment(), capture_output=True, text=True, check=True
    )
    text, _, modules = done.stdout.rstrip().rpartition("\n")
    assert text.startswith("usage: pyraface" if "--help" in words else "pyraface ")
    assert not HEAVY & set(json.loads(modules))


def test_help_lists_every_subcommand_and_each_has_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    for words in ([], *([name] for name in commands.SUBCOMMANDS)):
        with pytest.raises(SystemExit):
            main([*words, "--help"])
        text = capsys.readouterr().out
        assert text.startswith(" ".join(["usage: pyraface", *words, "["]))
        assert "Exit status: 0 " in " ".join(text.split())
        if not words:
            for name, line in commands.SUBCOMMANDS.items():
                assert re.search(rf"^  {name} +{re.escape(line)}$", text, re.MULTILINE)


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
