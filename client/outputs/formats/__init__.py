"""Formats of the output: how the record of an image becomes a line of the file, and is read back from it.

To add one: a file here with a class that has the methods of Format, and its suffix in FORMATS.
"""

from __future__ import annotations

import os
from typing import Protocol

from ..index import Head
from .json_lines import JsonLines


class Format(Protocol):
    """Format of a file that holds one line for each image.

    The methods that read raise ValueError or RecursionError for a line that is not in this format; the message completes
    "the line was not written by pyraface: ...".

    Attributes:
        beginning: the bytes that every line begins with: how a first line that was cut off is recognised.
    """

    beginning: bytes

    def encode(self, record: dict[str, object]) -> bytes:
        """Returns the line of an image, its line end included. The keys of a record: docs/output.md."""

    def decode(self, line: bytes) -> dict[str, object]:
        """Returns the whole record of a line."""

    def head(self, line: bytes) -> Head:
        """Returns what a later run needs to know of a line; the faces should not be decoded for that."""


DEFAULT: Format = JsonLines()

FORMATS: dict[str, Format] = {".jsonl": DEFAULT}
"""By the suffix of the file's name."""


def format_of(path: str | None) -> Format:
    """Returns the format of an output: the one that its suffix names, or JSON lines. None: standard output."""
    return FORMATS.get(os.path.splitext(path or "")[1].lower(), DEFAULT)
