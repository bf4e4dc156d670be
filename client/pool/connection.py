"""Connection: one server: requests by id, pings, and an end that fails every waiting request."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import itertools
import socket
from typing import Any, TypeVar

from ...core.errors import (
    ErrorCode,
    LocalProtocolError,
    RemoteProtocolError,
    ServerLostError,
)
from ...core.host import tasks
from ...core.host.message_streams import read_message
from ...core.host.send_buffer import SendBuffer
from ...core.protocol import wire
from ...core.protocol.conversation import Conversation
from ...core.protocol.messages import (
    Cancel,
    Closing,
    Draining,
    Failed,
    Found,
    Inquire,
    Message,
    Ping,
    Request,
    Status,
    Welcome,
)
from ...core.text import plural

Answer = Found | Failed

T = TypeVar("T")

CLOSE_TIMEOUT = 2.0
"""Seconds for the last message to leave."""

LONGEST_PAUSE = 2.0
"""Maximum of seconds between two pings. A server that has all its images is sent nothing else, so only a ping that is not
acknowledged shows that it is out of reach."""

LOOK = 0.5
"""Seconds between two looks at what the server's system has acknowledged."""

OUT_OF_REACH = 4
"""Attempts to send the same bytes until the server counts as out of reach. The pause after each doubles: on a local network
it takes 3 s, and longer on a network that is slow to deliver."""

_TCPI_RETRANSMITS, _TCPI_PROBES = 2, 3
"""Places in struct tcp_info (linux/tcp.h) of two bytes: the times in a row that bytes were sent again, and that bytes could
not be sent at all, without an acknowledgement. A system that has no room acknowledges nevertheless."""


