"""pyraface --dry-run: what a run would do, without a byte written or sent, and without a server started."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from PIL import Image

from tests.stub_daemon import stub_daemon
from tests.support import ROOT, environment, free_udp_port, parameters_xml, pyraface, python

SIZE = (400, 250)
LOCAL = ("--servers", "local")

DECODERS = """
import sys
from pyraface.client.client import main
status = main(sys.argv[1:])
loaded = {name.partition(".")[0] for name in sys.modules}
print(loaded & {"PIL", "pyvips", "pillow_heif", "simplejpeg", "dlib", "onnxruntime"})
sys.exit(status)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five photographs, and files of other kinds."""
    folder = tmp_path / "photographs"
    (folder / "2024").mkdir(parents=True)
    for number in range(5):
        Image.new("RGB", SIZE, (number, 0, 0)).save(folder / "2024" / f"{number}.jpg")
    (folder / "notes.txt").write_text("not looked at")
    (folder / "notes.jsonl").write_text("not looked at")
    (folder / "film.mp4").write_bytes(b"")
    return folder


def report(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    """Returns the lines of the report, by what they are about."""
    return dict(line.split(": ", 1) for line in done.stdout.splitlines())


def everything(folder: Path) -> Mapping[str, tuple[int, int, bytes]]:
    """Returns the times and the contents of all files below a folder."""
    return {
        str(path): (path.stat().st_mtime_ns, path.stat().st_ino, path.read_bytes() if path.is_file() else b"")
        for path in [folder, *folder.rglob("*")]
    }


def test_photographs_are_counted_and_measured_and_nothing_is_started(folder: Path, tmp_path: Path) -> None:
    before = everything(tmp_path)
    done = pyraface("--dry-run", "--output", tmp_path / "faces.jsonl", *LOCAL, folder)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    found = report(done)
    assert found["photographs"] == "5"
    assert found["to process"] == "5, 0.5 megapixels"
    assert found["skipped"] == "1 video, 2 other files"
    assert found["time"].startswith("unknown, because this machine processed no image before")
    assert set(found) == {"photographs", "to process", "skipped", "time"}
    assert everything(tmp_path) == before, "a file was made or changed"


def test_errors_that_headers_show_are_counted_by_their_reasons_and_named(folder: Path) -> None:
    (folder / "text.jpg").write_text("no image")
    (folder / "text.png").write_text("no image")
    (folder / "gone.jpg").symlink_to(folder / "nowhere.jpg")
    (folder / "document.tif").write_bytes(b"%PDF-1.4")
    (folder / "cut.jpg").write_bytes((folder / "2024" / "0.jpg").read_bytes()[:100])
    done = pyraface("--dry-run", "--list-skipped", *LOCAL, folder)
    assert done.returncode == 1
    found = report(done)
    assert found["photographs"] == "10"
    assert found["to process"] == "6, 0.5 megapixels and 1 photograph of unknown size"
    assert found["errors"].startswith('4: 2 with "not an image"')
    assert 'with "PDF is not a supported format"' in found["errors"]
    assert 'with "cannot be read: No such file or directory"' in found["errors"]
    named = set(re.findall(r"^error: \S*/(\S+) \(", done.stderr, re.MULTILINE))
    assert named == {"text.jpg", "text.png", "gone.jpg", "document.tif"}
    assert re.search(r"^skipped: \S*/film.mp4 \(video\)$", done.stderr, re.MULTILINE)


def test_images_that_are_recorded_and_unchanged_are_told_apart_by_size_and_time(
    folder: Path, tmp_path: Path
) -> None:
    output = folder / "faces.jsonl"  # where a change would be seen
    with stub_daemon(tmp_path, seconds=0.05) as server:
        servers = ("--servers", f"127.0.0.1:{server.port}")
        assert pyraface(*servers, "--output", output, folder).returncode == 0
        os.utime(folder / "2024" / "0.jpg")
        Image.new("RGB", SIZE, (9, 9, 9)).save(folder / "2024" / "9.jpg")
        (folder / "2024" / "1.jpg").unlink()
        before = everything(folder)
        done = pyraface("--dry-run", *servers, "--output", output, folder)
        assert everything(folder) == before
        assert done.returncode == 0, done.stderr
        found = report(done)
        assert found["photographs"] == "5"
        assert found["already recorded"] == f"3 in {output}, unchanged since"
        assert found["to process"] == "2, 0.2 megapixels"
        again = report(pyraface("--dry-run", "--overwrite", *servers, "--output", output, folder))
        assert again["to process"] == "5, 0.5 megapixels"
        other = report(pyraface("--dry-run", "--faces-from", "50", *servers, "--output", output, folder))
        assert other["to process"] == "5, 0.5 megapixels", "another search does all again"
        assert "already recorded" not in other
        # the run does what was said
        assert pyraface(*servers, "--output", output, folder).returncode == 0
        assert report(pyraface("--dry-run", *servers, "--output", output, folder))["time"] == (
            "no photograph to process"
        )


def test_the_time_is_estimated_from_the_speed_that_a_server_reports(folder: Path, tmp_path: Path) -> None:
    with stub_daemon(tmp_path, seconds=0.1, name="attic") as server:
        servers = ("--servers", f"127.0.0.1:{server.port}")
        before = report(pyraface("--dry-run", *servers, folder))
        assert before["time"].startswith("unknown, because attic processed no image before")
        assert pyraface(*servers, folder).returncode == 0
        after = report(pyraface("--dry-run", *servers, folder))
    found = re.fullmatch(
        r"about (\d+) s, at (\S+) megapixels/s: the speed of the last images of attic", after["time"]
    )
    assert found, after["time"]
    assert 0.3 < float(found[2]) <= 1.0, "0.1 megapixels in 0.1 seconds, and what is around them"


def test_without_a_server_the_speed_is_that_in_the_lines_of_this_machine(
    folder: Path, tmp_path: Path
) -> None:
    output = tmp_path / "faces.jsonl"
    assert pyraface(*LOCAL, "--output", output, folder).returncode == 0
    for number in range(5):
        Image.new("RGB", SIZE, (0, number, 0)).save(folder / f"new {number}.jpg")
    found = report(pyraface("--dry-run", *LOCAL, "--output", output, folder))
    assert found["already recorded"].startswith("5 in ")
    assert found["to process"] == "5, 0.5 megapixels"
    assert re.fullmatch(
        r"about \d+ s, at \S+ megapixels/s: the speed of the last images of this machine", found["time"]
    )


def test_a_server_that_does_not_answer_is_named(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "client.xml"
    file.write_text(parameters_xml(connect_timeout=1))
    done = pyraface("--dry-run", "--servers", "127.0.0.1:1", "--parameters", file, folder)
    assert done.returncode == 1
    assert re.search(r"^server 127\.0\.0\.1:1: .+", done.stderr, re.MULTILINE)
    assert report(done)["time"] == "unknown, because no server answers"


def test_with_auto_this_machine_counts_where_no_server_answers(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "client.xml"
    file.write_text(parameters_xml(server_port_ip_disc=free_udp_port()))
    done = pyraface("--dry-run", "--parameters", file, folder)
    assert done.returncode == 0, done.stderr
    assert report(done)["time"].startswith("unknown, because this machine processed no image before")


def test_patterns_and_standard_input_count_as_in_a_run(folder: Path) -> None:
    with open(folder / "2024" / "0.jpg", "rb") as image:
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "pyraface.client",
                "--dry-run",
                "--exclude",
                "[01].jpg",
                *LOCAL,
                "-",
                folder,
            ],
            cwd=ROOT,
            env=environment(),
            stdin=image,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert image.tell() == 0, "standard input was read"
    assert done.returncode == 0, done.stderr
    assert report(done)["photographs"] == "3 and the one on standard input"
    assert report(done)["skipped"] == "1 video, 2 excluded entries, 2 other files"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere"], "no such file or directory: nowhere"),
        (["--overwrite", "."], "--overwrite replaces an output file"),
        (["--servers", "a:b", "."], "--servers: 'b' in 'a:b' is no port"),
        (
            ["--output", "nowhere/faces.jsonl", ".", *LOCAL],
            "nowhere/faces.jsonl cannot be read: No such file",
        ),
        (["--output", "notes.jsonl", ".", *LOCAL], "notes.jsonl: line 1 was not written by pyraface"),
        (["--output", "notes.txt", ".", *LOCAL], "--output notes.txt: the output is JSON lines"),
    ],
)
def test_a_run_that_could_not_start_is_an_error(folder: Path, arguments: list[str], words: str) -> None:
    done = pyraface("--dry-run", *arguments, cwd=folder)
    assert done.returncode == 2
    assert words in done.stderr
    assert done.stdout == ""


def test_a_folder_without_a_photograph_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("")
    done = pyraface("--dry-run", *LOCAL, tmp_path)
    assert done.returncode == 2
    assert done.stderr == f"pyraface: no image in {tmp_path}\n"


def test_no_image_library_is_loaded(folder: Path) -> None:
    done = python("-c", DECODERS, "--dry-run", *LOCAL, str(folder))
    assert done.stdout.splitlines()[-1] == "set()"


def test_an_output_that_is_being_written_is_read_all_the_same(folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "faces.jsonl"
    with stub_daemon(tmp_path, seconds=0.2) as server:
        servers = ("--servers", f"127.0.0.1:{server.port}")
        with subprocess.Popen(
            [sys.executable, "-m", "pyraface.client", *servers, "--output", str(output), str(folder)],
            cwd=ROOT,
            env=environment(),
            stderr=subprocess.DEVNULL,
        ) as running:
            done = pyraface("--dry-run", *servers, "--output", output, folder)
            assert running.wait(60) == 0
        assert done.returncode == 0, done.stderr
        assert report(done)["photographs"] == "5"
        assert output.read_bytes().count(b"\n") == 5
