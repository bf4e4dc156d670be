"""The command as a person runs it: a process, its output, its words and its exit status."""

from __future__ import annotations

import array
import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image, ImageFilter

from pyraface.client.client import parse
from pyraface.core.results import path_from_json
from tests.output_lines import checked, name_of
from tests.stub_daemon import stub_daemon
from tests.support import (
    ROOT,
    daemon,
    environment,
    parameters_xml,
    pyraface,
    small_images,
    still_running,
    wait_for_lines,
)


def lines_of(text: str) -> dict[str, dict[str, object]]:
    lines = checked(text)
    by_path = {name_of(line): line for line in lines}
    assert len(by_path) == len(lines), "an image stands twice in the output"
    return by_path


@pytest.fixture
def folder(tmp_path: Path, astronaut_jpeg: bytes, astronaut: np.ndarray) -> Path:
    """Good images, bad ones, and what is none, in directories below each other."""
    folder = tmp_path / "photographs"
    (folder / "2024" / "may").mkdir(parents=True)
    (folder / "a.jpg").write_bytes(astronaut_jpeg)
    (folder / "2024" / "b.JPEG").write_bytes(astronaut_jpeg)
    Image.fromarray(astronaut).rotate(90).save(folder / "2024" / "may" / "c.png")
    Image.new("RGB", (90, 60)).save(folder / "empty.png")
    (folder / "cut.jpg").write_bytes(astronaut_jpeg[:20_000])
    (folder / "text.jpg").write_text("no image")
    (folder / "vanished.jpg").symlink_to(folder / "nowhere.jpg")
    (folder / "notes.txt").write_text("not looked at")
    (folder / ".hidden.jpg").write_bytes(astronaut_jpeg)
    return folder


def test_the_walk_is_chosen_by_patterns_and_what_it_leaves_out_is_listed(folder: Path) -> None:
    (folder / "@eaDir").mkdir()
    (folder / "film.mp4").write_bytes(b"")
    (folder / "linked").symlink_to("/")
    done = pyraface(
        "--list-skipped", "--exclude", "*.jpg", "--include", "*.[pP]*", "--servers", "local", folder
    )
    assert set(lines_of(done.stdout)) == {"c.png", "empty.png"}
    listed = re.findall(r"^skipped: \S*/([^/]+) \((.+)\)$", done.stderr, re.MULTILINE)
    assert ("film.mp4", "video") in listed
    assert ("a.jpg", "excluded entry") in listed
    assert ("b.JPEG", "excluded entry") in listed
    assert ("@eaDir", "folder of the system") in listed
    assert ("linked", "linked folder") in listed
    assert re.search(
        r"; skipped: 1 video, 1 linked folder, 1 folder of the system, 1 hidden entry, \d excluded",
        done.stderr,
    )


def test_a_pattern_that_is_invalid_is_named(folder: Path) -> None:
    done = pyraface("--exclude", "!", folder)
    assert done.returncode == 2
    assert "--exclude !: not a pattern of gitignore" in done.stderr


def test_a_directory_gives_one_line_an_image_and_the_exit_status_says_that_some_failed(folder: Path) -> None:
    done = pyraface("--servers", "auto", folder)
    assert done.returncode == 1, done.stderr
    assert "no server answered on the network: starting one on this machine\n" in done.stderr
    # c.png lies on its side, which not every search turns upright
    assert re.search(r"^7 images, 3 faces( \(1 not comparable\))?, 3 failed", done.stderr, re.MULTILINE), (
        done.stderr
    )
    assert "; skipped: 1 hidden entry, 1 other file (--list-skipped lists them)\n" in done.stderr
    lines = lines_of(done.stdout)
    assert set(lines) == {"a.jpg", "b.JPEG", "c.png", "empty.png", "cut.jpg", "text.jpg", "vanished.jpg"}
    codes = {name: line["error"]["code"] for name, line in lines.items() if line["error"]}  # type: ignore[index]
    assert codes == {"cut.jpg": "image-truncated", "text.jpg": "not-an-image", "vanished.jpg": "unreadable"}
    assert lines["empty.png"]["faces"] == []
    face = lines["a.jpg"]
    assert str(face["digest"]).startswith("sha256:")
    (found,) = face["faces"]  # type: ignore[misc]
    assert len(found["encoding"]) == 128
    assert "Traceback" not in done.stderr


