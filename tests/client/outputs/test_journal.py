"""The output file: whole lines whatever happens, resumed by a later run, and in the end each image exactly once."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pyraface.client.inputs.file_reader import digest_of
from pyraface.client.outputs import journal as module
from pyraface.client.outputs import loading
from pyraface.client.outputs.journal import Journal
from pyraface.core.errors import ErrorCode, OutputError
from pyraface.core.pages import Page
from pyraface.core.protocol.messages import Failed, Found
from pyraface.core.results import Result
from tests.client.outputs.archive import (
    DLIB,
    ONNX,
    OTHER,
    OURS,
    Archive,
    about,
    faces,
    failed,
    found,
    read,
    unreadable,
)
from tests.output_lines import name_of


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(tmp_path)


def test_what_is_done_and_has_not_changed_is_not_done_again(archive: Archive) -> None:
    archive.photo("a.jpg")
    archive.photo("b.jpg")
    assert archive.run() == ["a.jpg", "b.jpg"]
    before = archive.output.read_bytes()
    assert archive.words() == [f"resuming {archive.output}: 2 images done"]
    assert archive.run() == []
    assert archive.output.read_bytes() == before
    archive.photo("c.jpg")
    assert archive.run() == ["c.jpg"]
    assert set(archive.lines()) == {"a.jpg", "b.jpg", "c.jpg"}


def test_a_path_is_the_same_however_it_is_written(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    archive.photo("a.jpg")
    archive.run()
    monkeypatch.chdir(archive.folder)
    with Journal(str(archive.output)) as journal:
        journal.load()
        journal.begin({OURS})
        assert journal.has("a.jpg")
        assert journal.has("./a.jpg")
        assert journal.has("../photographs//a.jpg")
        assert not journal.has("b.jpg")


def test_a_changed_file_is_done_again_and_its_old_line_goes(archive: Archive) -> None:
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        archive.photo(name)
    archive.run()
    archive.photo("b.jpg", "another picture")
    old = os.stat(archive.folder / "c.jpg")
    archive.photo("c.jpg", "C.JPG")  # as long as before
    os.utime(archive.folder / "c.jpg", ns=(old.st_atime_ns, old.st_mtime_ns + 1))
    assert archive.run() == ["b.jpg", "c.jpg"]
    assert archive.lines()["b.jpg"]["digest"] == digest_of(b"another picture")
    assert archive.lines()["c.jpg"]["digest"] == digest_of(b"C.JPG")


def test_a_file_that_was_only_touched_goes_to_no_server(archive: Archive) -> None:
    path = archive.photo("a.jpg")
    archive.run()
    before = archive.lines()["a.jpg"]
    os.utime(path, ns=(7, 7))
    with Journal(str(archive.output)) as journal:
        journal.load()
        journal.begin({OURS})
        assert not journal.has(str(path))
        assert journal.repeat(read(path))
        assert (journal.known, journal.repeated) == (1, 0)
        journal.finish()
    assert archive.lines()["a.jpg"] == {**before, "modified": 7}


@pytest.mark.parametrize(
    "year", [1905, 1955, 1969, 1970, 2038, 2250, 2300, 2446], ids=lambda year: f"of {year}"
)
def test_a_file_of_any_time_is_not_read_again(year: int, archive: Archive) -> None:
    path = archive.photo("a.jpg")
    time = (year - 1970) * 31_556_952 * 10**9 + 123_456_789
    os.utime(path, ns=(time, time))
    if path.stat().st_mtime_ns != time:
        pytest.skip(f"this file system keeps no time in {year}")
    archive.run()
    assert archive.lines()["a.jpg"]["modified"] == min(time, 2**63 - 1)
    with Journal(str(archive.output)) as journal:
        journal.load()
        journal.begin({OURS})
        assert journal.has(str(path))
        os.utime(path, ns=(time + 1, time + 1))
        assert journal.has(str(path)) == (time >= 2**63)


def test_a_renamed_file_takes_its_line_along(archive: Archive) -> None:
    archive.photo("a.jpg")
    archive.photo("b.jpg")
    archive.run(lambda path: found(path, count=2))
    before = archive.lines()["a.jpg"]
    (archive.folder / "a.jpg").rename(archive.folder / "z.jpg")
    assert archive.run() == []
    after = archive.lines()
    assert set(after) == {"b.jpg", "z.jpg"}
    assert after["z.jpg"] == {**before, "path": str(archive.folder / "z.jpg")}
    assert list(after["z.jpg"]) == list(before)


def test_a_renamed_file_has_one_line_in_the_end_even_if_the_run_was_killed(archive: Archive) -> None:
    archive.photo("a.jpg")
    archive.run()
    (archive.folder / "a.jpg").rename(archive.folder / "z.jpg")
    assert archive.run(finish=False) == []
    assert len(archive.output.read_bytes().splitlines()) == 2
    assert archive.run() == []
    assert set(archive.lines()) == {"z.jpg"}


def test_copies_are_images_of_their_own(archive: Archive) -> None:
    archive.photo("a.jpg", "same")
    archive.run()
    archive.photo("b.jpg", "same")
    archive.photo("c.jpg", "same")
    assert archive.run() == []
    assert set(archive.lines()) == {"a.jpg", "b.jpg", "c.jpg"}
    assert archive.lines()["b.jpg"]["faces"] == archive.lines()["a.jpg"]["faces"]
    (archive.folder / "a.jpg").unlink()
    archive.run()
    assert set(archive.lines()) == {"b.jpg", "c.jpg"}


def test_the_line_of_a_copy_that_this_run_did_not_look_at_stays(archive: Archive, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere.jpg"
    elsewhere.write_text("same")
    with Journal(str(archive.output)) as journal:
        journal.load()
        journal.begin({OURS})
        journal.write(found(elsewhere))
    archive.photo("a.jpg", "same")
    assert archive.run() == []
    assert set(archive.lines()) == {"a.jpg", "elsewhere.jpg"}


def test_the_line_of_a_file_that_is_gone_stays(archive: Archive) -> None:
    archive.photo("a.jpg", "same")
    archive.photo("b.jpg", "same")
    archive.photo("c.jpg")
    archive.run()
    before = archive.output.read_bytes()
    for path in archive.folder.iterdir():
        path.unlink()
    archive.run()
    assert archive.output.read_bytes() == before


def test_other_parameters_do_all_again_and_that_is_said(archive: Archive) -> None:
    archive.photo("a.jpg")
    archive.photo("b.jpg")
    archive.photo("c.jpg")
    archive.run(lambda path: found(path, OTHER if path.name == "b.jpg" else OURS))
    first, second = archive.words()
    assert first.endswith("2 images done")
    assert second == "1 image recorded with another search or other parameters: processed again"
    assert archive.run(fingerprints=(OURS, OTHER)) == []
    assert archive.summary == ""
    assert archive.run() == ["b.jpg"]
    assert archive.summary == "1 done again: 1 recorded with another search or other parameters"
    assert {line["fingerprint"] for line in archive.lines().values()} == {OURS}


def by_both(path: Path) -> Result:
    """a.jpg and b.jpg done by dlib, the others by onnx."""
    return found(path, computed_by=DLIB if path.name in ("a.jpg", "b.jpg") else ONNX)


def test_another_engine_device_or_version_does_nothing_again(archive: Archive) -> None:
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        archive.photo(name)
    archive.run(by_both)
    before = archive.output.read_bytes()
    assert archive.words() == [f"resuming {archive.output}: 3 images done"]
    assert archive.run() == []
    assert archive.output.read_bytes() == before
    assert [line["computed_by"] for line in archive.lines().values()] == [
        DLIB.as_json(),
        DLIB.as_json(),
        ONNX.as_json(),
    ]


@pytest.mark.parametrize("value", ["dlib", "DLIB", "cuda", "Orin", "cuda, Orin", "dlib 19.24.6"])
def test_the_results_of_an_engine_a_device_or_a_version_are_done_again_when_that_is_asked_for(
    archive: Archive, value: str
) -> None:
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        archive.photo(name)
    archive.run(by_both)
    kept = archive.lines()["c.jpg"]
    first, second = archive.words(redo_from=(value,))
    assert first.endswith(": 1 image done")
    assert second == f"2 images computed by {value}: processed again"
    assert archive.run(redo_from=(value,)) == ["a.jpg", "b.jpg"]
    assert archive.summary == f"2 done again: 2 computed by {value}"
    assert {json.dumps(line["computed_by"]) for line in archive.lines().values()} == {
        json.dumps(ONNX.as_json())
    }
    assert archive.lines()["c.jpg"] == kept


def test_several_values_are_all_done_again(archive: Archive) -> None:
    archive.photo("a.jpg")
    archive.photo("c.jpg")
    archive.run(by_both)
    assert archive.run(redo_from=("dlib", "int8")) == ["a.jpg", "c.jpg"]
    assert archive.summary == "2 done again: 2 computed by dlib or int8"


@pytest.mark.parametrize("value", ["dlip", "19.24", "dlib 19", "0.1", "", "cpu,", "onnxruntime"])
def test_a_value_in_no_line_is_an_error_that_names_the_values_in_the_lines(
    archive: Archive, value: str
) -> None:
    archive.photo("a.jpg")
    archive.run(by_both)
    before = archive.output.read_bytes()
    with pytest.raises(OutputError) as error:
        archive.run(redo_from=("dlib", value))
    assert str(error.value) == (
        f"--redo-from {value}: no line of {archive.output} has this engine, device or version; its lines have: "
        "dlib; cuda, Orin; 0.1.0, dlib 19.24.6. Leave --redo-from out to resume"
    )
    assert archive.output.read_bytes() == before


def test_a_redo_that_was_interrupted_goes_on_with_the_rest(archive: Archive) -> None:
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        archive.photo(name)
    archive.run(by_both)

    def broken(path: Path) -> Result:
        if path.name == "b.jpg":
            raise KeyboardInterrupt
        return found(path)

    with pytest.raises(KeyboardInterrupt):
        archive.run(broken, redo_from=("dlib",))
    assert archive.run(redo_from=("dlib",)) == ["b.jpg"]
    assert {line["computed_by"]["engine"] for line in archive.lines().values()} == {"onnx"}  # type: ignore[index]


def test_a_server_that_fails_at_a_redo_leaves_the_faces_there_were(archive: Archive) -> None:
    archive.photo("a.jpg")
    archive.run(by_both)
    before = archive.output.read_bytes()
    slow = Failed.because(1, ErrorCode.TOO_SLOW, "not done")
    run = archive.run(lambda path: about(path).answered("attic", OURS, ONNX, slow), redo_from=("dlib",))
    assert run == ["a.jpg"]
    assert archive.output.read_bytes() == before
    assert archive.summary == ""


def test_the_copy_of_a_line_says_what_computed_it_and_is_not_taken_where_that_is_redone(
    archive: Archive,
) -> None:
    archive.photo("a.jpg")
    archive.run(by_both)
    (archive.folder / "a.jpg").rename(archive.folder / "z.jpg")
    assert archive.run() == []
    assert archive.lines()["z.jpg"]["computed_by"] == DLIB.as_json()
    (archive.folder / "z.jpg").rename(archive.folder / "y.jpg")
    assert archive.run(redo_from=("dlib",)) == ["y.jpg"]
    assert archive.lines()["y.jpg"]["computed_by"] == ONNX.as_json()


def test_a_line_without_what_computed_it_stands_by_its_fingerprint_and_no_redo_is_asked_of_it(
    archive: Archive,
) -> None:
    archive.photo("a.jpg")
    archive.photo("c.jpg")
    archive.run(by_both)
    lines = archive.output.read_text().splitlines()
    older = [line.replace(json.dumps(DLIB.as_json(), separators=(",", ":")), "null") for line in lines]
    assert older != lines
    archive.output.write_text("\n".join(older) + "\n")
    assert archive.run() == []
    assert archive.run(redo_from=("onnx",)) == ["c.jpg"]


def test_failed_is_not_done_and_is_tried_again_only_when_that_is_wanted(archive: Archive) -> None:
    archive.photo("a.jpg")
    archive.photo("b.jpg")
    archive.run(lambda path: failed(path) if path.name == "a.jpg" else found(path, count=0))
    assert archive.words()[0].endswith("1 image done, 1 failed (--retry-failed retries them)")
    assert archive.run() == []
    (archive.folder / "a.jpg").rename(archive.folder / "c.jpg")
    assert archive.run() == []
    assert set(archive.lines()) == {"b.jpg", "c.jpg"}
    assert archive.lines()["c.jpg"]["error"]
    assert archive.words(retry_failed=True)[0].endswith("1 image done, 1 failed (retried)")
    assert archive.run(retry_failed=True) == ["c.jpg"]
    assert len(archive.lines()["c.jpg"]["faces"]) == 1  # type: ignore[arg-type]
    assert archive.lines()["b.jpg"]["faces"] == []


def test_what_no_server_has_seen_is_tried_again(archive: Archive) -> None:
    path = archive.photo("a.jpg")
    archive.photo("b.jpg")
    lost = Failed.because(0, ErrorCode.SERVER_LOST, "every server that was given this image disconnected")
    archive.run(
        lambda path: unreadable(path) if path.name == "a.jpg" else about(path).answered("", "", None, lost)
    )
    assert archive.words()[0].endswith("0 images done, 2 without a result (retried)")
    assert archive.run() == ["a.jpg", "b.jpg"]
    assert archive.lines()["a.jpg"]["faces"]
    assert path.exists()


@pytest.mark.parametrize(
    "code", [ErrorCode.TOO_SLOW, ErrorCode.EXECUTOR_LOST, ErrorCode.ENGINE_FAILED, ErrorCode.SERVER_LOST]
)
def test_a_failure_of_a_server_is_tried_again_by_the_same_command(archive: Archive, code: ErrorCode) -> None:
    archive.photo("a.jpg")
    archive.photo("b.jpg")
    answer = Failed.because(1, code, "not done within 120 s")

    def unlucky(path: Path) -> Result:
        return about(path).answered("attic", OURS, ONNX, answer) if path.name == "a.jpg" else failed(path)

    assert archive.run(unlucky) == ["a.jpg", "b.jpg"]
    assert archive.words()[0].endswith(
        "0 images done, 1 failed (--retry-failed retries them), 1 without a result (retried)"
    )
    assert archive.run() == ["a.jpg"]
    assert archive.lines()["a.jpg"]["faces"]
    assert archive.run() == []


def test_faces_are_not_given_up_for_a_server_that_fails(archive: Archive) -> None:
    archive.photo("a.jpg")
    archive.run(lambda path: found(path, OTHER))
    answer = Failed.because(1, ErrorCode.TOO_SLOW, "not done within 120 s")
    assert archive.run(lambda path: about(path).answered("attic", OURS, ONNX, answer)) == ["a.jpg"]
    assert archive.lines()["a.jpg"]["faces"]
    assert archive.run() == ["a.jpg"]


def test_faces_are_not_given_up_for_a_disk_that_fails(archive: Archive) -> None:
    archive.photo("a.jpg")
    archive.run()
    archive.photo("a.jpg", "it has changed")
    assert archive.run(unreadable) == ["a.jpg"]
    assert archive.lines()["a.jpg"]["digest"] == digest_of(b"a.jpg")
    assert archive.run() == ["a.jpg"]
    assert archive.lines()["a.jpg"]["digest"] == digest_of(b"it has changed")


def test_a_directory_that_can_be_read_again_loses_its_line(archive: Archive) -> None:
    archive.photo("a.jpg")
    archive.run(finish=False)
    with Journal(str(archive.output)) as journal:
        journal.load()
        journal.begin({OURS})
        journal.write(unreadable(archive.folder))
    with Journal(str(archive.output)) as journal:
        journal.load()
        journal.begin({OURS})
        journal.forget(str(archive.folder) + "/")
        journal.finish()
    assert set(archive.lines()) == {"a.jpg"}


def test_a_last_line_that_was_cut_anywhere_is_dropped_and_done_again(archive: Archive) -> None:
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        archive.photo(name)
    archive.run(lambda path: failed(path) if path.name == "b.jpg" else found(path, count=0))
    whole = archive.output.read_bytes()
    ends = [0, *(place + 1 for place, byte in enumerate(whole) if byte == ord("\n"))]
    # each line is read as the last one is, which is cut at every byte
    for cut in (*range(0, ends[-2], 41), *range(ends[-2], len(whole) + 1)):
        archive.output.write_bytes(whole[:cut])
        kept = max(end for end in ends if end <= cut)
        with Journal(str(archive.output)) as journal:
            journal.load()
            assert archive.output.read_bytes() == whole[:kept], cut
        assert archive.output.exists() == (kept > 0)
    for cut in range(0, len(whole), 197):
        archive.output.write_bytes(whole[:cut])
        archive.run(lambda path: failed(path) if path.name == "b.jpg" else found(path, count=0))
        assert archive.output.read_bytes() == whole, cut


def test_a_line_with_faces_cut_anywhere_is_dropped(archive: Archive) -> None:
    archive.photo("a.jpg")
    archive.run()
    whole = archive.output.read_bytes()
    for cut in range(1, len(whole), 61):
        archive.output.write_bytes(whole + whole[:cut])
        with Journal(str(archive.output)) as journal:
            journal.load()
        assert archive.output.read_bytes() == whole


def test_what_a_power_cut_leaves_is_dropped(archive: Archive) -> None:
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        archive.photo(name)
    archive.run()
    first, second, third = archive.output.read_bytes().splitlines(keepends=True)
    archive.output.write_bytes(first + second[:300] + bytes(len(second) - 301) + b"\n" + third)
    assert archive.run() == ["b.jpg"]
    assert set(archive.lines()) == {"a.jpg", "b.jpg", "c.jpg"}


@pytest.mark.parametrize(
    ("content", "number"),
    [
        (b"a shopping list\n", 1),
        (b"no end of line", 1),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), 1),
        (bytes(100), 1),
        (b'{"name": "somebody"}\n', 1),
        (b'{"path":"a.jpg","digest":null}\n', 1),
        (b"[1, 2]\n", 1),
        (b"\n", 1),
        (b'{"path":"a.jpg","digest":null,"error":{}}\n{"path":3}\n', 2),
        (b'{"path":"a.jpg","digest":null,"error":{}}\nhello\n{"pa', 2),
        (b'{"path":"\\ud800","digest":null,"error":{}}\n', 1),
        (b"[" * 100_000 + b"\n", 1),
    ],
)
def test_a_file_of_others_is_refused_and_left_as_it_is(archive: Archive, content: bytes, number: int) -> None:
    archive.output.write_bytes(content)
    with (
        pytest.raises(
            OutputError, match=rf"faces.jsonl: line {number} was not written by pyraface.*--overwrite"
        ),
        Journal(str(archive.output)) as journal,
    ):
        journal.load()
    assert archive.output.read_bytes() == content
    archive.photo("a.jpg")
    with Journal(str(archive.output), overwrite=True) as journal:
        journal.load()
        assert archive.output.read_bytes() == content, "nothing replaces it yet"
        journal.begin({OURS})
        journal.write(found(archive.folder / "a.jpg"))
    assert set(archive.lines()) == {"a.jpg"}


def test_a_file_without_line_ends_is_not_read_whole(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "MAX_LINE_BYTES", 10_000)
    archive.output.write_bytes(b'{"path":' + b"x" * 20_000)
    with pytest.raises(OutputError, match="line 1 was not written"), Journal(str(archive.output)) as journal:
        journal.load()


def test_lines_that_another_program_has_arranged_anew_are_understood(archive: Archive) -> None:
    archive.photo("a.jpg")
    archive.photo("b.jpg")
    archive.run(lambda path: failed(path) if path.name == "b.jpg" else found(path))
    lines = [json.loads(line) for line in archive.output.read_text().splitlines()]
    archive.output.write_text("".join(json.dumps(line, sort_keys=True) + "\n" for line in lines))
    assert archive.run() == []
    assert set(archive.lines()) == {"a.jpg", "b.jpg"}


def test_a_line_whose_faces_were_damaged_is_not_repeated_for_a_copy(archive: Archive) -> None:
    archive.photo("a.jpg", "the same")
    archive.run()
    archive.output.write_bytes(archive.output.read_bytes().replace(b'"encoding":[', b'"encoding":[x'))
    archive.photo("b.jpg", "the same")
    assert archive.run() == ["b.jpg"]


def test_a_path_may_look_like_the_rest_of_a_line(archive: Archive) -> None:
    names = ['a,"faces":[.jpg', '","faces":[],"x":".jpg', "\udcff.jpg", "ü.jpg"]
    for name in names:
        archive.photo(name, repr(name))
    assert sorted(archive.run()) == sorted(names)
    assert archive.run() == []
    assert set(archive.lines()) == set(names)


NOT_UTF_8 = (b"\xfe.jpg", b"\xff.jpg", b"\xed\xa0\x80.jpg", b"\xed\xb3\xbf.jpg", b"\xc3.jpg")
"""Names of which some look the same, and two are surrogates in UTF-8."""


def test_names_that_are_not_utf_8_are_images_of_their_own_and_are_found_again(archive: Archive) -> None:
    names = sorted(map(os.fsdecode, NOT_UTF_8))
    for name in names:
        archive.photo(name, repr(name))
    assert sorted(archive.run()) == names
    before = archive.output.read_bytes()
    assert archive.run() == []
    assert archive.output.read_bytes() == before
    assert sorted(archive.lines()) == names


def test_a_file_with_such_a_name_takes_its_line_along_and_its_copy_gets_one(archive: Archive) -> None:
    old, new, text = map(os.fsdecode, (b"\xfe.jpg", b"\xff.jpg", b"plain.jpg"))
    archive.photo(old, "content")
    archive.run()
    for former, name in ((old, new), (new, text), (text, old)):
        (archive.folder / former).rename(archive.folder / name)
        assert archive.run() == []
        (line,) = archive.lines().values()
        assert name_of(line) == name
        assert (line["path_bytes"] is None) == (name == text)
    archive.photo(new, "content")
    assert archive.run() == []
    assert set(archive.lines()) == {old, new}
    archive.photo(old, "it has changed")
    assert archive.run() == [old]
    assert archive.lines()[old]["digest"] == digest_of(b"it has changed")


def test_two_runs_do_not_write_to_one_file(archive: Archive) -> None:
    archive.photo("a.jpg")
    archive.run()
    with Journal(str(archive.output)) as journal:
        journal.load()
        for overwrite in (False, True):
            with pytest.raises(OutputError, match="being written by another run"):
                Journal(str(archive.output), overwrite=overwrite)
        journal.begin(set())
        journal.write(found(archive.folder / "a.jpg"))
        journal.finish()  # which puts another file there
        with pytest.raises(OutputError, match="being written by another run"):
            Journal(str(archive.output))
    assert set(archive.lines()) == {"a.jpg"}


def test_a_file_that_was_exchanged_before_it_was_locked_is_not_written_to(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive.photo("a.jpg")
    archive.run()
    content = archive.output.read_bytes()
    at_once = os.open
    exchanged = []

    def slowly(path: str, flags: int, mode: int = 0o777) -> int:
        file = at_once(path, flags, mode)
        if not exchanged:
            exchanged.append(path)
            archive.output.rename(archive.output.with_suffix(".old"))
            archive.output.write_bytes(content)
        return file

    monkeypatch.setattr(module.os, "open", slowly)
    archive.photo("b.jpg")
    assert archive.run() == ["b.jpg"]
    assert set(archive.lines()) == {"a.jpg", "b.jpg"}
    assert archive.output.with_suffix(".old").read_bytes() == content


@pytest.fixture
def superseded(archive: Archive) -> Archive:
    """An output with two lines of one path, which a run that was killed has left, and a half-written new file."""
    path = archive.photo("a.jpg")
    archive.photo("b.jpg")
    archive.run()
    archive.photo("a.jpg", "it has changed")
    archive.run(finish=False)
    assert archive.output.read_text().count(json.dumps(str(path))) == 2
    (archive.output.parent / ".faces.jsonl.new").write_text("half of it")
    return archive


def test_lines_that_count_no_more_go_at_the_end_of_the_next_run(superseded: Archive) -> None:
    superseded.output.chmod(0o640)
    assert superseded.run() == []
    assert superseded.lines()["a.jpg"]["digest"] == digest_of(b"it has changed")
    assert superseded.output.stat().st_mode & 0o777 == 0o640
    assert sorted(path.name for path in superseded.output.parent.iterdir()) == ["faces.jsonl", "photographs"]


def test_a_link_to_the_output_stays_one(superseded: Archive, tmp_path: Path) -> None:
    link = tmp_path / "link.jsonl"
    link.symlink_to(superseded.output)
    before = superseded.output
    superseded.output = link
    assert superseded.run() == []
    assert link.is_symlink()
    superseded.output = before
    assert set(superseded.lines()) == {"a.jpg", "b.jpg"}


@pytest.mark.parametrize("call", ["fsync", "replace", "open"])
def test_a_file_that_cannot_be_written_anew_stays_as_it_was(
    superseded: Archive, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    before = superseded.output.read_bytes()
    at_once = getattr(os, call)

    def full(*arguments: object, **words: object) -> object:
        if call == "open" and ".new" not in str(arguments[0]):
            return at_once(*arguments, **words)
        raise OSError(28, "No space left on device")

    with Journal(str(superseded.output)) as journal:
        journal.load()
        journal.begin({OURS})
        with monkeypatch.context() as patch:
            patch.setattr(module.os, call, full)
            with pytest.raises(OutputError, match=r"No space left on device.*the later is valid"):
                journal.finish()
    assert superseded.output.read_bytes() == before
    assert superseded.run() == []
    assert set(superseded.lines()) == {"a.jpg", "b.jpg"}


def test_a_file_system_without_locks_is_no_hindrance(
    superseded: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", none)
    assert superseded.run() == []
    assert superseded.lines()["a.jpg"]["digest"] == digest_of(b"it has changed")


@contextmanager
def small_disk(size: int) -> Iterator[None]:
    """No file of this process can grow beyond a size; not for longer than needed, since pytest's own output may be one."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_line_that_has_no_room_is_not_written_half(archive: Archive) -> None:
    for number in range(20):
        archive.photo(f"{number:02}.jpg")
    full = pytest.raises(OutputError, match=r"faces.jsonl cannot be written: File too large")
    with full, small_disk(12_000):
        archive.run()
    done = set(archive.lines())
    assert 0 < len(done) < 20
    assert {*archive.run(), *done} == {f"{number:02}.jpg" for number in range(20)}
    assert len(archive.lines()) == 20


