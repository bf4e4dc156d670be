"""A server is the same at all its addresses: one changes, an interface goes down, another machine gets the address.

The machines are network namespaces, and their daemons are real, with an engine that takes a fixed time for an image.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
from PIL import Image

from tests.network.lab import Host, Lab
from tests.network.test_keys import pyraface, showing_a_code
from tests.stub_daemon import SECONDS
from tests.support import ROOT, DaemonProcess, environment, parameters_xml, still_running

DISCOVERY = 5014
"""A port of this network's own: the daemons of other tests are on the same switch."""

IMAGES = 80
AN_IMAGE = 0.04
"""Seconds that a server takes for an image: none of the changes is over before the images are."""

PATIENCE = 60.0
"""Seconds for a run on a busy machine. A quiet one takes about ten more than the change itself."""

WITH_HOSTS = 'mount --bind "$0" /etc/hosts && exec "$@"'


@dataclass
class Machine:
    """A host with a daemon."""

    host: Host
    daemon: DaemonProcess


@dataclass
class Network:
    """Servers, and a client on both of their networks, 10.220.0.0/24 and 10.221.0.0/24."""

    lab: Lab
    folder: Path
    hosts: dict[str, Host] = field(default_factory=dict)
    daemons: list[DaemonProcess] = field(default_factory=list)

    def host(self, role: str, address: str, second: str = "") -> Host:
        """A machine with an address at eth0, and perhaps one at eth1; the same one for each test, with new addresses."""
        if role not in self.hosts:
            self.hosts[role] = self.lab.host(role, address)
            self.lab.plug(self.hosts[role], "eth1", f"{role}2")
        host = self.hosts[role]
        for interface, wanted in (("eth0", address), ("eth1", second)):
            host.ip("addr", "flush", "dev", interface)
            host.ip("link", "set", interface, "up")
            if wanted:
                host.ip("addr", "add", f"{wanted}/24", "brd", "+", "dev", interface)
        return host

    def serve(self, host: Host, name: str, **changes: object) -> DaemonProcess:
        """Starts a daemon on a host, with parameters changed by name."""
        file = self.folder / f"{name}.xml"
        file.write_text(
            parameters_xml(interfaces="auto", name=name, interval=1, server_port_ip_disc=DISCOVERY, **changes)
        )
        self.daemons.append(
            DaemonProcess(
                self.folder,
                ["--parameters", str(file)],
                prefix=host.inside,
                module="tests.stub_daemon",
                environment={SECONDS: str(AN_IMAGE)},
            )
        )
        return self.daemons[-1]


