"""A network of one's own: hosts that are network namespaces, joined by cables (veth pairs) to a switch (a bridge).

Nothing in it reaches the network of the machine, and nothing there is changed: the switch is in a namespace too, and
each cable is made inside.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import psutil

from tests.support import ROOT, environment

NAME = re.compile(r"pyraface-(\d+)-\w+")


class NotPermitted(Exception):
    """This machine, or this user, has no network namespaces."""


def ip(*arguments: str) -> str:
    """Runs `ip` and returns what it prints."""
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, f"ip {' '.join(arguments)}: {done.stderr}"
    return done.stdout


@dataclass(frozen=True)
class Host:
    """One machine of the network.

    Attributes:
        name: of its namespace.
        address: of its interface eth0.
    """

    name: str
    address: str

    @property
    def inside(self) -> tuple[str, ...]:
        """What to put before a command so that it runs on this host."""
        return ("ip", "netns", "exec", self.name)

    def start(
        self, *arguments: str, stdout: int | None = None, stderr: int | None = None
    ) -> subprocess.Popen[str]:
        """Starts Python with these arguments; it can import this checkout."""
        command = [*self.inside, sys.executable, *arguments]
        return subprocess.Popen(command, stdout=stdout, stderr=stderr, text=True, cwd=ROOT, env=environment())

    def run(self, *arguments: str, timeout: float = 30) -> str:
        """Runs Python with these arguments and returns what it prints."""
        process = self.start(*arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            said, complaints = process.communicate(timeout=timeout)
        finally:
            process.kill()
            process.wait()
        assert process.returncode == 0, complaints
        return said

    def ip(self, *arguments: str) -> str:
        """Runs `ip` here."""
        return ip("-n", self.name, *arguments)


class Lab:
    """The switch and what is plugged into it. `close()` leaves nothing behind.

    Raises:
        NotPermitted: says why there cannot be one here.
    """

    def __init__(self) -> None:
        self._hosts: list[Host] = []
        self.switch = Host(f"pyraface-{os.getpid()}-switch", "")
        _remove_stale()
        try:
            _permitted("netns", "add", self.switch.name)
            _permitted("-n", self.switch.name, "link", "add", "switch", "type", "bridge")
            _permitted(
                "-n", self.switch.name, "link", "add", "port0", "type", "veth", "peer", "name", "unused"
            )
            self.switch.ip("link", "set", "switch", "up")
        except BaseException:
            self.close()
            raise

    def host(self, role: str, address: str, *, broadcast: bool = True) -> Host:
        """Returns a new host, plugged in, with an address of a /24; `broadcast`: whether that is set with it."""
        host = Host(f"pyraface-{os.getpid()}-{role}", address)
        ip("netns", "add", host.name)
        self._hosts.append(host)
        host.ip("link", "set", "lo", "up")
        self.plug(host, "eth0", role)
        host.ip("addr", "add", f"{address}/24", *(("brd", "+") if broadcast else ()), "dev", "eth0")
        return host

    def plug(self, host: Host, interface: str, port: str, *, network: str = "switch") -> None:
        """Gives a host an interface with a cable to a new port of the switch, or of that of another network."""
        self.switch.ip(*("link", "add", port, "type", "veth", "peer", "name", interface, "netns", host.name))
        self.switch.ip("link", "set", port, "master", network, "up")
        host.ip("link", "set", interface, "up")

    def add_network(self, name: str) -> None:
        """Adds another network, with a switch of its own."""
        self.switch.ip("link", "add", name, "type", "bridge")
        self.switch.ip("link", "set", name, "up")

    @contextlib.contextmanager
    def unplugged(self, port: str) -> Iterator[None]:
        """Meanwhile the cable at this port is out."""
        self.switch.ip("link", "set", port, "down")
        try:
            yield
        finally:
            self.switch.ip("link", "set", port, "up")

    @contextlib.contextmanager
    def failed(self, network: str = "switch") -> Iterator[None]:
        """Meanwhile the switch of a network carries nothing."""
        self.switch.ip("link", "set", network, "down")
        try:
            yield
        finally:
            self.switch.ip("link", "set", network, "up")

    def close(self) -> None:
        """Ends what still runs on the hosts, and removes them."""
        for host in (*self._hosts, self.switch):
            _remove(host.name)


def _permitted(*arguments: str) -> None:
    try:
        ip(*arguments)
    except (AssertionError, FileNotFoundError) as error:
        raise NotPermitted(str(error).strip()) from error


def _remove(name: str) -> None:
    if name not in ip("netns", "list").split():
        return
    for pid in ip("netns", "pids", name).split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)
    ip("netns", "delete", name)


def _remove_stale() -> None:
    """Removes what a run left that was killed."""
    try:
        names = NAME.finditer(ip("netns", "list"))
    except (AssertionError, FileNotFoundError) as error:
        raise NotPermitted(str(error).strip()) from error
    for name in names:
        if not psutil.pid_exists(int(name[1])):
            _remove(name[0])