def test_faces_too_small_or_too_blurred_to_compare_are_marked_and_counted(
    tmp_path: Path, astronaut: np.ndarray
) -> None:
    portrait = Image.fromarray(astronaut)
    folder = tmp_path / "photographs"
    folder.mkdir()
    portrait.save(folder / "sharp.png")
    portrait.filter(ImageFilter.GaussianBlur(3.5)).save(folder / "blurred.png")
    portrait.resize((128, 128)).save(folder / "small.png")
    with daemon(tmp_path) as server:
        done = pyraface("--servers", f"127.0.0.1:{server.port}", "--faces-from", "20", folder)
    assert done.returncode == 0, done.stderr
    assert "3 images, 3 faces (2 not comparable), 0 failed" in done.stderr
    faces = {name: line["faces"][0] for name, line in lines_of(done.stdout).items()}  # type: ignore[index]
    assert {name: face["quality"]["comparable"] for name, face in faces.items()} == {
        "sharp.png": True,
        "blurred.png": False,
        "small.png": False,
    }
    for face in faces.values():
        box = face["box"]
        side = min(box["right"] - box["left"], box["bottom"] - box["top"])
        assert face["quality"]["size"] == pytest.approx(side, abs=0.011)
    assert faces["small.png"]["quality"]["size"] < 25
    assert faces["blurred.png"]["quality"]["size"] > 80
    assert faces["blurred.png"]["quality"]["sharpness"] < 0.35 < faces["sharp.png"]["quality"]["sharpness"]


def test_everything_done_is_exit_status_0_and_the_output_is_resumed_unless_it_is_to_be_replaced(
    tmp_path: Path, folder: Path
) -> None:
    output = tmp_path / "faces.jsonl"
    with daemon(tmp_path) as server:
        place = f"127.0.0.1:{server.port}"
        done = pyraface("--servers", place, "--output", output, "--quiet", folder / "a.jpg", folder / "2024")
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        kept = output.read_text()
        assert set(lines_of(kept)) == {"a.jpg", "b.JPEG", "c.png"}
        again = pyraface("--servers", place, "--output", output, folder / "a.jpg")
        assert again.returncode == 0
        assert "3 images done" in again.stderr
        assert "1 already recorded" in again.stderr
        assert output.read_text() == kept
        replaced = pyraface("--servers", place, "--output", output, "--overwrite", folder / "a.jpg")
        assert replaced.returncode == 0
        assert set(lines_of(output.read_text())) == {"a.jpg"}


def test_the_client_runs_as_a_file_from_a_checkout(folder: Path, tmp_path: Path) -> None:
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, str(ROOT / "client" / "client.py"), "--servers", "auto", str(folder / "2024")],
        cwd=tmp_path,
        env=variables,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert set(lines_of(done.stdout)) == {"b.JPEG", "c.png"}


@pytest.mark.parametrize(
    ("program", "subcommand"),
    [
        (["-m", "pyraface"], []),
        (["-m", "pyraface"], ["detect"]),
        (["-m", "pyraface.client"], ["detect"]),
        ([str(ROOT / "client" / "client.py")], ["detect"]),
    ],
)
def test_the_name_of_detect_may_be_written_or_left_out_however_the_program_is_started(
    program: list[str], subcommand: list[str]
) -> None:
    done = subprocess.run(
        [sys.executable, *program, *subcommand, "--servers", "local", "boot"],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1] == "pyraface: no image in boot"


