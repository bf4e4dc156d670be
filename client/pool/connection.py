"""One server: a connection with hello and welcome, requests by id, pings, and an end that everybody hears of."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import secrets
import ssl
from typing import Any

from ... import __version__
from ...core.errors import (
    ErrorCode,
    LocalProtocolError,
    RefusedError,
    RemoteProtocolError,
    ServerError,
    ServerLostError,
    WrongKeyError,
)
from ...core.host import tasks
from ...core.host.keyfile import Keys
from ...core.parameters import Parameters
from ...core.protocol import wire
from ...core.protocol.messages import (
    PROTOCOL_VERSIONS,
    Cancel,
    Challenge,
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
    Proof,
    Status,
    Welcome,
)
from ...core.protocol.proofs import NONCE_BYTES, Handshake, Role, certificate_digest
from .send_buffer import SendBuffer

Answer = Found | Failed

CHUNK = 1 << 18

MAX_GREETING_BYTES = 1 << 16
"""Of a frame before the welcome, whose fields are short texts: who is not known yet has no claim on memory."""

CLOSE_TIMEOUT = 2.0
"""Seconds for the last words to leave."""


LONGEST_PAUSE = 60.0
"""Seconds between two pings at the most: a server ends what is silent for long (its params/timeout/idle_timeout)."""


ANOTHER_KEY = (
    "has a key that this user does not have, so it gets no image; if it is yours, pair with it once: "
    "pyraface-daemon pair there, and here pyraface pair"
)


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
        self.lost: asyncio.Future[ServerLostError] = asyncio.get_running_loop().create_future()
        self._reader = reader
        self._writer = writer
        self._codec = codec
        self._silence = silence
        self._ids = itertools.count(1)
        self._answers: dict[int, asyncio.Future[Answer]] = {}
        self._inquiries: dict[int, asyncio.Future[Status]] = {}
        self._send_buffer = SendBuffer(writer, self._alive)
        self._tasks = [
            asyncio.create_task(work()) for work in (self._receive, self._ping, self._send_buffer.run)
        ]
        self._alive()

    async def request(self, image: bytes, cancelled: asyncio.Future[Any], *, faces_from: int = 0) -> Answer:
        """Returns the server's answer for the bytes of an image file; faces_from: as in `messages.Detect`.

        The end of `cancelled` before that cancels the request; the server still answers, and until then its credit is
        in use.

        Raises:
            ServerLostError: the connection ended first.
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
        """Returns how busy the server is. One that is silent lets this wait for as long as any other request.

        Raises:
            ServerLostError: the connection ended first.
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
            await _left(self._writer)
        finally:
            # to a server that is cut off nothing leaves any more, and what waits to would wait for a quarter of an hour
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
                message = await next_message(self._reader, self._codec)
                self._alive()
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
        """A server answers pings however busy it is: one that is silent for too long is gone.

        A ping waits behind the images on a slow network: as long as bytes are taken, somebody is there.
        """
        loop = asyncio.get_running_loop()
        pause = min(self._silence / 4, LONGEST_PAUSE)
        for id in itertools.count():
            asleep = loop.time()
            await asyncio.sleep(pause)
            if loop.time() - asleep > 2 * pause:
                # it was this process that stood still (Ctrl-Z, say): what the server said meanwhile is still to be read
                self._alive()
            if loop.time() - self._heard > self._silence:
                self._end(f"silent for {self._silence:g} s (params/timeout/read_timeout)", silent=True)
                return
            self._send(Ping(id))

    def _alive(self) -> None:
        """Takes note that the server has just shown that it is there."""
        self._heard = asyncio.get_running_loop().time()

    def _send(self, message: Message) -> None:
        self._send_buffer.put(wire.encode(message))


async def connect(
    host: str, port: int, parameters: Parameters, keys: Keys, *, patience: float = 0.0
) -> ServerConnection:
    """Returns a connection to a server that proved that it has one of our keys, and said welcome.

    Args:
        keys: of the servers that may have our images; of no use where parameters.xml asks for none.
        patience: seconds more than the usual time-out that the welcome may take: a server that is just starting.

    Raises:
        ServerError: nobody there, or no pyraface server that may have our images; the message says who and why.
    """
    place = f"{host}:{port}"
    reader, writer = await _reach(host, port, place, parameters, patience)
    codec = wire.Codec(max_frame_bytes=parameters.daemon.max_frame_bytes)
    limit = parameters.timeouts.connect + patience
    welcome: Welcome | None = None
    try:
        greeting = _greet(place, host, reader, writer, codec, keys if parameters.security.keyed else None)
        welcome = await asyncio.wait_for(greeting, limit)
    except asyncio.TimeoutError:
        raise ServerError(f"{place}: no welcome within {limit:g} s") from None
    except (RemoteProtocolError, OSError, EOFError) as error:
        what = "no pyraface server"
        if not parameters.security.keyed:
            what += ", or one whose params/security/authentication is key while ours is none"
        raise ServerError(f"{place}: {what}: {error}") from error
    except WrongKeyError:
        await _left(writer)  # so that the server hears why
        raise
    finally:
        if welcome is None:
            writer.transport.abort()
    return ServerConnection(reader, writer, welcome, codec, silence=parameters.timeouts.read)


async def _left(writer: asyncio.StreamWriter) -> None:
    """Closes a connection, and returns when everything said has left, or its time is over."""
    if not writer.is_closing():  # a TLS transport that is closed twice cannot be aborted any more
        writer.close()
    with contextlib.suppress(OSError, asyncio.TimeoutError):
        await asyncio.wait_for(writer.wait_closed(), CLOSE_TIMEOUT)


async def _reach(
    host: str, port: int, place: str, parameters: Parameters, patience: float
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Returns the streams of a connection, within TLS where a key is to be proved.

    Raises:
        ServerError: nobody there, or nobody who speaks TLS.
    """
    limit = parameters.timeouts.connect + patience
    tls: dict[str, Any] = {}
    if parameters.security.keyed:
        # no name of a host is in the certificate: the proof of the key covers the certificate itself
        tls = {"ssl": _tls(), "server_hostname": "", "ssl_handshake_timeout": limit}
    try:
        return await asyncio.wait_for(asyncio.open_connection(host, port, limit=CHUNK, **tls), limit)
    except asyncio.TimeoutError:
        raise ServerError(f"{place}: no answer within {limit:g} s (params/timeout/connect_timeout)") from None
    except ValueError:  # UnicodeError: a part of the name is empty or too long for one
        raise ServerError(f"{place}: no host can have this name") from None
    except ssl.SSLError as error:
        raise ServerError(
            f"{place}: speaks no TLS ({error.reason}): no pyraface server, or one whose "
            "params/security/authentication is none while ours is key"
        ) from error
    except OSError as error:
        # asyncio's own text repeats the address; a name that is unknown has no errno of the system's
        reason = (
            os.strerror(error.errno)
            if error.errno is not None and error.errno > 0
            else error.strerror or str(error) or "the server closed the connection"
        )
        raise ServerError(f"{place}: {reason}") from error


