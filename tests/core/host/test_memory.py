"""Memory: limits of control groups of both versions, of the groups above, and of the machine; kills for want of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyraface.core.host.memory import Memory, mebibytes

MIB = 1 << 20

CGROUP2 = "25 24 0:22 {top} /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw\n"
CGROUP1 = "35 31 0:32 {top} /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
OTHER = "33 31 0:30 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"


class System:
    """A simulated /proc and /sys/fs/cgroup: a machine of 1000 MiB, of which 600 are available."""

    def __init__(self, root: Path, *, mounts: str = "", groups: str = "") -> None:
        self.root = root
        self.write(
            "proc/meminfo", f"MemTotal: {1000 << 10} kB\nMemFree: 1 kB\nMemAvailable: {600 << 10} kB\n"
        )
        self.write("proc/vmstat", "oom_kill_disable 5\noom_kill 7\n")
        self.write("proc/self/mountinfo", mounts)
        self.write("proc/self/cgroup", groups)

    def write(self, path: str, text: str) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def second(self, group: str, limit: str, usage: int = 0, *, high: str = "max", cache: int = 0) -> None:
        """A group of version 2."""
        folder = f"sys/fs/cgroup{group}"
        self.write(f"{folder}/memory.max", f"{limit}\n")
        self.write(f"{folder}/memory.high", f"{high}\n")
        self.write(f"{folder}/memory.current", f"{usage}\n")
        self.write(f"{folder}/memory.stat", f"anon 1\nactive_file 9\ninactive_file {cache}\n")
        self.write(f"{folder}/memory.events", "low 0\noom 4\noom_kill 3\noom_group_kill 0\n")

    def first(self, group: str, limit: int, usage: int = 0, *, cache: int = 0) -> None:
        """A group of version 1."""
        folder = f"sys/fs/cgroup/memory{group}"
        self.write(f"{folder}/memory.limit_in_bytes", f"{limit}\n")
        self.write(f"{folder}/memory.usage_in_bytes", f"{usage}\n")
        self.write(f"{folder}/memory.stat", f"inactive_file 1\ntotal_inactive_file {cache}\n")
        self.write(f"{folder}/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n")


def test_a_machine_without_groups_has_its_own_memory(tmp_path: Path) -> None:
    memory = Memory(System(tmp_path).root)
    assert str(memory.limit()) == "1000 MiB, all that this machine has"
    assert memory.available() == 600 * MIB
    assert memory.kills() == (7,)


def test_a_container_has_what_its_group_allows_and_does_not_use(tmp_path: Path) -> None:
    system = System(tmp_path, mounts=CGROUP2.format(top="/"), groups="0::/\n")
    system.second("", str(500 * MIB), 300 * MIB, cache=50 * MIB)
    memory = Memory(system.root)
    assert memory.limit().bytes == 500 * MIB
    assert str(memory.limit()).startswith("500 MiB, the limit of its control group (")
    assert memory.limit().file.endswith("/sys/fs/cgroup/memory.max")
    assert memory.available() == 250 * MIB, "files that were read can be read again"
    assert memory.kills() == (3, 7)


def test_the_limits_of_the_groups_above_hold_too(tmp_path: Path) -> None:
    system = System(
        tmp_path, mounts=OTHER + CGROUP2.format(top="/"), groups="0::/system.slice/pyraface.service\n"
    )
    system.second("/system.slice/pyraface.service", "max", 100 * MIB)
    system.second("/system.slice", str(400 * MIB), 380 * MIB)
    memory = Memory(system.root)
    assert memory.limit().bytes == 400 * MIB
    assert memory.available() == 20 * MIB
    assert memory.kills() == (3, 3, 7)


def test_a_group_is_slowed_down_from_memory_high_on(tmp_path: Path) -> None:
    system = System(tmp_path, mounts=CGROUP2.format(top="/"), groups="0::/a\n")
    system.second("/a", str(800 * MIB), 100 * MIB, high=str(300 * MIB))
    memory = Memory(system.root)
    assert memory.limit().file.endswith("memory.high")
    assert memory.available() == 200 * MIB


@pytest.mark.parametrize(
    ("top", "group", "folder"),
    [
        ("/", "/user.slice", "/user.slice"),
        # a container whose control groups are those of the host: it sees its own group at the top
        ("/docker/4f2a", "/docker/4f2a", ""),
        ("/docker/4f2a", "/docker/4f2a/inner", "/inner"),
        # another one, whose path does not exist where it is mounted
        ("/", "/kubepods/burstable/pod1", ""),
    ],
)
def test_version_1_is_read_where_it_is_mounted(tmp_path: Path, top: str, group: str, folder: str) -> None:
    system = System(
        tmp_path, mounts=OTHER + CGROUP1.format(top=top), groups=f"8:pids:/x\n4:memory:{group}\n0::/\n"
    )
    system.first(folder, 500 * MIB, 450 * MIB, cache=30 * MIB)
    memory = Memory(system.root)
    assert memory.limit().bytes == 500 * MIB
    assert memory.available() == 80 * MIB
    assert memory.kills() == (3, 7)


def test_version_1_without_a_limit_says_so_with_a_large_number(tmp_path: Path) -> None:
    system = System(tmp_path, mounts=CGROUP1.format(top="/"), groups="4:cpu,memory:/\n")
    system.first("", 9223372036854771712, 500 * MIB)
    memory = Memory(system.root)
    assert memory.limit().file == ""
    assert memory.available() == 600 * MIB


def test_a_kill_changes_the_numbers(tmp_path: Path) -> None:
    system = System(tmp_path, mounts=CGROUP2.format(top="/"), groups="0::/a\n")
    system.second("/a", "max")
    memory = Memory(system.root)
    before = memory.kills()
    system.write("sys/fs/cgroup/a/memory.events", "oom_kill 4\n")
    assert memory.kills() != before


def test_a_sandbox_without_any_of_it_has_no_limit(tmp_path: Path) -> None:
    memory = Memory(tmp_path)
    assert memory.available() > 1 << 50
    assert memory.kills() == (0,)


def test_this_machine_has_memory() -> None:
    memory = Memory()
    assert 0 < memory.available() <= memory.limit().bytes
    assert memory.kills() == memory.kills()


def test_bytes_are_said_in_mebibytes_and_many_in_gibibytes() -> None:
    assert mebibytes(500 * MIB) == "500 MiB"
    assert mebibytes(24 << 30) == "24.0 GiB"
