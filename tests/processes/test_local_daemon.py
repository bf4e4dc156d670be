"""Local daemon: the parameters of the program that starts it, and the servers beside which it works."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from pyraface.client import Client, Result, detect_faces
from pyraface.core import parameters
from pyraface.core.errors import ErrorCode, ParametersError, ServerError
from pyraface.core.parameters import Parameters
from pyraface.core.pipeline import Pipeline
from tests.stub_daemon import stub_daemon
from tests.support import DaemonProcess, free_udp_port, parameters_xml, run

READ = parameters.parse(parameters_xml(search="everywhere").encode())
"""Parameters with which the face of the astronaut is found."""


def changed(section: str, **values: object) -> Parameters:
    return replace(READ, **{section: replace(getattr(READ, section), **values)})


def asked(image: bytes, settings: Parameters, *, search: str = "") -> Result:
    async def talk() -> Result:
        async with Client("local", parameters=settings, search=search) as client:
            return await client.detect(image)

    return run(talk())


def test_a_parameter_that_a_program_changes_counts_in_the_child_daemon_as_in_a_pipeline(
    astronaut_jpeg: bytes,
) -> None:
    strict = changed("detection", threshold=2.0)
    assert len(asked(astronaut_jpeg, READ).faces) == 1
    assert len(asked(astronaut_jpeg, strict).faces) == 0
    assert len(detect_faces(astronaut_jpeg, servers="local", parameters=strict).faces) == 0
    assert len(Pipeline(strict, "onnx").detect(astronaut_jpeg)) == 0


def test_every_section_that_a_program_changes_reaches_the_child_daemon(astronaut_jpeg: bytes) -> None:
    pixels = 512 * 512
    assert asked(astronaut_jpeg, changed("images", max_pixels=pixels)).error is None
    too_large = asked(astronaut_jpeg, changed("images", max_pixels=pixels - 1))
    assert too_large.error is not None
    assert too_large.error[0] is ErrorCode.IMAGE_TOO_LARGE
    poor = asked(astronaut_jpeg, changed("encoding", least_confidence=2.0))
    assert poor.faces.comparable.tolist() == [False]


def test_a_search_that_is_asked_for_is_the_child_daemons_default(astronaut_jpeg: bytes) -> None:
    usual = changed("detection", search="guided")
    assert (
        asked(astronaut_jpeg, usual, search="everywhere").fingerprint
        == asked(astronaut_jpeg, READ).fingerprint
    )


def test_a_value_that_is_not_allowed_is_an_error_before_a_child_daemon_is_started(
    astronaut_jpeg: bytes,
) -> None:
    with pytest.raises(ParametersError, match="params/tiled_detect_params/height is 5; it must be a whole"):
        detect_faces(astronaut_jpeg, servers="local", parameters=changed("detection", height=5))


# beside other servers

ALREADY = "server attic runs on this machine already: no other is started"
SHARED = (
    "server attic has an address of this machine: if it runs here, it and the local server slow each other"
)
NOTHING_FOUND = "no server answered on the network: starting one on this machine"
NOBODY = "127.0.0.1:1"
"""An address at which no server listens."""


def used(
    servers: str,
    port: int,
    *,
    count: int = 1,
    later: Callable[[], AbstractContextManager[DaemonProcess]] | None = None,
) -> tuple[list[str], list[str]]:
    """Returns the addresses of the servers of a client, once there are `count`, and the lines that it tells.

    Args:
        port: the discovery port.
        later: starts a daemon once the client has a server.
    """
    told: list[str] = []
    settings = parameters.parse(parameters_xml(server_port_ip_disc=port, interval=0.2).encode())

    async def talk() -> list[str]:
        with ExitStack() as daemons:
            async with Client(servers, parameters=settings, on_event=told.append) as client:
                if later is not None:
                    daemons.enter_context(later())
                while client.servers < count:
                    await asyncio.sleep(0.02)
                return sorted(status.address for status in client.status())

    return run(talk()), told


def attic(folder: Path, port: int) -> AbstractContextManager[DaemonProcess]:
    """A daemon that announces itself on this machine."""
    return stub_daemon(folder, seconds=0.0, beacon=True, name="attic", server_port_ip_disc=port, interval=0.2)


def test_a_server_that_is_found_on_this_machine_takes_the_place_of_the_local_one(tmp_path: Path) -> None:
    port = free_udp_port()
    with attic(tmp_path, port) as server:
        addresses, told = used("auto,local", port)
    assert addresses == [f"127.0.0.1:{server.port}"]
    assert [line for line in told if not line.startswith("server attic (")] == [ALREADY]


def test_the_local_server_is_started_where_no_other_answers_and_its_start_is_no_surprise() -> None:
    addresses, told = used("auto,local", free_udp_port())
    assert addresses == ["local"]
    assert [line.partition(":")[0] for line in told] == ["server local"]


def test_the_local_server_works_beside_one_that_is_named_and_a_line_says_that_they_share_this_machine(
    tmp_path: Path,
) -> None:
    with stub_daemon(tmp_path, seconds=0.0, name="attic") as server:
        addresses, told = used(f"local,127.0.0.1:{server.port}", free_udp_port(), count=2)
    assert addresses == [f"127.0.0.1:{server.port}", "local"]
    assert told.count(SHARED) == 1


def test_the_local_server_is_enough_where_one_that_is_named_cannot_be_reached() -> None:
    addresses, told = used(f"{NOBODY},local", free_udp_port())
    assert addresses == ["local"]
    assert [line for line in told if line.startswith("not reached: 127.0.0.1:1: ")]


def test_a_server_that_is_named_and_announced_is_one_server(tmp_path: Path) -> None:
    port = free_udp_port()
    with (
        attic(tmp_path, port) as one,
        stub_daemon(tmp_path, seconds=0.0, name="cellar") as two,  # not announced
    ):
        named = [f"127.0.0.1:{server.port}" for server in (one, two)]
        addresses, told = used(f"auto,{','.join(named)}", port, count=2)
    assert addresses == sorted(named)
    assert not [line for line in told if "local" in line or "on this machine" in line]


def test_one_is_started_where_neither_the_server_that_is_named_nor_any_other_answers() -> None:
    addresses, told = used(f"auto,{NOBODY}", free_udp_port())
    assert addresses == ["local"]
    assert NOTHING_FOUND in told


def test_a_server_that_appears_on_this_machine_later_is_used_and_named(tmp_path: Path) -> None:
    port = free_udp_port()
    addresses, told = used("auto", port, count=2, later=lambda: attic(tmp_path, port))
    assert "local" in addresses
    assert told.count(SHARED) == 1


def test_a_local_server_that_cannot_be_started_does_not_end_the_work_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, astronaut_jpeg: bytes
) -> None:
    told: list[str] = []
    with stub_daemon(tmp_path, seconds=0.0) as server:
        broken = tmp_path / "broken" / "face_recognition_models"
        broken.mkdir(parents=True)
        (broken / "__init__.py").touch()
        monkeypatch.setenv("PYTHONPATH", str(broken.parent), prepend=os.pathsep)
        servers = f"local,127.0.0.1:{server.port}"

        async def talk() -> Result:
            async with Client(servers, parameters=READ, on_event=told.append) as client:
                while not any("could be started" in line for line in told):
                    await asyncio.sleep(0.02)
                return await client.detect(astronaut_jpeg)

        assert run(talk()).error is None
    [line] = [line for line in told if "started" in line]
    assert line.startswith("no server could be started on this machine: ")
    with pytest.raises(ServerError, match="face_recognition_models"):
        used(f"local,{NOBODY}", free_udp_port())


def test_a_client_that_ends_before_its_local_server_is_ready_leaves_nothing_behind(tmp_path: Path) -> None:
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    with stub_daemon(tmp_path, seconds=0.0) as server:
        started = {child.pid for child in psutil.Process().children(recursive=True)} - before

        async def talk() -> None:
            async with Client(f"local,127.0.0.1:{server.port}", parameters=READ) as client:
                while {child.pid for child in psutil.Process().children(recursive=True)} <= before | started:
                    await asyncio.sleep(0.01)  # until the local one is started, long before it is ready
                assert client.servers == 1

        run(talk())
        assert {child.pid for child in psutil.Process().children(recursive=True)} <= before | started
