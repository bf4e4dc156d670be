"""The lines of servers that a terminal shows: few, fitting, and of the servers that matter."""

from __future__ import annotations

import dataclasses

import pytest
from rich.cells import cell_len

from pyraface.client.console import dashboard
from pyraface.client.console.rates import Rates, ServerRate
from pyraface.client.pool.status import Availability, ServerStatus


def watched(*statuses: ServerStatus) -> list[ServerRate]:
    rates = Rates()
    rates.observe(0.0, [dataclasses.replace(status, done=0) for status in statuses])
    rates.observe(10.0, statuses)
    return list(rates)


def server(
    number: int, state: Availability = Availability.CONNECTED, *, in_flight: int = 4, done: int = 0
) -> ServerStatus:
    address = f"10.0.{number // 250}.{number % 250}:5000"
    return ServerStatus(
        f"host{number} ({address})", address, "onnx", "cpu, 2 threads", state, 4, in_flight, done, 0.0, 0.0
    )


def lines(rates: list[ServerRate], width: int = 100, height: int = 24) -> list[str]:
    return [line.plain for line in dashboard.servers(rates, width=width, height=height)]


def test_each_server_is_a_line_with_its_device_its_rate_what_it_has_and_its_state() -> None:
    rates = watched(
        server(1, done=20), server(2, in_flight=0, done=50), server(3, Availability.DRAINING, done=5)
    )
    assert [line.split() for line in lines(rates)] == [
        ["server", "device", "images/s", "in", "flight", "done", "state"],
        ["host3", "(10.0.0.3:5000)", "cpu,", "2", "threads", "0.50", "4", "5", "stopping"],
        ["host2", "(10.0.0.2:5000)", "cpu,", "2", "threads", "50.00", "0", "50", "idle"],
        ["host1", "(10.0.0.1:5000)", "cpu,", "2", "threads", "2.00", "4", "20", "working"],
    ]


def test_without_a_server_there_is_nothing() -> None:
    assert lines([]) == []


@pytest.mark.parametrize("width", [20, 46, 80, 200])
@pytest.mark.parametrize("height", [5, 24, 60])
def test_of_two_hundred_servers_those_in_trouble_and_the_busiest_are_shown(width: int, height: int) -> None:
    statuses = [server(number, done=number) for number in range(200)]
    statuses[17] = server(17, Availability.LOST, done=17)
    statuses[101] = server(101, Availability.RESTING, done=101)
    shown = lines(watched(*statuses), width, height)
    assert len(shown) <= max(3, height // 2)
    assert all(cell_len(line) <= width for line in shown[:-1])
    names = [line.split()[0] for line in shown[1:-1]]
    assert names == ["host17", "host101", *[f"host{199 - at}" for at in range(30)]][: len(names)]
    left = 200 - len(names)
    states = f"{left - 1} working, 1 resting" if len(names) == 1 else f"{left} working"
    assert shown[-1] == f"and {left} more: {states}"


def test_the_names_of_strangers_are_text_and_no_more() -> None:
    name = "\x1b[2J[red]:smile:\n\u202e"
    odd = dataclasses.replace(server(1), name=name, device=name)
    (_, line) = lines(watched(odd))
    assert line.startswith("\\x1b[2J[red]:smile:\\n\\u202e  \\x1b[2J[red]:smile:")
    assert line.isprintable()
