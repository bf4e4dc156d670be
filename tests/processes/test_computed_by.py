"""What computed a line makes it no less valid: real daemons of both engines over one output."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import dlib
import numpy as np
import pytest
from PIL import Image

import pyraface
from pyraface.core import parameters
from pyraface.core.engines.onnx.runtime import onnxruntime
from pyraface.core.errors import ErrorCode
from pyraface.core.results import Result
from tests.support import ROOT, DaemonProcess, daemon, environment, free_udp_port, parameters_xml, run

SMALL = {"search": "everywhere", "upsample": 0, "levels": 1}
"""dlib on a CPU takes seconds for a photograph."""

ONNX_VERSION = f"{pyraface.__version__}, onnxruntime {onnxruntime.__version__}, dlib {dlib.__version__}"
DLIB_VERSION = f"{pyraface.__version__}, dlib {dlib.__version__}"


@pytest.fixture
def album(tmp_path: Path, astronaut: np.ndarray) -> Path:
    """Four pictures of a face, all different."""
    folder = tmp_path / "album"
    folder.mkdir()
    for number in range(4):
        Image.fromarray(astronaut[20 + number : 220, 120:320]).save(folder / f"{number}.png")
    return folder


def detect(server: DaemonProcess, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    words = ["--servers", f"127.0.0.1:{server.port}", *map(str, arguments)]
    return subprocess.run(
        [sys.executable, "-m", "pyraface.client", *words],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def lines_of(output: Path) -> dict[str, dict[str, object]]:
    lines = [json.loads(line) for line in output.read_text().splitlines()]
    assert len({line["path"] for line in lines}) == len(lines)
    return {Path(line["path"]).name: line for line in lines}


def engines_of(output: Path) -> list[object]:
    return [line["computed_by"]["engine"] for _, line in sorted(lines_of(output).items())]  # type: ignore[index]


def test_the_faces_of_one_engine_stand_when_the_other_comes_and_are_redone_only_when_asked_for(
    tmp_path: Path, album: Path
) -> None:
    output = tmp_path / "faces.jsonl"
    with daemon(tmp_path, "--engine", "dlib", **SMALL) as jetson:
        done = detect(jetson, album / "0.png", album / "1.png", "--output", output)
    assert done.returncode == 0, done.stderr
    by_dlib = lines_of(output)
    assert by_dlib["0.png"]["computed_by"] == {"engine": "dlib", "device": "cpu", "version": DLIB_VERSION}
    before = output.read_bytes()
    with daemon(tmp_path, "--engine", "onnx", **SMALL) as laptop:
        same = detect(laptop, album / "0.png", album / "1.png", "--output", output)
        assert f"resuming {output}: 2 images done\n" in same.stderr
        assert output.read_bytes() == before
        rest = detect(laptop, album, "--output", output)
        assert "2 already recorded" in rest.stderr
        assert "again" not in rest.stderr
        assert engines_of(output) == ["dlib", "dlib", "onnx", "onnx"]
        by_onnx = lines_of(output)
        assert by_onnx["2.png"]["computed_by"] == {
            "engine": "onnx",
            "device": "cpu, int8",
            "version": ONNX_VERSION,
        }
        assert by_onnx["0.png"] == by_dlib["0.png"]
        assert by_onnx["2.png"]["fingerprint"] == by_dlib["0.png"]["fingerprint"]
        mistaken = detect(laptop, album, "--output", output, "--redo-from", "dlib", "--redo-from", "cuda")
        assert mistaken.returncode == 2
        assert "--redo-from cuda: no line of " in mistaken.stderr
        assert "its lines have: dlib; cpu; " in mistaken.stderr
        assert lines_of(output) == by_onnx
        redone = detect(laptop, album, "--output", output, "--redo-from", "dlib")
    assert redone.returncode == 0, redone.stderr
    assert "2 images computed by dlib: processed again\n" in redone.stderr
    assert "2 already recorded; 2 done again: 2 computed by dlib" in redone.stderr
    after = lines_of(output)
    assert engines_of(output) == ["onnx"] * 4
    assert [after[name] == by_onnx[name] for name in sorted(after)] == [False, False, True, True]
    for name in ("0.png", "1.png"):
        [one], [other] = by_dlib[name]["faces"], after[name]["faces"]  # type: ignore[misc]
        apart = np.linalg.norm(np.subtract(one["encoding"], other["encoding"]))  # type: ignore[index]
        assert apart < 1e-4


def test_a_daemon_with_another_threshold_does_all_again(tmp_path: Path, album: Path) -> None:
    output = tmp_path / "faces.jsonl"
    for threshold, expected in (
        ("0", None),
        ("0.25", "4 images recorded with another search or other parameters"),
    ):
        with daemon(tmp_path, "--engine", "onnx", **SMALL, threshold=threshold) as server:
            done = detect(server, album, "--output", output)
        assert done.returncode == 0, done.stderr
        assert expected is None or expected in done.stderr
    assert "4 done again: 4 recorded with another search or other parameters" in done.stderr


def test_lines_written_before_they_said_what_computed_them_stand(tmp_path: Path, album: Path) -> None:
    """Their fingerprints are those that an earlier pyraface wrote for the packaged parameters, with both engines."""
    output, packaged = tmp_path / "faces.jsonl", ROOT / "parameters.xml"
    former = ["07aa8a388afa41fe", "b7bc0739d9342031", "07aa8a388afa41fe", "0000000000000000"]

    def local() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [
                *(
                    sys.executable,
                    "-m",
                    "pyraface.client",
                    "--servers",
                    "local",
                    "--parameters",
                    str(packaged),
                ),
                *("--search", "guided", str(album), "--output", str(output)),
            ],
            cwd=ROOT,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    assert local().returncode == 0
    older = []
    for fingerprint, line in zip(former, output.read_text().splitlines(), strict=True):
        record = json.loads(line)
        del record["computed_by"]
        older.append(json.dumps({**record, "fingerprint": fingerprint}, separators=(",", ":")))
    output.write_text("\n".join(older) + "\n")
    done = local()
    assert done.returncode == 0, done.stderr
    assert f"resuming {output}: 3 images done" in done.stderr
    assert "1 image recorded with another search or other parameters: processed again" in done.stderr
    after = output.read_text().splitlines()
    completed = [{**json.loads(line), "computed_by": None} for line in older[:3]]
    assert [json.loads(line) for line in after[:3]] == completed
    assert len(after) == 4
    assert json.loads(after[3])["computed_by"]["engine"] == "onnx"


def test_the_library_says_what_computed_a_result(tmp_path: Path, album: Path) -> None:
    with daemon(tmp_path, "--engine", "onnx", **SMALL) as server:
        result = pyraface.detect_faces(album / "0.png", servers=f"127.0.0.1:{server.port}")
        nothing = pyraface.detect_faces(tmp_path / "missing.png", servers=f"127.0.0.1:{server.port}")
    assert result.computed_by is not None
    assert result.computed_by.engine == "onnx"
    assert result.computed_by.version == ONNX_VERSION
    assert nothing.computed_by is None


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--redo-from", "dlib"], "--redo-from resumes an output file: name it with --output FILE.jsonl"),
        (
            ["--redo-from", "dlib", "--overwrite", "--output", "x.jsonl"],
            "--redo-from and --overwrite exclude each other: --overwrite processes every image again",
        ),
    ],
)
def test_a_redo_without_an_output_to_resume_is_an_error(album: Path, words: list[str], reason: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pyraface.client", *words, str(album)],
        cwd=album,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert reason in done.stderr


def test_a_client_computes_a_fingerprint_without_an_engine() -> None:
    """The weights are not read either: they take seconds on a slow disk."""
    code = """
