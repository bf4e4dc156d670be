"""pyraface pair: takes the key of another machine, where `pyraface-daemon pair` shows a code for it."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import os
import socket
import threading

from ...core import parameters as parameters_file
from ...core.errors import ErrorCode, PyrafaceError, RemoteProtocolError
from ...core.host import keyfile
from ...core.parameters import Parameters, SecurityParameters
from ...core.protocol import wire
from ...core.protocol.messages import Closing, Pair, Paired, Proof
from ...core.protocol.pairing import Exchange, normal_code
from ..console.terminal import say
from .connection import next_message
from .discovery import Discovery, Location, locations

MAX_FRAME_BYTES = 8192

MAX_LINE_BYTES = 1024


class NotPaired(PyrafaceError):
    """The message says why, and what to do."""


async def run(options: argparse.Namespace) -> bool:
    """Asks for the code, takes the key and puts it into this user's key file. Returns True.

    Raises:
        NotPaired: nobody there, or the code is wrong.
        KeyFileError: the key file is wrong, or cannot be written.
        ParametersError: parameters.xml is wrong.
    """
    parameters = _for_pairing(parameters_file.load(options.parameters))
    keyfile.load()  # what is wrong with it should be said before a code is used up
    place = await _place(options.host, parameters)
    say(f"code shown at {place}: ", end="")
    code = normal_code(await _typed_line())
    if code is None:
        raise NotPaired("a code is eight digits, as pyraface-daemon pair shows them; nothing was sent")
    key, name = await _take(place, code, parameters.timeouts.connect)
    known = "; this user had its key already" if not keyfile.add(key) else ""
    say(f"paired with {name} ({place}){known}")
    return True


async def _typed_line() -> str:
    """Returns a line of standard input; "" where there is none."""
    loop = asyncio.get_running_loop()
    line: asyncio.Future[str] = loop.create_future()

    def answer(text: str) -> None:
        if not line.done():
            line.set_result(text)

    def read() -> None:
        typed = b""
        with contextlib.suppress(OSError):
            while len(typed) < MAX_LINE_BYTES and (piece := os.read(0, MAX_LINE_BYTES)):
                typed += piece
                if b"\n" in piece:
                    break
        with contextlib.suppress(RuntimeError):  # the loop has ended, and nobody waits any more
            loop.call_soon_threadsafe(answer, typed.decode(errors="replace"))

    # a daemon, and no buffer of Python's: who is asked may end the program instead of answering
    threading.Thread(target=read, name="code", daemon=True).start()
    return await line


def _for_pairing(parameters: Parameters) -> Parameters:
    """Returns parameters by which a place without a port, and a probe, mean a machine that is being paired."""
    port = parameters.ports.pairing
    ports = dataclasses.replace(parameters.ports, images=port, discovery=port)
    return dataclasses.replace(parameters, ports=ports, security=SecurityParameters("none"))


async def _place(wanted: str | None, parameters: Parameters) -> Location:
    if wanted is not None:
        (place, *more) = locations(wanted, parameters)
        if more:
            raise NotPaired("machines are paired one by one")
        return place
    async with Discovery(parameters, ()) as discovery:
        found = await discovery.first()
    if len(found) == 1:
        return found[0]
    if not found:
        raise NotPaired(
            "no machine on the network shows a code: run pyraface-daemon pair on it, or name it: pyraface pair HOST"
        )
    several = ", ".join(f"{discovery.names[place]} ({place})" for place in found)
    raise NotPaired(f"several machines show a code: {several}; name one: pyraface pair HOST")


async def _take(place: Location, code: str, limit: float) -> tuple[bytes, str]:
    """Returns the key, and what the machine calls itself."""
    try:
        reader, writer = await asyncio.wait_for(asyncio.open_connection(place.host, place.port), limit)
        try:
            return await asyncio.wait_for(_exchange(reader, writer, code), 2 * limit)
        finally:
            writer.close()
    except asyncio.TimeoutError:
        raise NotPaired(f"{place}: no answer in time (params/timeout/connect_timeout)") from None
    except RemoteProtocolError as error:
        again = "; try again with the code that is shown now" if error.code is ErrorCode.WRONG_KEY else ""
        raise NotPaired(f"{place}: {error}{again}") from error
    except (OSError, EOFError, ValueError) as error:
        text = f"{error.strerror or error}" if isinstance(error, OSError) else str(error)
        raise NotPaired(f"{place}: {text}; does pyraface-daemon pair run there?") from error


async def _exchange(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, code: str
) -> tuple[bytes, str]:
    codec = wire.Codec(max_frame_bytes=MAX_FRAME_BYTES)
    exchange = Exchange(code, asks=True)
    writer.write(wire.encode(Pair(socket.gethostname()[:64], exchange.share)))
    answer = await next_message(reader, codec)
    if not isinstance(answer, Pair):
        raise _refused(answer)
    secret = exchange.finish(answer.share)
    writer.write(wire.encode(Proof(secret.confirmation)))
    last = await next_message(reader, codec)
    if not isinstance(last, Paired):
        raise _refused(last)
    return secret.open(last.sealed), answer.name


def _refused(answer: object) -> RemoteProtocolError:
    if isinstance(answer, Closing):
        return RemoteProtocolError(answer.message, answer.code)
    return RemoteProtocolError("no machine that is being paired", ErrorCode.UNEXPECTED_MESSAGE)
