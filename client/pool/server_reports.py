"""Server reports: what each server on the network, or each server named, says about itself."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from ...core.errors import ErrorCode, RefusedError, ServerError, WrongKeyError
from ...core.host import dialer
from ...core.host.keyfile import Keys
from ...core.parameters import Parameters
from ...core.protocol.messages import Status, Welcome
from .connection import ServerConnection
from .discovery import Discovery, Location
from .handshake import connect, no_answer
from .servers_option import Wanted


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
        ServerError: an entry of `servers` has another form.
    """
    wanted = Wanted.parse(servers, parameters.ports.images)
    if wanted.local:
        raise ServerError(
            "--servers local: such a server runs only while pyraface processes images; use auto, or HOST[:PORT],..."
        )
    listed = [("", [place]) for place in wanted.named]
    if wanted.auto:
        async with Discovery(
            parameters.beacon,
            port=parameters.ports.discovery,
            keys=keys if parameters.security.keyed else None,
        ) as discovery:
            await discovery.first()
        listed += _heard(discovery, besides=wanted.named)
    reports = await asyncio.gather(*[_ask(name, places, parameters, keys) for name, places in listed])
    return sorted(reports, key=lambda report: (report.name, report.place.host, report.place.port))


def _heard(discovery: Discovery, *, besides: tuple[Location, ...]) -> list[tuple[str, list[Location]]]:
    """Returns each server that answered, with its addresses; those with another key are listed, too."""
    servers: dict[str, tuple[str, list[Location]]] = {}
    for sighting in discovery.sightings:
        servers.setdefault(sighting.instance, (sighting.name, []))[1].append(sighting.location)
    strangers = [(name, [place]) for place, name in discovery.strangers.items()]
    known = {*besides, *(place for _, places in servers.values() for place in places)}
    found = [entry for entry in servers.values() if not set(entry[1]).intersection(besides)]
    return found + [entry for entry in strangers if entry[1][0] not in known]


async def _ask(name: str, places: list[Location], parameters: Parameters, keys: Keys) -> Report:
    """Returns the report of a server, at the first of its addresses at which it answers."""
    limit = parameters.timeouts.connect
    place = places[0]

    async def reach(place: Location) -> tuple[Location, ServerConnection]:
        return place, await connect(place.host, place.port, parameters, keys)

    try:
        place, connection = await dialer.race(places, reach, lambda late: late[1].close())
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
