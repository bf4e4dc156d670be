"""Connection: one client served from its hello to the end: requests in, answers out."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import socket

from ..core.errors import ErrorCode, LimitError, LocalProtocolError, RemoteProtocolError
from ..core.host import message_streams
from ..core.host.message_streams import read_within
from ..core.protocol import wire
from ..core.protocol.conversation import MAX_GREETING_BYTES, Conversation, State
from ..core.protocol.messages import (
    Cancel,
    Challenge,
    Closing,
    Detect,
    Draining,
    Encode,
    Failed,
    Hello,
    Inquire,
    Message,
    Ping,
    Pong,
    Proof,
    Request,
)
from ..core.protocol.proofs import NONCE_BYTES, Role, Transcript
from ..core.text import one_line, place, plural
from .executor import with_id
from .memory_budget import SMALL_FRAME, FrameDeadline, Share
from .sockets import plain
from .state import ServerState
from .tls import Credentials
from .worker_process import Answer, Job

log = logging.getLogger("pyraface.connection")

MAX_LOGGED = 200
"""Characters of a client's text in one log line."""

CLOSE_TIMEOUT = 5.0
"""Seconds for the last message to reach the peer."""


class Connection:
    """Serves one client. `serve()` runs until the connection ends, and never raises because of the peer.

    Args:
        client: the accepted socket, the client's identity in the admission.
        state: shared by all connections of this server.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        client: socket.socket,
        state: ServerState,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._client = client
        self._state = state
        self._codec = wire.Codec(max_frame_bytes=state.welcome.max_frame_bytes)
        self._conversation = Conversation(Role.SERVER)
        self._share = Share(state.budget, state.limits.max_bytes_per_connection)
        self._claimed: int | None = None
        self._deadline: FrameDeadline | None = None
        self._clock = state.executor.clock
        self._active = self._clock.now()
        self._jobs: dict[int, Job] = {}
        self._idle = asyncio.Event()
        self._idle.set()
        self.peer = _peer(writer)

    async def serve(self) -> None:
        """Serves the client until the connection ends; its unanswered requests are then cancelled."""
        try:
            await self._greet()
            while True:
                self._handle(await self._next())
                await asyncio.sleep(
                    0
                )  # one piece may hold thousands of messages: other connections get a turn
        except (RemoteProtocolError, LimitError) as error:
            log.warning("%s: %s: %s", self.peer, error.code.value, error)
            await self._close_because(error)
        except (
            OSError,
            EOFError,
        ):  # also "timed out" and "no route": a peer that lost power or its network
            log.debug("%s: gone", self.peer)
        finally:
            self._share.free(self._taken_over())
            self._forsake()
            self._writer.close()

    async def refuse(self, reason: LimitError) -> None:
        """Ends a connection that was never served, with the reason."""
        log.warning("%s: %s: %s", self.peer, reason.code.value, reason)
        await self._close_because(reason)
        self._writer.close()

    def drain(self) -> None:
        """Tells the client to send no more requests; accepted ones are still answered. Does nothing before the welcome."""
        if self._conversation.open:
            self._send(Draining())

    async def answered(self) -> None:
        """Returns when every request so far has its answer on the way, or the client has left."""
        await self._idle.wait()
        with contextlib.suppress(OSError):
            await self._writer.drain()

    async def closed(self) -> None:
        """Returns when everything sent has left, or cannot leave any more."""
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    async def left(self) -> None:
        """Returns when the connection is closed: the last message has left, or its time is over."""
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self.closed(), CLOSE_TIMEOUT)
        self.abort()

    def abort(self) -> None:
        """Ends the connection at once."""
        self._writer.transport.abort()

    async def _greet(self) -> None:
        limit = self._state.timeouts.handshake
        try:
            hello = await self._clock.wait_for(self._introduction(), limit)
        except asyncio.TimeoutError:
            raise LimitError(
                f"no complete greeting within {limit:g} s (params/timeout/handshake_timeout)",
                ErrorCode.TIMED_OUT,
            ) from None
        log.info("%s: %s", self.peer, one_line(hello.client, MAX_LOGGED))
        self._state.admission.greeted(self._client)
        self._send(self._state.welcome)
        if self._state.draining:
            self.drain()

    async def _introduction(self) -> Hello:
        """Returns the hello of a client that is entitled to the welcome. No other message is accepted before it."""
        hello = await self._next()
        assert isinstance(hello, Hello)
        if self._state.credentials is not None:
            await self._proofs(hello, self._state.credentials)
        return hello

    async def _proofs(self, hello: Hello, credentials: Credentials) -> None:
        """Returns when both sides have proved the key."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        version = self._conversation.version
        transcript = Transcript(hello.nonce, nonce, credentials.certificate, hello.versions, version)
        self._send(Challenge(version, nonce, transcript.proof(credentials.key, Role.SERVER)))
        answer = await self._next()
        assert isinstance(answer, Proof)
        if transcript.proven(answer.proof, [credentials.key], Role.CLIENT) is None:
            raise RemoteProtocolError("the client does not have this server's key", ErrorCode.WRONG_KEY)

    async def _next(self) -> Message:
        """Returns the client's next message, or raises RemoteProtocolError, LimitError, OSError or EOFError."""
        self._share.free(self._taken_over())  # the previous frame's room, unless it was an image
        message = await message_streams.pump(self._codec, self._read, self._make_room)
        self._deadline = None
        self._conversation.receive(message)
        if isinstance(message, Closing):
            text = one_line(message.message, MAX_LOGGED)
            log.warning("%s: closed by the client: %s: %s", self.peer, message.code.value, text)
            raise EOFError
        return message

    async def _make_room(self, length: int) -> None:
        """Claims room for a frame as soon as its length is known; without room, nothing more is read."""
        if not self._conversation.open:
            message_streams.check_greeting(length, MAX_GREETING_BYTES)
        size = length if length > SMALL_FRAME else 0
        # so that the client gets the reason before it gives this server up
        patience = self._state.timeouts.read / 2
        if size and not await self._share.claim(size, patience, self._clock):
            raise LimitError(
                f"no room for {plural(size, 'byte')} within {patience:g} s: other images wait "
                "(params/daemon/max_bytes_in_flight and max_bytes_per_connection)",
                ErrorCode.OVERLOADED,
            )
        self._claimed = size

    def _taken_over(self) -> int:
        """Returns the bytes claimed for the last frame; the caller has to free them."""
        size, self._claimed = self._claimed or 0, None
        return size

    async def _read(self) -> bytes:
        """Returns the bytes that arrived; b"" at the end."""
        # backpressure: nothing is read from a client that does not take its answers
        await self._writer.drain()
        if not self._conversation.open:
            return await self._reader.read(wire.CHUNK)  # one time limit covers the whole greeting
        return await (self._read_on() if self._codec.mid_frame else self._read_anew())

    async def _read_on(self) -> bytes:
        """Returns more bytes of an incomplete frame, within its deadline."""
        now = self._clock.now
        if self._deadline is None:
            timeouts = self._state.timeouts
            self._deadline = FrameDeadline(
                timeouts.frame, window=timeouts.slow, min_bytes_per_second=self._lowest_rate()
            )
        deadline = self._deadline
        while True:
            began = now()
            data = await read_within(self._reader, deadline.left)
            if data is not None and not data:
                return data
            deadline.waited(now() - began, len(data or b""))
            if data:
                return data

    def _lowest_rate(self) -> int:
        """Returns the bytes a second at which the present frame must arrive.

        One that borrows from the budget keeps others waiting: it has to be fast enough to be complete in time.
        """
        rate, length = self._state.limits.min_bytes_per_second, self._codec.frame_bytes or 0
        if not rate or length <= self._state.budget.part:
            return rate
        return max(rate, int(length / self._state.timeouts.frame))

    async def _read_anew(self) -> bytes:
        """Returns the beginning of a frame; the idle limit does not apply to a client that waits for an answer."""
        now = self._clock.now
        limit = self._state.timeouts.idle
        self._active = now()
        while True:
            left = self._active + limit - now()
            if self._jobs:
                left = limit
            elif left <= 0:
                raise LimitError(
                    f"no message for {limit:g} s, not even a ping (params/timeout/idle_timeout)",
                    ErrorCode.IDLE,
                )
            data = await read_within(self._reader, left)
            if data is not None:
                return data

    def _handle(self, message: Message) -> None:
        if isinstance(message, (Detect, Encode)):
            self._work_on(message)
        elif isinstance(message, Cancel):
            if message.id in self._jobs:  # otherwise the answer and the cancel have passed each other
                self._state.executor.cancel(self._jobs[message.id])
        elif isinstance(message, Ping):
            self._send(Pong(message.id))
        elif isinstance(message, Inquire):
            self._send(self._state.status(message.id, asyncio.get_running_loop().time()))

    def _work_on(self, request: Request) -> None:
        refusal = self._refusal(request)
        if refusal is not None:
            self._send(refusal)
            return
        size = self._taken_over()  # held until the answer, even if the client has left
        job = self._state.executor.submit(request)
        self._jobs[request.id] = job
        self._idle.clear()

        def answer(future: asyncio.Future[Answer]) -> None:
            del self._jobs[request.id]
            self._share.free(size)
            self._active = self._clock.now()
            self._send(with_id(future.result(), request.id))
            if not self._jobs:
                self._idle.set()

        job.answer.add_done_callback(answer)

    def _refusal(self, request: Request) -> Failed | None:
        if self._state.draining:
            return Failed.because(request.id, ErrorCode.DRAINING, "the server is stopping")
        if len(self._jobs) >= self._state.welcome.credits:
            text = f"more than the {self._state.welcome.credits} requests at a time that welcome granted"
            return Failed.because(request.id, ErrorCode.BUSY, text)
        if request.search and request.search not in self._state.welcome.searches:
            text = f"this server cannot search {request.search!r}: it can {', '.join(self._state.welcome.searches)}"
            return Failed.because(request.id, ErrorCode.SEARCH_UNAVAILABLE, text)
        return None

    def _forsake(self) -> None:
        """Cancels the unanswered requests: the client does not wait any more."""
        for job in list(self._jobs.values()):
            self._state.executor.cancel(job)
        self._idle.set()

    def _send(self, message: Message) -> None:
        if self._writer.is_closing() or self._conversation.state is State.CLOSED:
            return
        try:
            self._conversation.send(message)
            frame = wire.encode(message)
        except LocalProtocolError:
            log.exception("%s: a message of this server cannot be sent", self.peer)
            self.abort()
        else:
            self._writer.write(frame)

    async def _close_because(self, error: RemoteProtocolError | LimitError) -> None:
        self._send(Closing.because(error.code, str(error)))
        self._forsake()
        with contextlib.suppress(OSError, asyncio.TimeoutError):
            await asyncio.wait_for(self._last_words(), CLOSE_TIMEOUT)

    async def _last_words(self) -> None:
        await self._writer.drain()
        # TLS ends with an alert, and uvloop reads until the alert of the other side; without TLS, half-closing and reading
        # lets the last message arrive: closing with unread data would reset the connection
        if self._writer.can_write_eof():
            self._writer.write_eof()
            while await self._reader.read(wire.CHUNK):
                pass


def _peer(writer: asyncio.StreamWriter) -> str:
    name = writer.get_extra_info("peername")
    return place(plain(name[0]), name[1]) if isinstance(name, tuple) and len(name) >= 2 else "a client"
