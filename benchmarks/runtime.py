"""Runtime: ONNX Runtime's options on a CPU, each against the onnx engine's, alone and while photographs are decoded.

    python -m benchmarks.runtime [--megapixels 3.84] [--turns 7] [--only spinning,arena]

A tile is searched in turns by the engine as it is and by one with an option changed. "beside decoding": two threads decode a
JPEG of 3 megapixels all the while, as a daemon's do; the last column is how many they decode, against the engine as it is.
"""

from __future__ import annotations

import argparse
import io
import statistics
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any
from unittest.mock import patch

import numpy as np
from PIL import Image

from pyraface.core.engines import EngineOptions
from pyraface.core.engines.onnx import session
from pyraface.core.engines.onnx.engine import OnnxEngine
from pyraface.core.engines.onnx.runtime import onnxruntime
from pyraface.core.images.decode import decode
from pyraface.core.parameters import ImageLimits

from .common import PACKAGES, machine, timed, today, versions
from .peer import tile

DECODING_THREADS = 2

Change = Callable[[Any], None]


def entry(name: str, value: str) -> Change:
    return lambda options: options.add_session_config_entry(name, value)


def attribute(name: str, value: object) -> Change:
    return lambda options: setattr(options, name, value)


LEVELS = onnxruntime.GraphOptimizationLevel
CHANGES: dict[str, tuple[str, Change]] = {
    "spinning": ("threads spin while they wait", entry("session.intra_op.allow_spinning", "1")),
    "blocks": (
        "work cut ever smaller towards its end (dynamic_block_base 4)",
        entry("session.dynamic_block_base", "4"),
    ),
    "denormals": ("denormals are zero", entry("session.set_denormal_as_zero", "1")),
    "pattern": ("a plan of the memory for each shape", attribute("enable_mem_pattern", True)),
    "arena": ("a separate arena for each session", entry("session.use_env_allocators", "0")),
    "no-arena": ("no arena: memory from the system each time", attribute("enable_cpu_mem_arena", False)),
    "basic": (
        "graph: basic optimizations alone",
        attribute("graph_optimization_level", LEVELS.ORT_ENABLE_BASIC),
    ),
    "extended": ("graph: all but layouts", attribute("graph_optimization_level", LEVELS.ORT_ENABLE_EXTENDED)),
    "threads": ("one thread more than cores", lambda options: _one_more_thread(options)),
}


def _one_more_thread(options: Any) -> None:
    options.intra_op_num_threads += 1


def changed(change: Change) -> OnnxEngine:
    """Returns an engine with an option of all its sessions changed."""
    unchanged = session.session_options

    def options(threads: int) -> Any:
        made = unchanged(threads)
        change(made)
        return made

    with patch.object(session, "session_options", options):
        return OnnxEngine(EngineOptions())


class Decoding:
    """Threads that decode the same JPEG for as long as this is open, and count how often."""

    def __init__(self) -> None:
        stream = io.BytesIO()
        noise = np.repeat(np.repeat(tile(0.19), 4, axis=0), 4, axis=1)
        Image.fromarray(noise).save(stream, "JPEG", quality=90)
        self._jpeg = stream.getvalue()
        self._ended = threading.Event()
        self._done = [0] * DECODING_THREADS
        self._threads = [threading.Thread(target=self._run, args=[i]) for i in range(DECODING_THREADS)]

    def _run(self, index: int) -> None:
        while not self._ended.is_set():
            decode(self._jpeg, ImageLimits())
            self._done[index] += 1

    @property
    def done(self) -> int:
        return sum(self._done)

    def __enter__(self) -> Decoding:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.runtime", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument(
        "--megapixels", type=float, default=3.84, help="size of the tile (default: %(default)s)"
    )
    parser.add_argument("--turns", type=int, default=7, help="turns of each option (default: %(default)s)")
    parser.add_argument(
        "--only", default=",".join(CHANGES), help="options, separated by commas (default: %(default)s)"
    )
    arguments = parser.parse_args()
    names = arguments.only.split(",")
    if unknown := set(names) - set(CHANGES):
        parser.error(f"no such options: {', '.join(sorted(unknown))}; there are {', '.join(CHANGES)}")
    onnxruntime.set_default_logger_severity(4)  # it warns of each option that is set twice
    pixels = tile(arguments.megapixels)
    print(f"{today()}; {machine()}; {versions(*PACKAGES)}; a tile of {arguments.megapixels} Mpx\n")
    print(
        "| option | alone, as it is / changed | ratio | beside decoding | ratio | decoded |\n|---|--:|--:|--:|--:|--:|"
    )
    as_it_is = OnnxEngine(EngineOptions())
    for name in names:
        what, change = CHANGES[name]
        cells = compare(as_it_is, changed(change), pixels, arguments.turns)
        print(f"| {what} | {' | '.join(cells)} |", flush=True)


def compare(as_it_is: OnnxEngine, changed: OnnxEngine, pixels: Any, turns: int) -> Iterator[str]:
    """Yields the cells of a row: seconds of both and their ratio, alone and beside decoding, and what was decoded."""
    works = [partial(engine.detect, [pixels]) for engine in (as_it_is, changed)]
    for work in works:
        work()
    seconds = [[timed(work)[0] for work in works] for _ in range(turns)]
    yield from _cells(seconds)
    decoded: list[list[float]] = []
    with Decoding() as decoding:
        seconds = []
        for _ in range(turns):
            turn, rates = [], []
            for work in works:
                before = decoding.done
                taken, _ = timed(work)
                turn.append(taken)
                rates.append((decoding.done - before) / taken)
            seconds.append(turn)
            decoded.append(rates)
    yield from _cells(seconds)
    first, second = (sum(rates[side] for rates in decoded) for side in (0, 1))
    yield f"{second / first:.2f}x" if first else "-"


def _cells(seconds: list[list[float]]) -> Iterator[str]:
    first, second = (statistics.median(turn[side] for turn in seconds) for side in (0, 1))
    ratios = [turn[0] / turn[1] for turn in seconds]
    yield f"{first:.3f} / {second:.3f} s"
    yield f"{statistics.median(ratios):.2f}x ({min(ratios):.2f} to {max(ratios):.2f})"


if __name__ == "__main__":
    main()
