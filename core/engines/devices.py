"""Devices: the cores and GPUs that this machine computes with."""

from __future__ import annotations

import os
from pathlib import Path


def cores() -> int:
    """Returns the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


BATCH_PIXELS = 4_000_000
"""The size of a GPU's batch, in pixels of all its tiles. The largest tile of the default parameters keeps a GPU busy alone.
A batch of small tiles needs as much memory; one by one, they would leave most of the GPU idle."""


def batch_size(height: int, width: int) -> int:
    """Returns the number of tiles of this size, in pixels, in a GPU's batch."""
    return max(1, BATCH_PIXELS // (height * width))


def processor(kind: str) -> str:
    """Returns a kind of GPU with the name of this machine's, as `Engine.processor`."""
    name = gpu_name().strip()
    return f"{kind}, {name}" if name else kind


def gpu_name() -> str:
    """Returns a space and the name of the machine's NVIDIA GPU; "" where it has several, or where the name is unknown."""
    descriptions = sorted(Path("/proc/driver/nvidia/gpus").glob("*/information"))
    if len(descriptions) == 1:
        for line in descriptions[0].read_text().splitlines():
            if line.startswith("Model:"):
                return " " + line.removeprefix("Model:").strip()
    board = Path("/proc/device-tree/model")
    if board.is_file() and "NVIDIA" in (text := board.read_text().strip("\0\n ")):
        return f" {text}"  # a Jetson's GPU is not a PCI device
    return ""
