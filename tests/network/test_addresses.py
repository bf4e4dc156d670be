"""Addresses: servers that listen on some of their machine's addresses, of IPv4 or IPv6, are reached and announced there."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from pyraface.core.protocol.announcement import Announcement, Goodbye
from tests.network.lab import Host, Lab
from tests.network.test_keys import PATIENCE, pyraface, showing_a_code
from tests.network.test_namespaces import Heard, listening, until
from tests.stub_daemon import SECONDS
from tests.support import ROOT, DaemonProcess, environment, parameters_xml

pytestmark = pytest.mark.slow

NUMBERS = itertools.count(1)

WITHOUT_IPV6 = """
import errno, os, socket, sys
from pyraface.daemon.worker import sandbox
seccomp = sandbox._pyseccomp()
rules = seccomp.SyscallFilter(seccomp.ALLOW)
rules.add_rule(seccomp.ERRNO(errno.EAFNOSUPPORT), "socket", seccomp.Arg(0, seccomp.EQ, int(socket.AF_INET6)))
rules.load()
os.execv(sys.executable, sys.argv[1:])
"""
"""Runs a command where sockets of IPv6 are refused as by a kernel without it: simulated, because this one has it."""

OCCUPY = """
import socket, sys
family, address = {"4": (socket.AF_INET, "0.0.0.0"), "6": (socket.AF_INET6, "::")}[sys.argv[1]]
with socket.create_server((address, 5000), family=family):
    print("listening", flush=True)
    sys.stdin.read()
"""
"""Listens at port 5000 of every address of one family."""


@dataclass
class Machines:
    """A server's machine with two networks, and a client's machine in each; all three have IPv6, too.

    The addresses end in .1 and ::1 on the server, and in .9 and ::9 on the clients.
    """

    lab: Lab
    number: int
    server: Host
    near: Host
    far: Host
    folder: Path
    networks: tuple[str, str]
    ipv6: tuple[str, str]

    @property
    def home(self) -> Path:
        return Path(environment()["XDG_CONFIG_HOME"])

    @property
    def parameters(self) -> Path:
        file = self.folder / "parameters.xml"
        file.write_text(parameters_xml(interfaces="auto", interval=0.3, connect_timeout=2))
        return file

    @contextmanager
    def serving(self, *arguments: str, prefix: tuple[str, ...] = ()) -> Iterator[DaemonProcess]:
        """A daemon on the server's machine."""
        process = DaemonProcess(
            self.folder,
            ["--parameters", str(self.parameters), *arguments],
            prefix=(*self.server.inside, *prefix),
            module="tests.stub_daemon",
            environment={SECONDS: "0.0"},
        )
        try:
            yield process
        finally:
            process.stop()

    def listed(self, host: Host, *named: str) -> list[str]:
        """The servers that `pyraface servers` lists as ready on a host: those it finds, or those named."""
        servers = ("--servers", ",".join(named)) if named else ()
        done = pyraface(host, self.home, "servers", "--json", *servers, "--parameters", self.parameters)
        reports = [json.loads(line) for line in done.stdout.splitlines()]
        return [report["host"] for report in reports if report["state"] == "ready"]


@pytest.fixture
def machines(lab: Lab, tmp_path: Path) -> Machines:
    number = next(NUMBERS)
    networks = (f"10.216.{number}", f"10.217.{number}")
    ipv6 = (f"fd00:216:{number}:", f"fd00:217:{number}:")
    server = lab.host(f"s{number}", f"{networks[0]}.1")
    lab.plug(server, "eth1", f"t{number}")
    server.ip("addr", "add", f"{networks[1]}.1/24", "brd", "+", "dev", "eth1")
    near, far = (lab.host(f"{role}{number}", f"{networks[at]}.9") for at, role in enumerate("nf"))
    for host, interface, address in (
        (server, "eth0", f"{ipv6[0]}:1"),
        (server, "eth1", f"{ipv6[1]}:1"),
        (near, "eth0", f"{ipv6[0]}:9"),
        (far, "eth0", f"{ipv6[1]}:9"),
    ):
        host.ip("addr", "add", f"{address}/64", "dev", interface, "nodad")
    return Machines(lab, number, server, near, far, tmp_path, networks, ipv6)


def sysctl(host: Host, setting: str) -> None:
    subprocess.run([*host.inside, "sysctl", "-qw", setting], check=True, timeout=30)


