"""Common parts of the benchmarks: machine, versions, date, and the timing."""

from __future__ import annotations

import datetime
import os
import platform
import time
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from pyraface.core import parameters, resampling
from pyraface.core.parameters import Parameters
from pyraface.core.pipeline import Pipeline

Result = TypeVar("Result")

PACKAGES = ("face_recognition", "dlib", "onnxruntime", "numpy", "Pillow", "uvloop")

HOG, CNN = "face_recognition, its default (HOG)", "face_recognition, its CNN"


def photos_folder() -> Path:
    """Returns the folder of the shared photographs: $PYRAFACE_PHOTOS, or ../shared/photos beside the project."""
    beside = Path(__file__).resolve().parent.parent.parent / "shared" / "photos"
    return Path(os.environ.get("PYRAFACE_PHOTOS", beside))


def zoomed(
    pixels: NDArray[np.uint8], box: tuple[int, int, int, int], size: tuple[int, int]
) -> NDArray[np.uint8]:
    """Returns the part `box` of a picture zoomed to (width, height), as `TilePreparer` does it, in this one thread."""
    tile = np.empty((size[1], size[0], 3), np.uint8)
    for rows in resampling.strips(box, size):
        resampling.resample_rows(pixels, box, tile, rows)
    return tile


def packaged_parameters(*, search: str = "", **detection: Any) -> Parameters:
    """Returns the default parameters, without reading a file of this user.

    Args:
        search: the search that they set; "": the default.
        detection: parameters of detection that differ from the default.
    """
    packaged = parameters.parse((Path(__file__).resolve().parent.parent / "parameters.xml").read_bytes())
    changed = replace(packaged.detection, search=search or packaged.detection.search, **detection)
    return replace(packaged, detection=changed)


def chosen_parameters(file: Path | None, *, search: str = "") -> Parameters:
    """Returns the parameters of the file named on the command line, or else the default parameters.

    Args:
        search: the search that they set instead; "": their own.

    Raises:
        ParametersError: the file is missing or wrong.
    """
    if file is None:
        return packaged_parameters(search=search)
    found = parameters.load(file)
    return replace(found, detection=replace(found.detection, search=search or found.detection.search))


def searching(search: str, *, threads: int = 0, **detection: Any) -> Pipeline:
    """Returns a pipeline of the onnx engine with default parameters and this search.

    Args:
        threads: of the engine; 0: one for each core.
        detection: parameters of detection that differ from the default.
    """
    packaged = packaged_parameters(search=search, **detection)
    return Pipeline(replace(packaged, daemon=replace(packaged.daemon, engine_threads=threads)), "onnx")


def timed(work: Callable[[], Result]) -> tuple[float, Result]:
    """Returns the seconds of a call, and its result."""
    begin = time.perf_counter()
    result = work()
    return time.perf_counter() - begin, result


def today() -> str:
    """Returns the date, UTC."""
    return f"{datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d}"


def machine() -> str:
    """Returns the processor's name and how many cores this process may use."""
    model = platform.processor() or platform.machine()
    information = Path("/proc/cpuinfo")
    if information.is_file():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{model} ({platform.machine()}), {cores} cores"


def versions(*packages: str) -> str:
    """Returns "name version" of each package that is installed, and Python's."""
    found = []
    for package in packages:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            found.append(f"{package} (not installed)")
    return ", ".join([*found, f"Python {platform.python_version()}"])
