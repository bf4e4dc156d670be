"""Outputs: the size of an output and the client's CPU time for a line, plain and compressed, written and read again.

    python -m benchmarks.outputs [--lines 20000] [--turns 3]

Needs no photographs: the lines have 0, 1 or 2 faces with encodings of chance, which are hardly compressed.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import numpy as np

from pyraface.client.outputs.journal import Journal
from pyraface.core.computed_by import ComputedBy
from pyraface.core.faces import Faces
from pyraface.core.pages import Page
from pyraface.core.protocol.messages import Found
from pyraface.core.results import Result

from .common import machine, today, versions

SUFFIXES = ("jsonl", "jsonl.gz", "jsonl.zst")

FINGERPRINT = "0123456789abcdef"


def results(count: int) -> list[Result]:
    """Returns results with 0, 1 and 2 faces in turn."""
    chance = np.random.default_rng(0)
    by = ComputedBy("onnx", "cpu, int8", "0.1.0, onnxruntime 1.32.0, dlib 20.0.1")
    found = []
    for number in range(count):
        size = number % 3
        corners = (chance.random((size, 2)) * 2000).astype(np.float32)
        faces = Faces.detected(
            np.concatenate([corners, corners + 100], axis=1), chance.random(size, np.float32), level=0
        )
        faces = faces.with_encodings((chance.standard_normal((size, 128)) / 10).astype(np.float32))
        faces = faces.with_quality(chance.random(size, np.float32), np.ones(size, np.bool_))
        path = f"/archive/2024/{number // 1000:03}/IMG_{number:07}.jpg"
        about = Result(path, f"sha256:{number:064x}", 3_000_000 + number, 1_764_115_200_000_000_000 + number)
        answer = Found(1, faces, (Page(0, 4000, 3000, 1),), (), (), 1, 0.1234)
        found.append(about.answered("attic (192.168.7.11:5000)", FINGERPRINT, by, answer))
    return found


def measure(output: Path, lines: list[Result]) -> tuple[float, float, float]:
    """Returns the microseconds of CPU time to write a line and to read it again, and the bytes of a line."""
    output.unlink(missing_ok=True)
    start = time.process_time()
    with Journal(str(output)) as journal:
        journal.load()
        journal.begin({FINGERPRINT})
        for line in lines:
            journal.write(line)
        journal.finish()
    written = time.process_time()
    with Journal(str(output)) as journal:
        journal.load()
    read = time.process_time()
    return *(
        (took / len(lines) * 1e6) for took in (written - start, read - written)
    ), output.stat().st_size / len(lines)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--lines", type=int, default=20_000)
    parser.add_argument("--turns", type=int, default=3)
    arguments = parser.parse_args()
    lines = results(arguments.lines)
    print(f"{machine()}, {today()}; {versions('numpy')}")
    print("| output | a line takes | CPU to write a line | CPU to read it when resuming |")
    print("|---|--:|--:|--:|")
    took = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(arguments.turns):
            for suffix in SUFFIXES:
                took[suffix].append(measure(Path(folder) / f"faces.{suffix}", lines))
    for suffix, turns in took.items():
        writing, reading, size = map(statistics.median, zip(*turns, strict=True))
        print(f"| `faces.{suffix}` | {size:.0f} bytes | {writing:.0f} µs | {reading:.0f} µs |")


if __name__ == "__main__":
    main()
