"""Reads the tables and examples of docs/protocol.md: the tests hold the code to what it promises."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from pyraface.core.errors import ErrorCode
from pyraface.core.faces import DETECTORS, Faces
from pyraface.core.given_boxes import GivenBoxes
from pyraface.core.pages import Page
from pyraface.core.protocol import announcement, messages

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "protocol.md"

KINDS: dict[str, Any] = {
    kind.type: kind
    for kind in (*messages.MESSAGES, announcement.Probe, announcement.Announcement, announcement.Goodbye)
}

_HEX_LINE = re.compile(r"([0-9a-f]{2}(?: [0-9a-f]{2})*)(?:  .*)?$")
_BYTES = re.compile(r"h'([0-9a-f ]*)'")


def examples(language: str) -> list[tuple[Any, bytes]]:
    """Returns (message, its bytes) of every code block in `language`: "frame" or "datagram"."""
    found = []
    for block in re.findall(rf"^```{language}\n(.*?)^```$", _text(), re.DOTALL | re.MULTILINE):
        meaning, dump = block.split("\n\n")
        found.append((_message(meaning), _bytes(dump)))
    return found


def proofs() -> dict[str, str]:
    """Returns the example of a proof, by the names in front of its lines."""
    (block,) = re.findall(r"^```proof\n(.*?)^```$", _text(), re.DOTALL | re.MULTILINE)
    return dict(line.split(maxsplit=1) for line in block.splitlines())


def pairing() -> dict[str, bytes]:
    """Returns the example of a secret and what is made of it, by the names in front of its lines."""
    (block,) = re.findall(r"^```pairing\n(.*?)^```$", _text(), re.DOTALL | re.MULTILINE)
    words = re.findall(r"(\w{3,})((?:\s+[0-9a-f]{2}\b)+)", block)
    return {name: bytes.fromhex(data) for name, data in words}


def invalid_frames() -> list[tuple[ErrorCode, bytes, str]]:
    """Returns (code, frame, what is wrong with it) of every row in the table of invalid frames."""
    rows = _rows(_section("## Invalid frames"))
    return [(ErrorCode(code.strip("`")), bytes.fromhex(frame.strip("`")), why) for code, frame, why in rows]


def fields(name: str) -> list[tuple[str, str]]:
    """Returns (field, kind) of every row in the table of a message or datagram."""
    return [(field.strip("`"), kind) for field, kind, _ in _rows(_section(f"### {name}"))]


def error_codes() -> list[tuple[str, str, str]]:
    """Returns (code, where it travels, elsewhere) of every row in the table of error codes."""
    return [
        (code.strip("`"), place, elsewhere) for code, place, elsewhere, _ in _rows(_section("## Error codes"))
    ]


def plain(message: Any) -> Any:
    """Returns a message as what == compares in full: arrays as type, shape and bytes."""
    if isinstance(message, np.ndarray):
        return (message.dtype.str, message.shape, message.tobytes())
    if dataclasses.is_dataclass(message):
        values = {field.name: plain(getattr(message, field.name)) for field in dataclasses.fields(message)}
        return (type(message), values)
    return (type(message), message)


def _text() -> str:
    return DOCUMENT.read_text(encoding="utf-8")


def _section(heading: str) -> str:
    sections = re.split(r"^(?=#+ )", _text(), flags=re.MULTILINE)
    (section,) = (section for section in sections if section.startswith(heading + "\n"))
    return section


def _rows(section: str) -> list[list[str]]:
    """The cells of the first table's rows, without its head."""
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def _bytes(dump: str) -> bytes:
    data = b""
    for line in dump.splitlines():
        match = _HEX_LINE.match(line)
        assert match, f"no line of a hex dump: {line!r}"
        data += bytes.fromhex(match[1])
    return data


def _message(meaning: str) -> Any:
    content = json.loads(_BYTES.sub(lambda match: json.dumps("hex " + match[1]), meaning))
    kind = KINDS[content.pop("type")]
    return kind(**{name: _value(name, value) for name, value in content.items()})


def _value(name: str, value: Any) -> Any:
    if name == "faces":
        return Faces(
            np.array(value["boxes"], np.float32).reshape(-1, 4),
            np.array(value["confidences"], np.float32),
            np.array(value["levels"], np.int32),
            np.array(DETECTORS, "U5")[np.array(value["detectors"], np.uint8)],
            np.array(value["turned"], np.int32),
            np.array(value["encodings"], np.float32).reshape(-1, 128),
            np.array(value["sharpness"], np.float32),
            np.array(value["inside"], np.float32),
            np.array(value["comparable"], np.bool_),
            np.array(value["pages"], np.int32),
        )
    if name == "boxes":
        return GivenBoxes.of(**value)
    if name == "pages":
        return tuple(Page(*row) for row in value)
    if name == "code":
        return ErrorCode(value)
    if isinstance(value, list):
        return tuple(value)
    if isinstance(value, str) and value.startswith("hex "):
        return bytes.fromhex(value[4:])
    return value
