"""What this machine computes with."""

from __future__ import annotations

import os
from pathlib import Path


def cores() -> int:
    """Returns how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


BATCH_PIXELS = 4_000_000
"""Of all tiles that a GPU has at once: the largest that there are by default keep it busy one by one, and need as much
memory as many small ones together, which one by one would leave most of it idle."""


def batch_size(height: int, width: int) -> int:
    """Returns how many tiles of this size, in pixels, a GPU has at once."""
    return max(1, BATCH_PIXELS // (height * width))


def gpu_name() -> str:
    """Returns a space and the name of the machine's only NVIDIA GPU, or "" where that is not certain."""
    descriptions = sorted(Path("/proc/driver/nvidia/gpus").glob("*/information"))
    if len(descriptions) == 1:
        for line in descriptions[0].read_text().splitlines():
            if line.startswith("Model:"):
                return " " + line.removeprefix("Model:").strip()
    board = Path("/proc/device-tree/model")
    if board.is_file() and "NVIDIA" in (text := board.read_text().strip("\0\n ")):
        return f" {text}"  # a Jetson: its GPU is no PCI device
    return ""
