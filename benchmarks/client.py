"""Client: the cost of the client alone, with a daemon that does nothing and answers at once.

    python -m benchmarks.client [--images 10000] [--files 1000000] [--large 12]

Needs no photographs. Each client is a separate process, as a user runs it; the system reports its CPU time and its
peak memory at its end.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from pyraface.core.pages import Page
from pyraface.core.results import Result
from tests.stub_daemon import stub_daemon

from .common import machine, today, versions

ROOT = Path(__file__).resolve().parent.parent


@dataclass
class Took:
    """The cost of a process in seconds and MiB."""

    wall: float
    cpu: float
    peak: float


def client(*arguments: str | Path) -> Took:
    """Runs the command and returns its cost."""
    command = [sys.executable, "-m", "pyraface.client", "--quiet", *map(str, arguments)]
    started = time.perf_counter()
    process = subprocess.Popen(command, cwd=ROOT)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"exit status {process.returncode}: {' '.join(command)}")
    return Took(time.perf_counter() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def small_images(folder: Path, count: int) -> Path:
    """Returns a folder of so many images of 300 bytes, all different, a thousand in each folder."""
    Image.new("RGB", (32, 32), (200, 10, 10)).save(folder / "one.png")
    image = (folder / "one.png").read_bytes()
    for number in range(count):
        path = folder / "small" / f"{number // 1000:03}" / f"{number:07}.png"
        if number % 1000 == 0:
            path.parent.mkdir(parents=True)
        path.write_bytes(image + number.to_bytes(4, "big"))  # which no decoder looks at
    return folder / "small"


@contextmanager
def server(folder: Path) -> Iterator[str]:
    """A daemon whose engine does nothing."""
    with stub_daemon(folder, seconds=0.0, credits=16) as daemon:
        yield f"127.0.0.1:{daemon.port}"


def overhead(folder: Path, count: int) -> None:
    """Many small images, then the same command once more, when all is done."""
    images = small_images(folder, count)
    output = folder / "faces.jsonl"
    with server(folder) as place:
        one = client("--servers", place, "--output", folder / "one.jsonl", folder / "one.png")
        all_ = client("--servers", place, "--output", output, images)
        again = client("--servers", place, "--output", output, images)
    cpu, wall = ((getattr(all_, what) - getattr(one, what)) / count * 1000 for what in ("cpu", "wall"))
    print(
        f"| {count} images of 300 bytes, an engine that does nothing | {cpu:.3f} ms of the client's CPU an image | |"
    )
    print(f"| | {wall:.3f} ms an image, client and daemon together | peak {all_.peak:.0f} MiB |")
    cpu = (again.cpu - one.cpu) / count * 1000
    print(
        f"| the same command again, nothing left to do | {cpu:.3f} ms of CPU an image | peak {again.peak:.0f} MiB |"
    )


def large(folder: Path, count: int) -> None:
    """Files of 100 MB: their rate, and the memory for them."""
    (folder / "large").mkdir()
    Image.new("RGB", (32, 32)).save(folder / "large.png")
    image = (folder / "large.png").read_bytes()
    for number in range(count):
        with (folder / "large" / f"{number}.png").open("wb") as file:
            file.write(image + os.urandom(8))
            file.truncate(100_000_000)
    with server(folder) as place:
        one = client("--servers", place, "--output", folder / "two.jsonl", folder / "large.png")
        all_ = client("--servers", place, "--output", folder / "large.jsonl", folder / "large")
    rate = count * 100 / (all_.wall - one.wall)
    print(
        f"| {count} files of 100 MB on loopback | {rate:.0f} MB/s | peak {all_.peak:.0f} MiB, {one.peak:.0f} of it Python |"
    )


def million(folder: Path, files: int) -> None:
    """A real tree of so many files, all but a thousand with their line; none of them is read."""
    images = small_images(folder, files)
    output = folder / "faces.jsonl"
    with server(folder) as place:
        client("--servers", place, "--output", folder / "one.jsonl", folder / "one.png")
        fingerprint = (folder / "one.jsonl").read_text().partition('"fingerprint":"')[2].partition('"')[0]
        with output.open("w") as lines:
            for parent in sorted(images.iterdir())[:-1]:
                for path in sorted(parent.iterdir()):
                    status = path.stat()
                    digest, of_file = f"sha256:{status.st_ino:064x}", (status.st_size, status.st_mtime_ns)
                    line = Result(str(path), digest, *of_file, fingerprint, None, 32, 32, server="x")
                    line = replace(line, pictures=1, pages=(Page(0, 32, 32, 1),))
                    lines.write(json.dumps(line.as_json(), separators=(",", ":")) + "\n")
        done = client("--servers", place, "--output", output, images)
    print(
        f"| a tree of {files} files, all but 1000 done before | {done.wall:.0f} s | peak {done.peak:.0f} MiB |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.client", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--images", type=int, default=10_000, help="small images through a daemon")
    parser.add_argument(
        "--files", type=int, default=1_000_000, help="files of the large tree; a multiple of 1000"
    )
    parser.add_argument("--large", type=int, default=12, help="files of 100 MB")
    options = parser.parse_args()
    print(
        f"{today()}; {machine()}; {versions('uvloop', 'numpy', 'msgpack')}\n\n| what | | |\n|---|--:|--:|",
        flush=True,
    )
    for work, count in ((overhead, options.images), (large, options.large), (million, options.files)):
        if count:
            with tempfile.TemporaryDirectory() as folder:
                work(Path(folder), count)
            sys.stdout.flush()


if __name__ == "__main__":
    main()
