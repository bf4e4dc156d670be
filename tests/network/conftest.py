from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from tests.network.lab import Host, Lab, NotPermitted
from tests.support import DaemonProcess, parameters_xml, still_running


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """A network of namespaces; the test is skipped where there cannot be one."""
    try:
        made = Lab()
    except NotPermitted as error:
        pytest.skip(f"no network namespaces here: {error}")
    try:
        yield made
    finally:
        made.close()


@dataclass
class Servers:
    """Three hosts, each for one daemon that announces itself on every interface, and one for clients."""

    lab: Lab
    folder: Path
    hosts: dict[str, Host] = field(default_factory=dict)
    running: dict[str, DaemonProcess] = field(default_factory=dict)

    def start(self, role: str, **changes: object) -> DaemonProcess:
        """Starts the daemon of this host, with parameters changed by name."""
        file = self.folder / f"{role}.xml"
        file.write_text(parameters_xml(**{"interfaces": "auto", "name": role, **changes}))
        self.running[role] = DaemonProcess(
            self.folder, ["--parameters", str(file), "--engine", "onnx"], prefix=self.hosts[role].inside
        )
        return self.running[role]

    def only(self, *roles: str) -> None:
        """Has the daemons of these hosts run, and no other."""
        for role, daemon in list(self.running.items()):
            if daemon.process.poll() is not None:
                del self.running[role]
            elif role not in roles:
                self.stop(role)
        with ThreadPoolExecutor(len(self.hosts)) as threads:
            list(threads.map(self.start, [role for role in roles if role not in self.running]))

    def stop(self, role: str) -> None:
        """Ends a daemon and its worker."""
        daemon = self.running.pop(role)
        family = [psutil.Process(daemon.process.pid), daemon.worker] if daemon.process.poll() is None else []
        daemon.stop()
        assert not still_running(family), "the worker outlived its daemon"

    @property
    def client(self) -> Host:
        return self.hosts["client"]


@pytest.fixture(scope="session")
def servers(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """The hosts of `Servers`; no daemon runs yet."""
    made = Servers(lab, tmp_path_factory.mktemp("servers"))
    made.hosts["north"] = lab.host("north", "10.211.0.1")
    # nobody told this one its broadcast address
    made.hosts["east"] = lab.host("east", "10.211.0.2", broadcast=False)
    made.hosts["south"] = lab.host("south", "10.211.0.3")
    made.hosts["client"] = lab.host("client", "10.211.0.9", broadcast=False)
    try:
        yield made
    finally:
        for role in list(made.running):
            made.stop(role)
