"""Machines: a daemon each, on two slow networks, and the blows that a machine can be dealt."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.network.chaos.memory import MemoryGroup
from tests.network.lab import Host, Lab
from tests.support import DaemonProcess, parameters_xml, still_running

FIRST, SECOND = "10.216.0", "10.217.0"
"""The two networks."""

DISCOVERY = 5009
"""A port of these networks' own: the daemons of other tests are on the same switch."""

BURST = "6kb"
"""What a link lets through at once: little, so that a queue can be shorter than what a client sends in one go."""

JOURNAL = ("bash", "-c", 'exec "$@" 2> >(exec cat >&2)', "bash")
"""What to put before a daemon so that its log goes through a pipe to a process that writes it."""

DISK_BYTES = 1 << 20
"""A disk for the log of each machine."""

PATIENCE = 60.0
"""Seconds for a daemon to end, or for a link to come up."""


@dataclass(frozen=True)
class Scale:
    """The size of a night, and its times in seconds.

    Attributes:
        rounds: how many blows of each sort are dealt.
        link_rate: bits per second of the links of one machine, about.
        read_timeout: of the client.
        image_timeout: of the daemons.
        pause: how long a daemon stands still: longer than both time-outs.
        suspension: how long the client does, or all do: longer than the client's time-out.
        trouble: how long a link fails.
    """

    images: int
    machines: int
    rounds: int
    link_rate: int
    read_timeout: float
    image_timeout: float
    pause: float
    suspension: float
    trouble: float


