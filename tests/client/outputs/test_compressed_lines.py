"""Compressed outputs: resumed as plain ones are, whatever cut them off, and readable by any other program."""

from __future__ import annotations

import gzip
import json
import os
import random
import threading
import zlib
from pathlib import Path

import pytest
import zstandard

from pyraface.client.outputs import compressed_lines as module
from pyraface.client.outputs import loading
from pyraface.client.outputs.journal import Journal
from pyraface.core.errors import OutputError
from pyraface.core.results import Result
from tests.client.outputs.archive import ONNX, OURS, Archive, about, answer, faces, failed, found, read
from tests.client.outputs.test_journal import small_disk
from tests.output_lines import content_of

SUFFIXES = (".gz", ".zst")


@pytest.fixture(params=SUFFIXES)
def archive(request: pytest.FixtureRequest, tmp_path: Path) -> Archive:
    """An archive whose output is compressed."""
    return Archive(tmp_path, request.param)


def varied(path: Path) -> Result:
    """Faces of its own for each image, which are hardly compressed together."""
    return about(path).answered("attic", OURS, ONNX, answer(faces(1, zlib.crc32(path.name.encode()))))


def compress(content: bytes, suffix: str) -> bytes:
    """Compresses as another program does."""
    return gzip.compress(content) if suffix == ".gz" else zstandard.ZstdCompressor().compress(content)


def rest_of(path: Path, data: bytes) -> bytes:
    """Writes a file that was cut off, and returns what the command line tools would show of it."""
    path.write_bytes(data)
    if path.suffix == ".gz":
        content, left = b"", data
        while left:
            member = zlib.decompressobj(wbits=31)
            content += member.decompress(left)
            left = member.unused_data
        return content
    reader = zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True)
    content = b""
    while piece := reader.read(1 << 16):
        content += piece
    return content


def test_a_compressed_output_is_smaller_and_is_resumed(archive: Archive) -> None:
    for name in ("a.jpg", "b.jpg"):
        archive.photo(name)
    assert archive.run() == ["a.jpg", "b.jpg"]
    assert archive.output.stat().st_size < len(content_of(archive.output)) / 2
    before = archive.output.read_bytes()
    assert archive.words() == [f"resuming {archive.output}: 2 images done"]
    assert archive.run() == []
    assert archive.output.read_bytes() == before
    archive.photo("c.jpg")
    assert archive.run() == ["c.jpg"]
    assert archive.output.read_bytes().startswith(before), "a frame is added behind the others"
    assert set(archive.lines()) == {"a.jpg", "b.jpg", "c.jpg"}


def test_changed_renamed_and_copied_files_are_handled_as_in_a_plain_output(archive: Archive) -> None:
    for name in ("a.jpg", "b.jpg", "c.jpg", "\udcff.jpg"):
        archive.photo(name)
    archive.run(lambda path: failed(path) if path.name == "c.jpg" else found(path, count=2))
    before = archive.lines()["a.jpg"]["faces"]
    archive.photo("b.jpg", "it has changed")
    archive.photo("copy.jpg", "a.jpg")
    (archive.folder / "a.jpg").rename(archive.folder / "\udcfe.jpg")
    assert archive.run() == ["b.jpg"]
    lines = archive.lines()
    assert set(lines) == {"b.jpg", "c.jpg", "copy.jpg", *map(os.fsdecode, (b"\xfe.jpg", b"\xff.jpg"))}
    assert lines["\udcfe.jpg"]["faces"] == lines["copy.jpg"]["faces"] == before


def test_every_line_can_be_read_before_the_frame_ends(archive: Archive, tmp_path: Path) -> None:
    paths = [archive.photo(f"{number}.jpg") for number in range(5)]
    with Journal(str(archive.output)) as journal:
        journal.load()
        journal.begin({OURS})
        for number, path in enumerate(paths, 1):
            journal.write(found(path))
            copy = tmp_path / f"killed{archive.output.suffix}"
            assert rest_of(copy, archive.output.read_bytes()).count(b"\n") == number


