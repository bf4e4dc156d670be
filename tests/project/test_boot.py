"""What is written down to be typed or installed is checked against the program it starts."""

from __future__ import annotations

import configparser
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from pyraface.core import parameters
from pyraface.daemon.__main__ import parser
from tests.support import ROOT

BOOT = ROOT / "boot"
README = (ROOT / "README.md").read_text()


def unit() -> configparser.ConfigParser:
    """The systemd unit."""
    content = configparser.ConfigParser(interpolation=None, strict=True)
    content.optionxform = str  # type: ignore[assignment,method-assign]
    content.read(BOOT / "pyraface.service")
    return content


def crontab_command() -> list[str]:
    """The words of the crontab line's command, without redirections."""
    (line,) = (BOOT / "crontab").read_text().splitlines()
    when, command = line.split(maxsplit=1)
    assert when == "@reboot"
    return shlex.split(command.partition(">>")[0])


def test_the_unit_starts_the_daemon_with_options_it_has() -> None:
    program, *arguments = shlex.split(unit()["Service"]["ExecStart"])
    assert Path(program).name == "pyraface-daemon"
    parser().parse_args(arguments)


def test_the_units_groups_are_made_by_the_commands_above_it() -> None:
    text = (BOOT / "pyraface.service").read_text()
    for group in unit()["Service"]["SupplementaryGroups"].split():
        assert f"sudo groupadd --force --system {group}" in text


def test_the_unit_waits_for_the_drain_and_signals_the_daemon_alone() -> None:
    service = unit()["Service"]
    assert service["Type"] == "notify"
    assert service["KillMode"] == "mixed"
    assert float(service["TimeoutStopSec"]) > parameters.Timeouts().drain


def test_the_crontab_line_starts_the_daemon_with_options_it_has() -> None:
    execute, program, *arguments = crontab_command()
    assert (execute, Path(program).name) == ("exec", "pyraface-daemon")
    parser().parse_args(arguments)
    # cron takes a per cent sign for the end of the line
    assert "%" not in (BOOT / "crontab").read_text()


def test_the_crontab_line_is_shell(tmp_path: Path) -> None:
    (line,) = (BOOT / "crontab").read_text().splitlines()
    program = tmp_path / "pyraface-daemon"
    program.write_text("#!/bin/sh\necho started $#\n")
    program.chmod(0o755)
    command = line.removeprefix("@reboot ").replace("/opt/pyraface/bin/pyraface-daemon", str(program))
    subprocess.run(["/bin/sh", "-c", command], env={"HOME": str(tmp_path)}, check=True, timeout=10)
    assert (tmp_path / "pyraface-daemon.log").read_text() == "started 0\n"


def test_the_firewall_opens_the_ports_that_are_used() -> None:
    opened = re.findall(r"^sudo ufw allow (\d+)/(tcp|udp)", (BOOT / "firewall.sh").read_text(), re.MULTILINE)
    ports = parameters.Ports()
    assert opened == [
        (str(ports.images), "tcp"),
        (str(ports.discovery), "udp"),
        (str(ports.pairing), "tcp"),
        (str(ports.pairing), "udp"),
    ]


def test_the_name_of_the_command_is_the_one_that_is_installed() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    scripts = setup["options.entry_points"]["console_scripts"]
    assert f"{parser().prog} = pyraface.daemon.__main__:main" in scripts


@pytest.mark.parametrize("name", ["crontab", "firewall.sh"])
def test_the_readme_shows_what_is_in_boot(name: str) -> None:
    for line in (BOOT / name).read_text().splitlines():
        assert line in README, f"{name}: {line}"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    program = tmp_path / "pyraface-daemon"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    text = (BOOT / "pyraface.service").read_text()
    file = tmp_path / "pyraface.service"
    file.write_text(text.replace("/opt/pyraface/bin/pyraface-daemon", str(program)))
    done = subprocess.run(
        ["systemd-analyze", "verify", str(file)], capture_output=True, text=True, check=False
    )
    about = [line for line in done.stderr.splitlines() if "pyraface" in line]
    assert not about
