"""client/inputs/headers.py: a header says the size of a photograph, or the error that it will have."""

from __future__ import annotations

import fcntl
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from pyraface.client.inputs import headers as module
from pyraface.client.inputs.headers import Header, Limits, header_of, headers

LIMITS = Limits(file_bytes=20_000, pixels=10_000, side=500)


@pytest.fixture
def photograph(tmp_path: Path) -> Path:
    path = tmp_path / "photo.jpg"
    Image.new("RGB", (90, 60)).save(path)
    return path


def test_a_photograph_has_its_pixels(photograph: Path) -> None:
    assert header_of(str(photograph), LIMITS) == Header(str(photograph), 5400)


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (Limits(100, 10_000, 500), r"more than 100 bytes .*max_frame_bytes\)"),
        (Limits(20_000, 5399, 500), r"more than 5399 pixels .*max_pixels\)"),
        (Limits(20_000, 10_000, 89), r"a side of more than 89 pixels .*max_side\)"),
    ],
)
def test_what_is_too_large_is_said_with_its_limit(photograph: Path, limits: Limits, words: str) -> None:
    found = header_of(str(photograph), limits)
    assert found.pixels is None
    assert re.fullmatch(words, found.problem)


def test_other_files_have_the_reason_for_their_error(tmp_path: Path) -> None:
    contents = {
        "text.jpg": (b"no image", "not an image"),
        "empty.jpg": (b"", "the file is empty"),
        "film.jpg": (b"\0\0\0\x18ftypmp42", None),
        "layers.psd": (b"8BPS\0\1" + bytes(20), "Photoshop is not read: save it as JPEG, PNG or TIFF"),
    }
    for name, (content, problem) in contents.items():
        (tmp_path / name).write_bytes(content)
        found = header_of(str(tmp_path / name), LIMITS)
        assert found.problem
        if problem is not None:
            assert found.problem == problem


def test_a_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    assert header_of(str(tmp_path / "pipe.jpg"), LIMITS).problem == "no regular file"
    assert "No such file" in header_of(str(tmp_path / "gone.jpg"), LIMITS).problem
    assert header_of("a\0b", LIMITS).problem.startswith("cannot be read")


def test_a_header_that_is_cut_off_is_a_photograph_of_unknown_size(photograph: Path) -> None:
    data = photograph.read_bytes()
    photograph.write_bytes(data[:100])
    assert header_of(str(photograph), LIMITS) == Header(str(photograph))


def test_a_file_that_another_program_keeps_for_itself_is_not_waited_for(photograph: Path) -> None:
    holder = os.open(photograph, os.O_RDWR)
    try:
        fcntl.fcntl(holder, fcntl.F_SETLEASE, fcntl.F_WRLCK)
    except OSError as error:
        os.close(holder)
        pytest.skip(f"no leases here: {error}")
    try:
        fcntl.fcntl(holder, fcntl.F_SETSIG, signal.SIGURG)  # which is ignored
        assert header_of(str(photograph), LIMITS) == Header(str(photograph))
    finally:
        os.close(holder)


def test_the_headers_come_in_the_order_of_the_paths_and_few_at_a_time(
    photograph: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STRETCH", 50)
    taken = 0

    def paths() -> Iterator[str]:
        nonlocal taken
        for number in range(1000):
            taken += 1
            yield str(photograph) if number % 3 else f"gone {number}"

    found = headers(paths(), LIMITS)
    first = next(found)
    assert first.path == "gone 0"
    assert taken <= 51
    rest = list(found)
    assert [header.path for header in rest[:3]] == [str(photograph), str(photograph), "gone 3"]
    assert len(rest) == 999
    assert sum(header.pixels == 5400 for header in rest) == 666


def test_an_error_of_the_program_loses_no_file_silently(
    photograph: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(path: str, _: Limits) -> Header:
        raise RuntimeError(path)

    monkeypatch.setattr(module, "header_of", broken)
    with pytest.raises(RuntimeError, match=r"photo\.jpg"):
        list(headers([str(photograph)], LIMITS))
