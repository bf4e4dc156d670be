"""pyraface -: an image on standard input, from a pipe or a file, with paths beside it, resumed, missing, endless."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.output_lines import checked
from tests.stub_daemon import stub_daemon
from tests.support import ROOT, DaemonProcess, daemon, environment, parameters_xml

MOST = 1 << 20
"""Bytes that the parameters of these tests allow for an image."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    with stub_daemon(tmp_path_factory.mktemp("server"), seconds=0.0) as server:
        yield server


@pytest.fixture
def words(tmp_path: Path, server: DaemonProcess) -> list[str]:
    """The command, as far as all of these tests have it."""
    file = tmp_path / "small.xml"
    file.write_text(parameters_xml(max_frame_bytes=MOST))
    servers = f"127.0.0.1:{server.port}"
    return [sys.executable, "-m", "pyraface.client", "--servers", servers, "--parameters", str(file)]


def run(words: list[str], *more: object, **streams: Any) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*words, *map(str, more)],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        timeout=90,
        check=False,
        **streams,
    )


def lines(output: bytes) -> list[dict[str, Any]]:
    return checked(output)


def test_the_image_of_a_pipe_is_searched_as_the_file_is(tmp_path: Path, astronaut_jpeg: bytes) -> None:
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(astronaut_jpeg)
    with daemon(tmp_path) as real:
        command = [sys.executable, "-m", "pyraface.client", "--servers", f"127.0.0.1:{real.port}"]
        [of_a_pipe] = lines(run(command, "-", input=astronaut_jpeg).stdout)
        [of_the_file] = lines(run(command, photo).stdout)
        with photo.open("rb") as redirected:
            [of_a_redirection] = lines(run(command, "-", stdin=redirected).stdout)
    assert len(of_the_file["faces"]) == 1
    for line in (of_a_pipe, of_a_redirection):
        assert (line["path"], line["modified"]) == ("-", None)
        assert line["faces"] == of_the_file["faces"]
        assert (line["digest"], line["size"]) == (of_the_file["digest"], of_the_file["size"])


def test_it_stands_beside_paths_and_counts_once(
    tmp_path: Path, words: list[str], astronaut_jpeg: bytes
) -> None:
    album = tmp_path / "album"
    album.mkdir()
    (album / "one.jpg").write_bytes(astronaut_jpeg + b"one")
    done = run(words, "-", album, "-", input=astronaut_jpeg)
    assert done.returncode == 0, done.stderr
    assert sorted(line["path"] for line in lines(done.stdout)) == ["-", str(album / "one.jpg")]
    assert b"2 images" in done.stderr


def test_a_file_of_that_name_is_reached_by_a_path(
    tmp_path: Path, words: list[str], astronaut_jpeg: bytes
) -> None:
    (tmp_path / "-").write_bytes(astronaut_jpeg)
    done = run(words, tmp_path / "-", stdin=subprocess.DEVNULL)
    assert [line["path"] for line in lines(done.stdout)] == [str(tmp_path / "-")]


def test_an_image_that_is_recorded_is_not_sent_again_and_another_takes_its_line(
    tmp_path: Path, words: list[str], astronaut_jpeg: bytes
) -> None:
    output = tmp_path / "faces.jsonl"
    for image, says in (
        (astronaut_jpeg, b"1 image, "),
        (astronaut_jpeg, b"0 images, "),
        (astronaut_jpeg + b"2", b"1 image, "),
    ):
        done = run(words, "-", "--output", output, input=image)
        assert done.returncode == 0, done.stderr
        assert says in done.stderr.splitlines()[-1]
        [line] = lines(output.read_bytes())
        assert (line["path"], line["size"]) == ("-", len(image))


@pytest.mark.parametrize(
    ("image", "code", "says"),
    [
        (b"", "unreadable", "standard input is empty"),
        (bytes(MOST + 1), "frame-too-large", f"more than {MOST} bytes"),
        (b"no image", "not-an-image", ""),
    ],
    ids=["empty", "too large", "no image"],
)
def test_input_that_is_no_image_is_the_error_of_its_line(
    words: list[str], image: bytes, code: str, says: str
) -> None:
    done = run(words, "-", input=image)
    [line] = lines(done.stdout)
    assert (done.returncode, line["path"], line["error"]["code"]) == (1, "-", code)
    assert says in line["error"]["message"]


def test_endless_input_is_read_to_the_limit_and_no_further(words: list[str]) -> None:
    with Path("/dev/zero").open("rb") as endless:
        done = run(words, "-", stdin=endless)
    assert lines(done.stdout)[0]["error"]["code"] == "frame-too-large"


def test_closed_input_is_empty(words: list[str]) -> None:
    def close() -> None:
        os.close(0)

    done = run(words, "-", preexec_fn=close)
    assert "standard input is empty" in lines(done.stdout)[0]["error"]["message"]


def test_a_terminal_is_refused_with_the_way_to_send_an_image(words: list[str]) -> None:
    ours, theirs = pty.openpty()
    try:
        done = run(words, "-", stdin=theirs)
    finally:
        os.close(ours)
        os.close(theirs)
    assert (done.returncode, done.stdout) == (2, b"")
    assert (
        b"pyraface: -: standard input is a terminal; send it an image: pyraface - < photo.jpg" in done.stderr
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_sender_that_sends_nothing_does_not_keep_a_run_from_ending(
    words: list[str], number: signal.Signals, astronaut_jpeg: bytes, tmp_path: Path
) -> None:
    (tmp_path / "photo.jpg").write_bytes(astronaut_jpeg)
    process = subprocess.Popen(
        [*words, "-", str(tmp_path / "photo.jpg")],
        cwd=ROOT,
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with process:
        try:
            assert process.stdout is not None
            # the other image is done meanwhile
            assert json.loads(process.stdout.readline())["path"] == str(tmp_path / "photo.jpg")
            process.send_signal(number)
            assert process.wait(30) == 130
            assert process.stderr is not None
            assert b"interrupted: 1 image" in process.stderr.read()
        finally:
            process.kill()