def without_ipv6() -> tuple[str, ...]:
    try:
        import pyseccomp  # noqa: F401
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"no seccomp: {error}")
    return (sys.executable, "-c", WITHOUT_IPV6)


def of_servers(heard: Heard) -> list[tuple[str, object]]:
    """Announcements and goodbyes, without the probes of clients."""
    return [(sender, words) for sender, words in heard.words if isinstance(words, Announcement | Goodbye)]


# ------------------------------------------------------------------------------------------ where it is announced


def test_a_server_on_one_network_is_announced_there_and_on_no_other(machines: Machines) -> None:
    near, far = (f"{network}.1" for network in machines.networks)
    with (
        listening(machines.near, machines.folder) as beside,
        listening(machines.far, machines.folder) as apart,
    ):
        with machines.serving("--host", near) as daemon:
            until(lambda: beside.announced(near) > 3)
            assert machines.listed(machines.near) == [near]
            assert machines.listed(machines.server) == [near]
            assert machines.listed(machines.far) == []
            assert f"ready on {near}:5000: " in daemon.said
            assert f"announced from {near} on eth0 alone" in daemon.said
            assert daemon.stop() == 0
        until(lambda: any(isinstance(words, Goodbye) for _, words in beside.words))
        assert of_servers(apart) == []
        with machines.serving("--host", far) as daemon:
            until(lambda: apart.announced(far) > 3)
            assert machines.listed(machines.near) == []


def test_a_server_on_loopback_is_announced_to_its_own_machine_alone(machines: Machines) -> None:
    for address in ("127.0.0.1", "127.0.1.1"):
        with listening(machines.near, machines.folder) as heard:
            with machines.serving("--host", address) as daemon:
                until(lambda daemon=daemon: "announced from" in daemon.said)
                assert f"announced from {address} on lo alone" in daemon.said
                assert machines.listed(machines.server) == [address]
                assert machines.listed(machines.near) == []
                assert daemon.stop() == 0
            assert of_servers(heard) == []


def test_a_server_at_the_second_address_of_a_network_is_announced_from_that_address(
    machines: Machines,
) -> None:
    second = f"{machines.networks[0]}.2"
    machines.server.ip("addr", "add", f"{second}/24", "brd", "+", "dev", "eth0")
    with listening(machines.near, machines.folder) as heard, machines.serving("--host", second):
        until(lambda: heard.announced(second) > 3)
        assert machines.listed(machines.near) == [second]
        assert heard.announced(f"{machines.networks[0]}.1") == 0


@pytest.mark.parametrize("label", ["eth0", "eth0:1"])
def test_two_addresses_in_one_network_are_both_announced_where_each_has_its_interface(
    machines: Machines, label: str
) -> None:
    first, second, third = (f"{machines.networks[0]}.{number}" for number in (1, 2, 3))
    machines.server.ip("addr", "add", f"{second}/24", "brd", "+", "dev", "eth0", "label", label)
    machines.lab.plug(machines.server, "eth2", f"u{machines.number}")
    machines.server.ip("addr", "add", f"{third}/24", "brd", "+", "dev", "eth2")
    with listening(machines.near, machines.folder) as heard:
        with machines.serving() as daemon:
            until(lambda: heard.announced(first) > 3 < heard.announced(third))
            assert machines.listed(machines.near) in ([first], [third])
            assert daemon.stop() == 0
        with machines.serving("--host", second, "--host", third):
            until(lambda: heard.announced(second) and heard.announced(third))


def test_two_servers_of_one_machine_are_each_found_on_their_own_network(machines: Machines) -> None:
    near, far = (f"{network}.1" for network in machines.networks)
    with machines.serving("--host", near), machines.serving("--host", far):
        assert machines.listed(machines.near) == [near]
        assert machines.listed(machines.far) == [far]
        assert sorted(machines.listed(machines.server)) == [near, far]


def test_a_server_with_several_hosts_is_announced_on_the_networks_of_all(machines: Machines) -> None:
    near, far = (f"{network}.1" for network in machines.networks)
    hosts = [word for host in ("127.0.0.1", far, f"{machines.ipv6[0]}:1") for word in ("--host", host)]
    with machines.serving(*hosts) as daemon:
        assert machines.listed(machines.far) == [far]
        assert machines.listed(machines.near) == []
        assert machines.listed(machines.near, f"{machines.ipv6[0]}:1") == [f"{machines.ipv6[0]}:1"]
        assert machines.listed(machines.near, f"{machines.ipv6[1]}:1", near) == []
        assert f"ready on 127.0.0.1:5000, {far}:5000, [{machines.ipv6[0]}:1]:5000: " in daemon.said


