"""python -m pyraface.daemon.worker: started by the daemon with one end of a socket, and parameters.xml on its input."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import socket
import sys

import numpy as np

from ...core import parameters as parameters_file
from ...core.errors import ErrorCode, PyrafaceError
from ...core.images.decode import Picture, claim_pillow
from ...core.images.formats import load_decoders
from ...core.pipeline import Pipeline
from ...core.protocol.messages import Closing
from . import sandbox
from .worker import Worker, log, send


def _warm_up(pipeline: Pipeline) -> None:
    """Runs one picture through, so that the first real one does not pay for what happens only once."""
    noise = np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8)
    pipeline.find(Picture.whole(noise))


def main() -> None:
    """Reads parameters.xml from standard input, then serves the socket with the number that --channel gives."""
    parser = argparse.ArgumentParser(prog="python -m pyraface.daemon.worker", description=__doc__)
    parser.add_argument("--channel", type=int, required=True, help="number of an inherited, connected socket")
    parser.add_argument("--engine", choices=["auto", "onnx", "dlib"], default="auto")
    arguments = parser.parse_args()
    # as Executor reads it
    logging.basicConfig(format="%(levelname)s %(name)s %(message)s", level=logging.WARNING)
    log.setLevel(logging.INFO)
    # a service manager's SIGTERM may reach every process; when to stop is the daemon's decision: it closes the channel
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    channel = socket.socket(fileno=arguments.channel)
    try:
        parameters = parameters_file.parse(sys.stdin.buffer.read())
        claim_pillow(parameters.images)
        pipeline = Pipeline(parameters, arguments.engine)
        load_decoders()
        _warm_up(pipeline)
        log.info(
            "%s", sandbox.enter(parameters, images=parameters.daemon.images_ahead, gpu=pipeline.engine.gpu)
        )
    except PyrafaceError as error:
        send(channel, Closing.because(ErrorCode.ENGINE_FAILED, str(error)))
        sys.exit(1)
    try:
        Worker(channel, pipeline).run()
    except (BrokenPipeError, ConnectionResetError):
        os._exit(0)  # the daemon is gone, and nobody waits for an answer


if __name__ == "__main__":
    main()