def test_a_file_that_was_cut_anywhere_keeps_every_line_that_was_written_whole(archive: Archive) -> None:
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        archive.photo(name)
    archive.run(lambda path: found(path, count=0), finish=False)
    first = archive.output.stat().st_size
    archive.photo("d.jpg")
    archive.run(lambda path: found(path, count=0), finish=False)
    whole, content = archive.output.read_bytes(), content_of(archive.output)
    for cut in range(1, len(whole)):
        rest = rest_of(archive.output, whole[:cut])
        kept = content[: rest.rfind(b"\n") + 1]
        with Journal(str(archive.output)) as journal:
            journal.load()
        assert archive.output.exists() == bool(kept), cut
        if kept:
            assert content_of(archive.output) == kept, cut
    assert content[: rest.rfind(b"\n") + 1].count(b"\n") == 4, "only the end of the frame was missing"
    for cut in range(1, len(whole), 97):
        archive.output.write_bytes(whole[:cut])
        archive.run(lambda path: found(path, count=0))
        assert set(archive.lines()) == {"a.jpg", "b.jpg", "c.jpg", "d.jpg"}, cut
    archive.output.write_bytes(whole[:first])
    assert archive.run(lambda path: found(path, count=0)) == ["d.jpg"]
    assert archive.output.read_bytes()[:first] == whole[:first]


def test_a_file_that_another_program_compressed_is_resumed(archive: Archive) -> None:
    plain = Archive.__new__(Archive)
    plain.folder, plain.output = archive.folder, archive.output.with_suffix("")
    names = {archive.photo(f"{number:02}.jpg").name for number in range(20)}
    plain.run()
    archive.output.write_bytes(compress(plain.output.read_bytes(), archive.output.suffix))
    assert archive.run() == []
    archive.photo("new.jpg")
    assert archive.run() == ["new.jpg"]
    assert set(archive.lines()) == {*names, "new.jpg"}


