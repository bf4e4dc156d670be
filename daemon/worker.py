"""The executor's child process: bytes of images in, faces out, over a socket it inherits.

It runs apart from the daemon because dlib holds the interpreter's lock for as long as a detection takes, because a
damaged image or a lost GPU can end a process, and because CUDA wants a process that was never forked.

Images go through in the order they come: threads decode ahead, and the main thread has the engine for itself. Before the
first one the process gives up what it needs no more (`sandbox`).
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import logging
import os
import queue
import signal
import socket
import sys
import threading
import time
import traceback
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from ..core import parameters as parameters_file
from ..core import wire
from ..core.errors import EngineError, ErrorCode, ImageError, PyrafaceError
from ..core.images import Picture, claim_pillow, load_decoders
from ..core.messages import PROTOCOL_VERSIONS, Cancel, Closing, Detect, Failed, Found, Message, Welcome
from ..core.pipeline import Pipeline
from . import sandbox

log = logging.getLogger("pyraface.worker")

_CHUNK = 1 << 18

PIXELS_AHEAD = 40_000_000
"""Pixels that are decoded, or being decoded, while the engine has another picture: at 3 to 16 bytes each the most memory
that an executor takes beside the engine's own. One picture of a good camera; a larger one goes alone."""


class _Room:
    """Lets pictures be decoded ahead in the order they came, as long as there is room for their pixels."""

    def __init__(self, pixels: int) -> None:
        self._pixels = pixels
        self._changed = threading.Condition()
        self._taken = 0
        self._turn = 0
        self._passed: set[int] = set()

    def admit(self, turn: int, pixels: int) -> None:
        """Returns when it is this one's turn and there is room: whatever was admitted before it, the engine takes first."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._turn == turn and (not self._taken or self._taken + pixels <= self._pixels)
            )
            self._taken += pixels
            self._next(turn)

    def over(self, turn: int) -> None:
        """This one waits no more: it was admitted, or never will be."""
        with self._changed:
            if turn >= self._turn:
                self._next(turn)

    def free(self, pixels: int) -> None:
        """The engine takes a picture, or nobody wants it any more."""
        with self._changed:
            self._taken -= pixels
            self._changed.notify_all()

    def _next(self, turn: int) -> None:
        self._passed.add(turn)
        while self._turn in self._passed:
            self._passed.remove(self._turn)
            self._turn += 1
        self._changed.notify_all()


class _Decoded(NamedTuple):
    picture: Picture
    pixels: int
    """As many as there had to be room for."""
    seconds: float


class _Request(NamedTuple):
    id: int
    faces_from: int
    picture: Future[_Decoded]


class Worker:
    """Answers what comes over `channel` until the other side closes it."""

    def __init__(self, channel: socket.socket, pipeline: Pipeline) -> None:
        self._channel = channel
        self._pipeline = pipeline
        parameters = pipeline.parameters
        # the daemon has checked the client's frame; its own may be longer by the bytes of a larger id
        self._codec = wire.Codec(max_frame_bytes=parameters.daemon.max_frame_bytes + 64)
        self._decoders = ThreadPoolExecutor(parameters.daemon.decoding_threads, "decode")
        self._requests: queue.SimpleQueue[_Request] = queue.SimpleQueue()
        self._lock = threading.Lock()
        # both guarded by it; a cancel that comes after the answer is not kept
        self._held: set[int] = set()
        self._cancelled: set[int] = set()
        self._room = _Room(PIXELS_AHEAD)
        self._turns = itertools.count()

    def run(self) -> None:
        """Says that it is ready, then answers for ever; the end of the channel ends the process."""
        _send(self._channel, self._welcome())
        threading.Thread(target=self._receive, name="receive", daemon=True).start()
        while True:
            request = self._requests.get()
            answer = self._answer(request)
            with self._lock:
                self._held.discard(request.id)
                self._cancelled.discard(request.id)
            _send(self._channel, answer)

    def _welcome(self) -> Welcome:
        parameters, engine = self._pipeline.parameters, self._pipeline.engine
        return Welcome(
            version=PROTOCOL_VERSIONS[-1],
            name="executor",
            instance=str(os.getpid()),
            engine=engine.name,
            device=engine.device,
            fingerprint=self._pipeline.fingerprint,
            max_frame_bytes=parameters.daemon.max_frame_bytes,
            max_pixels=parameters.images.max_pixels,
            credits=ahead(parameters),
        )

    def _receive(self) -> None:
        with contextlib.suppress(ConnectionError):  # a daemon that was killed with answers unread
            while data := self._channel.recv(_CHUNK):
                self._codec.receive_data(data)
                while (message := self._codec.next_message()) is not None:
                    if isinstance(message, Detect):
                        with self._lock:
                            self._held.add(message.id)
                        picture = self._decoders.submit(self._decode, message, next(self._turns))
                        self._requests.put(_Request(message.id, message.faces_from, picture))
                    elif isinstance(message, Cancel):
                        with self._lock:
                            self._cancelled |= self._held & {message.id}
                if self._codec.error is not None:
                    log.error("the daemon sent what it must not: %s", self._codec.error)
                    break
        # the engine may be in the middle of an image that nobody waits for any more
        os._exit(0)

    def _decode(self, request: Detect, turn: int) -> _Decoded:
        started = time.perf_counter()
        waited = 0.0
        taken = 0

        def admit(pixels: int) -> None:
            nonlocal waited, taken
            began = time.perf_counter()
            self._room.admit(turn, pixels)
            taken = pixels
            waited = time.perf_counter() - began

        try:
            if request.id in self._cancelled:
                raise _Cancelled
            picture = self._pipeline.decode(request.image, admit, faces_from=request.faces_from)
        except BaseException:
            self._room.free(taken)
            raise
        finally:
            self._room.over(turn)
        return _Decoded(picture, taken, time.perf_counter() - started - waited)

    def _answer(self, request: _Request) -> Found | Failed:
        try:
            picture, pixels, decoding = request.picture.result()
            self._room.free(pixels)
            if request.id in self._cancelled:
                raise _Cancelled
            started = time.perf_counter()
            faces = self._pipeline.find(picture, faces_from=request.faces_from)
        except _Cancelled:
            return Failed.because(request.id, ErrorCode.CANCELLED, "cancelled by the client")
        except ImageError as error:
            return Failed.because(request.id, error.code, str(error))
        except EngineError as error:
            return Failed.because(request.id, ErrorCode.ENGINE_FAILED, str(error))
        except Exception as error:  # noqa: BLE001  one image must not take the others with it
            # not the exception's text: it may quote the image, which is nobody's business but its sender's
            log.error("an image failed in a way that nobody thought of: %s", type(error).__name__)
            for line in "".join(traceback.format_tb(error.__traceback__)).splitlines():
                log.error("%s", line)
            text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            return Failed.because(request.id, ErrorCode.ENGINE_FAILED, text)
        seconds = decoding + time.perf_counter() - started
        return Found(request.id, faces, picture.width, picture.height, picture.orientation, seconds)


class _Cancelled(Exception):
    pass


def ahead(parameters: parameters_file.Parameters) -> int:
    """Returns how many images the child holds at a time: one in the engine, and one for each decoding thread."""
    return 1 + parameters.daemon.decoding_threads


def _send(channel: socket.socket, message: Message) -> None:
    channel.sendall(wire.encode(message))


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
        gpu = pipeline.engine.device.startswith("cuda")
        log.info("%s", sandbox.enter(parameters, images=ahead(parameters), gpu=gpu))
    except PyrafaceError as error:
        _send(channel, Closing.because(ErrorCode.ENGINE_FAILED, str(error)))
        sys.exit(1)
    try:
        Worker(channel, pipeline).run()
    except (BrokenPipeError, ConnectionResetError):
        os._exit(0)  # the daemon is gone, and nobody waits for an answer


if __name__ == "__main__":
    main()
