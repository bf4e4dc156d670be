"""Firewalls and containers: ports that a firewall drops, and broadcasts that do not leave a container's bridge."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.network.lab import Host, Lab
from tests.network.test_keys import PATIENCE, pyraface, serving, showing_a_code
from tests.support import ROOT, environment, parameters_xml

pytestmark = pytest.mark.slow


@contextmanager
def dropping(host: Host, port: int) -> Iterator[None]:
    """Meanwhile the host's TCP connections at this port get no answer, as if a firewall dropped their packets.

    A routing rule does it, because few kernels have every module for packet filters: the answers are dropped.
    """
    rule = ("ipproto", "tcp", "sport", str(port), "blackhole")
    host.ip("rule", "add", *rule)
    try:
        yield
    finally:
        host.ip("rule", "del", *rule)


def in_container(host: Host, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Runs the client's command on a host, with the file that Podman makes in each container."""
    marked = 'mount -t tmpfs tmpfs /run && touch /run/.containerenv && exec "$@"'
    return subprocess.run(
        [
            *host.inside,
            "sh",
            "-c",
            marked,
            "sh",
            sys.executable,
            "-m",
            "pyraface.client",
            *map(str, arguments),
        ],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def test_a_machine_whose_firewall_drops_packets_is_named_with_the_port_before_the_code_is_asked_for(
    lab: Lab, tmp_path: Path
) -> None:
    giver, taker = lab.host("giver", "10.214.0.1"), lab.host("taker", "10.214.0.2")
    file = tmp_path / "parameters.xml"
    file.write_text(parameters_xml(interfaces="auto", connect_timeout=1))
    homes = [tmp_path / role for role in ("giver", "taker")]
    for home in homes:
        home.mkdir()
    with showing_a_code(giver, homes[0], file) as code:
        # by its name, and as the one that is found: it answers the probe
        with dropping(giver, 5002):
            for named in (("10.214.0.1",), ()):
                done = pyraface(taker, homes[1], "pair", *named, "--parameters", file, typed=code + "\n")
                assert done.returncode == 2
                assert "10.214.0.1:5002: no answer within 1 s" in done.stderr
                assert "open TCP port 5002 in its firewall" in done.stderr
                assert "code shown at" not in done.stderr
        # none of this used up the code
        done = pyraface(taker, homes[1], "pair", "10.214.0.1", "--parameters", file, typed=code + "\n")
        assert done.returncode == 0, done.stderr
    with serving(giver, homes[0], file), dropping(giver, 5000):
        done = pyraface(taker, homes[1], "servers", "--servers", "10.214.0.1", "--parameters", file)
        assert "open TCP port 5000 in its firewall" in done.stderr


def test_a_client_on_a_containers_bridge_is_told_why_it_finds_no_server_and_reaches_one_that_is_named(
    lab: Lab, tmp_path: Path, astronaut_jpeg: bytes
) -> None:
    host, inside = lab.host("dock", "10.215.0.1"), lab.host("inside", "172.31.7.2")
    server = lab.host("outside", "10.215.0.2")
    # the host has an interface on the bridge of the container, forwards, and the container's way out is the host
    host.ip("addr", "add", "172.31.7.1/24", "brd", "+", "dev", "eth0")
    subprocess.run([*host.inside, "sysctl", "-qw", "net.ipv4.ip_forward=1"], check=True, timeout=30)
    inside.ip("route", "add", "default", "via", "172.31.7.1")
    server.ip("route", "add", "172.31.7.0/24", "via", "10.215.0.1")
    file = tmp_path / "parameters.xml"
    file.write_text(parameters_xml(interfaces="auto", name="outside"))
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(astronaut_jpeg)
    with serving(server, Path(environment()["XDG_CONFIG_HOME"]), file):
        listed = in_container(inside, "servers", "--parameters", file)
        assert listed.returncode == 2
        assert "docker run --network host" in listed.stderr
        found = in_container(inside, "--parameters", file, photo)
        assert json.loads(found.stdout)["server"] == "local"
        assert "docker run --network host" in found.stderr
        assert "--servers HOST" in found.stderr
        named = in_container(inside, "--servers", "10.215.0.2", "--parameters", file, photo)
        assert named.returncode == 0, named.stderr
        assert json.loads(named.stdout)["server"] == "outside (10.215.0.2:5000)"
        assert "docker run" not in named.stderr
