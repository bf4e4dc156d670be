"""One server: a connection with hello and welcome, requests by id, pings, and an end that everybody hears of."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
from typing import Any

from .. import __version__
from ..core import tasks, wire
from ..core.errors import ErrorCode, LocalProtocolError, RemoteProtocolError, ServerError
from ..core.messages import (
    PROTOCOL_VERSIONS,
    Cancel,
    Closing,
    Detect,
    Draining,
    Failed,
    Found,
    Hello,
    Inquire,
    Message,
    Ping,
    Pong,
    Status,
    Welcome,
)
from ..core.parameters import Parameters

Answer = Found | Failed

CHUNK = 1 << 18

CLOSE_TIMEOUT = 2.0
"""Seconds for the last words to leave."""


LONGEST_PAUSE = 60.0
"""Seconds between two pings at the most: a server ends what is silent for long (its params/timeout/idle_timeout)."""


class ServerLost(ServerError):
    """The connection ended before the answer came: another server may give it.

    `silent`: nothing was heard any more, be it the server's fault or the network's; otherwise it broke off.
    """

    def __init__(self, message: str, *, silent: bool = False) -> None:
        super().__init__(message)
        self.silent = silent


class ServerConnection:
    """A server that said welcome. Made by `connect`; ended by `close`, by the server, or by its silence."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        welcome: Welcome,
        codec: wire.Codec,
        *,
        silence: float,
    ) -> None:
        self.welcome = welcome
        self.draining = asyncio.Event()
        self.lost: asyncio.Future[ServerLost] = asyncio.get_running_loop().create_future()
        self._reader = reader
        self._writer = writer
        self._codec = codec
        self._silence = silence
        self._ids = itertools.count(1)
        self._answers: dict[int, asyncio.Future[Answer]] = {}
        self._inquiries: dict[int, asyncio.Future[Status]] = {}
        self._tasks = [asyncio.create_task(self._receive()), asyncio.create_task(self._ping())]
        self._heard = asyncio.get_running_loop().time()

    async def request(self, image: bytes, cancelled: asyncio.Future[Any], *, faces_from: int = 0) -> Answer:
        """Returns the server's answer for the bytes of an image file; faces_from: as in `messages.Detect`.

        The end of `cancelled` before that cancels the request; the server still answers, and until then its credit is
        in use.

        Raises:
            ServerLost: the connection ended first.
        """
        if self.lost.done():
            raise self.lost.result()
        id = next(self._ids)
        try:
            frame = wire.encode_parts(
                Detect(id, image, faces_from=faces_from), max_frame_bytes=self.welcome.max_frame_bytes
            )
        except LocalProtocolError:
            text = (
                f"a file of {len(image)} bytes; {self.welcome.name} takes frames of "
                f"{self.welcome.max_frame_bytes} bytes (its params/daemon/max_frame_bytes)"
            )
            return Failed.because(id, ErrorCode.FRAME_TOO_LARGE, text)
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._answers[id] = answer
        for part in frame:  # not writelines(), which would join them
            self._writer.write(part)

        def cancel(_: object) -> None:
            self._send(Cancel(id))

        cancelled.add_done_callback(cancel)
        try:
            return await answer
        finally:
            cancelled.remove_done_callback(cancel)
            del self._answers[id]

    async def inquire(self) -> Status:
        """Returns how busy the server is. One that is silent lets this wait for as long as any other request.

        Raises:
            ServerLost: the connection ended first.
        """
        if self.lost.done():
            raise self.lost.result()
        id = next(self._ids)
        status: asyncio.Future[Status] = asyncio.get_running_loop().create_future()
        self._inquiries[id] = status
        self._send(Inquire(id))
        # the answer still comes if nobody waits any more
        return await status

    async def close(self, reason: str = "closed", *, silent: bool = False) -> None:
        """Ends the connection; `lost` says why."""
        self._end(reason, silent=silent)
        try:
            await tasks.end(self._tasks)
            with contextlib.suppress(OSError, asyncio.TimeoutError):
                await asyncio.wait_for(self._writer.wait_closed(), CLOSE_TIMEOUT)
        finally:
            # to a server that is cut off nothing leaves any more, and what waits to would wait for a quarter of an hour
            self._writer.transport.abort()

    def _end(self, reason: str, *, silent: bool = False) -> None:
        if not self.lost.done():
            lost = ServerLost(f"{self.welcome.name}: {reason}", silent=silent)
            self.lost.set_result(lost)
            waiting: list[asyncio.Future[Any]] = [*self._answers.values(), *self._inquiries.values()]
            for answer in waiting:
                if not answer.done():
                    answer.set_exception(lost)
        self._writer.close()

    async def _receive(self) -> None:
        reason, silent = "the server closed the connection", False
        try:
            while True:
                message = await _next(self._reader, self._codec)
                self._heard = asyncio.get_running_loop().time()
                if isinstance(message, (Found, Failed)):
                    answer = self._answers.get(message.id)
                    if answer is None or answer.done():
                        raise RemoteProtocolError(
                            f"{message.type}.id: {message.id} waits for no answer", ErrorCode.BAD_FIELD
                        )
                    answer.set_result(message)
                elif isinstance(message, Status):
                    inquiry = self._inquiries.pop(message.id, None)
                    if inquiry is None:
                        raise RemoteProtocolError(
                            f"status.id: {message.id} waits for no answer", ErrorCode.BAD_FIELD
                        )
                    if not inquiry.done():
                        inquiry.set_result(message)
                elif isinstance(message, Draining):
                    self.draining.set()
                elif isinstance(message, Closing):
                    reason = f"the server ended it: {message.code.value}: {message.message}"
                    break
                elif not isinstance(message, Pong):
                    raise RemoteProtocolError(
                        f"{message.type} is not for a server to send now", ErrorCode.UNEXPECTED_MESSAGE
                    )
        except RemoteProtocolError as error:
            self._send(Closing.because(error.code, str(error)))
            reason = f"the server broke the protocol: {error}"
        except (OSError, EOFError) as error:
            reason = str(error) or reason
            # "timed out" and "no route" are said by the system, not by the server
            silent = isinstance(error, OSError) and not isinstance(error, ConnectionError)
        self._end(reason, silent=silent)

    async def _ping(self) -> None:
        """A server answers pings however busy it is: one that is silent for too long is gone."""
        loop = asyncio.get_running_loop()
        unsent = 0
        for id in itertools.count():
            await asyncio.sleep(min(self._silence / 4, LONGEST_PAUSE))
            # a ping waits behind the images on a slow network: as long as bytes are taken, somebody is there
            before, unsent = unsent, self._writer.transport.get_write_buffer_size()
            if unsent < before:
                self._heard = loop.time()
            if loop.time() - self._heard > self._silence:
                self._end(f"silent for {self._silence:g} s (params/timeout/read_timeout)", silent=True)
                return
            self._send(Ping(id))

    def _send(self, message: Message) -> None:
        if not self._writer.is_closing():
            self._writer.write(wire.encode(message))


