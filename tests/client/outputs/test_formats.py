"""The formats of an output: chosen by its name, and all that the journal knows of how a line is written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pyraface.client.inputs.file_reader import File, digest_of
from pyraface.client.outputs import formats
from pyraface.client.outputs.compression import Gzip, Zstandard
from pyraface.client.outputs.formats.json_lines import JsonLines
from pyraface.client.outputs.index import Head, LineState, Origin
from pyraface.client.outputs.journal import Journal
from pyraface.core.results import Result

RECORD = Result("a\udcff.jpg", size=7, modified=9, fingerprint="f0").as_json()


class Reversed:
    """JSON lines from right to left."""

    beginning = b"}"

    def encode(self, record: dict[str, object]) -> bytes:
        return JsonLines().encode(record)[-2::-1] + b"\n"

    def decode(self, line: bytes) -> dict[str, object]:
        return JsonLines().decode(line.rstrip(b"\n")[::-1])

    def head(self, line: bytes) -> Head:
        return JsonLines().head(line.rstrip(b"\n")[::-1])


@pytest.mark.parametrize(
    "path", [None, "faces.jsonl", "FACES.JSONL", "faces", "faces.txt", "/dev/stdout", ".jsonl", "a.gz/faces"]
)
def test_an_output_is_json_lines_unless_its_suffix_names_another_format(
    monkeypatch: pytest.MonkeyPatch, path: str | None
) -> None:
    monkeypatch.setitem(formats.FORMATS, ".esrever", Reversed())
    format_, compression = formats.format_of(path)
    assert isinstance(format_, JsonLines)
    assert compression is None
    assert isinstance(formats.format_of("faces.jsonl.Esrever")[0], Reversed)


@pytest.mark.parametrize(
    ("path", "compression"), [("a.jsonl.gz", Gzip), ("A.JSONL.ZST", Zstandard), ("b/a.esrever.gz", Gzip)]
)
def test_a_second_suffix_names_a_compression(
    monkeypatch: pytest.MonkeyPatch, path: str, compression: type
) -> None:
    monkeypatch.setitem(formats.FORMATS, ".esrever", Reversed())
    format_, named = formats.format_of(path)
    assert isinstance(format_, Reversed if "esrever" in path else JsonLines)
    assert named is compression
    assert formats.names(path)


@pytest.mark.parametrize(
    "path", ["faces.csv", "faces", "faces.json", "faces.gz", "a.jsonl/faces", "jsonl", ""]
)
def test_other_names_name_no_format(path: str) -> None:
    assert not formats.names(path)
    assert formats.names(f"{path}.jsonl")


def test_a_journal_is_written_read_and_resumed_in_the_format_of_its_suffix(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(formats.FORMATS, ".esrever", Reversed())
    photo, output = tmp_path / "a.jpg", tmp_path / "faces.esrever"
    photo.write_bytes(b"abc")
    status = photo.stat()
    digest = digest_of(b"abc")
    with Journal(str(output)) as journal:
        journal.load()
        journal.begin({"f0"})
        journal.write(Result(str(photo), digest, 3, status.st_mtime_ns, "f0"))
        journal.finish()
    (line,) = output.read_bytes().splitlines()
    assert line.startswith(b"}")
    assert json.loads(line[::-1])["path"] == str(photo)
    output.write_bytes(output.read_bytes() + line[:20])  # cut by a crash
    with Journal(str(output)) as journal:
        journal.load()
        assert journal.begin({"f0"}) == [f"resuming {output}: 1 image done"]
        assert journal.has(str(photo))
        assert journal.repeat(File(str(tmp_path / "copy.jpg"), 3, 5, digest, b"abc"))
        journal.finish()
    assert [Reversed().decode(line)["path"] for line in output.read_bytes().splitlines()] == [
        str(photo),
        str(tmp_path / "copy.jpg"),
    ]


@pytest.mark.parametrize("format_", [formats.DEFAULT, Reversed()], ids=["json lines", "reversed"])
def test_a_record_is_one_ascii_line_that_begins_as_announced_and_reads_back_the_same(
    format_: formats.Format,
) -> None:
    line = format_.encode(RECORD)
    assert line.isascii()
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert line.startswith(format_.beginning)
    assert format_.decode(line) == RECORD
    assert format_.head(line) == Head("a\udcff.jpg", None, 7, 9, Origin("f0", None), LineState.DONE)