def _tls() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # see `core.security`
    return context


async def _greet(
    place: str,
    host: str,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    codec: wire.Codec,
    keys: Keys | None,
) -> Welcome:
    """Returns the server's welcome. With keys, the server must first prove one of them: until then it hears nothing
    but hello.
    """
    hello = Hello(PROTOCOL_VERSIONS, f"pyraface {__version__}", secrets.token_bytes(NONCE_BYTES))
    writer.write(wire.encode(hello))
    answer = await next_message(reader, codec, most=MAX_GREETING_BYTES)
    if keys is not None and isinstance(answer, Challenge):
        handshake = Handshake(hello.nonce, answer.nonce, _certificate(writer), hello.versions, answer.version)
        key = handshake.proven(answer.proof, keys, Role.SERVER)
        if key is None:
            writer.write(
                wire.encode(Closing.because(ErrorCode.WRONG_KEY, "the client does not have this key"))
            )
            raise WrongKeyError(f"{place}: {ANOTHER_KEY} {host}")
        writer.write(wire.encode(Proof(handshake.proof(key, Role.CLIENT))))
        answer = await next_message(reader, codec, most=MAX_GREETING_BYTES)
    elif keys is not None and isinstance(answer, Welcome):
        raise ServerError(f"{place}: proves no key, so it gets no image; is it a pyraface server of yours?")
    if isinstance(answer, Closing):
        raise RefusedError(f"{place}: {answer.code.value}: {answer.message}", answer.code)
    if not isinstance(answer, Welcome) or answer.version not in PROTOCOL_VERSIONS or not answer.credits:
        raise ServerError(f"{place}: no welcome from a pyraface server, but {answer.type}")
    return answer


def _certificate(writer: asyncio.StreamWriter) -> bytes:
    """Returns the digest of the certificate that the server shows."""
    shown: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    return certificate_digest(shown)


async def next_message(
    reader: asyncio.StreamReader, codec: wire.Codec, *, most: int | None = None
) -> Message:
    """Returns the server's next message; raises RemoteProtocolError, OSError or EOFError if none comes.

    Args:
        most: bytes that its frame may have, where that is less than the codec takes.
    """
    while (message := codec.next_message()) is None:
        if codec.error is not None:
            raise codec.error
        data = await reader.read(CHUNK)
        if not data:
            raise codec.receive_eof() or EOFError("the server closed the connection")
        codec.receive_data(data)
        length = codec.frame_bytes
        if most is not None and length is not None and length > most:
            raise RemoteProtocolError(
                f"a frame of {length} bytes; before the welcome the limit is {most}",
                ErrorCode.FRAME_TOO_LARGE,
            )
    return message
