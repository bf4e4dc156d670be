"""What this machine computes with."""

from __future__ import annotations

import os
from pathlib import Path


def cores() -> int:
    """Returns how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


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
