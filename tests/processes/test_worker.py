"""Worker: by itself, without a daemon; the rest of it is tested through its parent, the executor."""

from __future__ import annotations

import subprocess
import sys

from tests.support import environment

LATE_CANCELS = """
import os, socket, threading
from pyraface.core import engines, parameters
from pyraface.core.protocol import wire
from pyraface.core.protocol.messages import Cancel, Detect, Failed
from pyraface.core.pipeline import Pipeline
from pyraface.daemon.worker.worker import Worker
from tests.stub_daemon import StubEngine

engines.start = lambda *_, **__: StubEngine(0.0)
ours, theirs = socket.socketpair()
pipeline = Pipeline(parameters.load(), "onnx")
worker = Worker(theirs, pipeline, [pipeline.default_search], 0.0)

def talk():
    codec = wire.Codec(max_frame_bytes=1 << 20)

    def answer():
        while (message := codec.next_message()) is None:
            codec.receive_data(ours.recv(1 << 16))
        return message

    answer()  # it is ready
    for id in range(100):
        ours.sendall(wire.encode(Detect(id, b"")))
        assert isinstance(answer(), Failed)
        ours.sendall(wire.encode(Cancel(id)))  # the answer and this have passed each other
    ours.sendall(wire.encode(Detect(100, b"")))
    answer()
    print(len(worker._cancelled), flush=True)
    os._exit(0)

worker.start()
threading.Thread(target=talk).start()
worker.run()
"""


def test_cancels_that_come_after_the_answer_are_not_kept() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LATE_CANCELS],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "0\n"), done.stderr