def test_a_full_disk_is_told_before_anything_is_done(archive: Archive) -> None:
    archive.photo("a.jpg")
    archive.run()
    before = archive.output.read_bytes()
    full = pytest.raises(OutputError, match="cannot be written")
    with full, small_disk(len(before) + 100), Journal(str(archive.output)) as journal:
        journal.load()
    assert archive.output.read_bytes() == before


def test_what_is_to_be_replaced_stays_until_there_is_a_first_line_instead(archive: Archive) -> None:
    a = archive.photo("a.jpg")
    archive.photo("b.jpg")
    archive.run()
    before = archive.output.read_bytes()
    for line in (None, found(a)):
        with Journal(str(archive.output), overwrite=True) as journal:
            journal.load()
            assert journal.begin({OURS}) == []
            if line is not None:
                journal.write(line)
            journal.finish()
        assert (archive.output.read_bytes() == before) == (line is None)
    assert set(archive.lines()) == {"a.jpg"}


def test_an_output_that_no_line_was_written_to_is_not_left_behind(archive: Archive) -> None:
    assert archive.words() == []
    assert not archive.output.exists()


def test_an_output_is_read_unchanged_while_another_run_has_it(archive: Archive) -> None:
    first, second = archive.photo("a.jpg"), archive.photo("b.jpg")
    archive.run(fingerprints=(OURS,))
    with Journal(str(archive.output)) as running:
        running.load()
        with open(archive.output, "ab") as stream:
            stream.write(b'{"path":"cut off')
        second.write_text("changed")
        before = archive.output.read_bytes(), archive.output.stat()
        with Journal(str(archive.output), unchanged=True) as journal:
            journal.load()
            assert journal.begin({OURS}) == [f"resuming {archive.output}: 2 images done"]
            assert (journal.has(str(first)), journal.has(str(second))) == (True, False)
        after = archive.output.read_bytes(), archive.output.stat()
        assert after[0] == before[0]
        assert (after[1].st_mtime_ns, after[1].st_ino) == (before[1].st_mtime_ns, before[1].st_ino)


