"""JSON lines: one JSON object for each image."""

from __future__ import annotations

import json
import os

from ....core.computed_by import ComputedBy
from ....core.errors import ErrorCode
from ..index import Head, LineState, Origin

_SIZES = range(2**63)

_RETRIED = frozenset(code.value for code in ErrorCode if code.retried)


class JsonLines:
    """The format of FILE.jsonl: ASCII, with the keys that a later run needs in front of the faces."""

    beginning = b'{"path":'

    def encode(self, record: dict[str, object]) -> bytes:
        """Returns the line of a record."""
        # ascii: a file name that is not valid UTF-8 is written as \udcXX, and read back unchanged
        return json.dumps(record, separators=(",", ":")).encode("ascii") + b"\n"

    def decode(self, line: bytes) -> dict[str, object]:
        """Returns the record of a line."""
        record = json.loads(line)
        if not isinstance(record, dict):
            raise ValueError("it is no JSON object")
        return record

    def head(self, line: bytes) -> Head:
        """Returns the head of a line. Of a line that `encode` wrote, only the part before the faces is decoded."""
        faces = line.find(b',"faces":[')  # in a string, the quotes would have backslashes
        if faces >= 0 and line.startswith(self.beginning) and line.rstrip().endswith(b"}"):
            record = {**self.decode(line[:faces] + b"}"), "faces": []}
        else:
            record = self.decode(line)
        path, digest = record.get("path"), record.get("digest")
        if not isinstance(path, str) or not (digest is None or isinstance(digest, str)):
            raise ValueError("it has no path and digest")
        if b"\0" in os.fsencode(path):
            raise ValueError("its path has a NUL")
        fingerprint = record.get("fingerprint")
        fingerprint = fingerprint if isinstance(fingerprint, str) else ""
        if isinstance(record.get("faces"), list):
            state = LineState.DONE
        elif isinstance(error := record.get("error"), dict):
            of_the_image = fingerprint and error.get("code") not in _RETRIED
            state = LineState.FAILED if of_the_image else LineState.UNANSWERED
        else:
            raise ValueError("it has neither faces nor an error")
        origin = Origin(fingerprint, ComputedBy.from_json(record.get("computed_by")))
        size, modified = record.get("size"), record.get("modified")
        return Head(
            path,
            digest,
            size if type(size) is int and size in _SIZES else None,
            modified if type(modified) is int else None,
            origin,
            state,
        )
