"""A folder of photographs and the output about them, for tests of the journal."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from pyraface.client.inputs.file_reader import File, digest_of
from pyraface.client.outputs.journal import Journal
from pyraface.core.computed_by import ComputedBy
from pyraface.core.errors import ErrorCode
from pyraface.core.faces import Faces
from pyraface.core.pages import Page
from pyraface.core.protocol.messages import Failed, Found
from pyraface.core.results import Result
from tests.output_lines import checked, content_of, name_of

OURS, OTHER = "0123456789abcdef", "fedcba9876543210"
ONNX = ComputedBy("onnx", "cpu, int8", "0.1.0, onnxruntime 1.32.0, dlib 20.0.1")
DLIB = ComputedBy("dlib", "cuda, Orin", "0.1.0, dlib 19.24.6")


def about(path: Path) -> Result:
    """What is known of a file before a server answers."""
    file = read(path)
    return Result(file.path, file.digest, file.size, file.modified)


def faces(count: int, seed: int = 0) -> Faces:
    chance = np.random.default_rng(seed)
    corners = chance.random((count, 2), np.float32) * 100
    return Faces(
        np.concatenate([corners, corners + 50], axis=1),
        chance.random(count, np.float32),
        np.zeros(count, np.int32),
        np.full(count, "cnn", "U5"),
        np.zeros(count, np.int32),
        chance.standard_normal((count, 128), np.float32),
        chance.random(count, np.float32),
        chance.random(count, np.float32),
        chance.random(count) < 0.5,
        np.zeros(count, np.int32),
    )


def read(path: Path) -> File:
    status = path.stat()
    data = path.read_bytes()
    return File(str(path), len(data), status.st_mtime_ns, digest_of(data), data)


def found(
    path: Path, fingerprint: str = OURS, count: int = 1, computed_by: ComputedBy | None = ONNX
) -> Result:
    return about(path).answered("attic", fingerprint, computed_by, answer(faces(count)))


def answer(found: Faces) -> Found:
    return Found(1, found, (Page(0, 300, 200, 1),), (), (), 1, 0.5)


def failed(path: Path, fingerprint: str = OURS) -> Result:
    answer = Failed.because(1, ErrorCode.IMAGE_TRUNCATED, "it is cut off")
    return about(path).answered("attic", fingerprint, ONNX, answer)


def unreadable(path: Path) -> Result:
    return Result(str(path), error=(ErrorCode.UNREADABLE, "cannot be read: Input/output error"))


class Archive:
    """A folder of photographs and the output about them."""

    def __init__(self, folder: Path, suffix: str = "") -> None:
        self.folder = folder / "photographs"
        self.folder.mkdir()
        self.output = folder / f"faces.jsonl{suffix}"
        self.summary = ""
        """Of the last run: how many images were done again, and why."""
        self.moved: list[str] = []
        """What the last run moved to another file."""

    def photo(self, name: str, content: str = "") -> Path:
        path = self.folder / name
        path.write_bytes(os.fsencode(content or name))
        return path

    def run(
        self,
        detect: Callable[[Path], Result] = found,
        *,
        fingerprints: tuple[str, ...] = (OURS,),
        retry_failed: bool = False,
        redo_from: tuple[str, ...] = (),
        finish: bool = True,
        repair: bool = False,
    ) -> list[str]:
        """One run over the folder; returns the names of the images that went to a server."""
        sent = []
        with Journal(
            str(self.output), retry_failed=retry_failed, redo_from=redo_from, repair=repair
        ) as journal:
            self.moved = journal.load()
            journal.begin(set(fingerprints))
            for path in sorted(self.folder.iterdir()):
                if not journal.has(str(path)) and not journal.repeat(read(path)):
                    sent.append(path.name)
                    journal.write(detect(path))
            if finish:
                journal.finish()
            self.summary = journal.summary()
        return sent

    def lines(self) -> dict[str, dict[str, object]]:
        """The lines by the file's name; each has one."""
        lines = checked(content_of(self.output))
        by_name = {name_of(line): line for line in lines}
        assert len(by_name) == len(lines)
        return by_name

    def words(
        self,
        fingerprints: tuple[str, ...] = (OURS,),
        *,
        retry_failed: bool = False,
        redo_from: tuple[str, ...] = (),
    ) -> list[str]:
        with Journal(str(self.output), retry_failed=retry_failed, redo_from=redo_from) as journal:
            journal.load()
            return journal.begin(set(fingerprints))
