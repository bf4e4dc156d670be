"""Peer: the reference in another interpreter, face_recognition on its dlib, timed on request.

    PYTHON -m benchmarks.peer [PARAMETERS.xml]

Reads one JSON object a line from standard input, answers each with one: {"seconds": ..., "faces": ...}. A dlib built
against OpenBLAS, in a separate virtual environment, thus takes turns with the engines of this interpreter.
"""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pyraface.core import parameters
from pyraface.core.engines import Engine, start
from pyraface.core.images.decode import decode
from pyraface.core.pipeline import Pipeline

from . import original as original_rules
from .common import chosen_parameters, timed

ROOT = Path(__file__).resolve().parent.parent


class Peer:
    """An interpreter that runs this module.

    Args:
        parameters: the file that says how photographs are searched; None: by default.
    """

    def __init__(self, python: str, parameters: Path | None = None) -> None:
        named = [] if parameters is None else [str(parameters.resolve())]
        self._process = subprocess.Popen(
            [python, "-m", "benchmarks.peer", *named],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def ask(self, **work: object) -> dict[str, Any]:
        """Returns the answer to one request."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(work) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the peer's interpreter ended; does it have pyraface and face_recognition?")
        answer: dict[str, Any] = json.loads(line)
        return answer


def tile(megapixels: float) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Returns noise of so many megapixels, 3 by 2, the same every time: the time does not depend on what is seen."""
    height = round((megapixels * 1e6 / 1.5) ** 0.5)
    return np.random.default_rng(0).integers(0, 256, (height, round(1.5 * height), 3), np.uint8)


def chips(count: int) -> tuple[np.ndarray[Any, np.dtype[np.uint8]], np.ndarray[Any, np.dtype[np.float32]]]:
    """Returns a picture and the boxes of so many faces in it."""
    box = np.array([[20, 20, 170, 170]], np.float32)
    return tile(0.06), np.repeat(box, count, axis=0)


def work(pipeline: Pipeline, request: dict[str, Any]) -> dict[str, Any]:
    """Does what a request asks for, and times it."""
    engine: Engine = pipeline.engine
    if request["work"] == "tile":
        pixels = tile(request["megapixels"])
        seconds, _ = timed(partial(engine.detect, [pixels]))
        return {"seconds": seconds}
    if request["work"] == "encode":
        pixels, boxes = chips(request["faces"])
        seconds, _ = timed(partial(engine.encode, pixels, boxes))
        return {"seconds": seconds}
    image = Path(request["path"]).read_bytes()
    run = (
        partial(original, pipeline, image)
        if request["work"] == "original"
        else partial(pipeline.detect, image)
    )
    seconds, faces = timed(run)
    return {"seconds": seconds, "faces": len(faces.boxes)}


def original(pipeline: Pipeline, image: bytes) -> original_rules.Found:
    """The original program's way: its pyramid, one encoding a candidate, its merging."""
    pixels = decode(image, parameters.ImageLimits()).pixels
    return original_rules.detect(pipeline.engine, pixels, pipeline.parameters.detection)


def main() -> None:
    file = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    pipeline = Pipeline(chosen_parameters(file, search="everywhere"), start("dlib"))
    for line in sys.stdin:
        print(json.dumps(work(pipeline, json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
