"""Several machines, as network namespaces: found, lost, started, stopped and cut off while a client works."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image

from pyraface.core.protocol import announcement
from pyraface.core.protocol.announcement import Announcement, Goodbye
from tests.network.conftest import Servers
from tests.network.lab import Host, Lab
from tests.support import DaemonProcess, parameters_xml, still_running

pytestmark = pytest.mark.slow

IMAGES = 80
CREDITS = 4
"""Images that each server takes at a time (tests/support.py)."""

PATIENCE = 30.0
"""Seconds for anything here to happen; all of it takes a few."""

FIRST = """
import asyncio, json, sys, time
from pyraface.client.pool.discovery import Discovery
from pyraface.core import parameters
from pyraface.core.host import keyfile

async def main():
    read = parameters.load(sys.argv[1])
    async with Discovery(read.beacon, port=read.ports.discovery, keys=keyfile.load()) as discovery:
        started = time.monotonic()
        found = await discovery.first()
        print(json.dumps([time.monotonic() - started, sorted(str(place) for place in found)]))

asyncio.run(main())
"""

LISTEN = """
import socket, sys, time
listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("", 5001))
print("listening", flush=True)
for _ in range(100):
    data, (host, _) = listener.recvfrom(2000)
    print(host, data.hex(), flush=True)
"""

STORM = """
import random, socket, sys, time
from pyraface.core.protocol import announcement
from pyraface.core.protocol.announcement import Announcement, Goodbye, Probe

chance = random.Random(7)
good = [announcement.encode(words) for words in (
    Probe(bytes(32)), Goodbye("0123"), Announcement(1, "0123", "storm", 5000, "print"),
)]
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sender.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
for number in range(4000):
    words = bytearray(chance.choice(good))
    words[chance.randrange(len(words))] ^= 1 << chance.randrange(8)
    garbage = [
        bytes(words),
        bytes(words[: chance.randrange(len(words))]),
        chance.randbytes(chance.choice([0, 1, 8, 100, 1400])),
        announcement.MAGIC + chance.randbytes(chance.choice([0, 1, 20, 1192, 1193])),
        announcement.MAGIC + b"\\xdf\\xff\\xff\\xff\\xff",
        announcement.MAGIC + b"\\x91" * 1190,
        good[2],
    ]
    sender.sendto(chance.choice(garbage), (sys.argv[1], 5001))
    if number % 20 == 0:
        time.sleep(0.005)
sender.sendto(announcement.MAGIC + bytes(60000), (sys.argv[1], 5001))
"""


@dataclass
class Run:
    """A client at work.

    Attributes:
        output: what it writes; whole lines only.
        log: what it says.
    """

    process: subprocess.Popen[str]
    output: Path
    log: Path

    @property
    def results(self) -> list[dict[str, Any]]:
        if not self.output.exists():
            return []
        text = self.output.read_text()
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]

    @property
    def said(self) -> str:
        return self.log.read_text()

    def by(self, role: str) -> int:
        """How many images this server did so far."""
        return sum(result["server"].partition(" (")[0] == role for result in self.results)

    def finish(self) -> list[dict[str, Any]]:
        """Waits for its end and returns all results."""
        assert self.process.wait(2 * PATIENCE) == 0, self.said
        return self.results


def until(condition: Callable[[], object], what: Callable[[], str] = str) -> None:
    """Waits for a condition, not for ever."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, what()
        time.sleep(0.01)


