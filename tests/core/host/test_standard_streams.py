"""Notices that a reader does not take."""

from __future__ import annotations

import array
import fcntl
import io
import os
import select
import termios
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyraface.core.host import standard_streams
from pyraface.core.host.standard_streams import MOST_WAITING, NoticeStream

PIPE = 1 << 16
"""Bytes that a pipe holds."""

FULL = PIPE // 4096 * 4000
"""Bytes of lines of 100 bytes that it holds: none of them is divided between two pages."""


@pytest.fixture
def pipe() -> Iterator[tuple[int, NoticeStream]]:
    """The end of a pipe for reading, and notices that go into it."""
    ours, theirs = os.pipe()
    with open(theirs, "w", encoding="ascii") as stream:
        notices = NoticeStream(stream)
        yield ours, notices
        os.close(ours)
        notices.end()


def taken(ours: int, until: bytes) -> bytes:
    text = b""
    while until not in text:
        text += os.read(ours, 1 << 16)
    return text


def test_notices_without_a_reader_are_dropped_by_whole_lines_and_counted(
    pipe: tuple[int, NoticeStream],
) -> None:
    ours, notices = pipe
    lines = [f"{number:06} {'x' * 92}\n" for number in range(9000)]
    full = array.array("i", [0])
    for number, line in enumerate(lines):
        notices.write(line[:50])
        notices.write(line[50:])
        while number == PIPE // 100 and full[0] < FULL:  # until the thread waits for the reader
            time.sleep(0.01)
            fcntl.ioctl(ours, termios.FIONREAD, full)
    assert notices.behind
    read = b""
    while notices.behind:  # which it may be for a moment when all has been read
        if select.select([ours], [], [], 0.01)[0]:
            read += os.read(ours, PIPE)
    notices.write("again\n")
    read += taken(ours, b"again\n")
    *kept, counted, last = read.decode().splitlines(keepends=True)
    assert kept == lines[: len(kept)]
    assert abs(sum(map(len, kept)) - FULL - MOST_WAITING) <= 200
    dropped = 9000 - len(kept)
    assert (counted, last) == (
        f"({dropped} lines dropped before this one: not read in time)\n",
        "again\n",
    )


def test_the_beginning_of_a_line_is_shown_when_it_is_flushed(pipe: tuple[int, NoticeStream]) -> None:
    ours, notices = pipe
    print("code: ", end="", file=notices, flush=True)
    assert os.read(ours, 100) == b"code: "


def test_the_end_waits_for_a_slow_reader_and_not_for_one_that_reads_nothing(
    pipe: tuple[int, NoticeStream], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, notices = pipe
    monkeypatch.setattr(standard_streams, "END_PATIENCE", 0.3)
    for _ in range(12):
        notices.write("x" * 9999 + "\n")
    began = time.monotonic()
    notices.end()
    assert 0.2 < time.monotonic() - began < 2
    assert notices.behind

    def read_slowly() -> None:
        while notices.behind:
            time.sleep(0.05)
            os.read(ours, 1 << 14)

    reader = threading.Thread(target=read_slowly)
    reader.start()
    notices.end()
    assert not notices.behind
    notices.write("\n")  # in case the last of it was read before the reader looked
    reader.join(5)


def test_a_character_that_the_encoding_does_not_have_is_shown_as_its_escape(
    pipe: tuple[int, NoticeStream],
) -> None:
    ours, notices = pipe
    notices.write("Küche\n")
    assert os.read(ours, 100) == b"K\\xfcche\n"


def test_where_no_thread_can_be_started_notices_are_written_at_once(
    pipe: tuple[int, NoticeStream], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, notices = pipe

    def refuse(_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    notices.write("one\n")
    notices.write("two\n")
    assert os.read(ours, 100) == b"one\ntwo\n"


def test_a_regular_file_has_every_line_at_once(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as stream:
        notices = NoticeStream(stream)
        for number in range(10):
            notices.write(f"{number}\n")
            assert (tmp_path / "log").read_text().endswith(f"{number}\n")
        assert not notices.behind


def test_a_reader_that_is_gone_is_no_error() -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    with open(theirs, "w") as stream:
        notices = NoticeStream(stream)
        for number in range(10):
            notices.write(f"{number}\n")
        notices.end()
        assert not notices.behind


def test_a_stream_in_memory_is_left_as_it_is_and_a_closed_one_takes_everything() -> None:
    memory = io.StringIO()
    assert standard_streams.notices(memory) is memory
    with standard_streams.notices(None) as nothing:
        assert nothing.write("\udc80\n") == 2
