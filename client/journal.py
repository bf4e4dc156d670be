"""The output: one JSON line an image, each written whole and at once."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from types import TracebackType
from typing import IO

from ..core.errors import PyrafaceError
from .results import Result


class OutputError(PyrafaceError):
    """The output cannot be written; the message says where and why."""


class Journal:
    """Writes results to a file, or to standard output.

    A file that exists is left alone, unless `overwrite` says otherwise: it may be a night's work. A new one that no line
    was written to is not left behind: the next attempt would stumble over it.

    Args:
        path: None for standard output.

    Raises:
        OutputError: the file exists, or cannot be opened; standard output is closed.
    """

    def __init__(self, path: str | None, *, overwrite: bool = False) -> None:
        self._name = path or "standard output"
        self._stream: IO[str] = sys.stdout
        self._owned = path is not None
        self._new: str | None = None
        if path is None and sys.stdout is None:
            raise OutputError("standard output is closed: name a file with --output")
        if path is not None:
            try:
                self._stream = open(path, "w" if overwrite else "x", encoding="ascii")  # noqa: SIM115
            except FileExistsError:
                raise OutputError(f"{path} exists: choose another name, or add --overwrite") from None
            except OSError as error:
                raise OutputError(f"{path} cannot be written: {error.strerror}") from error
            self._new = None if overwrite else os.path.abspath(path)

    def write(self, result: Result) -> None:
        """Writes the line for one image; whoever reads the file sees whole lines only.

        Raises:
            OutputError: the disk is full, or the reader of a pipe is gone.
        """
        # ascii: a file name that is no valid UTF-8 is kept as \\udcXX, and read back as the very same name
        line = json.dumps(result.as_json(), separators=(",", ":")) + "\n"
        self._new = None
        try:
            self._stream.write(line)
            self._stream.flush()
        except OSError as error:
            self._drop()
            raise OutputError(f"{self._name} cannot be written: {error.strerror}") from error

    def _drop(self) -> None:
        """What is buffered cannot be written; nothing may try again at exit and fail there."""
        if not self._owned:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, sys.stdout.fileno())
            os.close(null)

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._owned:
            try:
                self._stream.close()
            except OSError as failure:
                if error is None:
                    raise OutputError(f"{self._name} cannot be written: {failure.strerror}") from failure
        if self._new is not None:
            with contextlib.suppress(FileNotFoundError):  # somebody else was quicker
                os.unlink(self._new)
