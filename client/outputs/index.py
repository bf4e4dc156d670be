"""Index: the lines of an output by path and by digest, in some 80 bytes per line; the faces stay on the disk."""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...core.computed_by import ComputedBy
from ...core.results import time_as_json

_RECORD = np.dtype(
    [
        *(("path", "<u8"), ("path_rest", "<u8"), ("digest", "<u8"), ("digest_rest", "<u8")),
        *(("start", "<i8"), ("size", "<i8"), ("modified", "<i8"), ("origin", "<u2"), ("state", "u1")),
        ("former", "?"),
    ]
)
_PACKED = struct.Struct("<16s16sqqqHB?")
assert _PACKED.size == _RECORD.itemsize

_NOTHING = bytes(16)

_NO_TIME = -(2**63)
_MOST_ORIGINS = 2**16 - 1


class LineState(IntEnum):
    """State of an image, according to its line."""

    NOT_A_LINE = 0
    """Bytes left by a power cut, to be dropped."""
    UNANSWERED = 1
    """No server answered, or one answered that it failed itself, so the image is to be processed."""
    FAILED = 2
    """A server answered with an error in the image."""
    DONE = 3
    """A server answered with any number of faces, or none."""


class Origin(NamedTuple):
    """Origin of a line: what was asked for and what computed it.

    Attributes:
        fingerprint: of the search and its parameters; "" if no server answered.
        computed_by: None if no server answered, or if the line is older than this key.
    """

    fingerprint: str
    computed_by: ComputedBy | None


_NO_ORIGIN = Origin("", None)


class Head(NamedTuple):
    """Head of a line: the values that a later run needs, without the faces.

    Attributes:
        digest, size, modified: of the file when it was read; None if the line does not contain them. A time before 1970 is
            negative.
        former: whether the line is not as lines are written today: an earlier version wrote it, or another program arranged
            it anew.
    """

    path: str
    digest: str | None
    size: int | None
    modified: int | None
    origin: Origin
    state: LineState
    former: bool = False


@dataclass(frozen=True)
class Entry:
    """Entry of the index: the number of a line, its first byte, and the part of its head that the index keeps.

    Attributes:
        modified: the `time_key` of the file's time.
    """

    number: int
    start: int
    size: int
    modified: int
    origin: Origin
    state: LineState


def time_key(modified: int | None) -> int:
    """Returns a time in nanoseconds as the index keeps it: all times after the year 2262 have the same key."""
    time = time_as_json(modified)
    return _NO_TIME if time is None else time


class Outdated(NamedTuple):
    """A line that a file written anew lacks, or has in today's form; it is the bytes from `start` to `end` (exclusive)."""

    number: int
    start: int
    end: int
    dropped: bool


