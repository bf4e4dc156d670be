"""A large archive, all but a few of its photographs already recorded: the client's memory grows little with it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from PIL import Image

from pyraface.core.pages import Page
from pyraface.core.results import Result
from tests.stub_daemon import stub_daemon
from tests.support import ROOT, environment

FILES = 200_000
FLAT = 100_000
"""Of them in one directory; the others are in directories of 10,000."""

NEW = 1000

A_FILE = 200
"""Bytes of memory that a file may take; it took 140 when this was written. A million take less than 250 MB then, with
the 48 MB of a client of one image."""

# The client's file system has that many files below /synthetic that are all the same small image. Making them for real would
# take longer than the test.
SITE = """
import atexit, os
from contextlib import contextmanager

TOP, REAL, DIRECTORY = "/synthetic", os.environ["REAL_FILE"], os.environ["REAL_DIRECTORY"]
scandir, stat, open_ = os.scandir, os.stat, os.open

class Entry:
    __slots__ = ("name", "path", "directory")
    def __init__(self, folder, name, directory=False):
        self.name, self.path, self.directory = name, f"{folder}/{name}", directory
    def is_dir(self, *, follow_symlinks=True):
        return self.directory

@contextmanager
def fake_scandir(path="."):
    if path == TOP:
        yield iter([Entry(path, f"d{n:02}", True) for n in range(11)])
    elif path == TOP + "/d00":
        yield (Entry(path, f"IMG_{n:07}.png") for n in range(FLAT))
    elif path.startswith(TOP):
        yield (Entry(path, f"IMG_{n:07}.png") for n in range(10_000))
    else:
        with scandir(path) as entries:
            yield entries

def real(path):
    if not isinstance(path, str) or not path.startswith(TOP):
        return path
    return REAL if path.endswith(".png") else DIRECTORY

os.scandir = fake_scandir
os.stat = lambda path, **more: stat(real(path), **more)
os.lstat = lambda path, **more: stat(real(path), **more)
os.open = lambda path, *more, **words: open_(real(path), *more, **words)

@atexit.register
def peak():
    with open("/proc/self/status") as status, open(os.environ["PEAK"], "w") as file:
        file.write(status.read())
"""


def test_a_file_that_is_recorded_takes_less_than_200_bytes_of_memory(tmp_path: Path) -> None:
    real, output = tmp_path / "real.png", tmp_path / "faces.jsonl"
    Image.new("RGB", (16, 16)).save(real)
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(SITE.replace("FLAT", str(FLAT)))
    first_peak, peak = tmp_path / "first peak", tmp_path / "peak"
    with stub_daemon(tmp_path, seconds=0.0, credits=16) as server:

        def client(peak: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                [
                    sys.executable,
                    "-m",
                    "pyraface.client",
                    "--servers",
                    f"127.0.0.1:{server.port}",
                    *arguments,
                ],
                cwd=ROOT,
                env=environment(
                    PYTHONPATH=f"{site}:{ROOT}",
                    REAL_FILE=str(real),
                    REAL_DIRECTORY=str(tmp_path),
                    PEAK=str(peak),
                ),
                capture_output=True,
                text=True,
                check=False,
            )

        first = client(first_peak, str(real))
        fingerprint = first.stdout.partition('"fingerprint":"')[2].partition('"')[0]
        write_lines(output, real, fingerprint)
        done = client(peak, "--output", str(output), "/synthetic")
    assert done.returncode == 0, done.stderr
    assert f"{FILES - NEW} images done" in done.stderr
    assert f"{NEW} images, 0 faces, 0 failed" in done.stderr
    assert f"; {FILES - NEW} already recorded" in done.stderr
    with output.open("rb") as lines:
        assert sum(1 for _ in lines) == FILES
    assert peak_bytes(peak) - peak_bytes(first_peak) < A_FILE * FILES


def peak_bytes(status: Path) -> int:
    """The most memory that the process had resident (VmHWM in proc(5))."""
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text())
    assert found is not None
    return int(found[1]) * 1024


def write_lines(output: Path, real: Path, fingerprint: str) -> None:
    """Lines of all files but the last of the last directory."""
    status = real.stat()
    about = Result(
        "PATH", "DIGEST", status.st_size, status.st_mtime_ns, fingerprint, None, 16, 16, server="x"
    )
    about = replace(about, pictures=1, pages=(Page(0, 16, 16, 1),))
    line = json.dumps(about.as_json(), separators=(",", ":")) + "\n"
    with output.open("w") as lines:
        written = 0
        for folder in range(11):
            for number in range(FLAT if folder == 0 else 10_000):
                if written < FILES - NEW:
                    written += 1
                    path = f"/synthetic/d{folder:02}/IMG_{number:07}.png"
                    lines.write(line.replace("PATH", path).replace("DIGEST", f"sha256:{written:064x}"))
