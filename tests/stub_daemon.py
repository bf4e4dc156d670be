"""A real daemon, worker and all, whose engine takes a fixed time for an image and finds no face.

What is measured with it is everything but the engine: two cores cannot run two engines at full speed, but any number of
these.

    with stub_daemon(folder, seconds=0.05) as one, stub_daemon(folder, seconds=0.0, credits=8) as two:
        ...   # one.port, two.port; ended at the end

`seconds=0.0` is an engine that does nothing: what is left is decoding, the network and the client. Images cost their
decoding too: let them be small. `seconds=math.inf` is an engine that fails at every image at once, `seconds=math.nan` one
that fails as none should, `seconds=-math.inf` one that has too little memory for any image.
"""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pyraface.core import engines
from pyraface.core.boxes import Boxes
from pyraface.core.engines import Detections, Engine, Pixels, Proposals, Proposer, Tile, reference_face
from pyraface.core.errors import EngineError, EngineMemoryError
from pyraface.core.parameters import SearchName
from pyraface.core.pipeline import Pipeline
from pyraface.daemon import __main__ as daemon_main
from pyraface.daemon import executor
from pyraface.daemon.worker import __main__ as worker_main
from tests import support

SECONDS = "PYRAFACE_TEST_STUB_SECONDS"
WITHOUT_PROPOSER = "PYRAFACE_TEST_STUB_WITHOUT_PROPOSER"
DEVIATION = "PYRAFACE_TEST_STUB_DEVIATION"
"""Environment: seconds an image; not empty: the engine has no proposer, so that images can only be searched everywhere; the
distance of its encoding of the reference face from the right one, "nan" for no number."""


class StubEngine:
    """Sleeps, and finds nothing; it is its own proposer, which sleeps, too, and proposes nothing."""

    name = "stub"
    device = "no device"
    gpu = False
    processor = "none"
    libraries = "none"

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.warm = False
        """Whether the worker is ready: it has looked at a picture with each search."""

    def batch_size(self, height: int, width: int) -> int:
        del height, width
        return 1

    def prepare(self, tile: Pixels, scales: int = 0) -> Pixels:
        del scales
        return tile

    def detect(self, tiles: Sequence[Tile]) -> list[Detections]:
        self._work()
        none = np.zeros((0, 4), np.float32)
        return [Detections(none, np.zeros(0, np.float32), none) for _ in tiles]

    def propose(self, tiles: Sequence[Pixels], threshold: float) -> list[Proposals]:
        del threshold
        self._work()
        return [Proposals(np.zeros((0, 4), np.float32), np.zeros(0, np.float32)) for _ in tiles]

    def scores(self, tiles: Sequence[Pixels]) -> NDArray[np.float32]:
        return np.zeros(len(tiles), np.float32)

    def with_threshold(self, threshold: float) -> Engine:
        del threshold
        return self

    def proposer(self) -> Proposer:
        if os.environ.get(WITHOUT_PROPOSER):
            raise EngineError("the stub has no proposer")
        return self

    def encode_chips(self, chips: Sequence[Pixels]) -> NDArray[np.float32]:
        encoding = reference_face.ENCODING.astype(np.float32)
        encoding[0] += float(os.environ.get(DEVIATION, "0"))
        return np.stack([encoding] * len(chips))

    def encode(self, image: Pixels, boxes: Boxes) -> NDArray[np.float32]:
        del image
        return np.zeros((len(boxes), 128), np.float32)

    def _work(self) -> None:
        if self.warm and self._seconds == -math.inf:
            raise EngineMemoryError("a stub that has no memory")
        if self.warm and math.isinf(self._seconds):
            raise EngineError("a stub that fails at everything")
        if self.warm and math.isnan(self._seconds):
            raise IndexError("the image in words")
        if self.warm:
            time.sleep(self._seconds)


def stub_daemon(
    folder: Path,
    *arguments: str,
    seconds: float,
    proposer: bool = True,
    environment: Mapping[str, str] | None = None,
    **changes: object,
) -> AbstractContextManager[support.DaemonProcess]:
    """`tests.support.daemon` with this engine; `seconds` an image."""
    variables = {SECONDS: str(seconds), WITHOUT_PROPOSER: "" if proposer else "1", **(environment or {})}
    return support.daemon(folder, *arguments, module="tests.stub_daemon", environment=variables, **changes)


def main() -> None:
    """Runs the daemon; or its worker, where the daemon has this very module started for it."""
    if "--channel" in sys.argv:
        engine = StubEngine(float(os.environ[SECONDS]))
        engines.start = lambda *_, **__: engine  # type: ignore[assignment]
        warm_up = worker_main.warm_up

        def warmed_up(pipeline: Pipeline, *, frugal: bool) -> tuple[SearchName, ...]:
            searches = warm_up(pipeline, frugal=frugal)
            engine.warm = True
            return searches

        worker_main.warm_up = warmed_up
        worker_main.main()
        return
    python_module = executor.subprocesses.python_module

    def stubbed(name: str, *words: str) -> tuple[list[str], dict[str, str]]:
        assert name == "pyraface.daemon.worker"
        return python_module("tests.stub_daemon", *words)

    executor.subprocesses.python_module = stubbed
    daemon_main.main()


if __name__ == "__main__":
    main()