def test_a_module_in_the_photographs_folder_is_not_run(folder: Path) -> None:
    for name in ("numpy", "pyraface", "logging"):
        (folder / "2024" / f"{name}.py").write_text("raise SystemExit('a file of the folder was run')")
    done = subprocess.run(
        [sys.executable, str(ROOT / "client" / "client.py"), "--servers", "local", "."],
        cwd=folder / "2024",
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "was run" not in done.stderr


def test_names_that_are_no_text_survive(tmp_path: Path, astronaut_jpeg: bytes) -> None:
    folder = tmp_path / "odd"
    folder.mkdir()
    names = [b"\xff\xfe.jpg", "ü\n\x1b[31m.jpg".encode(), b"[bold].jpg"]
    for name in names:
        (folder / os.fsdecode(name)).write_bytes(astronaut_jpeg if name != names[1] else b"")
    with daemon(tmp_path) as server:
        done = pyraface("--servers", f"127.0.0.1:{server.port}", folder)
    assert done.returncode == 1
    found = {os.fsencode(path_from_json(line)) for line in checked(done.stdout)}
    assert found == {os.fsencode(folder) + b"/" + name for name in names}
    assert "\x1b" not in done.stderr


# root may read every file, unless it gives that up
AS_ANYBODY = ["setpriv", "--inh-caps=-all", "--bounding-set=-all"] if os.geteuid() == 0 else []


@pytest.mark.skipif(bool(AS_ANYBODY) and shutil.which("setpriv") is None, reason="root, without setpriv")
def test_what_may_not_be_read_is_a_line_with_an_error_and_the_rest_is_done(folder: Path) -> None:
    (folder / "a.jpg").chmod(0)
    (folder / "2024" / "may").chmod(0)
    command = [*AS_ANYBODY, sys.executable, "-m", "pyraface.client", "--servers", "local", str(folder)]
    done = subprocess.run(
        command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=120, check=False
    )
    (folder / "2024" / "may").chmod(0o755)
    assert done.returncode == 1
    lines = lines_of(done.stdout)
    for name in ("a.jpg", "may"):
        assert lines[name]["error"]["code"] == "unreadable"  # type: ignore[index]
        assert "Permission denied" in lines[name]["error"]["message"]  # type: ignore[index]
    assert len(lines["b.JPEG"]["faces"]) == 1  # type: ignore[arg-type]


def test_a_pipe_or_an_endless_file_is_not_waited_for(tmp_path: Path) -> None:
    folder = tmp_path / "odd"
    folder.mkdir()
    os.mkfifo(folder / "pipe.jpg")
    (folder / "endless.jpg").symlink_to("/dev/zero")
    with (folder / "huge.jpg").open("wb") as file:
        file.truncate(1 << 36)  # sparse
    done = pyraface("--servers", "local", folder)
    assert done.returncode == 1
    codes = {name: line["error"]["code"] for name, line in lines_of(done.stdout).items()}  # type: ignore[index]
    assert codes == {"pipe.jpg": "unreadable", "endless.jpg": "unreadable", "huge.jpg": "frame-too-large"}


def test_links_in_a_circle_and_to_where_nobody_may_look_stop_nothing(
    tmp_path: Path, astronaut_jpeg: bytes
) -> None:
    folder = tmp_path / "links"
    folder.mkdir()
    for name in ("circle.jpg", "circle.txt", "circle"):
        (folder / name).symlink_to(name)
    (folder / "long.jpg").symlink_to("x" * 300)
    (folder / "z.jpg").write_bytes(astronaut_jpeg)
    done = pyraface("--servers", "local", folder)
    assert done.returncode == 1
    lines = lines_of(done.stdout)
    assert set(lines) == {"circle.jpg", "long.jpg", "z.jpg"}
    assert "symbolic links" in lines["circle.jpg"]["error"]["message"]  # type: ignore[index]
    assert len(lines["z.jpg"]["faces"]) == 1  # type: ignore[arg-type]


def test_an_output_without_a_line_does_not_stand_in_the_way_of_the_next_attempt(
    tmp_path: Path, folder: Path
) -> None:
    output = tmp_path / "faces.jsonl"
    nobody = pyraface("--servers", "127.0.0.1:1", "--output", output, folder)
    assert nobody.returncode == 2
    assert not output.exists()
    done = pyraface("--servers", "local", "--output", output, folder / "a.jpg")
    assert done.returncode == 0, done.stderr
    assert set(lines_of(output.read_text())) == {"a.jpg"}


@pytest.mark.other_lines
def test_an_output_that_is_to_be_replaced_stays_where_nothing_is_found(tmp_path: Path) -> None:
    output = tmp_path / "faces.jsonl"
    output.write_text("a night's work\n")
    done = pyraface("--servers", "local", "--overwrite", "--output", output, "boot")
    assert (done.returncode, output.read_text()) == (2, "a night's work\n")


@pytest.mark.parametrize("where", ["2>/dev/full", "2> >(true)", "2>&-"])
def test_images_are_done_even_if_nobody_can_be_told(folder: Path, where: str) -> None:
    words = f"'{sys.executable}' -m pyraface.client --servers local '{folder}/a.jpg' '{folder}/text.jpg'"
    done = subprocess.run(
        ["bash", "-c", f"sleep 0.3; {words} {where}"],
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    assert set(lines_of(done.stdout)) == {"a.jpg", "text.jpg"}


@pytest.mark.parametrize("where", ["2>/dev/full", "2> >(true)", "2>&-"])
def test_an_error_that_nobody_can_be_told_is_not_among_the_results(where: str) -> None:
    done = subprocess.run(
        ["bash", "-c", f"'{sys.executable}' -m pyraface.client --servers :: README.md {where}"],
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")


def test_a_closed_standard_output_is_one_line(folder: Path) -> None:
    command = f"'{sys.executable}' -m pyraface.client --servers local '{folder}' <&- >&-"
    done = subprocess.run(
        ["sh", "-c", command], cwd=ROOT, env=environment(), stderr=subprocess.PIPE, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr == "pyraface: standard output is closed: name a file with --output\n"


def test_an_interrupt_does_not_wait_until_a_large_archive_is_counted(
    tmp_path: Path, astronaut_jpeg: bytes
) -> None:
    archive = tmp_path / "archive"
    for index in range(300):
        (archive / str(index)).mkdir(parents=True)
        (archive / str(index) / "photo.jpg").write_bytes(astronaut_jpeg)
    slow = tmp_path / "slow"
    slow.mkdir()
    # a network's disk: a tenth of a second a directory
    (slow / "sitecustomize.py").write_text(
        "import os, time\n"
        "at_once = os.scandir\n"
        "def scandir(path='.'):\n"
        f"    time.sleep(0.1 if {str(archive)!r} in os.fspath(path) else 0)\n"
        "    return at_once(path)\n"
        "os.scandir = scandir\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "pyraface.client", "--servers", "local", str(archive)],
        cwd=ROOT,
        env=environment(PYTHONPATH=f"{slow}{os.pathsep}{ROOT}"),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    process.stdout.readline()
    started = time.monotonic()
    process.terminate()
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert time.monotonic() - started < 15  # and not the 30 s of all directories


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--servers", "127.0.0.1:1", "README.md"], "refused"),
        (["--servers", "::nonsense::x", "README.md"], "nonsense"),
        (["--servers", f"attic:{'5' * 5000}", "README.md"], "no port from 1 to 65535"),
        (["--output", "/no/\x1b[2J\n.jsonl", "README.md"], "/no/\\x1b[2J\\n.jsonl cannot be written"),
        (["--parameters", "/no/such.xml", "README.md"], "/no/such.xml"),
        (["--output", "/no/such/place.jsonl", "README.md"], "/no/such/place.jsonl"),
        (["--servers", "local", "boot"], "no image in boot"),
    ],
)
def test_what_cannot_be_begun_is_one_line_and_exit_status_2(arguments: list[str], says: str) -> None:
    done = pyraface("--quiet", *arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert says in done.stderr
    assert done.stderr.startswith("pyraface: ")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["a.jpg", "b.jpg"], "no such file or directory: b.jpg"),
        (["a.jpg/b.jpg"], "no such file or directory: a.jpg/b.jpg"),
        (["v.jpg", "w.jpg", "x.jpg", "y.jpg"], "no such file or directory: v.jpg, w.jpg, x.jpg and 1 more"),
        (["server"], "no such file or directory: server; did you mean pyraface servers?"),
        (["pairs", "attic"], "no such file or directory: pairs, attic; did you mean pyraface pair?"),
        (["paris"], "no such file or directory: paris"),
    ],
)
def test_a_path_that_does_not_exist_ends_the_run_before_anything_starts(
    tmp_path: Path, astronaut_jpeg: bytes, words: list[str], says: str
) -> None:
    (tmp_path / "a.jpg").write_bytes(astronaut_jpeg)
    done = pyraface("--output", "faces.jsonl", *words, cwd=tmp_path, PYTHONPATH=str(ROOT))
    if words[0] in ("server", "pairs"):
        done = pyraface(*words, cwd=tmp_path, PYTHONPATH=str(ROOT))
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"pyraface: {says}\n")
    assert sorted(os.listdir(tmp_path)) == ["a.jpg"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["server", "--json"], "did you mean pyraface servers?"),
        (["servers", "--output", "faces.jsonl"], "pyraface ./servers or pyraface detect servers"),
        (["servers", "photographs"], "pyraface ./servers or pyraface detect servers"),
        (["pair", "./photographs"], "pyraface ./pair or pyraface detect pair"),
        (["detect"], "pyraface ./detect or pyraface detect detect"),
    ],
)
def test_a_first_word_that_was_mistaken_for_another_is_named(
    tmp_path: Path, words: list[str], says: str
) -> None:
    for name in ("servers", "pair", "detect"):
        (tmp_path / name).mkdir()
    done = pyraface(*words, cwd=tmp_path, PYTHONPATH=str(ROOT))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("usage: pyraface")
    assert done.stderr.splitlines()[-1].endswith(says)


