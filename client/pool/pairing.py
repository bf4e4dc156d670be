"""Pairing: the key of another machine, obtained with the code that `pyraface-daemon pair` shows there."""

from __future__ import annotations

import asyncio

from ...core.errors import ErrorCode, PairingError, RefusedError, RemoteProtocolError
from ...core.host import dialer
from ...core.host.interfaces import broadcast_advice, machine_name
from ...core.host.message_streams import read_message
from ...core.parameters import Parameters
from ...core.protocol import wire
from ...core.protocol.conversation import MAX_GREETING_BYTES, Conversation, State
from ...core.protocol.messages import Closing, Message, Pair, Paired, Proof
from ...core.protocol.pairing import Exchange
from ...core.protocol.proofs import Role
from .connection import left
from .discovery import Discovery, Location, locations
from .handshake import no_answer


async def find(wanted: str | None, parameters: Parameters) -> list[Location]:
    """Returns the addresses of the machine to pair with: of the one named, or of the only one that shows a code.

    Raises:
        PairingError: no machine shows a code, or several do.
        ServerError: `wanted` is not an address.
    """
    if wanted is not None:
        (place, *more) = locations(wanted, parameters.ports.pairing)
        if more:
            raise PairingError("one machine is paired at a time: name one HOST[:PORT]")
        return [place]
    async with Discovery(parameters.beacon, port=parameters.ports.pairing, keys=None) as discovery:
        found = await discovery.first()
    if len(found) == 1:
        return [sighting.location for sighting in discovery.sightings]
    if not found:
        raise PairingError(
            f"no machine on the network shows a code (open UDP port {parameters.ports.pairing} in its firewall); "
            "run pyraface-daemon pair on one, or name it: pyraface pair HOST"
            + (f"; {advice}" if (advice := broadcast_advice()) else "")
        )
    several = ", ".join(f"{discovery.names[place]} ({place})" for place in found)
    raise PairingError(f"several machines show a code: {several}; name one of them: pyraface pair HOST")


async def check(places: list[Location], limit: float) -> Location:
    """Returns the first address at which a machine listens. It is sent nothing: the code stays valid.

    Args:
        limit: seconds for the connection.

    Raises:
        PairingError: nothing listens there, or nothing answers.
    """

    async def reach(place: Location) -> tuple[Location, asyncio.StreamWriter]:
        return place, (await _connected(place, limit))[1]

    place, writer = await dialer.race(places, reach, lambda late: left(late[1]))
    writer.close()
    return place


async def take_key(place: Location, code: str, limit: float) -> tuple[bytes, str]:
    """Returns the key, and the name of the machine.

    Args:
        limit: seconds for the connection; the exchange may take twice as long.

    Raises:
        PairingError: the machine does not answer, or the code is incorrect.
    """
    reader, writer = await _connected(place, limit)
    try:
        return await asyncio.wait_for(_exchange(reader, writer, code), 2 * limit)
    except asyncio.TimeoutError:
        raise PairingError(
            f"{place}: connected, but no answer within {2 * limit:g} s (2 x params/timeout/connect_timeout)"
        ) from None
    except (RefusedError, RemoteProtocolError) as error:
        again = "; try again with the code that is shown now" if error.code is ErrorCode.WRONG_KEY else ""
        raise PairingError(f"{place}: {error}{again}") from error
    except (OSError, EOFError) as error:
        raise _not_there(place, error) from error
    finally:
        writer.close()


async def _connected(place: Location, limit: float) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    try:
        hosts = await dialer.addresses(place.host, place.port, limit)
    except OSError as error:
        raise PairingError(f"{place}: {error.strerror or error}") from error
    # the race is for the connection alone: each exchange costs the code an attempt
    first = dialer.race(
        hosts, lambda host: asyncio.open_connection(host, place.port), lambda late: left(late[1])
    )
    try:
        return await asyncio.wait_for(first, limit)
    except asyncio.TimeoutError:
        raise PairingError(
            f"{place}: {no_answer(limit, place.port)}; does pyraface-daemon pair run there?"
        ) from None
    except OSError as error:
        raise _not_there(place, error) from error


def _not_there(place: Location, error: Exception) -> PairingError:
    text = f"{error.strerror or error}" if isinstance(error, OSError) else str(error)
    return PairingError(f"{place}: {text}; does pyraface-daemon pair run there?")


async def _exchange(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, code: str
) -> tuple[bytes, str]:
    codec = wire.Codec(max_frame_bytes=MAX_GREETING_BYTES)
    conversation = Conversation(Role.CLIENT, State.PAIRING)

    async def ask(question: Pair | Proof) -> Message:
        conversation.send(question)
        writer.write(wire.encode(question))
        answer = await read_message(reader, codec)
        conversation.receive(answer)
        if isinstance(answer, Closing):
            raise RefusedError(answer.message, answer.code)
        return answer

    exchange = Exchange(code, asks=True)
    answer = await ask(Pair(machine_name(), exchange.share))
    assert isinstance(answer, Pair)
    secret = exchange.finish(answer.share)
    last = await ask(Proof(secret.confirmation))
    assert isinstance(last, Paired)
    return secret.open(last.sealed), answer.name
