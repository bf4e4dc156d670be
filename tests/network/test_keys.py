"""Machines of two people on one network: whose server gets a photograph, before and after a pairing."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.network.lab import Host, Lab
from tests.support import ROOT, DaemonProcess, environment, parameters_xml

pytestmark = pytest.mark.slow

PATIENCE = 60.0


@contextmanager
def serving(host: Host, home: Path, parameters: Path) -> Iterator[DaemonProcess]:
    """A daemon on a host, whose user has this home."""
    prefix = (*host.inside, "env", f"XDG_CONFIG_HOME={home}")
    process = DaemonProcess(home, ["--parameters", str(parameters), "--engine", "onnx"], prefix=prefix)
    try:
        yield process
    finally:
        process.stop()


def pyraface(host: Host, home: Path, *arguments: object, typed: str = "") -> subprocess.CompletedProcess[str]:
    """Runs the client's command on a host."""
    return subprocess.run(
        [*host.inside, sys.executable, "-m", "pyraface.client", *map(str, arguments)],
        cwd=ROOT,
        env=environment(XDG_CONFIG_HOME=str(home)),
        input=typed,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


@contextmanager
def showing_a_code(host: Host, home: Path, parameters: Path, *arguments: str) -> Iterator[str]:
    """`pyraface-daemon pair` on a host, beside the daemon that runs there; the code that it shows."""
    log = home / "pair.log"
    with log.open("w") as stream:
        process = subprocess.Popen(
            [
                *(*host.inside, sys.executable, "-m", "pyraface.daemon", "pair"),
                *("--parameters", str(parameters), *arguments),
            ],
            cwd=ROOT,
            env=environment(XDG_CONFIG_HOME=str(home)),
            stdout=stream,
            stderr=stream,
        )
    try:
        deadline = time.monotonic() + PATIENCE
        while (found := re.search(r"code: (\S+),", log.read_text())) is None:
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield found[1]
        assert process.wait(PATIENCE) == 0, log.read_text()
    finally:
        process.kill()
        process.wait()


def test_a_photograph_goes_to_a_machine_that_was_paired_and_to_no_other(
    lab: Lab, tmp_path: Path, astronaut_jpeg: bytes
) -> None:
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(astronaut_jpeg)
    homes, files = {}, {}
    hosts = {
        role: lab.host(role, address)
        for role, address in (("keeper", "10.213.0.1"), ("other", "10.213.0.2"), ("visitor", "10.213.0.9"))
    }
    for role in hosts:
        homes[role] = tmp_path / role
        homes[role].mkdir()
        files[role] = tmp_path / f"{role}.xml"
        files[role].write_text(parameters_xml(interfaces="auto", name=role))
    visitor = (hosts["visitor"], homes["visitor"])
    with ExitStack() as stack:
        running = {
            role: stack.enter_context(serving(hosts[role], homes[role], files[role]))
            for role in ("keeper", "other")
        }
        before = pyraface(*visitor, "--parameters", files["visitor"], photo)
        assert before.returncode == 0, before.stderr
        assert json.loads(before.stdout)["server"] == "local"
        for role, address in (("keeper", "10.213.0.1"), ("other", "10.213.0.2")):
            assert (
                f"not used: {role} ({address}:5000): has a key that this user does not have" in before.stderr
            )

        with showing_a_code(hosts["keeper"], homes["keeper"], files["keeper"]) as code:
            paired = pyraface(*visitor, "pair", "--parameters", files["visitor"], typed=code + "\n")
            assert paired.returncode == 0, paired.stderr
        assert "paired with keeper (10.213.0.1:5002)" in paired.stderr

        after = pyraface(*visitor, "--parameters", files["visitor"], photo)
        assert after.returncode == 0, after.stderr
        assert json.loads(after.stdout)["server"] == "keeper (10.213.0.1:5000)"
        assert "not used: keeper" not in after.stderr
        assert "not used: other" in after.stderr
        assert "10.213.0.9" in running["keeper"].said
        assert "10.213.0.9" not in running["other"].said, "a stranger was spoken to"