@pytest.mark.parametrize("most", [100, module.MOST_FRAME_BYTES])
def test_frames_that_end_within_a_line_or_are_too_long_are_written_anew(
    archive: Archive, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    for number in range(6):
        archive.photo(f"{number}.jpg")
    archive.run()
    content = content_of(archive.output)
    parts = [content[start : start + 1000] for start in range(0, len(content), 1000)]
    archive.output.write_bytes(b"".join(compress(part, archive.output.suffix) for part in (*parts, b"")))
    archive.photo("a.jpg", "0.jpg")
    (archive.folder / "3.jpg").rename(archive.folder / "b.jpg")
    monkeypatch.setattr(module, "MOST_FRAME_BYTES", most)
    assert archive.run() == []
    assert set(archive.lines()) == {"0.jpg", "1.jpg", "2.jpg", "4.jpg", "5.jpg", "a.jpg", "b.jpg"}
    assert archive.run() == []
    before = archive.output.stat().st_ino
    monkeypatch.undo()
    assert archive.run() == []
    assert archive.output.stat().st_ino == before, "the frames are in order"


def test_many_frames_lose_and_change_lines_anywhere(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FRAME_BYTES", 3000)
    chance = random.Random(4)
    contents: dict[str, str] = {}
    for number in range(8):
        for _ in range(8):
            name = f"{chance.randrange(30):02}.jpg"
            contents[name] = f"{name} {number}"
            archive.photo(name, contents[name])
        for name in chance.sample(sorted(contents), 2):
            contents[f"moved {name}"] = contents.pop(name)
            (archive.folder / name).rename(archive.folder / f"moved {name}")
        archive.run(finish=number % 3 != 1)
        monkeypatch.setattr(module, "FRAME_BYTES", chance.choice([1, 3000, 9000]))
    archive.run()
    lines = archive.lines()
    assert set(lines) == set(contents)
    for name, line in lines.items():
        assert line["digest"] == read(archive.folder / name).digest
    before = archive.output.read_bytes()
    assert archive.run() == []
    assert archive.output.read_bytes() == before


def test_former_lines_are_completed(archive: Archive) -> None:
    archive.photo("a.jpg")
    archive.run()
    line = json.loads(content_of(archive.output))
    former = {key: line[key] for key in line if key not in ("path_bytes", "error", "computed_by")}
    content = (json.dumps(former, separators=(",", ":")) + "\n").encode()
    archive.output.write_bytes(compress(content, archive.output.suffix))
    assert archive.run() == []
    assert archive.lines()["a.jpg"] == {**line, "computed_by": None}


@pytest.mark.parametrize("zeros", [1, 63, 100, 4096])
def test_zeros_at_the_end_are_dropped(archive: Archive, zeros: int) -> None:
    archive.photo("a.jpg")
    archive.run()
    whole = archive.output.read_bytes()
    archive.output.write_bytes(whole + bytes(zeros))
    assert archive.run() == []
    assert archive.output.read_bytes() == whole


def test_a_frame_with_blocks_that_a_power_cut_left_loses_only_what_is_behind_them(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FRAME_BYTES", 10_000)
    names = [archive.photo(f"{number:02}.jpg").name for number in range(20)]
    archive.run(varied)
    data = bytearray(archive.output.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 512] = bytes(512)
    archive.output.write_bytes(data)
    done = archive.run(varied)
    assert 0 < len(done) < 8
    assert content_of(archive.output).count(b"\n") == 20
    assert set(archive.lines()) == set(names)


def test_damage_that_no_power_cut_left_is_named_and_nothing_is_changed(archive: Archive) -> None:
    for number in range(6):
        archive.photo(f"{number}.jpg")
        archive.run(varied)
    data = bytearray(archive.output.read_bytes())
    at = len(data) // 2
    data[at : at + 40] = random.Random(1).randbytes(40)
    archive.output.write_bytes(data)
    with pytest.raises(OutputError, match=r"faces\.jsonl\.\w+ is damaged behind line \d .*--repair"):
        archive.run()
    assert archive.output.read_bytes() == data
    done = archive.run(repair=True)
    assert 1 <= len(done) <= 2
    assert len(archive.lines()) == 6
    broken = archive.output.with_name(archive.output.name + ".broken").read_bytes()
    assert bytes(data[at : at + 40]) in broken


@pytest.mark.parametrize(
    "content", [b"a shopping list\n", b"no end of line", b"[1, 2]\n", b'{"name": "somebody"}\n']
)
def test_a_file_of_others_is_refused_and_left_as_it_is(archive: Archive, content: bytes) -> None:
    for data in (content, compress(content, archive.output.suffix)):
        archive.output.write_bytes(data)
        with pytest.raises(OutputError, match="--overwrite"):
            archive.run()
        with pytest.raises(OutputError, match="no line was written by pyraface"):
            archive.run(repair=True)
        assert archive.output.read_bytes() == data
        assert os.listdir(archive.output.parent).count(archive.output.name + ".broken") == 0
    archive.photo("a.jpg")
    with Journal(str(archive.output), overwrite=True) as journal:
        journal.load()
        assert archive.output.read_bytes() == data, "nothing replaces it yet"
        journal.begin({OURS})
        journal.write(found(archive.folder / "a.jpg"))
    assert set(archive.lines()) == {"a.jpg"}


def test_two_runs_do_not_write_to_one_file(archive: Archive) -> None:
    archive.photo("a.jpg")
    archive.run()
    with Journal(str(archive.output)) as journal:
        journal.load()
        with pytest.raises(OutputError, match="being written by another run"):
            Journal(str(archive.output))


def test_a_line_that_has_no_room_is_not_written_half(archive: Archive) -> None:
    names = [archive.photo(f"{number:02}.jpg").name for number in range(20)]
    full = pytest.raises(OutputError, match=r"cannot be written: File too large")
    with full, small_disk(12_000):
        archive.run(varied)
    copy = archive.output.with_name(f"copy{archive.output.suffix}")
    written = rest_of(copy, archive.output.read_bytes())
    assert written.endswith(b"\n")
    assert 0 < written.count(b"\n") < 20
    assert len(archive.run()) == 20 - written.count(b"\n")
    assert set(archive.lines()) == set(names)


def test_a_pipe_gets_a_whole_file(archive: Archive, tmp_path: Path) -> None:
    path = archive.photo("a.jpg")
    pipe = tmp_path / f"pipe.jsonl{archive.output.suffix}"
    os.mkfifo(pipe)
    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.append(pipe.read_bytes()))
    reader.start()
    with Journal(str(pipe)) as journal:
        journal.load()
        journal.begin({OURS})
        journal.write(found(path))
        journal.write(Result("b.jpg"))
        journal.finish()
    reader.join()
    archive.output.write_bytes(received[0])
    assert content_of(archive.output).count(b"\n") == 2


def test_a_decompressed_line_that_never_ends_is_not_read_whole(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "MAX_LINE_BYTES", 10_000)
    archive.output.write_bytes(compress(b'{"path":"' + bytes(10 << 20), archive.output.suffix))
    with pytest.raises(OutputError, match="line 1 was not written by pyraface"):
        archive.run()


def test_a_dry_run_reads_it_and_leaves_it(archive: Archive) -> None:
    path = archive.photo("a.jpg")
    archive.run()
    data = archive.output.read_bytes() + archive.output.read_bytes()[:50]
    archive.output.write_bytes(data)
    with Journal(str(archive.output), unchanged=True) as journal:
        journal.load()
        journal.begin({OURS})
        assert journal.has(str(path))
        assert list(journal.speeds()) == ["attic"]
    assert archive.output.read_bytes() == data
