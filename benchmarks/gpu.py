"""GPU: both engines on this machine's GPU: tiles, YuNet's proposals, crops and faces, and whole photographs by search.

    python -m benchmarks.gpu [PHOTOS] [--engines onnx,dlib] [--megapixels 0.24,0.96,3.84] [--threads 1,2,4,8] [--seconds 5]
                             [--rows tiles,proposals,crops,faces,photographs] [--faces 1,32] [--searches everywhere,guided]

Everything is repeated for so many seconds; with the defaults it takes some six minutes, after what the first start
with TensorRT takes. Photographs are decoded by so many threads while the engine has the one before, as in a daemon; without
a folder they are made of noise, 12 megapixels each. It runs without a GPU, too, and says so; take small tiles there, and
leave out dlib's photographs (--rows tiles,faces), which take it a minute each.
"""

from __future__ import annotations

import argparse
import io
import itertools
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
from PIL import Image

from pyraface.core.engines import Engine, EngineName, Pixels, start
from pyraface.core.engines.onnx.engine import OnnxEngine
from pyraface.core.errors import ImageError, PyrafaceError
from pyraface.core.images.decode import Picture, decode
from pyraface.core.parameters import SEARCHES, ImageLimits
from pyraface.core.pipeline import Pipeline
from pyraface.core.search import guided

from .common import PACKAGES, machine, packaged_parameters, photos_folder, timed, today, versions
from .inside import InsideNetworks
from .parity import SUFFIXES
from .peer import chips, tile

PHOTOGRAPHS = 40
"""At most; they are held in memory."""

