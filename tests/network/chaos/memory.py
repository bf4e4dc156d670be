"""Memory group: a limit on the memory of some processes, and the kernel's OOM killer, which enforces it."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")

ROOM = 8 << 20
"""Bytes that the group may still take while something else in it takes memory without end."""

TAKE_MEMORY = """
import time
taken = []
while True:
    taken.append(bytearray(b"x") * (1 << 20))
    time.sleep(0.002)
"""

PATIENCE = 30.0


class MemoryGroup:
    """A cgroup of version 1 or 2. `remove` it when its processes have ended.

    Attributes:
        inside: what to put before a command so that it runs in the group.

    Raises:
        OSError: this machine, or this user, can make none.
    """

    def __init__(self, name: str) -> None:
        first = (CGROUPS / "memory").is_dir()
        self._folder = (CGROUPS / "memory" if first else CGROUPS) / name
        self._limit = self._folder / ("memory.limit_in_bytes" if first else "memory.max")
        self._usage = self._folder / ("memory.usage_in_bytes" if first else "memory.current")
        self._events = self._folder / ("memory.oom_control" if first else "memory.events")
        self._folder.mkdir()
        try:
            self._unlimited = self._limit.read_text()
        except OSError:  # version 2 without the controller
            self._folder.rmdir()
            raise
        enter = f'echo $$ > {self._folder}/cgroup.procs && exec "$@"'
        self.inside = ("sh", "-c", enter, "sh")

    @property
    def killed(self) -> int:
        """How many processes of the group the kernel has killed for want of memory."""
        found = re.search(r"^oom_kill (\d+)", self._events.read_text(), re.MULTILINE)
        return int(found[1]) if found else 0

    def allow(self, size: int) -> None:
        """Limits the memory of all its processes together to so many bytes, and leaves them no swap."""
        self._limit.write_text(str(size))
        swap = self._folder / "memory.swap.max"
        if swap.is_file():
            swap.write_text("0")

    def run_out(self, candidate: int) -> None:
        """Has the kernel kill a process of the group for want of memory; afterwards there is room again."""
        # the largest is chosen, which what takes the memory may be
        Path(f"/proc/{candidate}/oom_score_adj").write_text("1000")
        before, deadline = self.killed, time.monotonic() + PATIENCE
        with self._taking():
            while self.killed == before:
                assert time.monotonic() < deadline, "the kernel killed no process of the group"
                time.sleep(0.002)

    @contextlib.contextmanager
    def _taking(self) -> Iterator[None]:
        self._limit.write_text(str(int(self._usage.read_text()) + ROOM))
        taking = subprocess.Popen([*self.inside, sys.executable, "-c", TAKE_MEMORY])
        try:
            yield
        finally:
            taking.kill()
            taking.wait()
            self._limit.write_text("-1" if self._unlimited.strip().isdigit() else "max")

    def remove(self) -> None:
        """Removes the group, which a process that has just ended may still be in for a moment."""
        deadline = time.monotonic() + PATIENCE
        while self._folder.exists():
            try:
                self._folder.rmdir()
            except OSError:
                assert time.monotonic() < deadline, f"{self._folder} is still in use"
                time.sleep(0.05)
