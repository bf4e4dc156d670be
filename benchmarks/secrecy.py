"""Secrecy: the cost of the key and TLS, photographs of 5 MB through a daemon with them, and through one without, in turns.

    python -m benchmarks.secrecy [--turns 9] [--photographs 24]

Everything is as usual, decoding and zooming included, except the engine, which finds nothing at once
(tests/stub_daemon.py). The second row is the same with images that are refused by their first bytes: the network
alone, where no other work conceals the cost of TLS. Processor time is that of the client, the daemon and its process that
finds faces together; other work on the machine does not count in it.
"""

from __future__ import annotations

import argparse
import io
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil
import uvloop
from PIL import Image

from pyraface.client import Client
from pyraface.client.pool.handshake import connect
from pyraface.core import parameters
from pyraface.core.host import keyfile
from pyraface.core.parameters import Parameters
from tests.stub_daemon import stub_daemon
from tests.support import parameters_xml

from .common import machine, photos_folder, today, versions

BYTES = 5_000_000

CONNECTIONS = 60


@dataclass(frozen=True)
class Way:
    """To a daemon, with a key or without."""

    daemon: int
    place: str
    parameters: Parameters

    def processor_seconds(self) -> float:
        """Returns what this process, the daemon and its children have used so far."""
        theirs = psutil.Process(self.daemon)
        used = [process.cpu_times() for process in (theirs, *theirs.children())]
        return time.process_time() + sum(times.user + times.system for times in used)


class Spent(NamedTuple):
    """On one turn: seconds that passed, and seconds of a processor."""

    passed: float
    used: float


def photograph(folder: Path) -> bytes:
    """Returns a real photograph of 12 Mpx as a JPEG of 5 MB.

    It is smooth, as a picture that was compressed before; grain, as a sensor makes it, gives it the size that a camera's
    file has.
    """
    with Image.open(folder / "compreface_samples" / "004_A.jpg") as image:
        smooth = np.asarray(image.convert("RGB"), np.int16)
    grain = np.random.default_rng(5).standard_normal(smooth.shape[:2], np.float32)[..., None]
    for strength in np.arange(1, 20, 0.5):
        grainy = np.clip(smooth + (strength * grain).astype(np.int16), 0, 255).astype(np.uint8)
        stream = io.BytesIO()
        Image.fromarray(grainy).save(stream, "JPEG", quality=92)
        if stream.tell() >= BYTES:
            break
    return stream.getvalue()


async def through(way: Way, images: Sequence[bytes]) -> Spent:
    """Returns what it takes to have images done by a client that is connected."""
    async with Client(way.place, parameters=way.parameters) as client:
        begin, used = time.perf_counter(), way.processor_seconds()
        async with aclosing(client.map(images)) as results:
            done = [result async for result in results]
        spent = Spent(time.perf_counter() - begin, way.processor_seconds() - used)
    assert len(done) == len(images)
    return spent


async def greeting(way: Way) -> float:
    """Returns the milliseconds from nothing to the welcome."""
    keys = keyfile.load() if way.parameters.security.keyed else ()
    host, port = way.place.split(":")
    begin = time.perf_counter()
    connection = await connect(host, int(port), way.parameters, keys)
    milliseconds = 1000 * (time.perf_counter() - begin)
    await connection.close()
    return milliseconds


async def in_turns(plain: Way, secret: Way, images: Sequence[bytes], turns: int) -> list[tuple[Spent, Spent]]:
    """Returns what each turn took without a key, and with one; who begins changes."""
    await through(plain, images)
    await through(secret, images)
    found = []
    for turn in range(turns):
        if turn % 2:
            without, with_key = await through(plain, images), await through(secret, images)
        else:
            with_key, without = await through(secret, images), await through(plain, images)
        found.append((without, with_key))
    return found


def row(what: str, megabytes: float, count: int, found: list[tuple[Spent, Spent]]) -> str:
    """Returns a line: throughput and processor time, and what TLS adds to both; medians of the turns."""
    middle = statistics.median
    passed = sorted(100 * (secret.passed / plain.passed - 1) for plain, secret in found)
    used = sorted(100 * (secret.used / plain.used - 1) for plain, secret in found)
    cells = [
        *(f"{megabytes / middle(turn[kind].passed for turn in found):.0f} MB/s" for kind in (0, 1)),
        f"**{middle(passed):+.1f}%** ({passed[0]:+.1f} to {passed[-1]:+.1f})",
        *(f"{1000 * middle(turn[kind].used for turn in found) / count:.1f} ms" for kind in (0, 1)),
        f"**{middle(used):+.1f}%** ({used[0]:+.1f} to {used[-1]:+.1f})",
    ]
    return f"| {what}, {len(found)} turns of {count} | {' | '.join(cells)} |"


async def measure(plain: Way, secret: Way, image: bytes, *, turns: int, count: int) -> None:
    """Prints the table, and how long a client takes to be welcomed."""
    print(
        "| photographs of 5 MB | without a key | with it | time added | processor, without | with | added |"
    )
    print("|---|--:|--:|---|--:|--:|---|", flush=True)
    for what, bytes_, each in (
        ("decoded and zoomed", image, count),
        ("moved, and no more", b"\0" + image[1:], 4 * count),
    ):
        found = await in_turns(plain, secret, [bytes_] * each, turns)
        print(row(what, len(image) * each / 1e6, each, found), flush=True)
    times = [(await greeting(plain), await greeting(secret)) for _ in range(CONNECTIONS)]
    for what, values in zip(("without", "with"), zip(*times, strict=True), strict=True):
        late = sorted(values)[int(0.95 * len(values))]
        median = statistics.median(values)
        print(f"to the welcome, {what} a key: median {median:.1f} ms, p95 {late:.1f} ms, of {len(values)}")


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.secrecy", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--turns", type=int, default=9)
    parser.add_argument("--photographs", type=int, default=24, help="photographs per turn")
    parser.add_argument("--photos", type=Path, default=photos_folder(), help="the shared photographs")
    options = parser.parse_args()
    print(f"{today()}; {machine()}; {versions('uvloop', 'cryptography', 'Pillow')}\n")
    image = photograph(options.photos)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["XDG_CONFIG_HOME"] = name
        # the tiles of the packaged parameters
        tiles = {"upsample": 2, "height": 600, "width": 400, "levels": 2}
        with (
            stub_daemon(folder, seconds=0.0, authentication="none", **tiles) as one,
            stub_daemon(folder, seconds=0.0, authentication="key", **tiles) as two,
        ):
            ways = [
                Way(
                    daemon.process.pid,
                    f"127.0.0.1:{daemon.port}",
                    parameters.parse(parameters_xml(authentication=kind).encode()),
                )
                for daemon, kind in ((one, "none"), (two, "key"))
            ]
            uvloop.run(measure(*ways, image, turns=options.turns, count=options.photographs))


if __name__ == "__main__":
    main()