ROWS = ("tiles", "proposals", "crops", "faces", "photographs")


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument(
        "photos", nargs="?", type=Path, default=photos_folder(), help="a folder of photographs"
    )
    parser.add_argument("--engines", default="onnx,dlib", help="separated by commas (default: %(default)s)")
    parser.add_argument(
        "--megapixels", default="0.24,0.96,3.84", help="sizes of tiles (default: %(default)s)"
    )
    parser.add_argument("--threads", default="1,2,4,8", help="decoding threads (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=5.0, help="for each figure (default: %(default)s)")
    parser.add_argument("--rows", default=",".join(ROWS), help="separated by commas (default: %(default)s)")
    parser.add_argument("--faces", default="1,32", help="faces per call (default: %(default)s)")
    parser.add_argument(
        "--searches", default=",".join(SEARCHES), help="of photographs (default: %(default)s)"
    )
    arguments = parser.parse_args()
    wanted = arguments.rows.split(",")
    if unknown := set(wanted) - set(ROWS):
        parser.error(f"no such rows: {', '.join(sorted(unknown))}; there are {', '.join(ROWS)}")
    sizes = [float(size) for size in arguments.megapixels.split(",")]
    threads = [int(count) for count in arguments.threads.split(",")]
    counts = [int(count) for count in arguments.faces.split(",")]

    print(f"{today()}; {machine()}; {versions(*PACKAGES, 'onnxruntime-gpu', 'tensorrt')}\n")
    images = list(photographs(arguments.photos)) if "photographs" in wanted else []
    if images:
        print(f"{len(images)} photographs of {arguments.photos if arguments.photos.is_dir() else 'noise'}\n")
    print("| engine | what | figure | |\n|---|---|--:|---|")
    for name in arguments.engines.split(","):
        try:
            seconds, engine = timed(partial(start, cast("EngineName", name)))
        except PyrafaceError as error:
            print(f"| {name} | start | | {error} |", flush=True)
            continue
        rows = {
            "tiles": tiles(engine, sizes, arguments.seconds),
            "proposals": proposals(engine, sizes, arguments.seconds),
            "crops": crops(engine, arguments.seconds),
            "faces": faces(engine, counts, arguments.seconds),
            "photographs": itertools.chain.from_iterable(
                whole(engine, search, images, threads, arguments.seconds)
                for search in arguments.searches.split(",")
            ),
        }
        begin = [("start", f"{seconds:.1f} s", f"{engine.device}; {engine.libraries}")]
        for what, figure, note in itertools.chain(begin, *(rows[row] for row in wanted)):
            print(f"| {name} | {what} | {figure} | {note} |", flush=True)


def tiles(engine: Engine, sizes: list[float], seconds: float) -> Iterator[tuple[str, str, str]]:
    """Yields how many tiles a second are searched, alone and in the batches that the engine asks for."""
    for size in sizes:
        pixels = tile(size)
        wanted = engine.batch_size(*pixels.shape[:2])
        for count in sorted({1, wanted}):
            each = rate(partial(engine.detect, [pixels] * count), seconds) * count
            # dlib does all of it in one call, which cannot be divided
            seen = count == wanted and isinstance(engine, OnnxEngine)
            note = f"the networks take {share(engine, pixels):.0%}" if seen else ""
            yield (
                f"tiles of {size} Mpx, {count} at once",
                f"{each:.2f}/s",
                "; ".join(filter(None, [note, memory()])),
            )


def proposals(engine: Engine, sizes: list[float], seconds: float) -> Iterator[tuple[str, str, str]]:
    """Yields how many tiles a second YuNet goes over."""
    proposer = engine.proposer()
    for size in sizes:
        each = rate(partial(proposer.propose, [tile(size)], guided.PROPOSED), seconds)
        yield f"YuNet, tiles of {size} Mpx", f"{each:.2f}/s", memory()


def crops(engine: Engine, seconds: float) -> Iterator[tuple[str, str, str]]:
    """Yields how many crops a second are decided at both looks, alone and in the batches of the guided search."""
    for side, scales in (
        (guided.FIRST_CROP, guided.FIRST_SCALES),
        (guided.SECOND_CUT, guided.SECOND_SCALES),
    ):
        pixels = np.ascontiguousarray(tile(side * side * 1.6 / 1e6)[:side, :side])

        def decide(count: int, pixels: Pixels = pixels, scales: int = scales) -> None:
            engine.detect([engine.prepare(pixels, scales)] * count)

        for count in sorted({1, min(guided.CROPS_AT_ONCE, engine.batch_size(side, side))}):
            each = rate(partial(decide, count), seconds) * count
            yield f"crops of {side} px, {count} at once", f"{each:.1f}/s", memory()


def faces(engine: Engine, counts: list[int], seconds: float) -> Iterator[tuple[str, str, str]]:
    """Yields how many faces a second are encoded."""
    for count in counts:
        each = rate(partial(engine.encode, *chips(count)), seconds) * count
        yield f"encoding, {count} at once", f"{each:.1f}/s", memory()


def whole(
    engine: Engine, search: str, images: list[bytes], threads: list[int], seconds: float
) -> Iterator[tuple[str, str, str]]:
    """Yields how many photographs a second go through, bytes in, faces out, with so many threads that decode."""
    pipeline = Pipeline(packaged_parameters(search=search), engine)
    pipeline.detect(images[0])
    for count in threads:
        done, taken = 0, 0.0
        with ThreadPoolExecutor(count) as decoders:
            upcoming = itertools.cycle(images)
            ahead: deque[Future[Picture]] = deque()
            began = time.perf_counter()
            while taken < seconds or not done:
                while len(ahead) <= count:
                    ahead.append(decoders.submit(pipeline.decode, next(upcoming)))
                pipeline.find(ahead.popleft().result())
                done, taken = done + 1, time.perf_counter() - began
        yield f"photographs, {search}, {count} decoding threads", f"{done / taken:.2f}/s", memory()


def rate(work: Callable[[], object], seconds: float) -> float:
    """Returns how many times a second something is done, once it has been done once."""
    work()
    done, began = 0, time.perf_counter()
    while (taken := time.perf_counter() - began) < seconds or not done:
        work()
        done += 1
    return done / taken


def share(engine: OnnxEngine, pixels: np.ndarray[Any, np.dtype[np.uint8]]) -> float:
    """Returns which part of the time for a tile its networks take; the rest is the pyramid and suppression, on the CPU."""
    with InsideNetworks(engine) as inside:
        taken, _ = timed(partial(engine.detect, [pixels]))
    return inside.seconds / taken


def memory() -> str:
    """Returns what the GPU's memory holds now, of all processes, or nothing where nvidia-smi does not say."""
    command = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader"]
    try:
        asked = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return f"GPU memory {asked.stdout.splitlines()[0].strip()}"


def photographs(folder: Path) -> Iterator[bytes]:
    """Yields PHOTOGRAPHS files that can be read, of a folder, or else one made of noise."""
    every = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    count = 0
    for path in every[:: max(1, -(-len(every) // PHOTOGRAPHS))]:
        data = path.read_bytes()
        try:
            decode(data, ImageLimits())
        except ImageError:
            continue
        count += 1
        yield data
    if not count:
        stream = io.BytesIO()
        noise = np.repeat(np.repeat(tile(0.75), 4, axis=0), 4, axis=1)
        Image.fromarray(noise).save(stream, "JPEG", quality=90)
        yield stream.getvalue()


if __name__ == "__main__":
    main()
