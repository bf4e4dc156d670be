"""Formats of the output: the conversion between the record of an image and a line of the file.

To add one: a file here with a class that has the methods of Format, and its suffix in FORMATS.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Protocol

from ..compression import COMPRESSIONS, Compression
from ..index import Head
from .json_lines import JsonLines


class Format(Protocol):
    """Format of a file that holds one line for each image.

    `decode` and `head` raise ValueError or RecursionError for a line that is not in this format; the message completes
    "the line was not written by pyraface: ...".

    Attributes:
        beginning: the bytes at the beginning of every line, by which an incomplete first line is recognised.
    """

    beginning: bytes

    def encode(self, record: dict[str, object]) -> bytes:
        """Returns the line of an image, with its line end. docs/output.md describes the keys of a record."""

    def decode(self, line: bytes) -> dict[str, object]:
        """Returns the whole record of a line."""

    def head(self, line: bytes) -> Head:
        """Returns the head of a line, which a later run needs, without decoding the faces."""


DEFAULT: Format = JsonLines()

FORMATS: dict[str, Format] = {".jsonl": DEFAULT}
"""The formats, by the suffix of the file name."""


def format_of(path: str | None) -> tuple[Format, Callable[[], Compression] | None]:
    """Returns the format and the compression for the suffixes of a path; `path` is None for standard output."""
    stem, suffix = os.path.splitext(os.path.basename(path or "").lower())
    compression = COMPRESSIONS.get(suffix)
    if compression is not None:
        suffix = os.path.splitext(stem)[1]
    return FORMATS.get(suffix, DEFAULT), compression


def names(path: str) -> bool:
    """Returns whether the suffixes of a path name a format."""
    name = os.path.basename(path).lower()
    return name.endswith(tuple(format_ + last for format_ in FORMATS for last in ("", *COMPRESSIONS)))
