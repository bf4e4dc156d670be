"""Handshake: connection to a server within TLS, its greeting, and the proof that it has one of this user's keys."""

from __future__ import annotations

import asyncio
import os
import secrets
import ssl
from collections.abc import Coroutine
from typing import Any

from ... import __version__
from ...core.engines import reference_face
from ...core.errors import ErrorCode, RefusedError, RemoteProtocolError, ServerError, WrongKeyError
from ...core.host import dialer
from ...core.host.keyfile import Keys
from ...core.host.message_streams import read_message
from ...core.parameters import Parameters
from ...core.protocol import wire
from ...core.protocol.conversation import MAX_GREETING_BYTES, Conversation
from ...core.protocol.messages import PROTOCOL_VERSIONS, Challenge, Closing, Hello, Message, Proof, Welcome
from ...core.protocol.proofs import NONCE_BYTES, Role, Transcript, certificate_digest
from .connection import ServerConnection, left
from .discovery import Location

ANOTHER_KEY = (
    "has a key that this user does not have, so no image is sent to it; if it is yours, pair with it once: "
    "run pyraface-daemon pair there, and here pyraface pair"
)


async def connect(
    host: str, port: int, parameters: Parameters, keys: Keys, *, patience: float = 0.0
) -> ServerConnection:
    """Returns a connection to a server that proved one of the keys and sent its welcome, at any address of the host.

    Args:
        keys: of the servers that may receive images; unused if parameters.xml requires no authentication.
        patience: seconds added to the usual time-out, for a server that is just starting.

    Raises:
        ServerError: no server answers, or it may not receive images; the message gives the address and the reason.
    """
    place = str(Location(host, port))
    limit = parameters.timeouts.connect + patience
    try:
        hosts = await dialer.addresses(host, port, limit)
    except OSError as error:
        raise ServerError(f"{place}: {_reason(error)}") from error

    def attempt(address: str) -> Coroutine[Any, Any, ServerConnection]:
        return _connect(address, port, place, parameters, keys, limit)

    return await dialer.race(hosts, attempt, ServerConnection.close)


async def _connect(
    address: str, port: int, place: str, parameters: Parameters, keys: Keys, limit: float
) -> ServerConnection:
    """Does what `connect` does, at one address."""
    reader, writer = await _reach(address, port, place, parameters, limit)
    codec = wire.Codec(max_frame_bytes=parameters.daemon.max_frame_bytes)
    conversation = Conversation(Role.CLIENT)
    welcome: Welcome | None = None
    try:
        shared = keys if parameters.security.keyed else None
        greeting = _greet(place, reader, writer, codec, conversation, shared)
        welcome = await asyncio.wait_for(greeting, limit)
    except asyncio.TimeoutError:
        raise ServerError(f"{place}: no welcome within {limit:g} s") from None
    except (RemoteProtocolError, OSError, EOFError) as error:
        problem = "not a pyraface server"
        if not parameters.security.keyed:
            problem += ", or its params/security/authentication is key while this client's is none"
        raise ServerError(f"{place}: {problem}: {error}") from error
    except WrongKeyError:
        await left(writer)  # so that the server receives the reason
        raise
    finally:
        if welcome is None:
            writer.transport.abort()
    return ServerConnection(reader, writer, welcome, codec, conversation, silence=parameters.timeouts.read)


def no_answer(limit: float, port: int) -> str:
    """Returns the reason why a connection timed out, with the remedy: a firewall that drops packets looks the same."""
    return (
        f"no answer within {limit:g} s (params/timeout/connect_timeout); if that machine is up, open TCP port {port} "
        "in its firewall"
    )


async def _reach(
    address: str, port: int, place: str, parameters: Parameters, limit: float
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Returns the streams of a connection, within TLS if a key is required.

    Raises:
        ServerError: no server answers, or it does not use TLS.
    """
    tls: dict[str, Any] = {}
    if parameters.security.keyed:
        # the certificate contains no host name: the proof of the key covers the certificate itself
        tls = {"ssl": _tls(), "server_hostname": "", "ssl_handshake_timeout": limit}
    try:
        return await asyncio.wait_for(asyncio.open_connection(address, port, limit=wire.CHUNK, **tls), limit)
    except asyncio.TimeoutError:
        raise ServerError(f"{place}: {no_answer(limit, port)}") from None
    except ssl.SSLError as error:
        raise ServerError(
            f"{place}: does not use TLS ({error.reason}): not a pyraface server, or its "
            "params/security/authentication is none while this client's is key"
        ) from error
    except OSError as error:
        raise ServerError(f"{place}: {_reason(error)}") from error


def _reason(error: OSError) -> str:
    # asyncio's own text repeats the address; an unknown name has no errno of the system
    if error.errno is not None and error.errno > 0:
        return os.strerror(error.errno)
    return error.strerror or str(error) or "the server closed the connection"


def _tls() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # the proof of the key covers it (`core.protocol.proofs`)
    return context


async def _greet(
    place: str,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    codec: wire.Codec,
    conversation: Conversation,
    keys: Keys | None,
) -> Welcome:
    """Returns the server's welcome. With keys, the server must prove one of them before it is sent more than hello.

    Raises:
        ServerError: it may not receive images, or its encodings cannot be used.
    """

    def say(message: Message) -> None:
        conversation.send(message)
        writer.write(wire.encode(message))

    async def hear() -> Message:
        message = await read_message(reader, codec, limit=MAX_GREETING_BYTES)
        conversation.receive(message)
        if isinstance(message, Closing):
            raise RefusedError(f"{place}: {message.code.value}: {message.message}", message.code)
        return message

    hello = Hello(PROTOCOL_VERSIONS, f"pyraface {__version__}", secrets.token_bytes(NONCE_BYTES))
    say(hello)
    answer = await hear()
    if keys is not None and isinstance(answer, Challenge):
        transcript = Transcript(
            hello.nonce, answer.nonce, _certificate(writer), hello.versions, answer.version
        )
        key = transcript.proven(answer.proof, keys, Role.SERVER)
        if key is None:
            say(Closing.because(ErrorCode.WRONG_KEY, "the client does not have this key"))
            raise WrongKeyError(f"{place}: {ANOTHER_KEY} {place.rpartition(':')[0]}")
        say(Proof(transcript.proof(key, Role.CLIENT)))
        answer = await hear()
    elif keys is not None:
        raise ServerError(
            f"{place}: does not prove a key, so no image is sent to it; is it your pyraface server?"
        )
    if not isinstance(answer, Welcome):
        raise ServerError(f"{place}: requires a key, but params/security/authentication is none here")
    if answer.deviation > reference_face.REFUSED:
        raise ServerError(f"{place}: {reference_face.too_far(answer.deviation)}")
    return answer


def _certificate(writer: asyncio.StreamWriter) -> bytes:
    """Returns the digest of the server's certificate."""
    shown: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    return certificate_digest(shown)
