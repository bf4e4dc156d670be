"""python -m pyraface.daemon.worker: the worker, started by the daemon with a socket and parameters.xml on standard input."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import socket
import sys
from typing import NoReturn

import numpy as np

from ...core import parameters as parameters_file
from ...core.engines import reference_face
from ...core.errors import EngineError, EngineMemoryError, ErrorCode, PyrafaceError, tells_of_memory
from ...core.host import threads
from ...core.images.decode import Picture, claim_pillow
from ...core.images.formats import load_decoders
from ...core.images.large import keep_nothing
from ...core.parameters import AUTOMATIC, SEARCHES, SearchName
from ...core.pipeline import Pipeline
from ...core.protocol.messages import Closing
from .. import process
from . import sandbox
from .worker import Worker, log, send


def warm_up(pipeline: Pipeline, *, frugal: bool) -> tuple[SearchName, ...]:
    """Returns the searches that can run, the default first: each has searched one picture.

    So the first image of a client does not wait for what happens only once, and nothing is left to be opened in the sandbox.

    Args:
        frugal: whether memory is scarce: the default search then proves that there is enough for a whole tile, in which no
            place looks like a face. A server that has not even that would fail at every photograph.

    Raises:
        EngineError: the default search cannot run.
    """
    picture = Picture.whole(np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8))
    pipeline.find(picture)
    if frugal:
        side = int(pipeline.parameters.detection.tile_pixels**0.5)
        pipeline.find(Picture.whole(np.full((side, side, 3), 128, np.uint8)))
    searches = [pipeline.default_search]
    unable: dict[str, list[str]] = {}
    for name in SEARCHES:
        if name != pipeline.default_search:
            try:
                pipeline.find(picture, search=name)
            except EngineError as error:
                unable.setdefault(str(error), []).append(name)
            else:
                searches.append(name)
    if pipeline.default_search != AUTOMATIC and pipeline.parameters.detection.search == "auto":
        return tuple(searches)  # the pipeline has said why
    for reason, names in unable.items():
        log.info("no client can ask for the search %s: %s", " or ".join(names), reason)
    return tuple(searches)


def _deviation(pipeline: Pipeline) -> float:
    """Returns the distance of the engine's encoding of the reference face from the right one.

    Raises:
        EngineError: it is too far, or the encoding is not a number: the device is broken.
    """
    engine = pipeline.engine
    [encoding] = engine.encode_chips([reference_face.pixels()])
    try:
        distance = reference_face.deviation(encoding)
    except EngineError as error:
        raise EngineError(f"the {engine.name} engine cannot be used on {engine.device}: {error}") from error
    if distance > reference_face.NAMED:
        log.warning("the encoding of the reference face is %.2f from face_recognition's on a CPU", distance)
    return distance


def _give_up(channel: socket.socket, reason: str, code: ErrorCode = ErrorCode.ENGINE_FAILED) -> NoReturn:
    send(channel, Closing.because(code, reason))
    sys.exit(1)


def main() -> None:
    """Reads parameters.xml from standard input, then serves the socket with the number that --channel gives."""
    parser = argparse.ArgumentParser(prog="python -m pyraface.daemon.worker", description=__doc__)
    parser.add_argument("--channel", type=int, required=True, help="number of an inherited, connected socket")
    parser.add_argument("--engine", choices=["auto", "onnx", "dlib"], default="auto")
    parser.add_argument("--frugal", action="store_true", help="take less memory, and more time")
    arguments = parser.parse_args()
    # the format that Executor reads
    logging.basicConfig(format="%(levelname)s %(name)s %(message)s", level=logging.WARNING)
    log.setLevel(logging.INFO)
    # a service manager's SIGTERM may reach every process; the daemon decides when to stop, and closes the channel
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    channel = socket.socket(fileno=arguments.channel)
    try:
        parameters = parameters_file.parse(sys.stdin.buffer.read())
        claim_pillow(parameters.images)
        keep_nothing()
        process.prefer_to_be_killed()
        pipeline = Pipeline(parameters, arguments.engine, frugal=arguments.frugal)
        load_decoders()
        searches = warm_up(pipeline, frugal=arguments.frugal)
        deviation = _deviation(pipeline)
        memory = sandbox.memory(
            parameters.daemon, parameters.images, tile_pixels=parameters.detection.tile_pixels
        )
        log.info("%s", sandbox.enter(memory, gpu=pipeline.engine.gpu))
        worker = Worker(channel, pipeline, searches, deviation)
        worker.start()
    except Exception as error:
        if threads.refused(error):  # each library has an exception of its own for that
            _give_up(channel, threads.REMEDY)
        if isinstance(error, (MemoryError, EngineMemoryError)) or tells_of_memory(str(error)):
            _give_up(channel, str(error) or type(error).__name__, ErrorCode.OUT_OF_MEMORY)
        if not isinstance(error, PyrafaceError):
            raise
        _give_up(channel, str(error))
    try:
        worker.run()
    except (BrokenPipeError, ConnectionResetError):
        os._exit(0)  # the daemon is gone


if __name__ == "__main__":
    main()