async def connect(host: str, port: int, parameters: Parameters, *, patience: float = 0.0) -> ServerConnection:
    """Returns a connection to a server that said welcome.

    Args:
        patience: seconds more than the usual time-out that the welcome may take: a server that is just starting.

    Raises:
        ServerError: nobody there, or no pyraface server; the message says who and why.
    """
    place = f"{host}:{port}"
    limit = parameters.timeouts.connect
    try:
        reader, writer = await asyncio.wait_for(asyncio.open_connection(host, port, limit=CHUNK), limit)
    except asyncio.TimeoutError:
        raise ServerError(f"{place}: no answer within {limit:g} s (params/timeout/connect_timeout)") from None
    except ValueError:  # UnicodeError: a part of the name is empty or too long for one
        raise ServerError(f"{place}: no host can have this name") from None
    except OSError as error:
        # asyncio's own text repeats the address; a name that is unknown has no errno of the system's
        reason = (
            os.strerror(error.errno)
            if error.errno is not None and error.errno > 0
            else error.strerror or error
        )
        raise ServerError(f"{place}: {reason}") from error
    codec = wire.Codec(max_frame_bytes=parameters.daemon.max_frame_bytes)
    writer.write(wire.encode(Hello(PROTOCOL_VERSIONS, f"pyraface {__version__}")))
    try:
        answer = await asyncio.wait_for(_next(reader, codec), limit + patience)
        if isinstance(answer, Closing):
            raise ServerError(f"{place}: {answer.code.value}: {answer.message}")
        if not isinstance(answer, Welcome) or answer.version not in PROTOCOL_VERSIONS or not answer.credits:
            raise ServerError(f"{place}: no welcome from a pyraface server, but {answer.type}")
    except asyncio.TimeoutError:
        writer.close()
        raise ServerError(f"{place}: no welcome within {limit + patience:g} s") from None
    except (RemoteProtocolError, OSError, EOFError) as error:
        writer.close()
        raise ServerError(f"{place}: no pyraface server: {error}") from error
    except BaseException:
        writer.close()
        raise
    return ServerConnection(reader, writer, answer, codec, silence=parameters.timeouts.read)


async def _next(reader: asyncio.StreamReader, codec: wire.Codec) -> Message:
    """Returns the server's next message; raises RemoteProtocolError, OSError or EOFError if none comes."""
    while (message := codec.next_message()) is None:
        if codec.error is not None:
            raise codec.error
        data = await reader.read(CHUNK)
        if not data:
            raise codec.receive_eof() or EOFError("the server closed the connection")
        codec.receive_data(data)
    return message
