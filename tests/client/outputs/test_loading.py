"""Loading: a broken line is named with its number, and --repair moves it, and nothing else, without losing a byte."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pyraface.client.outputs import loading
from pyraface.core.errors import OutputError
from tests.client.outputs.archive import Archive
from tests.client.outputs.test_journal import small_disk

NAMES = [f"{number}.jpg" for number in range(5)]

BROKEN: dict[str, Callable[[bytes], bytes]] = {
    "another program's": lambda _: b"hello\n",
    "empty": lambda _: b"\n",
    "cut off": lambda line: line[:300] + b"\n",
    "without its beginning": lambda line: line[300:],
    "two in one": lambda line: line[:-1] + line,
    "two, the first cut off": lambda line: line[:700] + line,
    "cut off behind a face": lambda line: line[: line.rindex(b"}]}") + 1] + b"\n",
    "not UTF-8": lambda line: line.replace(b'"server":"attic"', b'"server":"\xff"'),
    "without a path": lambda line: line.replace(b'"path":"', b'"path":null,"p":"'),
    "path_bytes that are none": lambda line: line.replace(b'"path_bytes":null', b'"path_bytes":"?"'),
    "without faces and error": lambda line: line.replace(b'"faces"', b'"face"'),
}
"""Lines that a run notices."""

DAMAGED: dict[str, Callable[[bytes], bytes]] = {
    "a number": lambda line: line.replace(b'"encoding":[', b'"encoding":[x'),
    "a key of a face": lambda line: line.replace(b'"encoding"', b'"encodinh"'),
    "a box": lambda line: line.replace(b'"box":{', b'"bux":{'),
    "faces that are none": lambda line: line.replace(b'"faces":[', b'"faces":[3,'),
}
"""Lines whose head can be read."""


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    """Five images with a line each."""
    archive = Archive(tmp_path)
    for name in NAMES:
        archive.photo(name)
    archive.run()
    return archive


def break_lines(archive: Archive, how: Callable[[bytes], bytes], *numbers: int) -> list[bytes]:
    """Breaks lines of the output; returns what stands in their places."""
    lines = archive.output.read_bytes().splitlines(keepends=True)
    for number in numbers:
        changed = how(lines[number])
        assert changed != lines[number]
        lines[number] = changed
    archive.output.write_bytes(b"".join(lines))
    return [lines[number] for number in numbers]


def moved(archive: Archive) -> bytes:
    """What FILE.broken holds."""
    path = archive.output.with_name("faces.jsonl.broken")
    return path.read_bytes() if path.exists() else b""


@pytest.mark.parametrize("how", BROKEN)
@pytest.mark.parametrize("number", [0, 2, 4])
def test_a_broken_line_is_named_and_moved_and_the_others_stand(
    archive: Archive, how: str, number: int
) -> None:
    (broken,) = break_lines(archive, BROKEN[how], number)
    before = archive.output.read_bytes()
    with pytest.raises(OutputError) as error:
        archive.run()
    assert f"faces.jsonl: line {number + 1} was not written by pyraface (" in str(error.value)
    assert f"move what is broken to {archive.output}.broken with --repair" in str(error.value)
    assert archive.output.read_bytes() == before
    assert archive.run(repair=True) == [f"{number}.jpg"]
    assert archive.moved == [f"1 broken line moved to {archive.output}.broken"]
    assert moved(archive) == broken
    assert set(archive.lines()) == set(NAMES)


@pytest.mark.parametrize("how", DAMAGED)
def test_a_line_whose_faces_are_damaged_is_found_by_repair(archive: Archive, how: str) -> None:
    (broken,) = break_lines(archive, DAMAGED[how], 3)
    assert archive.run(repair=True) == ["3.jpg"]
    assert moved(archive) == broken
    assert set(archive.lines()) == set(NAMES)


def test_several_broken_lines_are_moved_in_their_order_behind_those_of_an_earlier_run(
    archive: Archive,
) -> None:
    first = break_lines(archive, BROKEN["cut off"], 0, 1, 3)
    assert archive.run(repair=True) == ["0.jpg", "1.jpg", "3.jpg"]
    assert archive.moved == [f"3 broken lines moved to {archive.output}.broken"]
    second = break_lines(archive, BROKEN["another program's"], 4)
    archive.run(repair=True)
    assert moved(archive) == b"".join(first + second)


def test_without_broken_lines_repair_changes_nothing(archive: Archive) -> None:
    before = archive.output.read_bytes()
    assert archive.run(repair=True) == []
    assert archive.moved == []
    assert archive.output.read_bytes() == before
    assert not moved(archive)


def test_what_a_kill_or_a_power_cut_left_is_dropped_as_without_repair(archive: Archive) -> None:
    lines = archive.output.read_bytes().splitlines(keepends=True)
    cut = lines[1][:300] + bytes(200) + b"\n"
    archive.output.write_bytes(lines[0] + cut + b"".join(lines[2:]) + lines[1][:200])
    assert archive.run(repair=True) == ["1.jpg"]
    assert not moved(archive)
    assert set(archive.lines()) == set(NAMES)


def test_an_incomplete_last_line_that_is_none_of_pyraface_is_moved(archive: Archive) -> None:
    archive.output.write_bytes(archive.output.read_bytes() + b"half of a note")
    assert archive.run(repair=True) == []
    assert moved(archive) == b"half of a note"


def test_a_line_that_is_too_long_is_moved_whole(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "MAX_LINE_BYTES", 10_000)
    for long in (b"x" * 35_000 + b"\n", b"x" * 20_000, b"x" * 35_000):
        before, whole = moved(archive), archive.output.read_bytes()
        archive.output.write_bytes(whole + long)
        assert archive.run(repair=True) == []
        assert archive.moved == [f"1 broken line moved to {archive.output}.broken"]
        assert moved(archive)[len(before) :].strip(b"\n") == long.strip(b"\n")
        assert archive.output.read_bytes() == whole


@pytest.mark.parametrize(
    "content", [b"a shopping list\nwith two lines\n", b"\x89PNG\r\n\x1a\n" + bytes(100), b"[]"]
)
def test_nothing_of_a_file_of_others_is_moved(archive: Archive, content: bytes) -> None:
    archive.output.write_bytes(content)
    with pytest.raises(
        OutputError, match=r"no line was written by pyraface, so nothing is moved.*--overwrite"
    ):
        archive.run(repair=True)
    assert archive.output.read_bytes() == content
    assert sorted(os.listdir(archive.output.parent)) == ["faces.jsonl", "photographs"]


def test_a_half_written_line_of_a_killed_repair_stays_apart(archive: Archive) -> None:
    (broken,) = break_lines(archive, BROKEN["cut off"], 1)
    archive.output.with_name("faces.jsonl.broken").write_bytes(broken[:100])
    archive.run(repair=True)
    assert moved(archive) == broken[:100] + b"\n" + broken


def test_a_full_disk_moves_nothing(archive: Archive) -> None:
    break_lines(archive, BROKEN["cut off"], *range(1, 5))
    before = archive.output.read_bytes()
    with (
        pytest.raises(
            OutputError, match=r"faces\.jsonl\.broken cannot be written: File too large; nothing was moved"
        ),
        small_disk(700),
    ):
        archive.run(repair=True)
    assert archive.output.read_bytes() == before
    assert not moved(archive)
    assert len(archive.run(repair=True)) == 4


def test_a_place_where_nothing_can_be_moved_to_is_named(archive: Archive) -> None:
    break_lines(archive, BROKEN["cut off"], 1)
    archive.output.with_name("faces.jsonl.broken").mkdir()
    before = archive.output.read_bytes()
    with pytest.raises(OutputError, match=r"faces\.jsonl\.broken cannot be written: Is a directory"):
        archive.run(repair=True)
    assert archive.output.read_bytes() == before