def test_a_subcommand_whose_arguments_fit_runs_though_a_path_has_its_name(tmp_path: Path) -> None:
    (tmp_path / "servers").mkdir()
    done = pyraface("servers", "--servers", "127.0.0.1:1", cwd=tmp_path, PYTHONPATH=str(ROOT))
    assert "none of these servers reports its status" in done.stderr
    done = pyraface("./servers", cwd=tmp_path, PYTHONPATH=str(ROOT))
    assert done.stderr.splitlines()[-1] == "pyraface: no image in ./servers"


@pytest.mark.parametrize(
    ("words", "paths", "output"),
    [
        (["a", "--output", "x", "b"], ["a", "b"], "x"),
        (["detect", "a", "-o", "x", "b"], ["a", "b"], "x"),
        (["-ox", "a", "--quiet", "b", "--", "--quiet", "-c"], ["a", "b", "--quiet", "-c"], "x"),
        (["-o", "x", "--", "-c"], ["-c"], "x"),
        (["--", "servers"], ["servers"], None),
    ],
)
def test_paths_stand_before_between_and_behind_the_options(
    words: list[str], paths: list[str], output: str | None
) -> None:
    options = parse(words)
    assert (options.paths, options.output) == (paths, output)


@pytest.mark.parametrize("option", ["--overwrite", "--retry-failed"])
def test_an_option_about_an_output_needs_one(option: str) -> None:
    done = pyraface(option, "README.md")
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(rf"pyraface: {option} .* name it with --output FILE.jsonl\n", done.stderr)


