"""YuNet's weights missing, damaged or another file: a daemon that was not told how to search searches everywhere.

The daemons run from a copy of this installation, whose file is changed.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pyraface.core.engines.network import yunet
from pyraface.core.protocol.messages import Detect, Failed, Found
from tests.support import ROOT, DaemonProcess, Peer, environment, parameters_xml, run

WEIGHTS = Path("core/engines/network") / yunet.WEIGHTS_FILE


def with_one_byte_changed(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def a_directory(file: Path) -> None:
    file.unlink()
    file.mkdir()


CHANGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "renamed": (
        lambda file: file.rename(file.with_suffix(".old")),
        r"cannot be read \(No such file or directory\)",
    ),
    "changed in one byte": (with_one_byte_changed, f"has the SHA-256 [0-9a-f]+, not {yunet.WEIGHTS_SHA256}"),
    "empty": (
        lambda file: file.write_bytes(b""),
        f"has the SHA-256 e3b0c442[0-9a-f]+, not {yunet.WEIGHTS_SHA256}",
    ),
    "a directory": (a_directory, r"cannot be read \(Is a directory\)"),
}


@pytest.fixture(params=CHANGES)
def damaged(request: pytest.FixtureRequest, tmp_path: Path, yunet_weights: bytes) -> tuple[Path, str]:
    """The folder of a copy of this installation, and a pattern of what is said about its weights."""
    del yunet_weights
    folder = tmp_path / "copy"
    folder.mkdir()
    for name in ("core", "client", "daemon", "pyraface"):
        shutil.copytree(
            ROOT / name, folder / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__")
        )
    shutil.copy(ROOT / "parameters.xml", folder)
    change, problem = CHANGES[request.param]
    change(folder / WEIGHTS)
    return folder, f"{re.escape(yunet.WEIGHTS_FILE)}.* {problem}.*: .*install pyraface again"


def test_the_daemon_searches_everywhere_and_says_why(
    damaged: tuple[Path, str], tmp_path: Path, astronaut_jpeg: bytes
) -> None:
    folder, problem = damaged
    parameters = tmp_path / "parameters.xml"
    parameters.write_text(parameters_xml())
    options = ["--parameters", str(parameters), "--host", "127.0.0.1", "--port", "0", "--no-beacon"]
    server = DaemonProcess(tmp_path, options, folder=folder, environment={"PYTHONPATH": str(folder)})
    try:

        async def talk() -> None:
            peer, welcome = await Peer.welcomed(server.port)
            assert welcome.searches == ("everywhere",)
            for id, (search, kind) in enumerate((("", Found), ("guided", Failed), ("everywhere", Found))):
                peer.send(Detect(id, astronaut_jpeg, search=search))
                assert isinstance(await peer.next(), kind)
            await peer.close()

        run(talk())
        lines = [line for line in server.said.splitlines() if re.search(problem, line)]
        assert len(lines) == 1, server.said
        assert "guided" in lines[0]
        assert "Traceback" not in server.said
        assert server.stop() == 0
    finally:
        server.process.kill()
        server.process.wait()


@pytest.mark.parametrize("module", ["pyraface.daemon", "pyraface.core.pipeline"])
def test_a_search_that_was_asked_for_by_name_is_an_error_with_the_remedy(
    damaged: tuple[Path, str], tmp_path: Path, module: str
) -> None:
    folder, problem = damaged
    parameters = tmp_path / "parameters.xml"
    parameters.write_text(parameters_xml(search="guided"))
    if module == "pyraface.daemon":
        command = [
            "-m",
            module,
            "--parameters",
            str(parameters),
            "--host",
            "127.0.0.1",
            "--port",
            "0",
            "--no-beacon",
        ]
    else:
        command = [
            "-c",
            f"from pyraface.core import parameters; from {module} import Pipeline; Pipeline(parameters.load())",
        ]
    ran = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env=environment(PYTHONPATH=str(folder), PYRAFACE_PARAMETERS=str(parameters)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 1
    last = ran.stderr.splitlines()[-1]
    assert re.search(problem, last), ran.stderr
    if module == "pyraface.daemon":
        assert last.startswith("pyraface-daemon: ")
        assert "Traceback" not in ran.stderr
    else:
        assert last.startswith("pyraface.core.errors.EngineError: ")


def test_a_daemon_that_a_client_starts_for_a_search_by_name_tells_it_why_it_cannot(
    damaged: tuple[Path, str], tmp_path: Path
) -> None:
    folder, problem = damaged
    parameters = tmp_path / "parameters.xml"
    parameters.write_text(parameters_xml())
    photo = tmp_path / "photo.jpg"
    photo.touch()  # without an image, no daemon is started
    words = ["--servers", "local", "--search", "guided", "--parameters", str(parameters), str(photo)]
    ran = subprocess.run(
        [sys.executable, "-m", "pyraface.client", *words],
        cwd=folder,
        env=environment(PYTHONPATH=str(folder)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 2
    [_, line] = ran.stderr.splitlines()  # after the name of the parameters file
    assert line.startswith("pyraface: no server could be started on this machine: ")
    assert re.search(problem, line)
