"""Lines of an output as tests read them: each is checked against docs/faces.schema.json, with the order of its keys."""

from __future__ import annotations

import gzip
import json
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import zstandard
from jsonschema import Draft202012Validator

from pyraface.core.results import path_from_json
from tests.support import ROOT

SCHEMA = ROOT / "docs" / "faces.schema.json"


@cache
def _schema() -> tuple[dict[str, Any], Draft202012Validator]:
    schema = json.loads(SCHEMA.read_text())
    Draft202012Validator.check_schema(schema)
    return schema, Draft202012Validator(schema)


def checked(text: str | bytes) -> list[dict[str, Any]]:
    """Returns the lines of an output; the text ends with a line's end, or is empty."""
    lines = text.splitlines() if isinstance(text, bytes) else text.encode("ascii").splitlines()
    return [checked_line(line) for line in lines]


def checked_line(line: str | bytes) -> dict[str, Any]:
    """Returns one line of an output."""
    read: dict[str, Any] = json.loads(line)
    _check(line)
    return read


@lru_cache(10_000)
def _check(line: str | bytes) -> None:
    read = json.loads(line)
    schema, validator = _schema()
    problems = [f"{error.json_path}: {error.message[:300]}" for error in validator.iter_errors(read)]
    assert not problems, problems
    assert list(read) == list(schema["properties"])
    face_keys = list(schema["$defs"]["face"]["properties"])
    assert all(list(face) == face_keys for face in read["faces"])
    read["path"].encode("utf-8")  # valid Unicode


def name_of(line: dict[str, Any]) -> str:
    """Returns the name of the file of a line, as Python has it."""
    return Path(path_from_json(line)).name


def content_of(path: Path) -> bytes:
    """Returns the content of an output, decompressed by other libraries than pyraface's."""
    data = path.read_bytes()
    if path.name.endswith(".gz"):
        return gzip.decompress(data)
    return (
        zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True).read()
        if path.name.endswith(".zst")
        else data
    )


def check_outputs(folder: Path) -> None:
    """Checks every whole line of every output below a folder."""
    for path in sorted(folder.rglob("*.jsonl*")):
        if path.is_file() and not path.is_symlink() and path.suffix in (".jsonl", ".gz", ".zst"):
            text = content_of(path)
            checked(text[: text.rfind(b"\n") + 1])