def test_a_full_disk_stops_the_run_with_one_line(folder: Path) -> None:
    done = pyraface("--servers", "local", "--quiet", "--output", "/dev/full", "--overwrite", folder)
    assert done.returncode == 2
    assert "/dev/full cannot be written: No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_output_may_be_a_pipe(folder: Path) -> None:
    done = pyraface("--servers", "local", "--output", "/dev/stdout", folder / "a.jpg")
    assert done.returncode == 0, done.stderr
    assert set(lines_of(done.stdout)) == {"a.jpg"}


@pytest.mark.parametrize("options", ["", "--output /dev/stdout"])
def test_a_reader_that_leaves_stops_the_run_quietly(folder: Path, options: str) -> None:
    words = f"'{sys.executable}' -m pyraface.client --quiet --servers local {options} '{folder / '2024'}'"
    done = subprocess.run(
        ["bash", "-c", f"{words} | true; exit ${{PIPESTATUS[0]}}"],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (141, "")


def test_without_an_image_no_server_is_looked_for_or_started(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    for servers in ("local", "auto", "127.0.0.1:1"):
        done = pyraface("--servers", servers, empty)
        assert (done.returncode, done.stdout) == (2, "")
        # after the name of the parameters file
        assert done.stderr.splitlines()[1:] == [f"pyraface: no image in {empty}"]


def test_a_reader_that_takes_nothing_keeps_it_neither_from_ending_nor_from_its_servers(
    tmp_path: Path,
) -> None:
    parameters, album = tmp_path / "hasty.xml", tmp_path / "album"
    parameters.write_text(parameters_xml(read_timeout=2))
    small_images(album, 400)  # whose lines do not fit in the pipe
    ours, theirs = os.pipe()
    with stub_daemon(tmp_path, seconds=0.0, idle_timeout=2) as server:
        words = ["--servers", f"127.0.0.1:{server.port}", "--parameters", str(parameters), str(album)]
        process = subprocess.Popen(
            [sys.executable, "-m", "pyraface.client", *words],
            cwd=ROOT,
            env=environment(),
            stdout=theirs,
            stderr=subprocess.PIPE,
            text=True,
        )
        os.close(theirs)
        try:
            # until nothing fits in any more, and for longer than anybody is patient
            filled, before = array.array("i", [0]), -1
            deadline = time.monotonic() + 60
            changed = time.monotonic()
            while filled[0] < 32_000 or time.monotonic() - changed < 3:
                assert process.poll() is None
                assert time.monotonic() < deadline
                if filled[0] != before:
                    before, changed = filled[0], time.monotonic()
                time.sleep(0.02)
                fcntl.ioctl(ours, termios.FIONREAD, filled)
            process.send_signal(signal.SIGTERM)
            assert process.stderr is not None
            said = ""
            while "a second interrupt" not in said:
                line = process.stderr.readline()
                assert line, said
                said += line
            process.send_signal(signal.SIGTERM)
            said += process.communicate(timeout=30)[1]
        finally:
            process.kill()
            process.communicate()
            os.close(ours)
    assert process.returncode == 130
    assert "interrupted: " in said
    assert "lost" not in said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupt_keeps_what_is_done_and_leaves_no_process(
    tmp_path: Path, astronaut_jpeg: bytes, number: signal.Signals
) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for index in range(300):
        (folder / f"{index}.jpg").write_bytes(astronaut_jpeg)
    output = tmp_path / "faces.jsonl"
    process = subprocess.Popen(
        [sys.executable, "-m", "pyraface.client", "--servers", "local", "--output", str(output), str(folder)],
        cwd=ROOT,
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for_lines(process, output, 8)
    children = psutil.Process(process.pid).children(recursive=True)
    assert children
    process.send_signal(number)
    _, words = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "interrupted: " in words
    assert "resume with: pyraface " in words
    assert "Traceback" not in words
    assert not still_running(children)
    assert 0 < len(lines_of(output.read_text())) < 300


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_a_signal_that_the_starter_ignores_stays_ignored(tmp_path: Path, number: signal.Signals) -> None:
    output, album = tmp_path / "faces.jsonl", tmp_path / "album"
    small_images(album, 40)
    with stub_daemon(tmp_path, seconds=0.1) as server:
        words = f"-m pyraface.client --servers 127.0.0.1:{server.port} --output '{output}' '{album}'"
        process = subprocess.Popen(
            ["sh", "-c", f"trap '' {number.name[3:]}; exec '{sys.executable}' {words}"],
            cwd=ROOT,
            env=environment(),
            stderr=subprocess.PIPE,
            text=True,
        )
        wait_for_lines(process, output)
        process.send_signal(number)
        said = process.communicate(timeout=60)[1]
    assert process.returncode == 0, said
    assert len(output.read_text().splitlines()) == 40


def test_a_server_is_not_blamed_for_the_time_in_which_the_client_itself_was_stopped(tmp_path: Path) -> None:
    parameters, output = tmp_path / "impatient.xml", tmp_path / "faces.jsonl"
    parameters.write_text(parameters_xml(read_timeout=2))
    album = tmp_path / "album"
    small_images(album, 60)
    with stub_daemon(tmp_path, seconds=0.05) as server:
        words = [
            "--servers",
            f"127.0.0.1:{server.port}",
            "--parameters",
            str(parameters),
            "--output",
            str(output),
        ]
        process = subprocess.Popen(
            [sys.executable, "-m", "pyraface.client", *words, str(album)],
            cwd=ROOT,
            env=environment(),
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            wait_for_lines(process, output)
            process.send_signal(signal.SIGSTOP)  # Ctrl-Z
            left = 60 - output.read_bytes().count(b"\n")
            time.sleep(2.5)  # longer than read_timeout
            process.send_signal(signal.SIGCONT)
            said = process.communicate(timeout=120)[1]
        finally:
            process.kill()
            process.communicate()
    assert left
    assert "lost" not in said
    assert (process.returncode, len(output.read_text().splitlines())) == (0, 60)


def test_a_killed_client_takes_its_daemon_with_it(tmp_path: Path, astronaut_jpeg: bytes) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for index in range(200):
        (folder / f"{index}.jpg").write_bytes(astronaut_jpeg)
    process = subprocess.Popen(
        [sys.executable, "-m", "pyraface.client", "--servers", "local", "--quiet", str(folder)],
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.readline()
    children = psutil.Process(process.pid).children(recursive=True)
    assert len(children) == 2
    process.kill()
    process.wait()
    process.stdout.close()
    assert not still_running(children)


def test_the_smallest_face_wanted_reaches_the_server_and_its_cost_is_said(
    tmp_path: Path, astronaut: np.ndarray
) -> None:
    file = tmp_path / "small.png"
    Image.fromarray(astronaut).resize((128, 128)).save(file)  # a face of 22 px
    with daemon(tmp_path) as server:
        place = f"127.0.0.1:{server.port}"
        assert lines_of(pyraface("--servers", place, file).stdout)["small.png"]["faces"] == []
        done = pyraface("--servers", place, "--faces-from", "20", file)
        little = pyraface("--servers", place, "--faces-from", "1000", file).stderr
    assert len(lines_of(done.stdout)["small.png"]["faces"]) == 1  # type: ignore[arg-type]
    assert re.search(
        r"faces from 20 px: a photograph of 4000 x 3000 pixels takes \d+ tiles, [\d.]+ megapixels in all, "
        r"([\d.]+ times|\d+% of) the default",
        done.stderr,
    )
    assert re.search(
        r"takes 1 tile, 0\.0\d*[1-9]\d* megapixels in all, less than 1% of the default\n", little
    )


@pytest.mark.parametrize("pixels", ["4", "1001", "-20", "20.5", "many", "5" * 5000, "\u0662\u0660"])
def test_a_smallest_face_that_cannot_be_is_refused(pixels: str) -> None:
    done = pyraface(f"--faces-from={pixels}", ".")
    assert done.returncode == 2
    assert "takes 5 to 1000 pixels" in done.stderr


def test_parameters_reach_the_child_daemon(tmp_path: Path, folder: Path) -> None:
    file = tmp_path / "mine.xml"
    file.write_text(parameters_xml(max_pixels=1000))
    done = pyraface("--servers", "local", "--parameters", file, folder / "a.jpg")
    assert done.returncode == 1
    assert lines_of(done.stdout)["a.jpg"]["error"]["code"] == "image-too-large"  # type: ignore[index]