def test_an_address_that_comes_goes_and_moves_is_followed(machines: Machines) -> None:
    late = f"{machines.networks[0]}.7"
    with (
        listening(machines.near, machines.folder) as beside,
        listening(machines.far, machines.folder) as apart,
        machines.serving("--host", late) as daemon,
    ):
        assert f"no interface has the address {late} yet" in daemon.said
        until(lambda: f"not announced: no interface has the address {late}" in daemon.said)
        assert machines.listed(machines.near) == []
        machines.server.ip("addr", "add", f"{late}/24", "brd", "+", "dev", "eth0")
        until(lambda: beside.announced(late))
        assert machines.listed(machines.near) == [late]
        assert f"announced from {late} on eth0 alone" in daemon.said
        machines.server.ip("addr", "delete", f"{late}/24", "dev", "eth0")
        until(lambda: daemon.said.count("not announced: ") == 2)
        # to the other network, as when a cable is put into another socket
        machines.server.ip("addr", "add", f"{late}/24", "brd", "+", "dev", "eth1")
        machines.far.ip("addr", "add", f"{machines.networks[0]}.8/24", "brd", "+", "dev", "eth0")
        until(lambda: apart.announced(late))
        assert machines.listed(machines.far) == [late]


def test_an_interface_for_the_beacon_without_an_address_of_the_server_is_silent(machines: Machines) -> None:
    near, far = (f"{network}.1" for network in machines.networks)
    file = machines.folder / "eth1.xml"
    file.write_text(parameters_xml(interfaces="eth1", interval=0.3))
    with machines.serving("--parameters", str(file), "--host", near) as daemon:
        until(
            lambda: "not announced: no interface of params/beacon/interfaces has the address" in daemon.said
        )
        assert machines.listed(machines.near) == machines.listed(machines.far) == []
    with machines.serving("--parameters", str(file), "--host", near, "--host", far):
        assert machines.listed(machines.near) == []
        assert machines.listed(machines.far) == [far]


def test_a_client_without_ipv4_is_told_why_it_finds_no_server_and_reaches_one_that_is_named(
    machines: Machines,
) -> None:
    advice = "machines are found over IPv4 alone, and this one has no IPv4 network"
    ipv6 = f"{machines.ipv6[0]}:1"
    asked = ("servers", "--parameters", machines.parameters)
    with machines.serving():
        assert advice not in pyraface(machines.near, machines.home, *asked).stderr
        machines.near.ip("addr", "flush", "dev", "eth0", "scope", "global")
        machines.near.ip("addr", "add", f"{machines.ipv6[0]}:9/64", "dev", "eth0", "nodad")
        done = pyraface(machines.near, machines.home, *asked)
        assert done.returncode == 2
        assert advice in done.stderr
        assert machines.listed(machines.near, ipv6) == [ipv6]
    machines.near.ip("addr", "flush", "dev", "eth0", "scope", "global")
    assert advice not in pyraface(machines.near, machines.home, *asked).stderr


# ------------------------------------------------------------------------------------------ both families


@pytest.mark.parametrize(
    ("arguments", "bindv6only"),
    [
        ((), 0),
        ((), 1),
        (("--host", "[::]"), 1),
        (("--host", "0.0.0.0", "--host", "::"), 0),
    ],
)
def test_every_address_means_ipv4_and_ipv6(
    machines: Machines, arguments: tuple[str, ...], bindv6only: int
) -> None:
    near, far = (f"{network}.1" for network in machines.networks)
    sysctl(machines.server, f"net.ipv6.bindv6only={bindv6only}")
    with machines.serving(*arguments) as daemon:
        assert "ready on 0.0.0.0:5000, [::]:5000: " in daemon.said
        assert machines.listed(machines.near) == [near]
        assert machines.listed(machines.far) == [far]
        ipv6 = f"{machines.ipv6[0]}:1"
        assert machines.listed(machines.near, near, ipv6) == [near, ipv6]
        # clients of IPv4 are named as such
        assert f" {machines.networks[0]}.9:" in daemon.said
        assert f" [{machines.ipv6[0]}:9]:" in daemon.said
        assert "ffff" not in daemon.said


