"""Memory: how much of it this process may use, and whether the system killed a process because there was no more.

The limits are those of the machine, and of the control groups in which this process runs, of either version; a group's own
limit and those of all groups above it hold together. In a container, the group of the container is the uppermost in sight.
"""

from __future__ import annotations

import contextlib
import ctypes
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_UNLIMITED = 1 << 60
"""Bytes: version 1 says "no limit" with the largest number of whole pages."""


@dataclass(frozen=True)
class _Version:
    """The names of a control group's files, which differ between the versions."""

    limits: tuple[str, ...]
    """Beyond memory.high, a group is slowed down so much that nothing is gained by using more."""
    usage: str
    reclaimable: str
    """The line of memory.stat with the bytes of files that were read and can be read again."""
    events: str


_SECOND = _Version(("memory.max", "memory.high"), "memory.current", "inactive_file", "memory.events")
_FIRST = _Version(
    ("memory.limit_in_bytes",), "memory.usage_in_bytes", "total_inactive_file", "memory.oom_control"
)


@dataclass(frozen=True)
class Limit:
    """The least of the limits: bytes, and the file that sets it; "" if that is the machine's memory."""

    bytes: int
    file: str

    def __str__(self) -> str:
        if not self.file:
            return f"{mebibytes(self.bytes)}, all that this machine has"
        return f"{mebibytes(self.bytes)}, the limit of its control group ({self.file})"


class Memory:
    """The memory of this process and its children.

    Args:
        root: the folder that holds proc/ and sys/.
    """

    def __init__(self, root: Path = Path("/")) -> None:
        self._proc = root / "proc"
        self._groups = list(_groups(root))

    def limit(self) -> Limit:
        """Returns the least of the limits."""
        found = [
            Limit(size, str(file))
            for group, version in self._groups
            for file in (group / name for name in version.limits)
            if (size := _bytes(file)) is not None
        ]
        return min([Limit(self._of_machine("MemTotal"), ""), *found], key=lambda one: one.bytes)

    def available(self) -> int:
        """Returns the bytes that may still be used. Swap is not among them: whatever computes there takes far too long."""
        free = [self._of_machine("MemAvailable")]
        for group, version in self._groups:
            limits = [size for name in version.limits if (size := _bytes(group / name)) is not None]
            usage = _bytes(group / version.usage)
            if limits and usage is not None:
                free.append(min(limits) - usage + (_line(group / "memory.stat", version.reclaimable) or 0))
        return max(0, min(free))

    def kills(self) -> tuple[int, ...]:
        """Returns how many processes were killed for want of memory: in each group, and on the whole machine.

        A process that the system kills increases a number before it ends. The numbers are missing, and the same as before
        any kill, on a system that has none (before Linux 4.13, some sandboxes).
        """
        counts = [_line(group / version.events, "oom_kill") for group, version in self._groups]
        return (*(count or 0 for count in counts), _line(self._proc / "vmstat", "oom_kill") or 0)

    def _of_machine(self, name: str) -> int:
        """Returns a line of /proc/meminfo, in bytes."""
        kibibytes = _line(self._proc / "meminfo", f"{name}:")
        return _UNLIMITED if kibibytes is None else kibibytes << 10


def return_unused() -> None:
    """Returns memory that was freed to the system, which the C library would keep for what comes next."""
    with contextlib.suppress(AttributeError):  # another C library than glibc
        ctypes.CDLL(None).malloc_trim(0)


def mebibytes(size: int) -> str:
    """Returns a number of bytes for people."""
    return f"{size / (1 << 20):.0f} MiB" if size < 10 << 30 else f"{size / (1 << 30):.1f} GiB"


def _groups(root: Path) -> Iterator[tuple[Path, _Version]]:
    """Yields the control groups of this process that may limit its memory, from its own to the uppermost."""
    mounts = _text(root / "proc/self/mountinfo")
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, group = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        version = _FIRST if controllers else _SECOND
        for mount in mounts.splitlines():
            fields, _, kind = mount.partition(" - ")
            top, place = fields.split()[3:5]
            if kind.split()[0] != ("cgroup" if controllers else "cgroup2"):
                continue
            if controllers and "memory" not in kind.split()[2].split(","):
                continue
            uppermost = root / place.lstrip("/")
            # a container may see its own group as the uppermost, and still be told its path on the host
            inside = group.removeprefix(top) if top != "/" else group
            own = uppermost / inside.strip("/")
            if not own.is_dir():
                own = uppermost
            for folder in (own, *own.parents):
                # version 2 may be mounted without its memory controller, and never has it at its root
                if folder.is_relative_to(uppermost) and (folder / version.events).is_file():
                    yield folder, version
            break


def _bytes(file: Path) -> int | None:
    """Returns the number in a file; None if there is none, or it is no limit."""
    text = _text(file).strip()
    return int(text) if text.isdigit() and int(text) < _UNLIMITED else None


def _line(file: Path, name: str) -> int | None:
    """Returns the number after a name in a file of names and numbers."""
    found = re.search(rf"^{re.escape(name)}\s+(\d+)", _text(file), re.MULTILINE)
    return None if found is None else int(found[1])


def _text(file: Path) -> str:
    with contextlib.suppress(OSError):  # a sandbox, or a system without control groups
        return file.read_text(errors="replace")
    return ""
