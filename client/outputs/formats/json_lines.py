"""JSON lines: one JSON object for each image."""

from __future__ import annotations

import json

from ....core.computed_by import ComputedBy
from ....core.errors import ErrorCode
from ....core.results import KEYS, path_from_json
from ..index import Head, LineState, Origin

_SIZES = range(2**63)

_DECODER = json.JSONDecoder()

_ENDS = (b"]}]}\n", b',"faces":[]}\n', b"]}]}", b',"faces":[]}')
"""Ends of a line: of the encoding, the face, the faces and the line; with the line's end or without."""

_FORMER = (b']}],"server":', b',"faces":[],"server":')
"""What follows the faces in a line of an earlier version."""

_RETRIED = frozenset(code.value for code in ErrorCode if code.retried)


class JsonLines:
    """The format of FILE.jsonl: ASCII, with the keys that a later run needs in front of the faces."""

    beginning = b'{"path":'

    def encode(self, record: dict[str, object]) -> bytes:
        """Returns the line of a record."""
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
        if faces >= 0 and line.startswith(self.beginning) and self._ends_well(line):
            text = line[:faces].decode() + "}"
            record, end = _DECODER.raw_decode(text)
            if end != len(text):
                raise ValueError("it has another object behind its own")
            record["faces"] = []
        else:
            record = self.decode(line)
        path, digest, fingerprint = path_from_json(record), record.get("digest"), record.get("fingerprint")
        if not (digest is None or isinstance(digest, str)):
            raise ValueError("it has no digest")
        fingerprint = fingerprint if isinstance(fingerprint, str) else ""
        if isinstance(error := record.get("error"), dict):
            of_the_image = fingerprint and error.get("code") not in _RETRIED
            state = LineState.FAILED if of_the_image else LineState.UNANSWERED
        elif isinstance(record.get("faces"), list):
            state = LineState.DONE
        else:
            raise ValueError("it has neither faces nor an error")
        size, modified = record.get("size"), record.get("modified")
        return Head(
            path,
            digest,
            size if type(size) is int and size in _SIZES else None,
            modified if type(modified) is int else None,
            Origin(fingerprint, ComputedBy.from_json(record.get("computed_by"))),
            state,
            tuple(record)[: len(KEYS)] != KEYS,
        )

    def _ends_well(self, line: bytes) -> bool:
        """Returns whether a line with faces ends as one of this version or a former one, and is not two lines."""
        if line.find(self.beginning, 1) >= 0:
            return False
        return line.endswith(_ENDS) or (line.rstrip().endswith(b"}") and any(end in line for end in _FORMER))
