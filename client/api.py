"""The library: `Client`, and `detect_faces` for a script without asyncio."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import logging
import os
import stat
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable

from ..core import parameters as parameters_file
from ..core import tasks
from ..core.errors import ErrorCode
from ..core.parameters import Parameters
from .fleet import Fleet
from .results import Result
from .status import ServerStatus

log = logging.getLogger("pyraface.client")

Image = str | os.PathLike[str] | bytes
"""A file's path, or the bytes of one."""

READ_AHEAD = 4
"""Images read from disk beyond those that servers have credit for."""


class Client:
    """Any number of servers, used as one.

        async with Client("auto") as client:
            result = await client.detect("photo.jpg")

    Args:
        servers: "auto": every server that answers on the network, and if none does, a child daemon on this machine;
            "local": the child daemon; or "HOST[:PORT],...".
        parameters: from `parameters.load()`; None loads them from the usual places.
        on_event: is told in one line what a person may want to know: a server found, lost, started.

    Raises (on entering):
        ServerError: no server can be reached, and none started.
        ParametersError: parameters.xml is wrong.
        RuntimeError: it was entered before.
    """

    def __init__(
        self,
        servers: str = "auto",
        *,
        parameters: Parameters | None = None,
        on_event: Callable[[str], None] | None = None,
    ) -> None:
        self._parameters = parameters if parameters is not None else parameters_file.load()
        tell = on_event if on_event is not None else log.info
        self._fleet = Fleet(servers, self._parameters, tell)
        self._entered = self._closed = False

    async def __aenter__(self) -> Client:
        if self._entered:
            raise RuntimeError("a Client is entered once; make another one")
        self._entered = True
        await self._fleet.__aenter__()
        return self

    async def __aexit__(self, *exception: object) -> None:
        self._closed = True
        await self._fleet.__aexit__(*exception)

    @property
    def servers(self) -> int:
        """How many servers are connected."""
        return self._fleet.servers

    def status(self) -> list[ServerStatus]:
        """Returns how each server is that was ever reached: connected or lost, how much it has and has done."""
        return self._fleet.status()

    async def detect(self, image: Image) -> Result:
        """Returns what became of one image: a file's path, or its bytes. Failures are in the result, not raised.

        Cancelling this cancels the request at the server.

        Raises:
            RuntimeError: outside of `async with`, where there is no server.
        """
        if not self._entered or self._closed:
            raise RuntimeError("a Client is to be used inside of `async with`")
        path = "" if isinstance(image, bytes) else os.fspath(image)
        if isinstance(image, bytes):
            data = image
            digest = await asyncio.to_thread(_digest, data)
        else:
            try:
                data, digest = await asyncio.to_thread(_read, path, self._parameters.daemon.max_frame_bytes)
            except OverflowError as error:
                return Result(path, error=(ErrorCode.FRAME_TOO_LARGE, str(error)))
            except OSError as error:
                text = f"cannot be read: {error.strerror or error}"
                return Result(path, error=(ErrorCode.UNREADABLE, text))
            except ValueError as error:  # a NUL in the name
                return Result(path, error=(ErrorCode.UNREADABLE, f"cannot be read: {error}"))
        server, answer = await self._fleet.ask(data)
        return Result.of(path, digest, server, answer)

    async def map(self, images: Iterable[Image] | AsyncIterable[Image]) -> AsyncGenerator[Result, None]:
        """Yields what became of each image, in the order in which they are done.

        Only as many images are read ahead as keeps the servers busy, so the iterable may be as long as it likes. It is
        asked in the event loop; one that may take its time (a directory on a network's disk) should be asynchronous.
        Leaving the loop early (with `contextlib.aclosing`, or by cancelling) cancels what is in flight.
        """
        running: set[asyncio.Task[Result]] = set()
        upcoming = images.__aiter__() if isinstance(images, AsyncIterable) else _asynchronous(images)
        exhausted = False
        try:
            while True:
                while not exhausted and len(running) < self._fleet.credits + READ_AHEAD:
                    try:
                        running.add(asyncio.create_task(self.detect(await upcoming.__anext__())))
                    except StopAsyncIteration:
                        exhausted = True
                if not running:
                    return
                done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    yield task.result()
        finally:
            await tasks.end(running)


def detect_faces(image: Image, *, servers: str = "auto", parameters: Parameters | None = None) -> Result:
    """Returns what became of one image; for scripts without asyncio. For many images use `Client.map`.

    Raises:
        ServerError: no server can be reached, and none started.
        ParametersError: parameters.xml is wrong.
    """

    async def once() -> Result:
        async with Client(servers, parameters=parameters) as client:
            return await client.detect(image)

    return asyncio.run(once())


async def _asynchronous(images: Iterable[Image]) -> AsyncGenerator[Image, None]:
    for image in images:
        yield image


def _digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def _read(path: str, most: int) -> tuple[bytes, str]:
    """Returns a file's bytes and their digest.

    Raises:
        OSError: it cannot be read, or is no file: reading a pipe or a device might never end.
        OverflowError: it has more than `most` bytes.
    """
    # non-blocking: opening a pipe that nobody writes to would wait for ever
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "it is no regular file")
        if status.st_size > most:
            raise OverflowError(
                f"a file of {status.st_size} bytes; {most} are allowed (params/daemon/max_frame_bytes)"
            )
        data = file.read()
    return data, _digest(data)
