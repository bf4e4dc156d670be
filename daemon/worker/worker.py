"""Worker: bytes of images in, faces out, over an inherited socket.

It is a separate process because dlib holds the interpreter's lock for the whole of a detection, because a damaged image
or a lost GPU can end a process, and because CUDA needs a process that was never forked.

Images are processed in the order in which they arrive: threads decode ahead, and the main thread has the engine for
itself. Before the first image the process gives up the rights that it no longer needs (`sandbox`).
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import logging
import os
import queue
import socket
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

from ...core.errors import EngineError, ErrorCode, ImageError, tells_of_memory
from ...core.host.memory import return_unused
from ...core.images import large
from ...core.images.decode import Picture
from ...core.pages import Unread
from ...core.parameters import declaration
from ...core.pipeline import Pipeline
from ...core.protocol import wire
from ...core.protocol.messages import (
    MAX_TEXT,
    PROTOCOL_VERSIONS,
    Cancel,
    Detect,
    Encode,
    Failed,
    Found,
    Message,
    Request,
    Welcome,
)
from ...core.text import sendable
from .decode_window import PICTURE_BYTES, DecodeWindow, Place

log = logging.getLogger("pyraface.worker")


class _Decoded(NamedTuple):
    """A file whose first picture is decoded.

    first: that picture, to be taken out of this list, so that nothing else holds it.
    further: decodes the others, one at a time.
    """

    first: list[Picture | Unread]
    further: Iterator[Picture | Unread]
    place: Place
    seconds: float


class _Work(NamedTuple):
    request: Request
    """Without its image."""
    picture: Future[_Decoded]


class Worker:
    """Answers the requests that arrive over `channel` until the daemon closes it. Call `start`, then `run`.

    Args:
        searches: the names that the pipeline can do, its default first.
        deviation: as in `messages.Welcome`.
    """

    def __init__(
        self, channel: socket.socket, pipeline: Pipeline, searches: Sequence[str], deviation: float
    ) -> None:
        self._channel = channel
        self._pipeline = pipeline
        self._searches = tuple(searches)
        self._deviation = deviation
        parameters = pipeline.parameters
        # the daemon has checked the client's frame; its own may be longer by the bytes of a larger id
        self._codec = wire.Codec(max_frame_bytes=parameters.daemon.max_frame_bytes + 64)
        self._decoders = ThreadPoolExecutor(parameters.daemon.decoding_threads, "decode")
        self._requests: queue.SimpleQueue[_Work] = queue.SimpleQueue()
        self._lock = threading.Lock()
        # both guarded by _lock; a cancel that arrives after the answer is not kept
        self._held: set[int] = set()
        self._cancelled: set[int] = set()
        self._room = DecodeWindow(PICTURE_BYTES)
        self._turns = itertools.count()

    def start(self) -> None:
        """Starts every thread, so that none is refused after the welcome.

        Raises:
            RuntimeError: the system allows this user no further thread.
        """
        all_started = threading.Event()
        try:
            for _ in range(self._pipeline.parameters.daemon.decoding_threads):
                self._decoders.submit(all_started.wait)  # an idle thread would take the next one, too
            threading.Thread(target=self._receive, name="receive", daemon=True).start()
        finally:
            all_started.set()

    def run(self) -> None:
        """Sends a welcome, then answers requests; the end of the channel ends the process."""
        send(self._channel, self._welcome())
        while True:
            work = self._requests.get()
            request = work.request
            answer = self._answer(work)
            with self._lock:
                self._held.discard(request.id)
                self._cancelled.discard(request.id)
            del request  # with its picture, which would stay in memory until the next request
            send(self._channel, answer)
            if isinstance(answer, Found) and any(
                page.width * page.height >= large.PIXELS for page in answer.pages
            ):
                return_unused()

    def _welcome(self) -> Welcome:
        parameters, engine = self._pipeline.parameters, self._pipeline.engine
        computed_by = self._pipeline.computed_by
        return Welcome(
            version=PROTOCOL_VERSIONS[-1],
            name="executor",
            instance=str(os.getpid()),
            engine=engine.name,
            device=engine.device,
            processor=computed_by.device,
            software=computed_by.version,
            fingerprint=self._pipeline.fingerprint,
            searches=self._searches,
            fingerprints=tuple(self._pipeline.fingerprint_of(search) for search in self._searches),
            max_frame_bytes=parameters.daemon.max_frame_bytes,
            max_pixels=parameters.images.max_pixels,
            credits=parameters.daemon.images_ahead,
            deviation=self._deviation,
            parameters=declaration(parameters, automatic=self._pipeline.default_search),
        )

    def _receive(self) -> None:
        try:
            self._take_messages()
        except BaseException:  # noqa: BLE001  such as MemoryError: without this thread, no image would come any more
            traceback.print_exc()
            os._exit(1)
        # at once: the engine may be in the middle of an image
        os._exit(0)

    def _take_messages(self) -> None:
        with contextlib.suppress(ConnectionError):  # a daemon that was killed with answers unread
            while data := self._channel.recv(wire.CHUNK):
                self._codec.receive_data(data)
                while (message := self._codec.next_message()) is not None:
                    if isinstance(message, (Detect, Encode)):
                        self._accept(message)
                    elif isinstance(message, Cancel):
                        with self._lock:
                            self._cancelled |= self._held & {message.id}
                    del message  # with its image, which would stay in memory until the next message
                if self._codec.error is not None:
                    log.error("the daemon broke the protocol: %s", self._codec.error)
                    break

    def _accept(self, message: Request) -> None:
        with self._lock:
            self._held.add(message.id)
        # the image libraries take bytes, and the buffer in which they were received is freed
        message = dataclasses.replace(message, image=bytes(message.image))
        picture = self._decoders.submit(self._decode, message, next(self._turns))
        self._requests.put(_Work(dataclasses.replace(message, image=b""), picture))

    def _decode(self, request: Request, turn: int) -> _Decoded:
        started = time.perf_counter()
        waited = 0.0
        place = Place(self._room, turn)

        def admit(size: int) -> None:
            nonlocal waited
            began = time.perf_counter()
            place.admit(size)
            waited += time.perf_counter() - began

        try:
            if request.id in self._cancelled:
                raise _Cancelled
            pictures = self._pipeline.pictures(
                bytes(request.image), admit, faces_from=request.faces_from, search=request.search
            )
            first = [next(pictures)]
            if isinstance(first[0], Picture):
                place.shrink(first[0].pixels.nbytes)
        except BaseException:
            place.free()
            raise
        finally:
            place.over()
        return _Decoded(first, pictures, place, time.perf_counter() - started - waited)

    def _pictures(self, request: Request, decoded: _Decoded) -> Iterator[Picture | Unread]:
        """Yields the pictures of a file, and holds none of them. No further one begins in the second half of the time limit:
        the faces found until then count more than those of the other pages.
        """
        end = time.perf_counter() + self._pipeline.parameters.timeouts.image / 2

        def further() -> list[Picture | Unread]:
            if request.id in self._cancelled:
                raise _Cancelled
            return list(itertools.islice(decoded.further, 1)) if time.perf_counter() < end else []

        picture = decoded.first
        while picture:
            yield picture.pop()
            picture = further()

    def _answer(self, work: _Work) -> Found | Failed:
        request, place = work.request, None
        try:
            decoded = work.picture.result()
            place = decoded.place
            if request.id in self._cancelled:
                raise _Cancelled
            started = time.perf_counter()
            pictures = self._pictures(request, decoded)
            if isinstance(request, Encode):
                found = self._pipeline.encode_all(
                    pictures, request.boxes, faces_from=request.faces_from, search=request.search
                )
            else:
                found = self._pipeline.find_all(
                    pictures, faces_from=request.faces_from, search=request.search
                )
        except _Cancelled:
            return Failed.because(request.id, ErrorCode.CANCELLED, "cancelled by the client")
        except ImageError as error:
            return Failed.because(request.id, error.code, str(error), elsewhere=error.elsewhere)
        except EngineError as error:
            return Failed.because(request.id, error.code, str(error))
        except MemoryError:
            return Failed.because(request.id, ErrorCode.OUT_OF_MEMORY, "the worker's memory is used up")
        except Exception as error:  # noqa: BLE001  one image must not end the others
            # without the exception's text, which may quote the image: only its sender may see that
            log.error("an image failed with an unexpected exception: %s", type(error).__name__)
            for line in "".join(traceback.format_tb(error.__traceback__)).splitlines():
                log.error("%s", line)
            text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            code = ErrorCode.OUT_OF_MEMORY if tells_of_memory(text) else ErrorCode.ENGINE_FAILED
            return Failed.because(request.id, code, text)
        finally:
            if place is not None:
                place.free()
        seconds = decoded.seconds + time.perf_counter() - started
        unread = sorted(found.unread)
        return Found(
            request.id,
            found.faces,
            found.pages,
            tuple(page for page, _ in unread),
            tuple(sendable(reason, MAX_TEXT) for _, reason in unread),
            found.pictures,
            seconds,
        )


class _Cancelled(Exception):
    """Ends the work on one image; not an error, and never seen outside of this module."""


def send(channel: socket.socket, message: Message) -> None:
    channel.sendall(wire.encode(message))
