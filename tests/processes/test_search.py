"""The search that a client asks for, with servers that can do it and others that cannot."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pyraface.client import Client, Result, detect_faces, map_faces
from pyraface.core import parameters
from tests.stub_daemon import stub_daemon
from tests.support import DaemonProcess, daemon, free_udp_port, parameters_xml, pyraface, run


def settings(**changes: object) -> parameters.Parameters:
    return parameters.parse(parameters_xml(**changes).encode())


def addresses(*servers: DaemonProcess) -> str:
    return ",".join(f"127.0.0.1:{server.port}" for server in servers)


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photographs")
    Image.new("RGB", (120, 80), (90, 90, 90)).save(folder / "gray.png")
    return folder


def told(servers: str, *, search: str = "", **changes: object) -> list[str]:
    """What a client of these servers tells its user until each has answered an image or more."""
    lines: list[str] = []

    async def talk() -> None:
        chosen = settings(**changes)
        async with Client(servers, parameters=chosen, search=search, on_event=lines.append) as client:
            assert (await client.detect(np.zeros((20, 20, 3), np.uint8))).error is None

    run(talk())
    return lines


@pytest.mark.usefixtures("yunet_weights")
def test_the_library_and_the_command_ask_for_a_search(
    tmp_path: Path, astronaut: np.ndarray, astronaut_jpeg: bytes
) -> None:
    # a face of 45 px: too small for this server's pyramid
    small = Image.fromarray(astronaut).resize((256, 256))
    small.save(tmp_path / "small.png")
    with daemon(tmp_path, search="everywhere") as server:
        where = addresses(server)

        def asked(search: str) -> list[Result]:
            one = detect_faces(small, servers=where, parameters=settings(), search=search)
            return [one, *map_faces([astronaut_jpeg], servers=where, parameters=settings(), search=search)]

        counts = {
            search: [len(one.faces) for one in asked(search)] for search in ("", "everywhere", "guided")
        }
        done = pyraface("--servers", where, "--search", "guided", tmp_path / "small.png")
    assert counts == {"": [0, 1], "everywhere": [0, 1], "guided": [1, 1]}
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["faces"]) == 1


def test_a_changed_search_makes_lines_stale_and_the_name_of_the_default_does_not(
    tmp_path: Path, picture: Path
) -> None:
    output = tmp_path / "faces.jsonl"
    with stub_daemon(tmp_path, seconds=0.0, search="everywhere") as server:

        def again(*options: str) -> str:
            done = pyraface("--servers", addresses(server), *options, picture, "--output", output)
            assert done.returncode == 0, done.stderr
            return done.stderr

        again()
        plain = json.loads(output.read_text())["fingerprint"]
        assert "1 already recorded" in again("--search", "everywhere")
        assert "1 image recorded with another search or other parameters" in again("--search", "guided")
        assert json.loads(output.read_text())["fingerprint"] != plain
        assert "1 already recorded" in again("--search", "guided")


def test_servers_whose_defaults_differ_are_named_with_the_option_that_makes_them_alike(
    tmp_path: Path,
) -> None:
    with (
        stub_daemon(tmp_path, seconds=0.0, search="everywhere", name="attic") as one,
        stub_daemon(tmp_path, seconds=0.0, search="guided", name="cellar") as two,
    ):
        lines = told(addresses(one, two))
        alike = [told(addresses(one, two), search=search) for search in ("everywhere", "guided")]
    # the client's parameters are set, and cellar has the same search
    assert (
        f"server attic (127.0.0.1:{one.port}) finds faces by other parameters than those here: search everywhere "
        "(here guided); --search guided makes the searches alike"
    ) in lines
    for lines in alike:
        assert not [line for line in lines if "differ" in line or "search" in line]


def test_a_parameter_of_one_search_alone_is_named_only_where_that_is_done(tmp_path: Path) -> None:
    with (
        stub_daemon(tmp_path, seconds=0.0, search="everywhere") as one,
        stub_daemon(tmp_path, seconds=0.0, search="everywhere", guided_threshold=0.5) as two,
    ):
        default = told(addresses(one, two))
        guided = told(addresses(one, two), search="guided")
    assert not [line for line in default if "threshold" in line]
    assert [line for line in guided if "guided_threshold 0.5 (here -0.7)" in line]


def test_a_server_that_cannot_do_the_search_is_named_and_gets_no_image(tmp_path: Path, picture: Path) -> None:
    with (
        stub_daemon(tmp_path, seconds=0.0, name="attic", proposer=False) as one,
        stub_daemon(tmp_path, seconds=0.0, name="cellar") as two,
    ):
        done = pyraface("--servers", addresses(one, two), "--search", "guided", picture)
    assert done.returncode == 0, done.stderr
    refusal = f"attic (127.0.0.1:{one.port}) cannot do the search guided, only everywhere: its log names what it lacks"
    assert [line for line in done.stderr.splitlines() if "attic" in line] == [f"not used: {refusal}"]
    assert json.loads(done.stdout)["server"] == f"cellar (127.0.0.1:{two.port})"


def test_where_no_server_can_do_the_search_the_run_ends_with_that_reason(
    tmp_path: Path, picture: Path
) -> None:
    with stub_daemon(tmp_path, seconds=0.0, name="attic", proposer=False) as server:
        done = pyraface("--servers", addresses(server), "--search", "guided", picture)
    assert done.returncode == 2
    assert done.stderr.splitlines()[1:] == [  # after the name of the parameters file
        f"pyraface: no server can do the search guided: attic (127.0.0.1:{server.port}) cannot do the search guided, "
        "only everywhere: its log names what it lacks"
    ]


@pytest.mark.usefixtures("yunet_weights")
def test_where_no_server_on_the_network_can_do_the_search_one_is_started_that_can(tmp_path: Path) -> None:
    port = free_udp_port()
    with stub_daemon(
        tmp_path, beacon=True, seconds=0.0, name="attic", server_port_ip_disc=port, proposer=False
    ) as server:
        for _ in range(5):  # where the machine is busy, an answer may come too late
            lines = told("auto", search="guided", server_port_ip_disc=port)
            if lines[0] != "no server answered on the network: starting one on this machine":
                break
    refusal, starting, *_, started = lines  # in a container, a line says how broadcasts reach other machines
    assert refusal.startswith(f"not used: attic (127.0.0.1:{server.port}) cannot do the search guided")
    assert starting == (
        "no server that can do the search guided answered on the network: starting one on this machine"
    )
    assert started.startswith("server local: ")


def test_a_server_started_for_the_client_that_falls_back_is_told_with_the_way_to_the_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pyraface.client.pool.supervisor.AUTOMATIC", "most")
    first, *_ = told("local")
    assert re.fullmatch(
        "most cannot run on this machine, so the search is (everywhere|guided); --search most says why", first
    )
    assert not [line for line in told("local", search="everywhere") if "cannot run" in line]


@pytest.mark.parametrize("search", ["auto", "Guided", "everywhere,guided"])
def test_a_search_that_there_is_not_is_an_error_before_any_server_is_looked_for(search: str) -> None:
    with pytest.raises(ValueError, match=rf"one of everywhere, guided, most, not '{search}'"):
        Client(search=search)
    with pytest.raises(ValueError, match="one of everywhere, guided, most"):
        detect_faces(b"", search=search)
    done = pyraface("--search", search, "photo.jpg")
    assert done.returncode == 2
    assert "everywhere" in done.stderr
    assert "guided" in done.stderr
    assert "most" in done.stderr


def test_the_cost_of_small_faces_is_that_of_the_search(tmp_path: Path, picture: Path) -> None:
    def cost(server: DaemonProcess, *options: str) -> str:
        done = pyraface("--servers", addresses(server), "--faces-from", "10", *options, picture)
        assert done.returncode == 0, done.stderr
        [line] = [line for line in done.stderr.splitlines() if line.startswith("faces from 10 px: ")]
        return line

    with stub_daemon(tmp_path, seconds=0.0) as server:
        everywhere, guided = (cost(server, "--search", search) for search in ("everywhere", "guided"))
    assert everywhere != guided
