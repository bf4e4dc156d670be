"""Footprint: the memory of a worker that is ready, and at most while it searches one photograph; usual and frugal.

    python -m benchmarks.footprint [--megapixels 4,12,36,120,200] [--parameters FILE]

Each figure is of a process of its own: the most memory that it has had (VmHWM of proc(5)) after it has decoded and
searched one JPEG, a portrait from scikit-image enlarged to that size. A worker that is not frugal has the next photographs
decoded meanwhile, up to 40 Mpx at 3 to 20 bytes each, which come on top. The daemon itself takes 48 MiB, and a client 60.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

from pyraface.core import parameters as parameters_file
from pyraface.core.parameters import SEARCHES
from pyraface.core.pipeline import Pipeline
from pyraface.daemon.worker.__main__ import warm_up

from .common import machine, today, versions


def main() -> None:
    """Prints the table, in MiB."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.footprint", description=__doc__)
    parser.add_argument("--megapixels", default="4,12,36,120,200", help="sizes of the photographs")
    parser.add_argument("--parameters", help="parameters.xml")
    parser.add_argument("--one", nargs=2, metavar=("SEARCH", "MEGAPIXELS"), help=argparse.SUPPRESS)
    parser.add_argument("--frugal", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        search, megapixels = options.one
        print(*one(options.parameters, search, float(megapixels), frugal=options.frugal))
        return
    sizes = options.megapixels.split(",")
    print(f"{today()}; {machine()}; {versions('onnxruntime', 'Pillow', 'numpy')}")
    print("| search | worker | ready |" + "".join(f" {size} Mpx |" for size in sizes))
    print("|---|---|" + "--:|" * (1 + len(sizes)))
    for search in SEARCHES:
        for frugal in (False, True):
            figures = [_in_a_process(options.parameters, search, size, frugal=frugal) for size in sizes]
            cells = [figures[0][0], *(most for _, most in figures)]
            kind = "frugal" if frugal else "usual"
            print(
                f"| `{search}` | {kind} | " + " | ".join(f"{cell} MiB" for cell in cells) + " |", flush=True
            )


def one(parameters: str | None, search: str, megapixels: float, *, frugal: bool) -> tuple[int, int]:
    """Returns the MiB of this process when it is ready, and the most after one photograph."""
    pipeline = Pipeline(parameters_file.load(parameters), "onnx", frugal=frugal)
    warm_up(pipeline, frugal=False)
    ready = _mebibytes("VmRSS")
    jpeg = subprocess.run(
        [sys.executable, "-c", _PORTRAIT, str(round((megapixels * 1e6) ** 0.5))],
        capture_output=True,
        check=True,
    ).stdout
    picture = pipeline.decode(jpeg, search=search)
    pipeline.find(picture, search=search)
    return ready, _mebibytes("VmHWM")


_PORTRAIT = """
import io, sys
from PIL import Image
from skimage import data
Image.fromarray(data.astronaut()).resize((int(sys.argv[1]), int(sys.argv[1]))).save(sys.stdout.buffer, "JPEG")
"""
"""In a process of its own, whose memory does not count."""


def _in_a_process(parameters: str | None, search: str, megapixels: str, *, frugal: bool) -> tuple[int, int]:
    words = ["--one", search, megapixels, *(["--frugal"] if frugal else [])]
    words += ["--parameters", parameters] if parameters else []
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.footprint", *words], capture_output=True, text=True, check=True
    )
    ready, most = map(int, done.stdout.split())
    return ready, most


def _mebibytes(name: str) -> int:
    found = re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) >> 10


if __name__ == "__main__":
    main()
