"""A machine of one's own that boots: namespaces whose /etc, /var, /run, /root, /opt and processes are private.

The rest of its file system is this machine's. Python, its packages and this checkout are in /opt, too: a unit with
ProtectHome and PrivateTmp does not see the folders in which they may be. Its network is a loopback. What it writes stays in
the folder of the test.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

from tests.support import ROOT

CGROUPS = Path("/sys/fs/cgroup")

JOIN = """
for group in $GROUPS_OF_ITS_OWN; do echo $$ >"$group/cgroup.procs" || exit; done
exec unshare --mount --pid --fork --kill-child --net --uts --ipc --cgroup /bin/sh -c "$PREPARE" sh "$@"
"""

PREPARE = """
set -e
mount --make-rprivate /
mkdir -p "$ROOM/opt" "$ROOM/etc" "$ROOM/var" "$ROOM/work-etc" "$ROOM/work-var"
cd "$ROOM/opt/pyraface"
mkdir -p python packages checkout
mount --bind "$PYTHON" python
mount --bind "$PACKAGES" packages
mount --bind "$CHECKOUT" checkout
cd /
mount --rbind "$ROOM/opt" /opt
mount -t overlay overlay -o "lowerdir=/etc,upperdir=$ROOM/etc,workdir=$ROOM/work-etc" /etc
mount -t overlay overlay -o "lowerdir=/var,upperdir=$ROOM/var,workdir=$ROOM/work-var" /var
for folder in /run /root /dev/shm /sys/fs/cgroup; do mount -t tmpfs tmpfs "$folder"; done
[ -z "$UNIFIED" ] || mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t proc proc /proc
ip link set lo up
exec "$@"
"""

PROGRAM = """#!/bin/sh
export PYTHONPATH=/opt/pyraface/checkout:/opt/pyraface/packages LD_LIBRARY_PATH=/opt/pyraface/python/lib
exec /opt/pyraface/python/bin/python{version} -m pyraface.{module} {options} "$@"
"""

VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"


class NotPermitted(Exception):
    """This machine, or this user, cannot have such a machine."""


class Machine:
    """The machine, whose first process is `init`. pyraface is at /opt/pyraface, as the README installs it.

    Args:
        options: of the daemon, beside those that its starter gives.

    Raises:
        NotPermitted: says why there cannot be one here.
    """

    def __init__(self, folder: Path, init: list[str], *, options: str, **variables: str) -> None:
        if os.geteuid() != 0:
            raise NotPermitted("needs root")
        self._log = (folder / "console").open("w")
        room = folder / "room"
        programs = room / "opt" / "pyraface" / "bin"
        programs.mkdir(parents=True)
        for name, module, given in (("pyraface-daemon", "daemon", options), ("pyraface", "client", "")):
            program = programs / name
            program.write_text(PROGRAM.format(module=module, options=given, version=VERSION))
            program.chmod(0o755)
        self._groups = list(_new_groups())
        self._process = subprocess.Popen(
            ["/bin/sh", "-c", JOIN, "sh", *init],
            env={
                "PATH": os.environ["PATH"],
                "HOME": "/root",
                "PREPARE": PREPARE,
                "GROUPS_OF_ITS_OWN": " ".join(map(str, self._groups)),
                "UNIFIED": "yes" if (CGROUPS / "cgroup.procs").exists() else "",
                "ROOM": str(room),
                "PYTHON": sys.base_prefix,
                "PACKAGES": sysconfig.get_path("purelib"),
                "CHECKOUT": str(ROOT),
                **variables,
            },
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
        )
        try:
            self.wait(lambda: self._process.poll() is not None or self._first() is not None)
            if self._process.poll() is not None:
                raise NotPermitted(self.console())
        except BaseException:
            self.close()
            raise

    def _first(self) -> int | None:
        """The first process of the machine, once everything is prepared."""
        for child in psutil.Process(self._process.pid).children():
            if child.name() not in ("unshare", "sh"):
                return child.pid
        return None

    def console(self) -> str:
        """Returns what was written to the console."""
        return Path(self._log.name).read_text()

    def run(self, command: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """Runs a command on the machine to its end."""
        first = self._first()
        assert first is not None, f"the machine is down: {self.console()}"
        inside = ("--mount", "--pid", "--net", "--ipc", "--uts", "--cgroup")
        return subprocess.run(
            ["nsenter", "--target", str(first), *inside, *shlex.split(command)],
            env={**os.environ, "HOME": "/root"},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def wait(self, condition: Callable[[], bool], timeout: float = 60) -> None:
        """Waits until a condition holds."""
        until = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < until, self.console()
            time.sleep(0.05)

    def close(self) -> None:
        """Ends the machine, and everything that runs on it."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        self._log.close()
        for group in self._groups:
            until = time.monotonic() + 10
            while not _removed(group) and time.monotonic() < until:
                time.sleep(0.05)  # the last processes end


def _new_groups() -> Iterator[Path]:
    """Makes a control group below that of this process, in each hierarchy where a process can simply join one."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        number, controllers, group = line.split(":", 2)
        if controllers == "cpuset":
            continue  # a group of its own needs processors first, and systemd has none
        mounts = ("unified", ".") if number == "0" else (controllers.removeprefix("name="),)
        for mount in mounts:
            parent = CGROUPS / mount / group.lstrip("/")
            if (parent / "cgroup.procs").exists():
                place = parent / f"pyraface-{os.getpid()}"
                place.mkdir(exist_ok=True)
                yield place
                break


def _removed(group: Path) -> bool:
    """Removes a control group and those in it; returns whether it is gone."""
    for folder, _, _ in os.walk(group, topdown=False):
        with contextlib.suppress(OSError):
            os.rmdir(folder)
    return not group.exists()
