"""Scarcity: when the worker is frugal, and for how long. The files of the system are simulated."""

from __future__ import annotations

import logging
import signal
from pathlib import Path

import pytest

from pyraface.core.host.memory import Memory
from pyraface.core.parameters import DetectionParameters
from pyraface.daemon.low_memory import OFTEN, PERIOD, Scarcity

MIB = 1 << 20


def scarcity(root: Path, *, free: int, search: str = "everywhere") -> Scarcity:
    """On a machine with so many MiB of memory, all of it free."""
    (root / "proc").mkdir(exist_ok=True)
    kibibytes = free << 10
    (root / "proc/meminfo").write_text(f"MemTotal: {kibibytes} kB\nMemAvailable: {kibibytes} kB\n")
    kill(root, 0)
    return Scarcity(Memory(root), DetectionParameters(search=search))


def kill(root: Path, count: int) -> None:
    (root / "proc/vmstat").write_text(f"oom_kill {count}\n")


@pytest.mark.parametrize(
    ("search", "free", "frugal"),
    [("everywhere", 2000, False), ("everywhere", 700, True), ("guided", 700, False), ("auto", 500, True)],
)
def test_the_worker_is_frugal_from_the_start_where_memory_is_scarce(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, search: str, free: int, frugal: bool
) -> None:
    with caplog.at_level(logging.WARNING):
        found = scarcity(tmp_path, free=free, search=search)
    assert (found.frugal, found.for_good) == (frugal, frugal)
    assert (f"{free} MiB of memory are left" in caplog.text) == frugal
    found.over()
    assert found.frugal == frugal, "it stays so"
    assert found.bytes_in_flight(512 * MIB) == (free * MIB // 4 if frugal else 512 * MIB)


def test_large_images_once_in_a_while_make_it_frugal_for_themselves_alone(tmp_path: Path) -> None:
    found = scarcity(tmp_path, free=4000)
    for number in range(10):
        found.lower(number * PERIOD / (OFTEN - 1))
        assert found.frugal
        found.over()
        assert not found.frugal


def test_many_of_them_make_it_frugal_for_good(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    found = scarcity(tmp_path, free=4000)
    for number in range(OFTEN):
        assert not found.for_good
        found.lower(number * 60.0)
        found.over()
    assert found.frugal
    assert caplog.text.count("ran out of memory 3 times in an hour: from now on") == 1
    found.lower(1000.0)
    assert caplog.text.count("from now on") == 1


def test_a_kill_by_the_system_is_told_from_any_other_end(tmp_path: Path) -> None:
    found = scarcity(tmp_path, free=4000)
    assert not found.killed(-signal.SIGKILL)
    kill(tmp_path, 1)
    assert found.killed(-signal.SIGKILL)
    assert not found.killed(-signal.SIGSEGV)
    found.watch()
    assert not found.killed(-signal.SIGKILL), "that kill was another process's"


def test_the_reason_names_the_memory_there_is_the_memory_needed_and_the_remedy(tmp_path: Path) -> None:
    found = scarcity(tmp_path, free=400)
    for reason in (found.reason(), found.reason_for_image()):
        assert "400 MiB, all that this machine has" in reason
        assert "the worker takes 260 MiB, 165 MiB for a tile of 3.84 Mpx" in reason
        assert "params/tiled_detect_params/upsample" in reason
        assert "MemoryMax" in reason
