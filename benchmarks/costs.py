"""Costs: time and processor time of whole photographs of 1 to 36 Mpx, by search, and the stages of the guided search.

    python -m benchmarks.costs [--photos FOLDER] [--megapixels 1,4,12,36] [--turns N] [--threads N] [--markdown FILE]

A file's bytes in, encoded faces out, the searches and face_recognition's default (HOG) in turns in one process. The
photographs show 1, 4 and 8 people: CompreFace's samples, each brought to every size. A bar is the share of the wall time
of the search everywhere that the guided search is to stay below. The stages are timed on the methods of the pipeline's
objects, in runs of their own. "Cutting" is the remainder of the search: it makes the tiles and the crops, and
turns them. "Fusing and measuring" is the remainder of the whole.
"""

from __future__ import annotations

import argparse
import io
import itertools
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from pyraface.core.parameters import SEARCHES, SearchName
from pyraface.core.pipeline import Pipeline

from .common import HOG, PACKAGES, machine, photos_folder, searching, timed, today, versions
from .reference import face_recognition

SAMPLES = {1: "004_A.jpg", 4: "012_4.jpg", 8: "016_8.jpg"}
"""By the number of people."""

LARGE = "001_A.jpg"
"""The portrait of the largest size, which 004_A would have to be enlarged to."""

BARS: dict[float, float] = {1: 1 / 8, 4: 1 / 8, 12: 1 / 8, 36: 1 / 2}
"""By megapixels. Of 36 Mpx, decoding takes a good part, whichever search follows."""

STAGES = ("decoding", "proposing", "which way up", "cutting", "deciding", "encoding", "fusing and measuring")


class Stages:
    """While entered, adds up the milliseconds that a pipeline spends in methods of its objects."""

    def __init__(self, pipeline: Pipeline) -> None:
        search: Any = pipeline.search()
        self._methods: tuple[tuple[Any, str], ...] = (
            (pipeline, "decode"),
            (search, "candidates"),
            (search._proposer, "propose"),
            (search._proposer, "scores"),
            (search._engine, "prepare"),
            (search._engine, "detect"),
            (pipeline.engine, "encode"),
        )
        self.taken = {name: 0.0 for _, name in self._methods}

    def __enter__(self) -> Stages:
        for owner, name in self._methods:
            setattr(owner, name, partial(self._timed, name, getattr(owner, name)))
        return self

    def __exit__(self, *_: object) -> None:
        for owner, name in self._methods:
            delattr(owner, name)  # the class has the original

    def _timed(self, name: str, method: Callable[..., object], *arguments: Any, **options: Any) -> object:
        taken, result = timed(partial(method, *arguments, **options))
        self.taken[name] += 1000 * taken
        return result

    def named(self, whole: float) -> dict[str, float]:
        """Returns the milliseconds of each of STAGES, of the whole's."""
        deciding = self.taken["prepare"] + self.taken["detect"]
        known = {
            "decoding": self.taken["decode"],
            "proposing": self.taken["propose"],
            "which way up": self.taken["scores"],
            "cutting": self.taken["candidates"] - self.taken["propose"] - self.taken["scores"] - deciding,
            "deciding": deciding,
            "encoding": self.taken["encode"],
        }
        return known | {"fusing and measuring": whole - sum(known.values())}


@dataclass
class Cost:
    """Wall and processor seconds of one search, a turn each; and the faces it found."""

    wall: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    faces: int = 0

    def run(self, work: Callable[[], Any]) -> None:
        begin = time.process_time()
        taken, found = timed(work)
        self.processor.append(time.process_time() - begin)
        self.wall.append(taken)
        self.faces = len(found)