@pytest.fixture(scope="module")
def album(astronaut: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of images, no two of them the same."""
    folder = tmp_path_factory.mktemp("album")
    portrait = Image.fromarray(astronaut[41:191, 146:296])  # soon searched
    for number in range(IMAGES):
        side = 150 + 5 * (number % 14)
        brightness = 0.8 + 0.4 * number / IMAGES
        image = portrait.resize((side, side)).point(
            [min(255, int(level * brightness)) for level in range(256)] * 3
        )
        image.save(folder / f"{number:03}.jpg")
    return folder


@pytest.fixture
def parameters(tmp_path: Path) -> Path:
    """What clients here use."""
    file = tmp_path / "client.xml"
    file.write_text(parameters_xml(interfaces="auto", interval=0.5, read_timeout=2, connect_timeout=2))
    return file


@contextlib.contextmanager
def client(
    host: Host, parameters: Path, album: Path, output: Path, *, servers: str = "auto"
) -> Iterator[Run]:
    """A `pyraface` process over the whole album; ended at the end, whatever happens."""
    log = output.with_suffix(".log")
    with log.open("w") as stream:
        process = host.start(
            *("-m", "pyraface.client", "--servers", servers, "--parameters", str(parameters)),
            # a search that takes longer than what happens to the servers meanwhile
            *("--search", "everywhere", "--output", str(output), str(album)),
            stderr=stream.fileno(),
        )
    try:
        yield Run(process, output, log)
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def run(servers: Servers, parameters: Path, album: Path, tmp_path: Path) -> Callable[[], Any]:
    """Call it to start a client over the album."""
    return lambda: client(servers.client, parameters, album, tmp_path / "out.jsonl")


@pytest.fixture(scope="module")
def alone(servers: Servers, album: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The faces of each image, by path, as one server finds them."""
    servers.only("north")
    folder = tmp_path_factory.mktemp("alone")
    file = folder / "client.xml"
    file.write_text(parameters_xml())
    with client(servers.client, file, album, folder / "out.jsonl", servers="10.211.0.1") as run:
        results = run.finish()
    faces = {result["path"]: result["faces"] for result in results}
    assert len(faces) == IMAGES
    assert all(len(found) == 1 for found in faces.values())
    return faces


def check(results: list[dict[str, Any]], alone: dict[str, Any]) -> None:
    """Every image once, none failed, and each with the faces that one server alone finds."""
    assert Counter(result["path"] for result in results) == dict.fromkeys(alone, 1)
    for result in results:
        assert result["error"] is None
        expected = alone[result["path"]]
        assert [face["box"] for face in result["faces"]] == [face["box"] for face in expected]
        encodings = [face["encoding"] for face in result["faces"]]
        np.testing.assert_allclose(encodings, [face["encoding"] for face in expected], atol=1e-5)


@contextlib.contextmanager
def frozen(worker: psutil.Process) -> Iterator[None]:
    """Meanwhile a daemon's worker finds no faces: the daemon answers pings, and its images wait."""
    worker.suspend()
    try:
        yield
    finally:
        worker.resume()


@dataclass
class Heard:
    """What a host hears at the discovery port."""

    log: Path

    @property
    def words(self) -> list[tuple[str, announcement.Datagram | None]]:
        """(sender's address, what it said), oldest first."""
        lines = [line.split() for line in self.log.read_text().splitlines()[1:]]
        heard = [(line[0], announcement.decode(bytes.fromhex(line[1]))) for line in lines if len(line) == 2]
        return [(sender, received and received.words) for sender, received in heard]

    def announced(self, host: str) -> int:
        """How many announcements came from this address."""
        return sum(sender == host and isinstance(words, Announcement) for sender, words in self.words)

    def instances(self, *hosts: str) -> set[str]:
        """The servers that were announced, or said goodbye, from these addresses."""
        return {
            words.instance
            for sender, words in self.words
            if sender in hosts and isinstance(words, Announcement | Goodbye)
        }


@contextlib.contextmanager
def listening(host: Host, folder: Path) -> Iterator[Heard]:
    log = folder / f"heard-{host.name}"
    with log.open("w") as stream:
        process = host.start("-c", LISTEN, stdout=stream.fileno())
    try:
        until(lambda: log.read_text().startswith("listening\n"))
        yield Heard(log)
    finally:
        process.kill()
        process.wait()


def discovered(host: Host, parameters: Path) -> tuple[float, list[str]]:
    """The seconds that discovery takes on this host, and whom it finds."""
    seconds, places = json.loads(host.run("-c", FIRST, str(parameters)))
    return seconds, places


def discovered_in_two_seconds(host: Host, parameters: Path) -> list[str]:
    """Whom discovery finds on this host within two seconds: the most of a few times, because the machine may be busy."""
    found: list[str] = []
    for _ in range(5):
        seconds, places = discovered(host, parameters)
        if seconds < 2 and len(places) >= len(found):
            found = places
        if len(found) == 3:
            break
    return found


def test_all_servers_of_a_network_are_found_in_two_seconds(servers: Servers, parameters: Path) -> None:
    servers.only("north", "east", "south")
    assert discovered_in_two_seconds(servers.client, parameters) == [
        "10.211.0.1:5000",
        "10.211.0.2:5000",
        "10.211.0.3:5000",
    ]


def test_nobody_is_found_on_another_network(servers: Servers, lab: Lab, parameters: Path) -> None:
    servers.only("north", "east", "south")
    stranger = lab.host("stranger", "10.211.7.9")
    assert discovered(stranger, parameters)[1] == []


def test_an_album_is_spread_over_all_servers(
    servers: Servers, run: Callable[[], Any], alone: dict[str, Any]
) -> None:
    servers.only("north", "east", "south")
    with run() as running:
        check(running.finish(), alone)
        assert sum(running.by(role) for role in servers.running) == IMAGES
        # how evenly is the machine's affair, which other work may slow down; but each was given more than at the start
        assert min(running.by(role) for role in servers.running) > CREDITS


def test_a_killed_server_costs_no_image_and_leaves_no_worker(
    servers: Servers, run: Callable[[], Any], alone: dict[str, Any]
) -> None:
    servers.only("north", "east", "south")
    daemon = servers.running["east"]
    worker = daemon.worker
    with run() as running:
        until(lambda: len(running.results) > IMAGES // 3, lambda: running.said)
        daemon.process.kill()
        daemon.process.wait()
        check(running.finish(), alone)
        assert "server lost: east" in running.said
    assert not still_running([worker])


def test_a_worker_ends_even_if_its_daemon_was_killed_with_answers_unread(
    servers: Servers, run: Callable[[], Any]
) -> None:
    servers.only("south")
    daemon = servers.running["south"]
    worker = daemon.worker
    with run() as running:
        for answered in range(2, 12):
            until(lambda seen=answered: len(running.results) > seen, lambda: running.said)
            daemon.process.send_signal(signal.SIGSTOP)
            busy = worker.cpu_times().user
            until(lambda: _idle(worker))
            if worker.cpu_times().user > busy:
                break  # it has answered since; otherwise it was stopped between two images
            daemon.process.send_signal(signal.SIGCONT)
        else:
            pytest.fail("the worker had no image whenever its daemon was stopped")
        daemon.process.kill()
        daemon.process.wait()
    assert not still_running([worker])


def test_a_server_that_is_cut_off_costs_no_image(
    servers: Servers, lab: Lab, run: Callable[[], Any], alone: dict[str, Any], parameters: Path
) -> None:
    servers.only("north", "east", "south")
    with run() as running:
        until(lambda: len(running.results) > IMAGES // 3, lambda: running.said)
        with lab.unplugged("south"):
            # otherwise the others do what south has before anybody misses it
            with frozen(servers.running["north"].worker), frozen(servers.running["east"].worker):
                lost = "server lost: south (10.211.0.3:5000): silent for 2 s"
                until(lambda: lost in running.said, lambda: running.said)
            check(running.finish(), alone)
    until(lambda: "10.211.0.3:5000" in discovered(servers.client, parameters)[1])


def test_a_server_forgets_clients_that_are_cut_off(
    servers: Servers, lab: Lab, run: Callable[[], Any]
) -> None:
    servers.only("north")
    daemon = servers.start("south", read_timeout=2)
    with run() as running:
        until(lambda: running.by("south"), lambda: running.said)
        assert clients(daemon) == 1
        with lab.unplugged("south"):
            running.process.kill()
            until(lambda: clients(daemon) == 0)
    until(lambda: _idle(psutil.Process(daemon.process.pid)))
    servers.stop("south")


def test_a_server_that_starts_late_is_found_and_used(
    servers: Servers, run: Callable[[], Any], alone: dict[str, Any]
) -> None:
    servers.only("north")
    with run() as running:
        until(lambda: len(running.results) > 5, lambda: running.said)
        with frozen(servers.running["north"].worker):
            servers.only("north", "south")
            until(lambda: running.by("south"), lambda: running.said)
        check(running.finish(), alone)
        assert running.by("north") + running.by("south") == IMAGES


def test_a_client_that_started_its_own_server_uses_those_that_come_later(
    servers: Servers, run: Callable[[], Any], alone: dict[str, Any]
) -> None:
    servers.only()
    with run() as running:
        until(lambda: running.by("local"), lambda: running.said)
        descendants = psutil.Process(running.process.pid).children(recursive=True)
        own = next(child for child in descendants if "pyraface.daemon.worker" in child.cmdline())
        with frozen(own):
            servers.only("north")
            until(lambda: running.by("north"), lambda: running.said)
        check(running.finish(), alone)
        assert running.by("local") + running.by("north") == IMAGES
    assert not still_running([own])


def test_this_machine_works_beside_a_server_on_another(
    servers: Servers, parameters: Path, album: Path, alone: dict[str, Any], tmp_path: Path
) -> None:
    servers.only("north")
    with client(servers.client, parameters, album, tmp_path / "out.jsonl", servers="auto,local") as running:
        # the first server has work for longer than the other takes to start
        with frozen(servers.running["north"].worker):
            until(lambda: "server local: " in running.said, lambda: running.said)
        check(running.finish(), alone)
        assert running.by("north") > 0
        assert running.by("local") > 0
        assert "on this machine" not in running.said


def test_a_server_that_is_restarted_is_used_again_over_one_connection(
    servers: Servers, run: Callable[[], Any], alone: dict[str, Any]
) -> None:
    servers.only("north", "east")
    with run() as running:
        until(lambda: running.by("north") > 5 < running.by("east"), lambda: running.said)
        servers.running["east"].stop(signal.SIGKILL)
        with frozen(servers.running["north"].worker):
            servers.only("north", "east")
            before = running.by("east")
            until(lambda: running.by("east") > before, lambda: running.said)
            time.sleep(1.5)  # two more probes, and three times the first pause before a server is tried again
        check(running.finish(), alone)
    assert servers.running["east"].said.count("10.211.0.9:") == 1, servers.running["east"].said


def test_a_server_told_to_stop_finishes_what_it_has(
    servers: Servers, run: Callable[[], Any], alone: dict[str, Any]
) -> None:
    servers.only("north", "east", "south")
    with run() as running:
        until(lambda: len(running.results) > IMAGES // 4, lambda: running.said)
        before = running.by("north")
        with frozen(servers.running["north"].worker):
            # it is given images like the others, so that there is something to finish
            until(lambda: len(running.results) > IMAGES // 4 + 8, lambda: running.said)
            servers.running["north"].process.send_signal(signal.SIGTERM)
            until(lambda: " in flight" in servers.running["north"].said)
        assert servers.running["north"].process.wait(PATIENCE) == 0
        check(running.finish(), alone)
        said = servers.running["north"].said
        stopping = re.search(r"stopping: (\d+) images? in flight", said)
        assert stopping is not None, said
        assert 1 <= int(stopping[1]) <= CREDITS
        assert "unanswered" not in said
        assert running.by("north") >= before + int(stopping[1])


def test_a_storm_of_foreign_datagrams_disturbs_nothing(servers: Servers, parameters: Path) -> None:
    servers.only("north", "east", "south")
    daemon = psutil.Process(servers.running["north"].process.pid)
    memory = daemon.memory_info().rss
    said = servers.running["north"].said
    storms = [
        servers.client.start("-c", STORM, target, stderr=subprocess.PIPE)
        for target in ("10.211.0.1", "10.211.0.255")
    ]
    try:
        assert len(discovered(servers.client, parameters)[1]) == 3
        for storm in storms:
            complaints = storm.communicate(timeout=PATIENCE)[1]
            assert storm.returncode == 0, complaints
    finally:
        for storm in storms:
            storm.kill()
            storm.wait()
    assert len(discovered_in_two_seconds(servers.client, parameters)) == 3
    assert daemon.memory_info().rss < memory + (16 << 20)
    assert servers.running["north"].said == said


@pytest.fixture
def two_networks(servers: Servers, lab: Lab) -> Iterator[Callable[[str], None]]:
    """North gets a second cable, which the client is on too; call it to give it an address, or another one."""
    host = servers.hosts["north"]
    servers.client.ip("addr", "add", "10.212.0.9/24", "dev", "eth0")
    lab.plug(host, "late0", "late")

    def give(address: str) -> None:
        if "late0" not in host.ip("-brief", "link"):
            lab.plug(host, "late0", "late")
        host.ip("addr", "add", f"{address}/24", "dev", "late0")

    try:
        yield give
    finally:
        if "late0" in host.ip("-brief", "link"):
            host.ip("link", "delete", "late0")
        servers.client.ip("addr", "delete", "10.212.0.9/24", "dev", "eth0")


@pytest.mark.parametrize("interfaces", ["auto", "eth0,late0"])
def test_an_interface_that_appears_is_announced_on_at_once(
    servers: Servers,
    two_networks: Callable[[str], None],
    parameters: Path,
    tmp_path: Path,
    interfaces: str,
) -> None:
    servers.only("east")
    with listening(servers.client, tmp_path) as heard:
        daemon = servers.start("north", interfaces=interfaces, interval=3600)
        until(lambda: heard.announced("10.211.0.1") == 1)
        two_networks("10.212.0.1")
        until(lambda: heard.announced("10.212.0.1"))
        # the same server, though it answers at two addresses
        assert len(discovered(servers.client, parameters)[1]) == 2
        # another interface by the same name, as when an adapter is pulled out and put in
        servers.hosts["north"].ip("link", "delete", "late0")
        two_networks("10.212.0.2")
        until(lambda: heard.announced("10.212.0.2"))
        assert daemon.stop() == 0
        until(lambda: any(isinstance(words, Goodbye) for _, words in heard.words))
        assert len(heard.instances("10.211.0.1", "10.212.0.1", "10.212.0.2")) == 1


def test_a_server_confined_to_an_interface_is_silent_on_others(
    servers: Servers, two_networks: Callable[[str], None], parameters: Path, tmp_path: Path
) -> None:
    servers.only("east")
    two_networks("10.212.0.1")
    with listening(servers.client, tmp_path) as heard:
        servers.start("north", interfaces="late0", interval=0.2)
        until(lambda: heard.announced("10.212.0.1") > 3)
        assert discovered(servers.client, parameters)[1] == ["10.211.0.2:5000", "10.212.0.1:5000"]
        assert heard.announced("10.211.0.1") == 0


def clients(daemon: DaemonProcess) -> int:
    """How many connections a daemon has: those that its host lists as established, which is 01."""
    tables = [Path(f"/proc/{daemon.process.pid}/net/{name}") for name in ("tcp", "tcp6")]
    lines = [line for table in tables for line in table.read_text().splitlines()[1:]]
    return sum(line.split()[3] == "01" for line in lines)


def _idle(process: psutil.Process) -> bool:
    """Whether it does nothing for a while."""
    return process.cpu_percent(0.5) < 5
