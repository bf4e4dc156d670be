"""The library for asyncio: `Client`."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    Awaitable,
    Callable,
    Coroutine,
    Iterable,
    Sequence,
    Set,
)
from contextlib import AbstractContextManager
from typing import Any, cast

from numpy.typing import ArrayLike

from ..core import parameters as parameters_file
from ..core.errors import ErrorCode, ImageError, UnreadableError
from ..core.given_boxes import GivenBoxes
from ..core.host import forks
from ..core.images import inputs
from ..core.images.inputs import ImageInput
from ..core.parameters import Parameters, search_named
from ..core.protocol.messages import MAX_FACES_FROM
from ..core.results import Result
from .inputs.file_reader import File, FileReader, digest_of
from .pool.bounded_map import bounded_map
from .pool.pool import Pool
from .pool.status import ServerStatus

log = logging.getLogger("pyraface.client")

READ_AHEAD = 16
"""Images read from disk in addition to the capacity of all servers; `file_reader` limits their bytes."""


class Client:
    """Any number of servers, used as one.

        async with Client("auto") as client:
            result = await client.detect("photo.jpg")

    Args:
        servers: "auto": every server that answers on the network, or, if none does, a child daemon on this machine; "local":
            a child daemon; "HOST[:PORT]": the server named; or several of these with commas between them. With "auto,local",
            the child daemon works beside the servers that answer, unless one of them runs on this machine.
        parameters: from `parameters.load()`, changed by `dataclasses.replace` or not: a child daemon has exactly these. None
            loads them from the usual places.
        faces_from: size of the smallest face to find, in pixels of each image, up to 1000; 0: the setting of each server.
            A server limits the cost (`most_tiles` in its parameters.xml).
        search: "everywhere", "guided" or "most": the way in which each image is searched; a server that cannot do it is not
            used. "": the default of each server.
        on_event: called with one line for each event that a user may want to know about: a server found, lost or started.
        keys: keys of the servers that may receive the images, 32 bytes each; None: the keys in this user's key file.

    Raises:
        ValueError: `faces_from` is out of its range, or there is no search of this name.
        ParametersError: a program has set a parameter to a value that is not allowed.

    Raises (on entering):
        ServerError: no server can be reached that can do the search, and none can be started.
        KeyFileError: the key file is invalid.
        ParametersError: parameters.xml is invalid.
        RuntimeError: this client was entered before.
    """

    def __init__(
        self,
        servers: str = "auto",
        *,
        parameters: Parameters | None = None,
        faces_from: int = 0,
        search: str = "",
        on_event: Callable[[str], None] | None = None,
        keys: Sequence[bytes] | None = None,
    ) -> None:
        if not 0 <= faces_from <= MAX_FACES_FROM:
            raise ValueError(f"faces_from must be 0 to {MAX_FACES_FROM} pixels, not {faces_from}")
        wanted = search_named(search) if search else ""
        self._parameters = parameters if parameters is not None else parameters_file.load()
        tell = on_event if on_event is not None else log.info
        known = None if keys is None else tuple(keys)
        self._pool = Pool(servers, self._parameters, tell, faces_from=faces_from, search=wanted, keys=known)
        self._reader = FileReader(limit=lambda: self._pool.file_limit, servers=lambda: self._pool.servers)
        self._drained = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._process = os.getpid()
        self._closed = False

    def start_daemon_if(self, needed: Callable[[str], Awaitable[bool]]) -> None:
        """Makes a daemon start on this machine only if `needed` returns True; to be called before the client is entered.

        Args:
            needed: called where no server answers, or with "local", with the fingerprint that the daemon's results would
                have. If it returns False, because all these results are known, the client has no server at first.
        """
        self._pool.needed = needed

    async def __aenter__(self) -> Client:
        if self._loop is not None:
            raise RuntimeError("a Client is entered once; make another one")
        self._loop = asyncio.get_running_loop()
        await self._pool.__aenter__()
        return self

    async def __aexit__(self, *exception: object) -> None:
        self._closed = True
        self._reader.close()
        await self._pool.__aexit__(*exception)

    @property
    def servers(self) -> int:
        """Number of servers that are connected."""
        return self._pool.servers

    def status(self) -> list[ServerStatus]:
        """Returns the status of every server that was ever connected: its state, its images in flight and done."""
        return self._pool.status()

    @property
    def fingerprints(self) -> Set[str]:
        """Fingerprints of all servers that were ever connected: results with one of them need not be computed again.

        The set may grow.
        """
        return self._pool.fingerprints

    def detect(self, image: ImageInput) -> Coroutine[Any, Any, Result]:
        """Returns, when awaited, the result of one image. Failures are in the result, not raised.

        Cancelling the call cancels the request at the server.

        Args:
            image: a path, the bytes of an image file, a file object, or pixels: a NumPy array (height, width, 3), uint8,
                RGB, or a PIL image, whose EXIF orientation is not applied. Pixels are sent to the server as a PNG file.

        Raises:
            TypeError: the image has none of these forms; raised by the call itself, before it is awaited.
            RuntimeError: the client is used outside of `async with`, where it has no servers, or in another event loop or
                process than the one that entered it.
        """
        return self._detect_one(inputs.checked(image))

    async def _detect_one(self, image: ImageInput) -> Result:
        result = await self._detect(image, None)
        assert result is not None  # only `skip` makes it None
        return result

    def encode(
        self,
        image: ImageInput,
        boxes: ArrayLike,
        *,
        turned: ArrayLike | None = None,
        page: int = 0,
    ) -> Coroutine[Any, Any, Result]:
        """Returns, when awaited, a result with the encodings of faces in boxes that come from elsewhere.

        The faces of the result are those of the boxes, in their order; nothing is searched for. Each is encoded as if it had
        been found there: the boxes that `detect` found have the same encodings again, whichever server answers, but
        for the last digits of another engine. `pipeline.Pipeline.encode` says the rest.

        Cancelling the call cancels the request at the server. Failures are in the result, not raised: so is a box that
        shows nothing of the picture (`bad-box`).

        Args:
            image: as for `detect`.
            boxes: n rows of left, top, right, bottom, in pixels of the upright picture; at most 1000.
            turned: the degrees clockwise, 0, 90, 180 or 270, that bring each face upright, n of them; None: the server
                finds them out.
            page: the number of the picture in the file that the boxes are in.

        Raises:
            TypeError, RuntimeError: as `detect`.
            ValueError: a box is empty or not a number, or there are too many: the message names it, counted from 1. Raised
                by the call itself, before it is awaited.
        """
        return self._encode(inputs.checked(image), GivenBoxes.of(boxes, turned, page))

    async def _encode(self, image: ImageInput, given: GivenBoxes) -> Result:
        result = await self._detect(image, None, given)
        assert result is not None  # only `skip` makes it None
        return result

    def map(
        self,
        images: Iterable[ImageInput] | AsyncIterable[ImageInput],
        *,
        ordered: bool = False,
        skip: Callable[[File], bool] | None = None,
    ) -> AsyncGenerator[Result, None]:
        """Yields the result of each image, in the order in which they are done; with `ordered`, in the order of the images.

        Images are prefetched only to keep the servers busy, so the iterable may have any length. It is iterated in the
        event loop; an iterable that may block (a directory on a network disk) should be asynchronous. With `ordered`, a
        result is kept until all results before it have been yielded. At most `bounded_map.REORDER` results are kept: then
        further images wait for the slow one.

        Leaving the loop early (with `contextlib.aclosing`, or by cancelling) cancels the images in flight.

        Args:
            images: each as for `detect`.
            skip: called in a thread with each file that was read. If it returns True (because the `digest` is known, for
                example), the file is sent to no server and has no result.

        Raises:
            TypeError: `images` is a single image or not iterable, or an image has none of the forms. For a list or a tuple
                the call itself raises; for another iterable the error follows the results of the images before it.
        """
        inputs.checked_many(images, "map")
        return bounded_map(
            lambda image: self._detect(image, skip),
            inputs.each_checked(images)
            if isinstance(images, Iterable)
            else inputs.each_checked_later(images),
            most=lambda: self._pool.capacity + READ_AHEAD,
            feeding=self._feeding,
            ordered=ordered,
            until=self._drained,
        )

    def drain(self) -> None:
        """Stops sending images. Images in flight are still answered; `map` takes no further image and ends after them.

        A `detect` whose image has not been sent is cancelled.
        """
        self._drained.set()
        self._reader.drain()
        self._pool.drain()

    def _check(self) -> None:
        """Raises RuntimeError where this client cannot be used."""
        if self._loop is None or self._closed:
            raise RuntimeError("a Client must be used inside `async with`")
        forks.check(self._process, "Client")
        if asyncio.get_running_loop() is not self._loop:
            raise RuntimeError(
                "a Client must be used in the event loop that entered it: make one in each event loop"
            )

    def _feeding(self) -> AbstractContextManager[None]:
        self._check()
        return self._pool.feeding()

    async def _detect(
        self, image: ImageInput, skip: Callable[[File], bool] | None, given: GivenBoxes | None = None
    ) -> Result | None:
        self._check()
        if inputs.is_pixels(image):
            return await self._detect_pixels(image, given)
        if inputs.is_file_content(image):
            return await self._detect_content(image, given)
        path = os.fspath(cast("str | os.PathLike[str]", image))
        try:
            file = await self._reader.read(path, skip)
        except UnreadableError as error:
            return Result(path, error=(error.code, str(error)))
        if file is None:
            return None
        try:
            about = Result(file.path, file.digest, file.size, file.modified)
            return about.answered(*await self._pool.ask(file.data, given))
        finally:
            self._reader.release(file)

    async def _detect_content(self, image: inputs.FileContent, given: GivenBoxes | None) -> Result:
        try:
            content = await asyncio.to_thread(inputs.file_content, image)
        except OSError as error:
            return Result("", error=(ErrorCode.UNREADABLE, f"cannot be read: {error.strerror or error}"))
        digest = await asyncio.to_thread(digest_of, content)
        return Result("", digest, len(content)).answered(*await self._pool.ask(content, given))

    async def _detect_pixels(self, image: inputs.Pixels, given: GivenBoxes | None) -> Result:
        # not at the top: a client of files needs no image library
        from ..core.images import arrays

        try:
            content = await asyncio.to_thread(arrays.lossless_file, image, self._pool.image_limits)
        except ImageError as error:
            return Result("", error=(error.code, str(error)))
        return Result("").answered(*await self._pool.ask(content, given))
