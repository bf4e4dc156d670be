"""pyraface parameters and pyraface-daemon parameters, as a person or a program runs them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from pyraface.client import Client
from pyraface.core.errors import ReaderGoneError
from pyraface.core.parameters import DetectionParameters, Parameters
from tests.stub_daemon import stub_daemon
from tests.support import ROOT, DaemonProcess, daemon, environment, parameters_xml, run

CLIENT, DAEMON = "pyraface.client", "pyraface.daemon"


def parameters(
    module: str, *words: object, folder: Path = ROOT, **variables: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", module, "parameters", *map(str, words)],
        cwd=folder,
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("module", [CLIENT, DAEMON])
def test_the_file_and_each_value_are_shown_with_where_they_come_from(tmp_path: Path, module: str) -> None:
    file = tmp_path / "mine.xml"
    file.write_text(parameters_xml(levels=3))
    done = parameters(module, "--parameters", file)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == f"file: {file} (--parameters)"
    assert "  levels                       3           file" in lines
    assert "  guided_threshold             -0.7        default" in lines
    assert max(map(len, lines[1:])) <= 80


@pytest.mark.parametrize("module", [CLIENT, DAEMON])
def test_the_file_is_found_as_the_program_itself_finds_it(tmp_path: Path, module: str) -> None:
    usual = tmp_path / "pyraface" / "parameters.xml"
    usual.parent.mkdir()
    usual.write_text(parameters_xml())
    named = tmp_path / "named.xml"
    named.write_text(parameters_xml())
    shown = parameters(module, PYRAFACE_PARAMETERS="", XDG_CONFIG_HOME=str(tmp_path))
    assert shown.stdout.startswith(f"file: {usual} (a usual place)\n")
    shown = parameters(module, PYRAFACE_PARAMETERS=str(named), XDG_CONFIG_HOME=str(tmp_path))
    assert shown.stdout.startswith(f"file: {named} (PYRAFACE_PARAMETERS)\n")


def test_options_of_the_daemon_are_named_where_they_decide() -> None:
    words = ("--port", 0, "--search", "most", "--host", "127.0.0.1", "--no-beacon", "--engine", "onnx")
    lines = parameters(DAEMON, *words).stdout.splitlines()
    assert "  server_port_image_handle     0           --port    a free port" in lines
    assert "  search                       most        --search" in lines
    assert "  host                         127.0.0.1   --host" in lines
    assert "  beacon                       no          --no-beacon" in lines
    assert "  engine                       onnx        --engine" in lines
    without = json.loads(parameters(DAEMON, "--json").stdout)
    assert without["options"]["engine"] == {
        "value": "auto",
        "from": "default",
        "automatic": "onnx, or dlib with CUDA",
    }
    assert without["ports"]["server_port_image_handle"]["value"] == 5000


@pytest.mark.parametrize("module", [CLIENT, DAEMON])
def test_an_error_in_the_file_is_the_line_that_the_program_itself_would_end_with(
    tmp_path: Path, module: str
) -> None:
    file = tmp_path / "wrong.xml"
    for change, says in (
        (("levels>1<", "levels>9<"), "levels is '9'; it must be a whole number from 1 to 5"),
        (("levels>", "Levels>"), "holds <Levels>, which is unknown: did you mean <levels>?"),
    ):
        file.write_text(parameters_xml().replace(*change))
        done = parameters(module, "--parameters", file)
        assert done.returncode in (1, 2)
        assert done.stdout == ""
        (line,) = done.stderr.splitlines()
        assert f"{file}: params/tiled_detect_params" in line
        assert says in line


@pytest.mark.parametrize("module", [CLIENT, DAEMON])
def test_a_reader_that_has_read_enough_is_no_error(module: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [sys.executable, "-m", module, "parameters"],
            cwd=ROOT,
            env=environment(),
            stdout=writer,
            stderr=subprocess.PIPE,
            timeout=60,
            check=False,
        )
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (ReaderGoneError.EXIT_STATUS, b"")


def test_a_daemon_logs_the_file_that_it_has_read(tmp_path: Path) -> None:
    with daemon(tmp_path) as server:
        file = next(tmp_path.glob("parameters-*.xml"))
        assert f"pyraface.server: parameters: {file}\n" in server.said


def test_a_daemon_whose_parameters_find_other_faces_is_named_with_the_values_of_both(
    tmp_path: Path, astronaut_jpeg: bytes
) -> None:
    mine, photo = tmp_path / "mine.xml", tmp_path / "photo.jpg"
    mine.write_text(parameters_xml(levels=3, search="guided", max_pixels=1_000_000))
    photo.write_bytes(astronaut_jpeg)

    def said(server: DaemonProcess, *options: str) -> list[str]:
        done = subprocess.run(
            [sys.executable, "-m", CLIENT, "--servers", f"127.0.0.1:{server.port}", *options, str(photo)],
            cwd=ROOT,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return [line for line in done.stderr.splitlines() if "parameters than" in line]

    with stub_daemon(tmp_path, seconds=0.0, search="guided", threshold=0.25, name="attic") as other:
        [line] = said(other, "--parameters", str(mine))
        assert line == (
            f"server attic (127.0.0.1:{other.port}) finds faces by other parameters than those here: "
            "levels 1 (here 3), threshold 0.25 (here 0.0)"
        )
        assert "threshold 0.25" not in "".join(said(other, "--parameters", str(mine), "--quiet"))
        program = replace(
            Parameters.defaults(), detection=DetectionParameters(500, 400, 0, 1, search="guided")
        )
        told: list[str] = []

        async def connect() -> None:
            async with Client(f"127.0.0.1:{other.port}", parameters=program, on_event=told.append):
                pass

        run(connect())
        assert [line.partition(": ")[2] for line in told if "parameters than" in line] == [
            "threshold 0.25 (here 0.0)"
        ]
    with stub_daemon(tmp_path, seconds=0.0, search="guided", levels=3) as alike:
        assert said(alike, "--parameters", str(mine)) == []


def test_a_run_names_its_file_unless_it_is_the_packaged_one_or_the_run_is_quiet(tmp_path: Path) -> None:
    def said(*words: str, **variables: str) -> str:
        return subprocess.run(
            [sys.executable, "-m", CLIENT, *words, str(tmp_path)],
            cwd=ROOT,
            env=environment(XDG_CONFIG_HOME=str(tmp_path), **variables),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        ).stderr

    file = tmp_path / "mine.xml"
    file.write_text(parameters_xml())
    # there is no image, so no server is looked for
    assert said("--parameters", str(file)).splitlines()[0] == f"parameters: {file}"
    assert said(PYRAFACE_PARAMETERS=str(file)).splitlines()[0] == f"parameters: {file}"
    assert "parameters: " not in said("--quiet", "--parameters", str(file))
    if not Path("/etc/pyraface/parameters.xml").exists():
        assert "parameters: " not in said(PYRAFACE_PARAMETERS="")