class ServerConnection:
    """A server that sent its welcome. Made by `connect`; ended by `close`, by the server, or by its silence.

    Attributes:
        on_this_machine: whether its address is one of this machine's; a tunnel may begin there.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        welcome: Welcome,
        codec: wire.Codec,
        conversation: Conversation,
        *,
        silence: float,
    ) -> None:
        self.welcome = welcome
        self.on_this_machine = _within_this_machine(writer)
        self.draining = asyncio.Event()
        self.lost: asyncio.Future[ServerLostError] = asyncio.get_running_loop().create_future()
        self._reader = reader
        self._writer = writer
        self._codec = codec
        self._conversation = conversation
        self._silence = silence
        self._ids = itertools.count(1)
        self._pings = itertools.count()
        self._answers: dict[int, asyncio.Future[Answer]] = {}
        self._inquiries: dict[int, asyncio.Future[Status]] = {}
        self._send_buffer = SendBuffer(writer, self._alive)
        self._out_of_reach = asyncio.Event()
        self._tasks = [
            asyncio.create_task(work())
            for work in (self._receive, self._send_pings, self._watch_path, self._send_buffer.run)
        ]
        self._alive()

    async def request(self, request: Request, cancelled: asyncio.Future[Any]) -> Answer:
        """Returns the server's answer to a request, which is sent with the next free id.

        The end of `cancelled` before that cancels the request; the server still answers, and until then its credit is
        in use.

        Raises:
            ServerLostError: the connection ended first.
        """
        if self.lost.done():
            raise self.lost.result()
        id = next(self._ids)
        request = dataclasses.replace(request, id=id)
        try:
            frame = wire.encode_parts(request, max_frame_bytes=self.welcome.max_frame_bytes)
        except LocalProtocolError:
            text = (
                f"a file of {plural(len(request.image), 'byte')}; {self.welcome.name} accepts frames of at most "
                f"{plural(self.welcome.max_frame_bytes, 'byte')} (its params/daemon/max_frame_bytes)"
            )
            return Failed.because(id, ErrorCode.FRAME_TOO_LARGE, text)
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._conversation.send(request)
        self._answers[id] = answer
        self._send_buffer.put(*frame)

        def cancel(_: object) -> None:
            self._send(Cancel(id))

        cancelled.add_done_callback(cancel)
        try:
            return await answer
        finally:
            cancelled.remove_done_callback(cancel)
            del self._answers[id]

    async def inquire(self) -> Status:
        """Returns the server's load. With a silent server this waits as long as any other request.

        Raises:
            ServerLostError: the connection ended first.
        """
        if self.lost.done():
            raise self.lost.result()
        id = next(self._ids)
        status: asyncio.Future[Status] = asyncio.get_running_loop().create_future()
        self._inquiries[id] = status
        self._send(Inquire(id))
        # the answer still comes if this wait is cancelled
        return await status

    def reachable(self) -> bool:
        """Returns whether the server's system acknowledges what is sent, however busy the server is."""
        return not (self._out_of_reach.is_set() or self.lost.done())

    async def out_of_reach(self) -> None:
        """Returns when the server's system acknowledges nothing more, or the connection is lost."""
        silence = asyncio.create_task(self._out_of_reach.wait())
        reasons: set[asyncio.Future[Any]] = {silence, self.lost}
        try:
            await asyncio.wait(reasons, return_when=asyncio.FIRST_COMPLETED)
        finally:
            silence.cancel()

    def ping(self) -> None:
        """Sends a ping now: whether the server is out of reach shows soon."""
        self._send(Ping(next(self._pings)))

    async def close(self, reason: str = "closed", *, silent: bool = False) -> None:
        """Ends the connection; `lost` says why."""
        self._end(reason, silent=silent)
        try:
            await tasks.end(self._tasks)
            await left(self._writer)
        finally:
            # to an unreachable server nothing leaves any more, and unsent bytes would wait for a quarter of an hour
            self._writer.transport.abort()

    def _end(self, reason: str, *, silent: bool = False) -> None:
        if not self.lost.done():
            lost = ServerLostError(f"{self.welcome.name}: {reason}", silent=silent)
            self.lost.set_result(lost)
            waiting: list[asyncio.Future[Any]] = [*self._answers.values(), *self._inquiries.values()]
            for answer in waiting:
                if not answer.done():
                    answer.set_exception(lost)
        if not self._writer.is_closing():  # a TLS transport that is closed twice cannot be aborted any more
            self._writer.close()

    async def _receive(self) -> None:
        reason, silent = "the server closed the connection", False
        try:
            while True:
                message = await read_message(self._reader, self._codec)
                self._alive()
                self._conversation.receive(message)
                if isinstance(message, (Found, Failed)):
                    self._settle(self._answers.get(message.id), message)
                elif isinstance(message, Status):
                    self._settle(self._inquiries.pop(message.id, None), message)
                elif isinstance(message, Draining):
                    self.draining.set()
                elif isinstance(message, Closing):
                    reason = f"closed by the server: {message.code.value}: {message.message}"
                    break
        except RemoteProtocolError as error:
            self._send(Closing.because(error.code, str(error)))
            reason = f"the server broke the protocol: {error}"
        except OSError as error:
            reason = str(error) or reason
            # "timed out" and "no route" come from the system, not from the server
            silent = not isinstance(error, ConnectionError)
        except EOFError:
            pass
        self._end(reason, silent=silent)

    @staticmethod
    def _settle(waiting: asyncio.Future[T] | None, message: T) -> None:
        # missing, or done: the request was given up before its answer came
        if waiting is not None and not waiting.done():
            waiting.set_result(message)

    async def _send_pings(self) -> None:
        """Sends pings. A server answers them however busy it is, so one that is silent for too long is lost.

        On a slow network a ping waits behind images: as long as bytes are accepted, the server is alive.
        """
        loop = asyncio.get_running_loop()
        pause = min(self._silence / 4, LONGEST_PAUSE)
        while True:
            asleep = loop.time()
            await asyncio.sleep(pause)
            if loop.time() - asleep > 2 * pause:
                # this process was suspended (by Ctrl-Z, for example): the server's messages are still to be read
                self._alive()
            if loop.time() - self._heard > self._silence:
                self._end(f"silent for {self._silence:g} s (params/timeout/read_timeout)", silent=True)
                return
            self.ping()

    async def _watch_path(self) -> None:
        sock = self._writer.get_extra_info("socket")
        while not self._writer.is_closing():
            # not all sandboxes tell: the silence of the server then shows it, later
            with contextlib.suppress(OSError):
                info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCPI_PROBES + 1)
                if max(info[_TCPI_RETRANSMITS], info[_TCPI_PROBES]) >= OUT_OF_REACH:
                    self._out_of_reach.set()
                else:
                    self._out_of_reach.clear()
            await asyncio.sleep(LOOK)

    def _alive(self) -> None:
        """Takes note of a sign of life from the server."""
        self._heard = asyncio.get_running_loop().time()

    def _send(self, message: Message) -> None:
        if self._conversation.open:
            self._conversation.send(message)
            self._send_buffer.put(wire.encode(message))


async def left(writer: asyncio.StreamWriter) -> None:
    """Closes a connection, and returns when everything sent has left, or its time is over."""
    if not writer.is_closing():  # a TLS transport that is closed twice cannot be aborted any more
        writer.close()
    with contextlib.suppress(OSError, asyncio.TimeoutError):
        await asyncio.wait_for(writer.wait_closed(), CLOSE_TIMEOUT)


def _within_this_machine(writer: asyncio.StreamWriter) -> bool:
    """Returns whether both ends of a connection have the same address."""
    ends: list[Any] = []
    for name in ("sockname", "peername"):
        with contextlib.suppress(OSError):  # the other end has closed it already
            ends.append(writer.get_extra_info(name))
    return len(ends) == 2 and None not in ends and ends[0][0] == ends[1][0]