def brought_to(path: Path, megapixels: float) -> bytes:
    """Returns the JPEG of a photograph brought to about so many megapixels."""
    with Image.open(path) as image:
        factor = (megapixels * 1e6 / (image.width * image.height)) ** 0.5
        if 0.85 < factor < 1.15:  # as the camera wrote it
            return path.read_bytes()
        size = round(image.width * factor), round(image.height * factor)
        resized = image.resize(size, Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    resized.save(stream, "JPEG", quality=90)
    return stream.getvalue()


@dataclass(frozen=True)
class Measured:
    """A photograph's costs by the name of the search, and the milliseconds of the guided search's stages."""

    title: str
    megapixels: float
    costs: dict[str, Cost]
    stages: dict[str, float]

    @property
    def bar(self) -> str:
        """Whether the guided search kept its bar."""
        if self.megapixels not in BARS:
            return "-"
        most = BARS[self.megapixels]
        share = 1 / ratio(self.costs["guided"].wall, self.costs["everywhere"].wall)
        return f"1/{1 / most:.0f}: {'kept' if share <= most else 'missed'}"


def hog(image: bytes) -> list[Any]:
    """Returns the encodings of face_recognition, called as its users call it."""
    pixels = face_recognition.load_image_file(io.BytesIO(image))
    encodings: list[Any] = face_recognition.face_encodings(pixels, face_recognition.face_locations(pixels))
    return encodings


def measure(
    title: str, megapixels: float, image: bytes, pipelines: Mapping[SearchName, Pipeline], turns: int
) -> Measured:
    """Returns what each search costs for an image."""
    work: dict[str, Callable[[], Any]] = {
        name: partial(pipeline.detect, image) for name, pipeline in pipelines.items()
    }
    work[HOG] = partial(hog, image)
    costs = {name: Cost() for name in work}
    stages: dict[str, list[float]] = {name: [] for name in STAGES}
    for each in work.values():
        each()  # work that happens only once is not measured
    for _ in range(turns):
        for name, each in work.items():
            costs[name].run(each)
        with Stages(pipelines["guided"]) as inside:
            whole, _ = timed(partial(pipelines["guided"].detect, image))
        for name, taken in inside.named(1000 * whole).items():
            stages[name].append(taken)
    return Measured(
        title, megapixels, costs, {name: statistics.median(taken) for name, taken in stages.items()}
    )


def photographs(folder: Path, sizes: list[float]) -> Iterator[tuple[str, float, bytes]]:
    """Yields the title, the megapixels and the file's bytes of each photograph."""
    for megapixels in sizes:
        for people, name in SAMPLES.items():
            file = LARGE if people == 1 and megapixels > 12 else name
            title = f"{megapixels:g} Mpx, {people} {'face' if people == 1 else 'faces'}"
            yield title, megapixels, brought_to(folder / file, megapixels)


def costs_table(measured: Iterable[Measured]) -> Iterator[str]:
    """Yields a row a photograph and search."""
    yield "| photograph | search | faces | wall ms | of everywhere's | CPU ms | of everywhere's | bar (wall) |"
    yield "|---|---|--:|--:|--:|--:|--:|---|"
    for one in measured:
        base = one.costs["everywhere"]
        for name, cost in one.costs.items():
            shares = [
                _times(ratio(ours, theirs))
                for ours, theirs in ((cost.wall, base.wall), (cost.processor, base.processor))
            ]
            wall, processor = (1000 * statistics.median(each) for each in (cost.wall, cost.processor))
            bar = one.bar if name == "guided" else ""
            yield (
                f"| {one.title} | {name} | {cost.faces} | {wall:.0f} | {shares[0]} | {processor:.0f} | {shares[1]} | {bar} |"
            )


def stages_table(measured: Iterable[Measured]) -> Iterator[str]:
    """Yields a row a photograph: the wall milliseconds of the guided search's stages."""
    yield f"| guided, ms | {' | '.join(STAGES)} |"
    yield f"|---|{'--:|' * len(STAGES)}"
    for one in measured:
        yield f"| {one.title} | {' | '.join(f'{taken:.1f}' for taken in one.stages.values())} |"


def _times(ratio: float) -> str:
    """1/9.3 for what takes less, 9.3 for what takes more."""
    return f"1/{ratio:.1f}" if ratio >= 1 else f"{1 / ratio:.1f}"


def ratio(ours: list[float], theirs: list[float]) -> float:
    """Returns how many times as long theirs takes: the median of the turns."""
    return statistics.median(their / our for our, their in zip(ours, theirs, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.costs", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--photos", type=Path, default=photos_folder(), help="the shared photographs")
    parser.add_argument("--megapixels", default="1,4,12,36", help="sizes (default: %(default)s)")
    parser.add_argument("--turns", type=int, default=5, help="of each photograph (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=0, help="of the onnx engine; 0: one a core")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="also write the table to this file")
    options = parser.parse_args()
    folder = options.photos / "compreface_samples"
    if not folder.is_dir():
        parser.error(f"{folder} is no folder: the photographs are needed")
    sizes = [float(size) for size in options.megapixels.split(",")]
    pipelines = {name: searching(name, threads=options.threads) for name in SEARCHES}
    measured: list[Measured] = []

    def measuring() -> Iterator[Measured]:
        for title, megapixels, image in photographs(folder, sizes):
            measured.append(measure(title, megapixels, image, pipelines, options.turns))
            yield measured[-1]

    head = [f"{today()}; {machine()}; {versions(*PACKAGES)}", ""]
    lines = []
    for line in itertools.chain(head, costs_table(measuring()), [""], stages_table(measured)):
        print(line, flush=True)
        lines.append(line)
    if options.markdown:
        options.markdown.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
