"""Whoever asks how the programs are used does not wait for what only their work needs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from types import ModuleType

import pytest

import pyraface
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


def test_help_lists_every_subcommand_and_each_has_its_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    for words in ([], *([name] for name in commands.SUBCOMMANDS)):
        with pytest.raises(SystemExit):
            main([*words, "--help"])
        text = capsys.readouterr().out
        assert text.startswith(" ".join(["usage: pyraface", *words, "["]))
        assert "Exit status: 0 " in " ".join(text.split())
        if not words:
            for name, line in commands.SUBCOMMANDS.items():
                assert re.search(rf"^  {name} +{re.escape(line)}$", text, re.MULTILINE)


@pytest.mark.parametrize("columns", [60, 80, 120, 200])
def test_help_is_no_wider_than_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    for words in (["--help"], *([name, "--help"] for name in commands.SUBCOMMANDS)):
        with pytest.raises(SystemExit):
            main(words)
        # the values of an option in the usage are not broken
        text = capsys.readouterr().out.partition("\n\n")[2]
        assert max(map(len, text.splitlines())) <= columns


def printed(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment(), capture_output=True, text=True, check=True
    )
    return done.stdout


@pytest.mark.parametrize("package", [pyraface, pyraface.client], ids=lambda package: package.__name__)
def test_every_public_name_is_there_when_it_is_asked_for(package: ModuleType) -> None:
    code = f"from {package.__name__} import *\nprint(Client.__name__, Result.__name__, detect_faces.__name__)"
    assert printed(code) == "Client Result detect_faces\n"
    assert {"Client", "Faces", "detect_faces", "map_faces", "ServerError"} <= set(package.__all__)
    assert set(package.__all__) <= set(dir(package))
    for name in package.__all__:
        assert getattr(package, name).__name__ == name
        assert not name.startswith("_")
    for absent in ("Clients", "_private"):
        with pytest.raises(AttributeError, match=f"no attribute '{absent}'"):
            getattr(package, absent)


def test_public_names_are_imported_no_sooner_than_they_are_used() -> None:
    code = (
        "import json, sys, pyraface\n"
        "before = set(sys.modules)\n"
        "pyraface.detect_faces\n"
        "print(json.dumps([sorted(before), sorted(sys.modules)]))"
    )
    before, after = json.loads(printed(code))
    assert not HEAVY & set(before)
    assert "numpy" in after
    assert not {"PIL", "pyvips", "onnxruntime", "dlib"} & set(after), (
        "a client of files needs no image library"
    )