def test_every_address_of_ipv4_excludes_ipv6(machines: Machines) -> None:
    near = f"{machines.networks[0]}.1"
    with machines.serving("--host", "0.0.0.0") as daemon:
        assert "ready on 0.0.0.0:5000: " in daemon.said
        assert machines.listed(machines.near) == [near]
        assert machines.listed(machines.near, near, f"{machines.ipv6[0]}:1") == [near]


def test_an_address_of_ipv6_is_reached_by_clients_that_name_it_and_not_announced(machines: Machines) -> None:
    ipv6 = f"{machines.ipv6[0]}:1"
    with listening(machines.near, machines.folder) as heard, machines.serving("--host", ipv6) as daemon:
        assert f"ready on [{ipv6}]:5000: " in daemon.said
        assert "not announced: announcements are IPv4" in daemon.said
        assert machines.listed(machines.near, ipv6) == [ipv6]
        assert machines.listed(machines.near, f"[{ipv6}]:5000") == [ipv6]
        assert machines.listed(machines.near) == machines.listed(machines.server) == []
        assert machines.listed(machines.far, f"{machines.networks[1]}.1") == []
        assert daemon.stop() == 0
        assert of_servers(heard) == []


def test_a_link_local_address_is_written_with_its_interface(machines: Machines) -> None:
    machines.server.ip("addr", "add", "fe80::1/64", "dev", "eth0", "nodad")
    with machines.serving("--host", "fe80::1%eth0") as daemon:
        assert "ready on [fe80::1%eth0]:5000: " in daemon.said
        # the client's own eth0
        assert machines.listed(machines.near, "fe80::1%eth0", "[fe80::1%eth0]:5000") == ["fe80::1%eth0"]
    done = machines.server.start("-m", "tests.stub_daemon", "--host", "fe80::1", stderr=subprocess.PIPE)
    said = done.communicate(timeout=PATIENCE)[1]
    assert done.returncode == 1
    assert said.endswith(
        "pyraface-daemon: cannot listen on [fe80::1]:5000: Invalid argument; "
        "an address of one interface is written with it: fe80::1%eth0\n"
    )


@pytest.mark.parametrize("arguments", [(), ("--host", "::")])
def test_where_ipv6_is_switched_off_clients_of_ipv4_are_served(
    machines: Machines, arguments: tuple[str, ...]
) -> None:
    near = f"{machines.networks[0]}.1"
    sysctl(machines.server, "net.ipv6.conf.all.disable_ipv6=1")
    with machines.serving(*arguments) as daemon:
        assert machines.listed(machines.near) == [near]
        assert "WARNING" not in daemon.said


@pytest.mark.parametrize("arguments", [(), ("--host", "::"), ("--host", "both")])
def test_a_kernel_without_ipv6_serves_clients_of_ipv4(machines: Machines, arguments: tuple[str, ...]) -> None:
    near = f"{machines.networks[0]}.1"
    prefix = (*named("both", f"{machines.ipv6[0]}:1", near, folder=machines.folder), *without_ipv6())
    with machines.serving(*arguments, prefix=prefix) as daemon:
        assert f"ready on {near if 'both' in arguments else '0.0.0.0'}:5000: " in daemon.said
        assert machines.listed(machines.near) == [near]
        assert "WARNING" not in daemon.said


def test_a_kernel_without_ipv6_has_no_address_of_it(machines: Machines) -> None:
    command = [*machines.server.inside, *without_ipv6(), sys.executable]
    done = subprocess.run(
        [*command, "-m", "tests.stub_daemon", "--host", "::1"],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "pyraface-daemon: cannot listen on [::1]:5000: Address family not supported by protocol; "
        "this system has no IPv6; --host takes an address of IPv4"
    )


def named(name: str, *addresses: str, folder: Path) -> tuple[str, ...]:
    """What to put before a command so that a name has these addresses for it."""
    hosts = folder / "hosts"
    hosts.write_text("".join(f"{address} {name}\n" for address in addresses))
    return ("unshare", "--mount", "sh", "-c", f'mount --bind {hosts} /etc/hosts && exec "$@"', "sh")


