"""Survey: the report of each server on the network, or of each server named, about itself."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from ...core.errors import ErrorCode, RefusedError, ServerError, WrongKeyError
from ...core.host.keyfile import Keys
from ...core.parameters import Parameters
from ...core.protocol.messages import Status, Welcome
from .discovery import Discovery, Location
from .handshake import connect, no_answer
from .wanted import Wanted


@dataclass(frozen=True)
class Report:
    """Report of one server about itself.

    Attributes:
        place: its address.
        name: from its announcement or its welcome; "" if it sent neither.
        state: "ready" or "stopping"; where there are no answers, the reason: "no key" (this user does not have its key),
            "key refused", "refused" (for another reason) or "no answer" (no answer in time, or an invalid one).
        answers: its welcome and its status; None if it sent none.
        problem: the reason why there are no answers, in one line.
    """

    place: Location
    name: str
    state: str
    answers: tuple[Welcome, Status] | None
    problem: str = ""


async def survey(servers: str, parameters: Parameters, keys: Keys) -> list[Report]:
    """Returns the reports, sorted by name, of the servers that answer on the network, and of the servers named.

    Args:
        servers: "auto,HOST[:PORT],...", any of them.

    Raises:
        ServerError: an entry of `servers` is none of these.
    """
    wanted = Wanted.parse(servers, parameters.ports.images)
    if wanted.local:
        raise ServerError(
            "--servers local: such a server runs only while pyraface processes images; use auto, or HOST[:PORT],..."
        )
    places, names = list(wanted.named), {}
    if wanted.auto:
        async with Discovery(
            parameters.beacon,
            port=parameters.ports.discovery,
            keys=keys if parameters.security.keyed else None,
        ) as discovery:
            places += await discovery.first()
        names = discovery.strangers | discovery.names
        # servers with another key are listed, too
        places = list(dict.fromkeys([*places, *discovery.strangers]))
    reports = await asyncio.gather(*[_ask(place, names.get(place, ""), parameters, keys) for place in places])
    return sorted(reports, key=lambda report: (report.name, report.place.host, report.place.port))


async def _ask(place: Location, name: str, parameters: Parameters, keys: Keys) -> Report:
    limit = parameters.timeouts.connect
    try:
        connection = await connect(place.host, place.port, parameters, keys)
        try:
            status = await asyncio.wait_for(connection.inquire(), limit)
        finally:
            await connection.close()
    except asyncio.TimeoutError:
        return Report(place, name, "no answer", None, no_answer(limit, place.port))
    except ServerError as error:
        return Report(place, name, _state(error), None, str(error).removeprefix(f"{place}: "))
    state = "stopping" if connection.draining.is_set() else "ready"
    return Report(place, connection.welcome.name, state, (connection.welcome, status))


def _state(error: ServerError) -> str:
    """Returns the state of a server that does not report its status."""
    if isinstance(error, WrongKeyError):
        return "no key"
    if isinstance(error, RefusedError):
        return "key refused" if error.code is ErrorCode.WRONG_KEY else "refused"
    return "no answer"
