"""Table of `pyraface servers`: the reports of servers as a table for a person, or as JSON lines for a program."""

from __future__ import annotations

import json
import sys

from ..console import number_formats
from ..console.terminal import Column, size, table
from ..pool.server_reports import Report

COLUMNS = (
    Column("name", 0, least=12),
    Column("address", 2),
    Column("state", 1, least=9),
    Column("engine", 7),
    Column("device", 3, least=12),
    Column("search", 12),
    Column("version", 8),
    Column("working", 5, right=True),
    Column("waiting", 6, right=True),
    Column("clients", 9, right=True),
    Column("images/s", 4, right=True),
    Column("done", 10, right=True),
    Column("up", 11, right=True),
)


def table_lines(reports: list[Report]) -> list[str]:
    """Returns a header line and a line for each server; on a terminal, cut to its width."""
    if not reports:
        return []
    width = size(sys.stdout).columns if sys.stdout is not None and sys.stdout.isatty() else None
    return table(COLUMNS, [_row(report) for report in reports], width)


def json_lines(reports: list[Report]) -> list[str]:
    """Returns a line for each server, always with the same keys; unknown values are null."""
    return [json.dumps(_record(report)) for report in reports]


def _row(report: Report) -> list[str]:
    if report.answers is None:
        return [report.name or "?", str(report.place), report.state, *[""] * (len(COLUMNS) - 3)]
    welcome, status = report.answers
    return [
        welcome.name,
        str(report.place),
        report.state,
        welcome.engine,
        welcome.device,
        welcome.searches[0],
        status.software,
        str(status.working),
        str(status.waiting),
        str(status.connections - 1),
        number_formats.rate(status.rate),
        str(status.answered),
        number_formats.duration(status.uptime),
    ]


def _record(report: Report) -> dict[str, object]:
    welcome, status = report.answers or (None, None)
    return {
        "name": report.name or None,
        "host": report.place.host,
        "port": report.place.port,
        "state": report.state,
        "error": report.problem or None,
        "instance": welcome and welcome.instance,
        "engine": welcome and welcome.engine,
        "device": welcome and welcome.device,
        "fingerprint": welcome and welcome.fingerprint,
        "search": welcome and welcome.searches[0],
        "searches": welcome and list(welcome.searches),
        "parameters": welcome and _values(welcome.parameters),
        "version": status and status.software,
        "draining": report.state == "stopping" if welcome else None,
        "working": status and status.working,
        "waiting": status and status.waiting,
        "clients": status and status.connections - 1,
        "rate": status and round(status.rate, 4),
        "speed": status and round(status.speed, 4),
        "answered": status and status.answered,
        "uptime": status and round(status.uptime, 3),
    }


def _values(declared: tuple[str, ...]) -> dict[str, str]:
    """Returns the parameters that a server declares, by SECTION/ELEMENT."""
    pairs = (entry.partition("=") for entry in declared)
    return {path: text for path, _, text in pairs}
