"""boot/: the systemd unit under a real systemd, and the crontab line under a real cron."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.network.machine import Machine, NotPermitted
from tests.support import ROOT

UNIT = ROOT / "boot" / "pyraface.service"
SYSTEMD = Path("/usr/lib/systemd/systemd")
TARGETS = ("sysinit", "basic", "network", "shutdown", "multi-user")

Boot = Callable[..., Machine]


@pytest.fixture
def boot(tmp_path: Path) -> Iterator[Boot]:
    """Starts a machine of one's own, which ends with the test."""
    running: list[Machine] = []

    def start(*init: str, **variables: str) -> Machine:
        try:
            running.append(Machine(tmp_path, list(init), options="--engine onnx", **variables))
        except NotPermitted as error:
            pytest.skip(f"no machine can boot here: {error}")
        return running[0]

    yield start
    for machine in running:
        machine.close()


@pytest.fixture
def systemd(boot: Boot, tmp_path: Path) -> Machine:
    """A machine on which systemd runs, and has no other unit but pyraface's."""
    if not SYSTEMD.exists() or shutil.which("systemctl") is None:
        pytest.skip("systemd is not installed")
    units = tmp_path / "units"
    units.mkdir()
    for target in TARGETS:
        (units / f"{target}.target").write_text("[Unit]\nDefaultDependencies=no\n")
    (units / "default.target").symlink_to(units / "multi-user.target")
    (units / "pyraface.service").write_bytes(UNIT.read_bytes())
    # there is no journal
    (units / "pyraface.service.d").mkdir()
    (units / "pyraface.service.d" / "log.conf").write_text(
        "[Service]\nStandardError=append:/run/pyraface.log\n"
    )
    machine = boot(str(SYSTEMD), "--system", container="test", SYSTEMD_UNIT_PATH=str(units))
    machine.wait(
        lambda: machine.run("systemctl is-system-running").stdout.strip() in ("running", "degraded"),
        timeout=30,
    )
    return machine


def state(machine: Machine) -> dict[str, str]:
    """What systemd says of the service."""
    shown = machine.run(
        "systemctl show pyraface -p ActiveState,SubState,Result,ExecMainStatus,MainPID,NRestarts"
    )
    return dict(line.split("=", 1) for line in shown.stdout.splitlines())


def installed(machine: Machine) -> None:
    """Types the commands above the unit, but for its copy."""
    for command in re.findall(r"sudo (groupadd [^;\n]+)", UNIT.read_text()):
        done = machine.run(command)
        assert done.returncode == 0, done.stderr


def test_without_a_group_of_its_own_the_unit_does_not_start(systemd: Machine) -> None:
    if systemd.run("getent group render").returncode == 0:
        pytest.skip("this system has the group render")
    assert systemd.run("systemctl start pyraface").returncode != 0
    assert state(systemd)["ExecMainStatus"] == "216"


def test_the_unit_serves_is_restarted_and_stops(systemd: Machine) -> None:
    installed(systemd)
    started = systemd.run("systemctl enable --now pyraface")
    assert started.returncode == 0, systemd.run("cat /run/pyraface.log").stdout + started.stderr
    # Type=notify: the command returned when the daemon was ready
    first = state(systemd)
    assert (first["ActiveState"], first["SubState"]) == ("active", "running")
    user = systemd.run(f"ps -o uid= -p {first['MainPID']}").stdout.strip()
    assert int(user) >= 61184, "the daemon does not run as a dynamic user"

    found = systemd.run(
        "env XDG_CONFIG_HOME=/var/lib /opt/pyraface/bin/pyraface servers --servers 127.0.0.1 --json"
    )
    assert found.returncode == 0, found.stderr

    systemd.run(f"kill -KILL {first['MainPID']}")
    systemd.wait(lambda: state(systemd)["NRestarts"] == "1" and state(systemd)["ActiveState"] == "active")
    assert state(systemd)["MainPID"] != first["MainPID"]

    assert systemd.run("systemctl stop pyraface").returncode == 0
    stopped = state(systemd)
    assert (stopped["ActiveState"], stopped["Result"], stopped["ExecMainStatus"]) == (
        "inactive",
        "success",
        "0",
    )


@pytest.mark.skipif(shutil.which("cron") is None, reason="cron is not installed")
def test_cron_starts_the_daemon_at_boot(boot: Boot) -> None:
    machine = boot("/bin/sh", "-c", "crontab /opt/pyraface/checkout/boot/crontab && exec cron -f")
    client = "env -u XDG_CONFIG_HOME /opt/pyraface/bin/pyraface servers --servers 127.0.0.1 --json"
    machine.wait(lambda: machine.run(client).returncode == 0)
    assert " ready on " in machine.run("sh -c 'cat ~/pyraface-daemon.log'").stdout