import sys
opened = []
def listed(event, arguments):
    if event == "open" and str(arguments[0]).endswith((".dat", ".onnx")):
        opened.append(arguments[0])
sys.addaudithook(listed)
from pyraface.core import fingerprints, parameters
one = parameters.load()
fingerprints.of("guided", one.detection, one.fusion, one.encoding)
heavy = {"dlib", "onnx", "onnxruntime", "face_recognition", "PIL", "pyvips"} & set(sys.modules)
sys.exit(f"{heavy} {opened}" if heavy or opened else 0)
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120, env=environment())


def started_with_a_trace(
    place: Path, *words: str | Path, servers: str = "local"
) -> tuple[subprocess.CompletedProcess[str], int]:
    """Runs pyraface; returns its outcome, and the number of processes that it started."""
    hook = place / "hook"
    hook.mkdir(exist_ok=True)
    log = place / "started.log"
    log.write_text("")
    # each Python process imports it: the client, a daemon, its worker
    (hook / "sitecustomize.py").write_text(f"with open({str(log)!r}, 'a') as file: file.write('x\\n')\n")
    done = subprocess.run(
        [sys.executable, "-m", "pyraface.client", "--servers", servers, *map(str, words)],
        cwd=ROOT,
        env=environment(PYTHONPATH=f"{hook}:{ROOT}"),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done, log.read_text().count("\n") - 1


@pytest.fixture
def quick(tmp_path: Path) -> Path:
    """Parameters for pictures that are done at once, which keep a client on loopback, where no server answers."""
    file = tmp_path / "quick.xml"
    file.write_text(parameters_xml(**SMALL, server_port_ip_disc=free_udp_port()))
    return file


@pytest.mark.parametrize("servers", ["local", "auto"])
def test_a_run_with_nothing_to_do_starts_no_server(
    tmp_path: Path, album: Path, quick: Path, servers: str
) -> None:
    output = tmp_path / "faces.jsonl"
    words = ("--parameters", quick, album, "--output", output)
    first, started = started_with_a_trace(tmp_path, *words, servers=servers)
    assert first.returncode == 0, first.stderr
    assert started > 0
    before = output.read_bytes()
    again, started = started_with_a_trace(tmp_path, *words, servers=servers)
    assert (again.returncode, started) == (0, 0), again.stderr
    assert "4 already recorded" in again.stderr
    assert "server" not in again.stderr
    assert output.read_bytes() == before


@pytest.mark.parametrize(
    "reason", ["a new image", "another threshold", "a redo", "a changed image", "another size"]
)
def test_a_run_with_anything_to_do_starts_one(tmp_path: Path, album: Path, quick: Path, reason: str) -> None:
    output = tmp_path / "faces.jsonl"
    words: tuple[str | Path, ...] = ("--parameters", quick, album, "--output", output)
    assert started_with_a_trace(tmp_path, *words)[0].returncode == 0
    count = "4 images, "
    if reason == "a new image":  # the last one that is found
        (album / "9.png").write_bytes((album / "3.png").read_bytes() + b"another")
        count = "1 image, "
    elif reason == "another threshold":
        quick.write_text(parameters_xml(**SMALL, threshold=0.25))
    elif reason == "a redo":
        words = (*words, "--redo-from", "onnx")
    elif reason == "a changed image":
        (album / "0.png").write_bytes((album / "0.png").read_bytes() + b"changed")
        count = "1 image, "
    else:
        words = (*words, "--faces-from", "60")
    done, started = started_with_a_trace(tmp_path, *words)
    assert done.returncode == 0, done.stderr
    assert started > 0
    assert count in done.stderr
    assert len(lines_of(output)) == (5 if reason == "a new image" else 4)


def test_a_run_whose_images_failed_starts_none_and_still_says_so(
    tmp_path: Path, album: Path, quick: Path
) -> None:
    output = tmp_path / "faces.jsonl"
    (album / "0.png").write_text("no image")
    words = ("--parameters", quick, album, "--output", output)
    assert started_with_a_trace(tmp_path, *words)[0].returncode == 1
    again, started = started_with_a_trace(tmp_path, *words)
    assert (again.returncode, started) == (1, 0), again.stderr
    assert "4 already recorded; 1 of these failed" in again.stderr
    retried, started = started_with_a_trace(tmp_path, *words, "--retry-failed")
    assert retried.returncode == 1
    assert started > 0


def test_a_client_that_found_no_server_needed_answers_an_image_all_the_same(album: Path, quick: Path) -> None:
    asked: list[str] = []

    async def nothing_to_do(fingerprint: str) -> bool:
        asked.append(fingerprint)
        return False

    async def talk() -> Result:
        client = pyraface.Client("local", parameters=parameters.load(quick))
        client.start_daemon_if(nothing_to_do)
        async with client:
            assert client.servers == 0
            assert client.fingerprints == set(asked)
            return await client.detect(album / "0.png")

    result = run(talk(), 30)
    assert result.error is not None
    assert result.error[0] is ErrorCode.SERVER_LOST
    assert len(asked) == 1
