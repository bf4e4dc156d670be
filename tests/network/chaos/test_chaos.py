"""A night in which everything fails but the result: it is that of a quiet run with one server, each image once.

PYRAFACE_CHAOS_IMAGES=2000 makes the night a long one, with five machines; PYRAFACE_CHAOS_SEED repeats one.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pyraface.core.errors import ErrorCode
from tests.network.chaos import album
from tests.network.chaos.client import Client
from tests.network.chaos.machines import FIRST, SECOND, Machine, Scale, start_all
from tests.network.chaos.night import Night
from tests.network.lab import Host, Lab

IMAGES = int(os.environ.get("PYRAFACE_CHAOS_IMAGES", "150"))
SEED = int(os.environ.get("PYRAFACE_CHAOS_SEED") or random.SystemRandom().randrange(1_000_000))
LONG = 1000
"""Images from which on a night is a long one, with a pause as long as one of Docker that was reported."""

SCALE = (
    Scale(
        images=IMAGES,
        machines=5,
        rounds=4,
        link_rate=250_000,
        read_timeout=10,
        image_timeout=120,
        pause=130,
        suspension=20,
        trouble=30,
    )
    if IMAGES >= LONG
    else Scale(
        images=IMAGES,
        machines=3,
        rounds=1,
        link_rate=300_000,
        read_timeout=4,
        image_timeout=8,
        pause=9,
        suspension=5,
        trouble=5,
    )
)
NEIGHBOURS_IMAGES = 8
ROLES = ("alpha", "bravo", "charlie", "delta", "echo")
PATIENCE = 240.0 + IMAGES / 2

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2 * PATIENCE)]


@pytest.fixture(scope="module")
def networks(lab: Lab) -> Lab:
    """Two of them: each machine has an interface on both."""
    lab.add_network("second")
    return lab


@pytest.fixture
def machines(networks: Lab, tmp_path: Path) -> Iterator[list[Machine]]:
    with contextlib.ExitStack() as stack:
        made = []
        for number, role in enumerate(ROLES[: SCALE.machines], start=1):
            made.append(Machine(networks, tmp_path, role, number, SCALE))
            stack.callback(made[-1].close)
        start_all(made)
        yield made


@pytest.fixture
def desk(networks: Lab) -> Host:
    """The client's host."""
    host = networks.host("desk", f"{FIRST}.99")
    networks.plug(host, "eth1", "desk-2", network="second")
    host.ip("addr", "add", f"{SECOND}.99/24", "brd", "+", "dev", "eth1")
    return host


@pytest.fixture
def images(astronaut: np.ndarray, tmp_path: Path) -> list[Path]:
    return album.make(tmp_path / "album", astronaut, SCALE.images, SEED)


def same(line: dict[str, Any], expected: dict[str, Any]) -> None:
    """Both say the same of an image, though not that one server did it, or in the same time."""
    by_server = {"server", "seconds", "faces"}
    assert {k: v for k, v in line.items() if k not in by_server} == {
        k: v for k, v in expected.items() if k not in by_server
    }
    found, wanted = line["faces"], expected["faces"]
    assert [face["box"] for face in found] == [face["box"] for face in wanted]
    for face, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(face["encoding"], other["encoding"], atol=1e-5)


def test_each_image_is_done_once_and_as_in_a_quiet_run_though_everything_else_fails(
    machines: list[Machine],
    desk: Host,
    images: list[Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def client(name: str, servers: str, *paths: Path) -> Client:
        output = tmp_path / f"{name}.jsonl"
        return Client(desk, output, paths, servers=servers, read_timeout=SCALE.read_timeout)

    def neighbour(servers: str) -> Client:
        return client(f"neighbour-{next(numbers)}", servers, *images[:NEIGHBOURS_IMAGES])

    numbers = itertools.count()
    quiet = client("quiet", machines[-1].host.address, images[0].parent)
    status = quiet.run(PATIENCE)
    expected = quiet.results()
    assert len(expected) == len(images), quiet.said

    # a name that only the dead DNS server knows, and a machine that is announced as well
    chaotic = client("chaotic", f"auto,nas.example,{machines[0].host.address}", images[0].parent)
    night = Night(machines, chaotic, neighbour, SCALE, SEED)
    try:
        assert night.run(PATIENCE) == status, chaotic.said
    finally:
        chaotic.kill()
        with capsys.disabled():
            print(f"\nPYRAFACE_CHAOS_SEED={SEED} PYRAFACE_CHAOS_IMAGES={IMAGES}", *night.diary, sep="\n")
    results = chaotic.results()
    assert results.keys() == expected.keys()
    for path, line in results.items():
        same(line, expected[path])
    for other in night.neighbours:
        for path, line in other.results().items():
            same(line, expected[path])
    by = Counter(line["server"].partition(" (")[0] for line in results.values() if line["error"] is None)
    assert by.keys() == {machine.role for machine in machines}
    given_up = [code for code in ErrorCode if code.retried and f": {code}: " in chaotic.said]
    assert not given_up, chaotic.said

    # the morning: nothing is left to do, and all are there
    before = chaotic.output.read_bytes()
    assert chaotic.run(PATIENCE) == status, chaotic.said
    assert chaotic.output.read_bytes() == before
    assert chaotic.ready_servers() == by.keys()
    for machine in machines:
        assert machine.daemon.stop() == 0, machine.daemon.said
        for daemon in machine.daemons:
            assert "Traceback" not in daemon.said
    assert "Traceback" not in chaotic.said