def test_a_name_with_several_addresses_stands_for_all_of_them(machines: Machines) -> None:
    near, far = (f"{network}.1" for network in machines.networks)
    ipv6 = f"{machines.ipv6[0]}:1"
    prefix = named("attic", ipv6, near, "127.0.0.1", folder=machines.folder)
    with machines.serving("--host", "attic", "--port", "0", prefix=prefix) as daemon:
        assert machines.listed(machines.near) == [near]
        assert machines.listed(machines.far) == []
        places = [f"{near}:{daemon.port}", f"[{ipv6}]:{daemon.port}", f"{far}:{daemon.port}"]
        assert machines.listed(machines.near, *places) == [near, ipv6]


INHERITED = """
import os, socket, sys
sock = socket.socket(socket.AF_INET6)
sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(sys.argv[1]))
sock.bind(("::", 5000))
sock.set_inheritable(True)
os.execv(sys.argv[2], [*sys.argv[2:], "--fd", str(sock.fileno())])
"""
"""Starts a command with a socket of IPv6, which takes IPv4, too, or does not, as a service manager does."""


@pytest.mark.parametrize("alone", [0, 1])
def test_an_inherited_socket_is_announced_if_it_takes_ipv4(machines: Machines, alone: int) -> None:
    near, ipv6 = f"{machines.networks[0]}.1", f"{machines.ipv6[0]}:1"
    with machines.serving(prefix=(sys.executable, "-c", INHERITED, str(alone))) as daemon:
        both = "" if alone else "0.0.0.0:5000, "
        assert f"ready on {both}[::]:5000: " in daemon.said
        assert machines.listed(machines.near) == ([] if alone else [near])
        assert machines.listed(machines.near, near, ipv6) == ([ipv6] if alone else [near, ipv6])
        assert ("not announced: announcements are IPv4" in daemon.said) == bool(alone)


# ------------------------------------------------------------------------------------------ a port that is taken


@pytest.mark.parametrize(("family", "hosts"), [("4", ()), ("6", ()), ("6", ("127.0.0.1", "::1"))])
def test_a_port_that_is_taken_in_one_family_is_an_error(
    machines: Machines, family: str, hosts: tuple[str, ...]
) -> None:
    command = [*machines.server.inside, sys.executable, "-c", OCCUPY, family]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "listening\n"
        words = [word for host in hosts for word in ("--host", host)]
        daemon = machines.server.start("-m", "tests.stub_daemon", *words, stderr=subprocess.PIPE)
        said = daemon.communicate(timeout=PATIENCE)[1]
        assert daemon.returncode == 1
        at = "[::1]:5000" if hosts else "0.0.0.0:5000 and [::]:5000"
        assert said.splitlines()[-1] == (
            f"pyraface-daemon: cannot listen on {at}: Address already in use; "
            "is another daemon running? --port takes another port"
        )
        other.kill()


# ------------------------------------------------------------------------------------------ pairing


def test_a_key_is_given_to_a_machine_that_comes_by_ipv6(machines: Machines) -> None:
    homes = [machines.folder / role for role in ("giver", "taker")]
    for home in homes:
        home.mkdir()
    ipv6 = f"{machines.ipv6[0]}:1"
    for number, host in enumerate((ipv6, f"[{ipv6}]:5002")):
        with showing_a_code(machines.server, homes[0], machines.parameters) as code:
            done = pyraface(
                *(machines.near, homes[1], "pair", host, "--parameters", machines.parameters),
                typed=code + "\n",
            )
            assert done.returncode == 0, done.stderr
        assert f"([{ipv6}]:5002)" in done.stderr
        assert f"({machines.ipv6[0]}:9) has this machine's key now" in (homes[0] / "pair.log").read_text()
        assert ("this user had its key already" in done.stderr) == bool(number)


def test_a_code_is_shown_to_the_networks_that_reach_it(machines: Machines) -> None:
    homes = [machines.folder / role for role in ("giver", "taker")]
    for home in homes:
        home.mkdir()
    near = f"{machines.networks[0]}.1"
    with showing_a_code(machines.server, homes[0], machines.parameters, "--host", near) as code:
        done = pyraface(
            machines.far, homes[1], "pair", "--parameters", machines.parameters, typed=code + "\n"
        )
        assert done.returncode == 2
        assert "no machine on the network shows a code" in done.stderr
        done = pyraface(
            machines.near, homes[1], "pair", "--parameters", machines.parameters, typed=code + "\n"
        )
        assert done.returncode == 0, done.stderr
        assert f"({near}:5002)" in done.stderr
