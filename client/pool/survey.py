"""pyraface servers: who is on the network, what it is, and how busy."""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import sys
from dataclasses import dataclass

from ...core import parameters as parameters_file
from ...core.errors import ErrorCode, PyrafaceError, ServerError
from ...core.host import keyfile
from ...core.host.keyfile import Keys
from ...core.parameters import Parameters
from ...core.protocol.messages import Status, Welcome
from ..console.terminal import Column, duration, say, silence, table
from .connection import Refused, WrongKey, connect
from .discovery import Discovery, Location, locations

COLUMNS = (
    Column("name", 0, least=8),
    Column("address", 2),
    Column("state", 1, least=8),
    Column("engine", 6),
    Column("device", 8, least=12),
    Column("version", 7),
    Column("working", 4, right=True),
    Column("waiting", 5, right=True),
    Column("clients", 9, right=True),
    Column("images/s", 3, right=True),
    Column("done", 10, right=True),
    Column("up", 11, right=True),
)


class NoServers(PyrafaceError):
    """Nobody says how it is."""


@dataclass(frozen=True)
class Seen:
    """What one server said of itself.

    Attributes:
        place: where it was asked.
        name: as it announced itself, or said in its welcome; "" if it did neither.
        state: "ready", "stopping", or why there are no answers: "no key" of its is ours, "key refused" it says to ours,
            "refused" it says for another reason; "no answer" in time, or not as a server does.
        answers: what it said; None if it said nothing of itself.
        problem: why, in a line.
    """

    place: Location
    name: str
    state: str
    answers: tuple[Welcome, Status] | None
    problem: str = ""

    def row(self) -> list[str]:
        """Returns the cells of its line, as COLUMNS says."""
        if self.answers is None:
            return [self.name or "?", str(self.place), self.state, *[""] * (len(COLUMNS) - 3)]
        welcome, status = self.answers
        return [
            welcome.name,
            str(self.place),
            self.state,
            welcome.engine,
            welcome.device,
            status.software,
            str(status.working),
            str(status.waiting),
            str(status.connections - 1),
            f"{status.rate:.2f}",
            str(status.answered),
            duration(status.uptime),
        ]

    def as_json(self) -> dict[str, object]:
        """Returns its line for programs: always the same keys, null for what is not known."""
        welcome, status = self.answers or (None, None)
        return {
            "name": self.name or None,
            "host": self.place.host,
            "port": self.place.port,
            "state": self.state,
            "error": self.problem or None,
            "instance": welcome and welcome.instance,
            "engine": welcome and welcome.engine,
            "device": welcome and welcome.device,
            "fingerprint": welcome and welcome.fingerprint,
            "version": status and status.software,
            "draining": self.state == "stopping" if welcome else None,
            "working": status and status.working,
            "waiting": status and status.waiting,
            "clients": status and status.connections - 1,
            "rate": status and round(status.rate, 4),
            "answered": status and status.answered,
            "uptime": status and round(status.uptime, 3),
        }


async def run(options: argparse.Namespace) -> bool:
    """Lists the servers, on standard output, and on standard error why some do not say how they are.

    Returns whether all that are listed do.

    Raises:
        NoServers: there is none, or none does.
        ServerError: `--servers` names no place.
        ParametersError: parameters.xml is wrong.
        KeyFileError: this user's key file is wrong.
    """
    parameters = parameters_file.load(options.parameters)
    keys = keyfile.load() if parameters.security.keyed else ()
    seen = await look(options.servers, parameters, keys)
    if options.json:
        lines = [json.dumps(server.as_json()) for server in seen]
    else:
        width = shutil.get_terminal_size().columns if sys.stdout is not None and sys.stdout.isatty() else None
        lines = table(COLUMNS, [server.row() for server in seen], width) if seen else []
    _print(lines)
    silent = [server for server in seen if server.answers is None]
    for server in silent:
        say(f"pyraface: {server.place}: {server.problem}")
    if not seen:
        raise NoServers(
            f"no server answered on the network (UDP port {parameters.ports.discovery}); "
            "start pyraface-daemon on one, or name it: --servers HOST"
        )
    if len(silent) == len(seen):
        raise NoServers("none of these servers says how it is")
    return not silent


async def look(wanted: str, parameters: Parameters, keys: Keys) -> list[Seen]:
    """Returns what each server says, sorted by name: of those that answer on the network, or those that are named.

    Raises:
        ServerError: `wanted` names no place.
    """
    if wanted == "local":
        raise ServerError(
            "--servers local: such a server runs only while pyraface works; use auto, or HOST[:PORT],..."
        )
    if wanted == "auto":
        async with Discovery(parameters, keys) as discovery:
            places = await discovery.first()
        # a stranger is listed too: it has another key
        places += [place for place in discovery.strangers if place not in places]
        names = discovery.strangers | discovery.names
    else:
        places, names = locations(wanted, parameters), {}
    seen = await asyncio.gather(*[_ask(place, names.get(place, ""), parameters, keys) for place in places])
    return sorted(seen, key=lambda server: (server.name, server.place.host, server.place.port))


async def _ask(place: Location, name: str, parameters: Parameters, keys: Keys) -> Seen:
    limit = parameters.timeouts.connect
    try:
        welcome, status, draining = await asyncio.wait_for(_answers(place, parameters, keys), limit)
    except asyncio.TimeoutError:
        problem = f"no answer within {limit:g} s (params/timeout/connect_timeout)"
        return Seen(place, name, "no answer", None, problem)
    except ServerError as error:
        return Seen(place, name, _state(error), None, str(error).removeprefix(f"{place.host}:{place.port}: "))
    return Seen(place, welcome.name, "stopping" if draining else "ready", (welcome, status))


def _state(error: ServerError) -> str:
    """Returns in two words at most why a server does not say how it is."""
    if isinstance(error, WrongKey):
        return "no key"
    if isinstance(error, Refused):
        return "key refused" if error.code is ErrorCode.WRONG_KEY else "refused"
    return "no answer"


async def _answers(place: Location, parameters: Parameters, keys: Keys) -> tuple[Welcome, Status, bool]:
    connection = await connect(place.host, place.port, parameters, keys)
    try:
        status = await connection.inquire()
        return connection.welcome, status, connection.draining.is_set()
    finally:
        await connection.close()


def _print(lines: list[str]) -> None:
    if sys.stdout is None:
        raise PyrafaceError("standard output is closed")
    try:
        for line in lines:
            print(line)
        sys.stdout.flush()
    except OSError as error:
        silence(sys.stdout)
        raise PyrafaceError(f"standard output cannot be written: {error.strerror}") from error