@pytest.mark.parametrize("empty", [True, False])
def test_an_output_that_is_only_read_is_neither_made_nor_deleted(tmp_path: Path, empty: bool) -> None:
    path = tmp_path / "faces.jsonl"
    if empty:
        path.touch()
    with Journal(str(path), unchanged=True) as journal:
        journal.load()
        assert journal.begin({OURS}) == []
        assert journal.speeds() == {}
    assert path.exists() is empty
    with pytest.raises(OutputError, match="cannot be read: No such file or directory"):
        Journal(str(tmp_path / "nowhere" / "faces.jsonl"), unchanged=True)


def test_the_last_lines_tell_the_speed_of_each_server(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(6):
        archive.photo(f"{number}.jpg")

    def by_several(path: Path) -> Result:
        number = int(path.stem)
        if number == 5:
            return failed(path)
        seconds = 100.0 if number == 0 else 0.5
        server = "attic" if number < 4 else "cellar"
        return about(path).answered(
            server, OURS, ONNX, Found(1, faces(1), (Page(0, 3000, 2000, 1),), (), (), 1, seconds)
        )

    archive.run(by_several)
    monkeypatch.setattr(module, "LATEST", 4)  # all but the slow one
    with Journal(str(archive.output), unchanged=True) as journal:
        journal.load()
        assert journal.speeds() == pytest.approx({"attic": 12.0, "cellar": 12.0})