class Machine:
    """A host with a daemon that is started again after each blow.

    Attributes:
        role: its name.
        ports: its interfaces, and the switch's port of each.
        memory: its memory group; None where there can be none.
        daemons: all that were started here; the last one runs.
    """

    def __init__(self, lab: Lab, folder: Path, role: str, number: int, scale: Scale) -> None:
        self.role = role
        self.host = lab.host(role, f"{FIRST}.{number}")
        self.ports = {"eth0": role, "eth1": f"{role}-2"}
        lab.plug(self.host, "eth1", self.ports["eth1"], network="second")
        self._second = f"{SECOND}.{number}"
        self.host.ip("addr", "add", f"{self._second}/24", "brd", "+", "dev", "eth1")
        self.memory: MemoryGroup | None = None
        with contextlib.suppress(OSError):
            self.memory = MemoryGroup(self.host.name)
        self.daemons: list[DaemonProcess] = []
        self.lab = lab
        self._folder = folder / role
        self._folder.mkdir()
        disk = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", role, str(self._folder)]
        subprocess.run(disk, check=True, timeout=PATIENCE)
        self._scale = scale
        self._addresses = itertools.count(100 + 10 * number)
        self._address = self.host.address
        self._stops = 0

    def start(self, *arguments: str) -> None:
        """Starts the daemon and waits until it is ready."""
        inside = (*(self.memory.inside if self.memory else ()), *self.host.inside, *JOURNAL)
        file = self._folder / "parameters.xml"
        file.write_text(
            parameters_xml(
                interfaces="auto",
                name=self.role,
                interval=1,
                read_timeout=2 * self._scale.read_timeout,
                image_timeout=self._scale.image_timeout,
                server_port_ip_disc=DISCOVERY,
            )
        )
        command = ["--parameters", str(file), "--engine", "onnx", *arguments]
        self.daemons.append(DaemonProcess(self._folder, command, prefix=inside))

    def restart(self, *arguments: str) -> None:
        """Kills the daemon and starts it again."""
        self.daemon.process.kill()
        self.daemon.process.wait()
        self.start(*arguments)

    def move(self, port: int) -> None:
        """Stops the daemon as an operator does, and starts it at another port."""
        assert self.daemon.stop(timeout=PATIENCE) == 0, self.daemon.said
        self.start("--port", str(port))

    @property
    def daemon(self) -> DaemonProcess:
        """The one that runs."""
        return self.daemons[-1]

    @property
    def places(self) -> list[str]:
        """HOST:PORT on each network."""
        return [f"{host}:{self.daemon.port}" for host in (self._address, self._second)]

    def change_address(self) -> None:
        """Gives its first interface another address, as DHCP does: the daemon and its connections are not told."""
        new = f"{FIRST}.{next(self._addresses)}"
        change_address(self.host, self._address, new)
        self._address = new

    def run_out_of_memory(self) -> str:
        """Has the kernel kill the worker; returns how."""
        worker = self.daemon.worker
        if self.memory is None:
            worker.kill()
            return "a worker was killed, because there are no memory groups here"
        self.memory.run_out(worker.pid)
        assert not still_running([worker]), "the kernel chose another process"
        return "the kernel killed a worker for want of memory"

    @contextlib.contextmanager
    def down(self, interface: str) -> Iterator[None]:
        """Meanwhile an interface is down; its address stays, as the system leaves it."""
        self.host.ip("link", "set", interface, "down")
        try:
            yield
        finally:
            self.host.ip("link", "set", interface, "up")

    @contextlib.contextmanager
    def cut_off(self) -> Iterator[None]:
        """Meanwhile its cables are out."""
        with contextlib.ExitStack() as stack:
            for port in self.ports.values():
                stack.enter_context(self.lab.unplugged(port))
            yield

    @contextlib.contextmanager
    def losing_packets(self, rate: int) -> Iterator[None]:
        """Meanwhile the queues of its links hold two packets, and others are dropped."""
        self.limit(rate, queue=3000)
        try:
            yield
        finally:
            self.limit(rate)

    def limit(self, rate: int, queue: int = 30_000) -> None:
        """Limits its links to a rate in bits per second, with a queue of so many bytes."""
        for interface, port in self.ports.items():
            for inside, device in ((self.host.inside, interface), (self.lab.switch.inside, port)):
                words = ("qdisc", "replace", "dev", device, "root", "tbf", "rate", f"{rate}bit")
                command = [*inside, "tc", *words, "burst", BURST, "limit", str(queue)]
                try:
                    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
                except FileNotFoundError:
                    pytest.skip("no tc (iproute2) to limit links with")
                if done.returncode:
                    pytest.skip(f"links cannot be limited here: {done.stderr.strip()}")

    @contextlib.contextmanager
    def disk_full(self) -> Iterator[None]:
        """Meanwhile no line of its log can be written."""
        ballast = self._folder / "ballast"
        with ballast.open("wb", buffering=0) as stream, contextlib.suppress(OSError):
            while stream.write(bytes(4096)):
                pass
        try:
            yield
        finally:
            ballast.unlink()

    @contextlib.contextmanager
    def journal_stalled(self) -> Iterator[None]:
        """Meanwhile nothing reads its log, and the pipe is full."""
        daemon = psutil.Process(self.daemon.process.pid)
        with stopped([child for child in daemon.children() if child.name() == "cat"]):
            # opened anew, because O_NONBLOCK must not be the daemon's
            pipe = os.open(f"/proc/{daemon.pid}/fd/2", os.O_WRONLY | os.O_NONBLOCK)
            with contextlib.suppress(BlockingIOError):
                while True:
                    os.write(pipe, b"x" * 79 + b"\n")
            os.close(pipe)
            yield

    @contextlib.contextmanager
    def standing_still(self) -> Iterator[None]:
        """Meanwhile its processes are stopped, as in a paused container."""
        daemon = psutil.Process(self.daemon.process.pid)
        family = [daemon, *daemon.children(recursive=True)]
        with stopped(family):
            yield

    def close(self) -> None:
        """Ends the daemon, whatever it does, and keeps the logs."""
        family: list[psutil.Process] = []
        for daemon in self.daemons:
            if daemon.process.poll() is None:
                family += psutil.Process(daemon.process.pid).children(recursive=True)
                daemon.process.kill()
                daemon.process.wait()
        left = still_running(family)
        if self.memory and not left:
            self.memory.remove()
        shutil.copytree(self._folder, self._folder.with_suffix(".kept"))
        subprocess.run(["umount", "--lazy", str(self._folder)], check=True, timeout=PATIENCE)
        assert not left, "a worker outlived its daemon"


@contextlib.contextmanager
def stopped(processes: Sequence[psutil.Process]) -> Iterator[None]:
    """Meanwhile these processes stand still."""
    for process in processes:
        process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):  # it was killed meanwhile
                process.send_signal(signal.SIGCONT)


def change_address(host: Host, old: str, new: str) -> None:
    """Gives the first interface of a host another address."""
    host.ip("addr", "del", f"{old}/24", "dev", "eth0")
    host.ip("addr", "add", f"{new}/24", "brd", "+", "dev", "eth0")


def start_all(machines: Sequence[Machine]) -> None:
    """Starts a daemon on each of these."""
    with ThreadPoolExecutor(len(machines)) as threads:
        list(threads.map(Machine.start, machines))
