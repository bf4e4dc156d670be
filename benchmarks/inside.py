"""Time spent inside of the onnx engine's networks."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from pyraface.core.engines.onnx.engine import OnnxEngine


class InsideNetworks:
    """While entered, adds up the seconds that detector and encoder spend in their networks; shrinking does not count."""

    def __init__(self, engine: OnnxEngine) -> None:
        self.seconds = 0.0
        detector = engine.detector
        halves = [one for one in (detector.float32, detector.int8) if one is not None]
        self._sessions: list[Any] = [engine.encoder.network]
        self._sessions += [session for one in halves for session in (one.trunk, one.head)]

    def __enter__(self) -> InsideNetworks:
        for session in self._sessions:
            session.run = partial(self._timed, session.run)
        return self

    def __exit__(self, *_: object) -> None:
        for session in self._sessions:
            del session.run  # the class has the original

    def _timed(self, run: Callable[[Any], Any], feeds: Any) -> Any:
        begin = time.perf_counter()
        try:
            return run(feeds)
        finally:
            self.seconds += time.perf_counter() - begin