@pytest.fixture(scope="module")
def machines(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Network:
    return Network(lab, tmp_path_factory.mktemp("addresses"))


@pytest.fixture
def network(machines: Network) -> Iterator[Network]:
    machines.host("seeker", "10.220.0.9", "10.221.0.9")
    try:
        yield machines
    finally:
        for daemon in machines.daemons:
            children = psutil.Process(daemon.process.pid).children() if daemon.process.poll() is None else []
            daemon.process.kill()
            daemon.process.wait()
            assert not still_running(children), "a worker outlived its daemon"
        machines.daemons.clear()
        for host in machines.hosts.values():
            for interface in ("eth0", "eth1"):
                host.ip("addr", "flush", "dev", interface)


@pytest.fixture(scope="module")
def album(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("album")
    for number in range(IMAGES):
        Image.new("RGB", (32, 32), (number, 255 - number, 90)).save(folder / f"{number:03}.jpg")
    return folder


@dataclass
class Run:
    """A client at work."""

    process: subprocess.Popen[bytes]
    output: Path
    log: Path

    @property
    def done(self) -> int:
        return self.output.read_bytes().count(b"\n") if self.output.exists() else 0

    @property
    def said(self) -> str:
        return self.log.read_text()

    def until(self, condition: Callable[[], object]) -> None:
        """Waits for a condition while the client works."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert self.process.poll() is None, self.said
            assert time.monotonic() < deadline, self.said
            time.sleep(0.02)

    def servers(self) -> Counter[str]:
        """Waits for the end; returns how many images each server did. Each image is done once, and none has failed."""
        self.process.wait(PATIENCE)
        assert self.process.returncode == 0, self.said
        results = [json.loads(line) for line in self.output.read_text().splitlines()]
        assert sorted(Counter(result["path"] for result in results).values()) == [1] * IMAGES
        assert not [result for result in results if result.get("error")], self.said
        assert "server-lost" not in self.said
        return Counter(result["server"] for result in results)


@contextmanager
def client(
    network: Network,
    album: Path,
    folder: Path,
    *,
    servers: str = "auto",
    hosts: Path | None = None,
    read_timeout: float = 60,
) -> Iterator[Run]:
    """`pyraface` over the album; with a hosts file of its own, which may be changed while it runs."""
    parameters, output, log = folder / "client.xml", folder / "out.jsonl", folder / "client.log"
    parameters.write_text(
        parameters_xml(
            interfaces="auto",
            interval=1,
            connect_timeout=3,
            read_timeout=read_timeout,
            server_port_ip_disc=DISCOVERY,
        )
    )
    command = [*network.hosts["seeker"].inside]
    if hosts is not None:
        command += ["unshare", "--mount", "sh", "-c", WITH_HOSTS, str(hosts)]
    command += [sys.executable, "-m", "pyraface", "--servers", servers, "--parameters", str(parameters)]
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [*command, "--output", str(output), str(album)], stderr=stream, cwd=ROOT, env=environment()
        )
    run = Run(process, output, log)
    try:
        run.until(lambda: run.done > IMAGES // 6)
        yield run
    finally:
        process.kill()
        process.wait()


def move(host: Host, before: str, after: str) -> None:
    """Gives the machine another address, as DHCP does."""
    host.ip("addr", "delete", f"{before}/24", "dev", "eth0")
    host.ip("addr", "add", f"{after}/24", "brd", "+", "dev", "eth0")


def test_the_only_server_gets_another_address(network: Network, album: Path, tmp_path: Path) -> None:
    home = network.host("home", "10.220.0.1")
    network.serve(home, "home")
    with client(network, album, tmp_path) as run:
        move(home, "10.220.0.1", "10.220.0.77")
        by = run.servers()
    assert set(by) == {"home (10.220.0.1:5000)", "home (10.220.0.77:5000)"}


def test_the_only_server_which_was_named_gets_another_address(
    network: Network, album: Path, tmp_path: Path
) -> None:
    home = network.host("home", "10.220.0.1")
    network.serve(home, "home")
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.1 localhost\n10.220.0.1 attic\n")
    with client(network, album, tmp_path, servers="attic", hosts=hosts) as run:
        move(home, "10.220.0.1", "10.220.0.77")
        hosts.write_text("127.0.0.1 localhost\n10.220.0.77 attic\n")
        run.servers()


def test_the_client_gets_another_address(network: Network, album: Path, tmp_path: Path) -> None:
    network.serve(network.host("home", "10.220.0.1"), "home")
    with client(network, album, tmp_path) as run:
        move(network.hosts["seeker"], "10.220.0.9", "10.220.0.99")
        run.servers()


@pytest.mark.parametrize("servers", ["auto", "attic", "10.220.0.1,10.221.0.1"])
def test_the_interface_that_is_used_goes_down(
    network: Network, album: Path, tmp_path: Path, servers: str
) -> None:
    home = network.host("home", "10.220.0.1", "10.221.0.1")
    network.serve(home, "home")
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.1 localhost\n10.220.0.1 attic\n10.221.0.1 attic\n")
    with client(network, album, tmp_path, servers=servers, hosts=hosts) as run:
        home.ip("link", "set", interface_used(home), "down")
        run.servers()


def interface_used(host: Host) -> str:
    """The interface over which a server has its one client."""
    connected = subprocess.run(
        [*host.inside, "ss", "--no-header", "--tcp", "--numeric", "state", "established"],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    ).stdout
    (address,) = {line.split()[2].rpartition(":")[0] for line in connected.splitlines()}
    return "eth0" if address.removeprefix("[::ffff:").startswith("10.220.") else "eth1"


def test_images_wait_for_a_server_that_is_announced_however_long_it_takes_no_connection(
    network: Network, album: Path, tmp_path: Path
) -> None:
    home = network.host("home", "10.220.0.1")
    daemon = network.serve(home, "home")
    closed = ("ipproto", "tcp", "sport", "5000", "blackhole")
    with client(network, album, tmp_path, read_timeout=2) as run:
        home.ip("rule", "add", *closed)
        try:
            run.until(lambda: "server lost" in run.said)
            time.sleep(3 * 2)  # three times as long as they would wait for a server that is gone
        finally:
            home.ip("rule", "delete", *closed)
        run.servers()
    assert daemon.process.poll() is None


def test_a_server_moves_and_another_gets_its_address(network: Network, album: Path, tmp_path: Path) -> None:
    home, heir = network.host("home", "10.220.0.1"), network.host("heir", "10.220.0.2")
    network.serve(home, "home")
    network.serve(heir, "heir")
    heir.ip("link", "set", "eth0", "down")
    with client(network, album, tmp_path) as run:
        move(home, "10.220.0.1", "10.220.0.77")
        heir.ip("link", "set", "eth0", "up")
        move(heir, "10.220.0.2", "10.220.0.1")
        by = run.servers()
    assert {"home (10.220.0.77:5000)", "heir (10.220.0.1:5000)"} <= set(by), by


def test_what_one_server_cannot_do_waits_for_another_that_is_started_again(
    network: Network, album: Path, tmp_path: Path
) -> None:
    home, heir = network.host("home", "10.220.0.1"), network.host("heir", "10.220.0.2")
    daemon = network.serve(home, "home")
    network.serve(heir, "heir", max_pixels=1)
    with client(network, album, tmp_path) as run:
        daemon.process.kill()
        run.until(lambda: "server lost: home" in run.said)
        network.serve(home, "home")
        by = run.servers()
    assert set(by) == {"home (10.220.0.1:5000)"}


@contextmanager
def unreachable(host: Host, address: str, port: int) -> Iterator[None]:
    """Meanwhile the host has this address, but no connection there gets an answer."""
    rule = ("from", address, "ipproto", "tcp", "sport", str(port), "blackhole")
    host.ip("rule", "add", *rule)
    try:
        yield
    finally:
        host.ip("rule", "delete", *rule)


@pytest.mark.parametrize("dead", ["10.220.0.1", "10.221.0.1"])
def test_a_machine_is_paired_with_at_the_address_that_is_good(
    network: Network, tmp_path: Path, dead: str
) -> None:
    home = network.host("home", "10.220.0.1", "10.221.0.1")
    parameters = tmp_path / "both.xml"
    parameters.write_text(parameters_xml(interfaces="auto", connect_timeout=20, server_port_pairing=5015))
    folders = [tmp_path / "giver", tmp_path / "taker"]
    for folder in folders:
        folder.mkdir()
    with showing_a_code(home, folders[0], parameters) as code, unreachable(home, dead, 5015):
        words = ["pair", "--parameters", parameters]
        paired = pyraface(network.hosts["seeker"], folders[1], *words, typed=code + "\n")
    assert paired.returncode == 0, paired.stderr
    assert "paired with" in paired.stderr


@pytest.mark.parametrize("dead", ["10.220.0.1", "10.221.0.1"])
def test_a_server_is_listed_as_ready_at_the_address_that_is_good(
    network: Network, tmp_path: Path, dead: str
) -> None:
    home = network.host("home", "10.220.0.1", "10.221.0.1")
    network.serve(home, "home")
    parameters = tmp_path / "client.xml"
    parameters.write_text(
        parameters_xml(interfaces="auto", connect_timeout=20, server_port_ip_disc=DISCOVERY)
    )
    with unreachable(home, dead, 5000):
        seeker = network.hosts["seeker"]
        said = seeker.run("-m", "pyraface", "servers", "--json", "--parameters", str(parameters))
    (report,) = map(json.loads, said.splitlines())
    assert report["state"] == "ready"
    assert report["host"] == ("10.221.0.1" if dead == "10.220.0.1" else "10.220.0.1")


@pytest.mark.slow
@pytest.mark.parametrize("servers", ["auto", "10.220.0.1"])
def test_an_address_that_is_away_for_20_seconds_costs_no_image(
    network: Network, album: Path, tmp_path: Path, servers: str
) -> None:
    home = network.host("home", "10.220.0.1")
    network.serve(home, "home")
    with client(network, album, tmp_path, servers=servers) as run:
        home.ip("addr", "delete", "10.220.0.1/24", "dev", "eth0")
        time.sleep(20)
        home.ip("addr", "add", "10.220.0.1/24", "brd", "+", "dev", "eth0")
        by = run.servers()
    assert set(by) == {"home (10.220.0.1:5000)"}