class Index:
    """Index of the lines of an output. First `add` every line, then `sort`, then query."""

    def __init__(self) -> None:
        self._packed = bytearray()
        self._origins = [_NO_ORIGIN]
        self._numbers = {_NO_ORIGIN: 0}
        self._end = 0
        self._records: NDArray[np.void] = np.empty(0, _RECORD)
        self._dropped: NDArray[np.bool_] = np.empty(0, np.bool_)
        self._seen: NDArray[np.bool_] = np.empty(0, np.bool_)
        self._repeated: NDArray[np.bool_] = np.empty(0, np.bool_)
        self._by: dict[str, tuple[NDArray[np.uint32], NDArray[np.uint64]]] = {}

    def __len__(self) -> int:
        return len(self._records)

    def add(self, head: Head | None, start: int, end: int) -> None:
        """Adds a line at the bytes from `start` to `end` (exclusive); `head` is None for bytes that are not a line."""
        if head is None:
            self._packed += _PACKED.pack(
                _NOTHING, _NOTHING, start, -1, _NO_TIME, 0, LineState.NOT_A_LINE, False
            )
        else:
            number = self._numbers.get(head.origin)
            if number is None:
                # an origin beyond the limit has no fingerprint of a server, so its images are processed again
                number = len(self._origins) if len(self._origins) < _MOST_ORIGINS else 0
                self._numbers[head.origin] = number
                if number:
                    self._origins.append(head.origin)
            self._packed += _PACKED.pack(
                _path_key(head.path),
                _digest_key(head.digest),
                start,
                -1 if head.size is None else head.size,
                time_key(head.modified),
                number,
                head.state,
                head.former,
            )
        self._end = end

    def sort(self) -> None:
        """Prepares the index for queries. Of several lines of one path, only the last counts from here on."""
        self._records = np.frombuffer(self._packed, _RECORD)
        count = len(self._records)
        self._dropped = self._records["state"] == LineState.NOT_A_LINE
        self._seen, self._repeated = np.zeros(count, np.bool_), np.zeros(count, np.bool_)
        for name in ("path", "digest"):
            order = np.lexsort((self._records[f"{name}_rest"], self._records[name])).astype(np.uint32)
            self._by[name] = order, self._records[name][order]
        order = self._by["path"][0]
        earlier, later = order[:-1], order[1:]  # lexsort is stable
        again = self._same("path", earlier, later)
        self._dropped[earlier[again]] = True

    def at(self, path: str) -> Entry | None:
        """Returns the entry of a path."""
        return next(
            (self._entry(i) for i in self._find("path", _path_key(path)) if not self._dropped[i]), None
        )

    def with_digest(self, digest: str) -> Iterator[Entry]:
        """Yields the entries of files with this digest, including dropped ones, whose faces are still correct."""
        key = _digest_key(digest)
        return (self._entry(i) for i in (self._find("digest", key) if key != _NOTHING else []))

    def drop(self, number: int) -> None:
        """Marks a line as superseded, so that it no longer counts."""
        self._dropped[number] = True

    def see(self, number: int) -> None:
        """Notes that the file of a line exists."""
        self._seen[number] = True

    def repeat(self, number: int) -> None:
        """Notes that the faces of a line were also written for another path."""
        self._repeated[number] = True

    def counts(self, state: LineState) -> dict[Origin, int]:
        """Returns the number of lines in a state, by their origin."""
        chosen = self._records["origin"][(self._records["state"] == state) & ~self._dropped]
        counts = np.bincount(chosen, minlength=len(self._origins)).tolist()
        return {origin: count for origin, count in zip(self._origins, counts, strict=True) if count}

    def doubtful(self) -> Iterator[Entry]:
        """Yields entries of files that were not seen, while another file with the same bytes was: they may have moved."""
        order = self._by["digest"][0]
        if not len(order):
            return
        group = np.cumsum(np.concatenate([[False], ~self._same("digest", order[:-1], order[1:])]))
        live = ~self._dropped
        there = np.bincount(group, weights=((self._seen & live) | self._repeated)[order]) > 0
        moved = np.zeros(len(order), np.bool_)
        moved[order] = there[group]
        yield from (self._entry(i) for i in np.flatnonzero(moved & live & ~self._seen).tolist())

    def latest(self, most: int) -> list[int]:
        """Returns the first byte of each of the last lines with faces, or without any, that count."""
        done = np.flatnonzero((self._records["state"] == LineState.DONE) & ~self._dropped)
        return [int(start) for start in self._records["start"][done[-most:]]]

    def outdated(self) -> Iterator[Outdated]:
        """Yields the lines that are dropped or former, in the order of the file."""
        for number in np.flatnonzero(self._dropped | self._records["former"]).tolist():
            after = number + 1
            end = self._records["start"][after] if after < len(self._records) else self._end
            yield Outdated(number, int(self._records["start"][number]), int(end), bool(self._dropped[number]))

    def _find(self, name: str, key: bytes) -> Iterator[int]:
        if not len(self._records):
            return
        first, rest = struct.unpack("<QQ", key)
        order, values = self._by[name]
        position = int(np.searchsorted(values, np.uint64(first)))
        while position < len(values) and values[position] == first:
            number = int(order[position])
            if self._records[f"{name}_rest"][number] == rest:
                yield number
            position += 1

    def _same(self, name: str, one: NDArray[np.uint32], other: NDArray[np.uint32]) -> NDArray[np.bool_]:
        """Returns (n,) bool: whether two lines have the same path or digest; False for lines without one."""
        first, rest = self._records[name], self._records[f"{name}_rest"]
        same = (first[one] == first[other]) & (rest[one] == rest[other])
        return np.asarray(same & ((first[one] != 0) | (rest[one] != 0)), np.bool_)

    def _entry(self, number: int) -> Entry:
        record = self._records[number]
        return Entry(
            number,
            int(record["start"]),
            int(record["size"]),
            int(record["modified"]),
            self._origins[record["origin"]],
            LineState(int(record["state"])),
        )


def _path_key(path: str) -> bytes:
    """Returns 16 bytes that identify a path, the same for all its spellings: `a`, `./a`."""
    if not path.startswith("/") or "/." in path or "//" in path or path.endswith("/"):
        path = os.path.abspath(path)
    return hashlib.blake2b(os.fsencode(path), digest_size=16).digest()


def _digest_key(digest: str | None) -> bytes:
    """Returns 16 bytes of a digest; zeros for a digest that is no SHA-256."""
    kind, _, number = (digest or "").partition(":")
    try:
        return bytes.fromhex(number)[:16] if kind == "sha256" and len(number) == 64 else _NOTHING
    except ValueError:
        return _NOTHING
