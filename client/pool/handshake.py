"""Handshake: a server reached, within TLS, greeted, and proved to have one of our keys."""

from __future__ import annotations

import asyncio
import os
import secrets
import ssl
from typing import Any

from ... import __version__
from ...core.errors import ErrorCode, RefusedError, RemoteProtocolError, ServerError, WrongKeyError
from ...core.host.keyfile import Keys
from ...core.host.streams import read_message
from ...core.parameters import Parameters
from ...core.protocol import wire
from ...core.protocol.conversation import MAX_GREETING_BYTES, Conversation
from ...core.protocol.messages import PROTOCOL_VERSIONS, Challenge, Closing, Hello, Message, Proof, Welcome
from ...core.protocol.proofs import NONCE_BYTES, Role, Transcript, certificate_digest
from .connection import ServerConnection, left

ANOTHER_KEY = (
    "has a key that this user does not have, so it gets no image; if it is yours, pair with it once: "
    "pyraface-daemon pair there, and here pyraface pair"
)


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
    conversation = Conversation(Role.CLIENT)
    limit = parameters.timeouts.connect + patience
    welcome: Welcome | None = None
    try:
        shared = keys if parameters.security.keyed else None
        greeting = _greet(place, reader, writer, codec, conversation, shared)
        welcome = await asyncio.wait_for(greeting, limit)
    except asyncio.TimeoutError:
        raise ServerError(f"{place}: no welcome within {limit:g} s") from None
    except (RemoteProtocolError, OSError, EOFError) as error:
        what = "no pyraface server"
        if not parameters.security.keyed:
            what += ", or one whose params/security/authentication is key while ours is none"
        raise ServerError(f"{place}: {what}: {error}") from error
    except WrongKeyError:
        await left(writer)  # so that the server hears why
        raise
    finally:
        if welcome is None:
            writer.transport.abort()
    return ServerConnection(reader, writer, welcome, codec, conversation, silence=parameters.timeouts.read)


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
        return await asyncio.wait_for(asyncio.open_connection(host, port, limit=wire.CHUNK, **tls), limit)
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
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    codec: wire.Codec,
    conversation: Conversation,
    keys: Keys | None,
) -> Welcome:
    """Returns the server's welcome. With keys, the server must first prove one of them: until then it is sent nothing
    but hello.
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
        raise ServerError(f"{place}: proves no key, so it gets no image; is it a pyraface server of yours?")
    if not isinstance(answer, Welcome):
        raise ServerError(f"{place}: asks for a key, while params/security/authentication is none here")
    return answer


def _certificate(writer: asyncio.StreamWriter) -> bytes:
    """Returns the digest of the certificate that the server shows."""
    shown: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    return certificate_digest(shown)
