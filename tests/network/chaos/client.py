"""Client of a night: `pyraface` with an output, killed and started again with the same command."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil

from tests.network.chaos.machines import DISCOVERY, FIRST, change_address, stopped
from tests.network.lab import Host
from tests.output_lines import checked
from tests.support import ROOT, SEARCH, environment, parameters_xml

NO_DNS = f"nameserver {FIRST}.250\noptions timeout:30 attempts:5\n"
"""No machine has this address: a question takes longer than a run may."""

PIPE_BYTES = 4096
"""The smallest pipe."""


class Client:
    """`pyraface` on a host whose DNS server is dead.

    Args:
        paths: images and directories of these.

    Attributes:
        output: the lines that it writes.
        logs: of each life whose standard error is read.
    """

    def __init__(
        self, host: Host, output: Path, paths: Sequence[Path], *, servers: str, read_timeout: float
    ) -> None:
        self.host = host
        self.output = output
        self.logs: list[Path] = []
        self._unread: list[int] = []
        self._address = host.address
        self._addresses = itertools.count(201)
        self._parameters = output.with_suffix(".xml")
        self._parameters.write_text(
            parameters_xml(
                interfaces="auto",
                interval=0.5,
                read_timeout=read_timeout,
                connect_timeout=3,
                server_port_ip_disc=DISCOVERY,
            )
        )
        self._resolver = output.with_suffix(".resolv.conf")
        self._resolver.write_text(NO_DNS)
        self._words = ["--servers", servers, "--search", SEARCH, "--output", str(output), *map(str, paths)]

    def start(self, *, read: bool = True) -> None:
        """Starts it; `read`: whether anything reads its standard error, which is a pipe that is full otherwise."""
        with contextlib.ExitStack() as stack:
            if read:
                self.logs.append(self.output.with_suffix(f".{len(self.logs)}.log"))
                stderr = stack.enter_context(self.logs[-1].open("wb")).fileno()
            else:
                stderr = self._full_pipe()
                stack.callback(os.close, stderr)
            self.process = subprocess.Popen(
                self._command(*self._words), stderr=stderr, cwd=ROOT, env=environment()
            )

    def kill(self) -> None:
        """Kills it, if it runs."""
        self.process.kill()
        self.process.wait()
        for reader in self._unread:
            os.close(reader)
        self._unread.clear()

    def run(self, patience: float) -> int:
        """Runs it to its end and returns its exit status."""
        self.start()
        try:
            return self.process.wait(patience)
        finally:
            self.kill()

    def change_address(self) -> None:
        """Gives the first interface of its host another address."""
        new = f"{FIRST}.{next(self._addresses)}"
        change_address(self.host, self._address, new)
        self._address = new

    @contextlib.contextmanager
    def suspended(self) -> Iterator[None]:
        """Meanwhile it stands still."""
        with stopped([psutil.Process(self.process.pid)]):
            yield

    def ready_servers(self) -> set[str]:
        """Returns the names of the servers that `pyraface servers` finds ready."""
        command = self._command("servers", "--json")
        done = subprocess.run(
            command, capture_output=True, text=True, cwd=ROOT, env=environment(), timeout=60, check=False
        )
        listed = [json.loads(line) for line in done.stdout.splitlines()]
        return {server["name"] for server in listed if server["state"] == "ready"}

    @property
    def lines(self) -> int:
        """How many there are so far."""
        return self.output.read_bytes().count(b"\n") if self.output.exists() else 0

    def done_by(self, role: str) -> int:
        """How many of these are of this machine."""
        return self.output.read_bytes().count(f'"server":"{role} ('.encode()) if self.output.exists() else 0

    @property
    def said(self) -> str:
        """The notices that were read."""
        return "\n".join(log.read_text() for log in self.logs)

    def results(self) -> dict[str, dict[str, Any]]:
        """Returns the lines by path; each image has one."""
        lines = checked(self.output.read_bytes())
        results = {line["path"]: line for line in lines}
        assert Counter(line["path"] for line in lines) == dict.fromkeys(results, 1)
        return results

    def _command(self, *words: str) -> list[str]:
        # `ip netns exec` has given it mounts of its own
        without_dns = f'mount --bind {self._resolver} /etc/resolv.conf && exec "$@"'
        client = [sys.executable, "-m", "pyraface.client", *words, "--parameters", str(self._parameters)]
        return [*self.host.inside, "sh", "-c", without_dns, "sh", *client]

    def _full_pipe(self) -> int:
        reader, writer = os.pipe()
        self._unread.append(reader)
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        os.set_blocking(writer, False)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(writer, bytes(PIPE_BYTES))
        os.set_blocking(writer, True)
        return writer
