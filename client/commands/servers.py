"""pyraface servers: the servers on the network, with their hardware, load and speed."""

from __future__ import annotations

import argparse

from ...core.errors import NoServersError
from . import add_parameters_option, run_in_loop


def parser() -> argparse.ArgumentParser:
    """Returns the parser of the options of servers."""
    parser = argparse.ArgumentParser(
        prog="pyraface servers",
        description="Lists the servers on the network: their hardware, their load, and their speed in the last minute.",
        epilog="Exit status: 0 every server listed reports its status; 1 some do not; 2 none does, or there is no server.",
    )
    parser.add_argument(
        "--servers",
        default="auto",
        metavar="auto,HOST[:PORT],...",
        help="auto (the default): every server that answers on the network; HOST[:PORT]: the server named, as one with an "
        "IPv6 address alone has to be; or several of these",
    )
    parser.add_argument(
        "--json", action="store_true", help="write one JSON line per server instead of a table, for programs"
    )
    add_parameters_option(parser)
    return parser


def run(options: argparse.Namespace) -> int:
    """Lists the servers; returns the exit status."""
    return run_in_loop(_list(options))


async def _list(options: argparse.Namespace) -> bool:
    """Writes the list to standard output, and to standard error the reason for each server that reports no status.

    Returns whether all servers report their status.

    Raises:
        NoServersError: no server was found, or none of them reports its status.
        ServerError: the value of `--servers` is not a list of addresses.
        ParametersError: parameters.xml is invalid.
        KeyFileError: this user's key file is invalid.
        OutputError: standard output cannot be written.
    """
    from ...core import parameters as parameters_file
    from ...core.host import keyfile
    from ...core.host.interfaces import broadcast_advice
    from ...core.host.standard_streams import print_lines
    from ..console.terminal import say
    from ..pool.server_reports import survey
    from . import servers_table

    parameters = parameters_file.load(options.parameters)
    keys = keyfile.load() if parameters.security.keyed else ()
    reports = await survey(options.servers, parameters, keys)
    print_lines(servers_table.json_lines(reports) if options.json else servers_table.table_lines(reports))
    silent = [report for report in reports if report.answers is None]
    for report in silent:
        say(f"pyraface: {report.place}: {report.problem}")
    if not reports:
        raise NoServersError(
            f"no server answered on the network (open UDP port {parameters.ports.discovery} in its firewall); "
            "start pyraface-daemon on a machine, or name one: --servers HOST"
            + (f"; {advice}" if (advice := broadcast_advice()) else "")
        )
    if len(silent) == len(reports):
        raise NoServersError("none of these servers reports its status")
    return not silent
