"""Speed: every figure of speed in the documentation, in one table.

    python -m benchmarks [--rows tile,encode,photograph,networks,daemon,memory,flood,start] [--openblas PYTHON]
                         [--parameters FILE.xml] [--turns N] [--markdown FILE] [--plot FILE.png]

Each row is a ratio of two measurements that took turns in this run, the median of the turns and their spread. The reference
is face_recognition's CNN detector and encoder on the installed dlib (dlib-bin: no BLAS). Where --openblas names the
interpreter of a virtual environment with a dlib built from source against OpenBLAS, it is a second reference:

    apt install libopenblas-dev cmake && python3 -m venv BLAS && BLAS/bin/pip install .      # some 7 minutes
"""

from __future__ import annotations

import argparse
import io
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from pyraface.core import pyramid
from pyraface.core.engines.network import packed_pyramid
from pyraface.core.engines.onnx.detector import cells_of
from pyraface.core.engines.onnx.engine import OnnxEngine
from pyraface.core.errors import ParametersError
from pyraface.core.images.decode import decode
from pyraface.core.parameters import SEARCHES, Parameters, SearchName
from pyraface.core.pipeline import Pipeline

from . import daemon as daemon_rows
from . import drawings
from . import start as start_rows
from .common import (
    PACKAGES,
    chosen_parameters,
    machine,
    photos_folder,
    timed,
    today,
    versions,
    zoomed,
)
from .inside import InsideNetworks
from .peer import Peer, chips, tile


@dataclass
class Row:
    """One line of the table: its name, and the measures of the reference and of pyraface in each turn."""

    what: str
    reference: str
    theirs: list[float]
    ours: list[float]
    note: str = ""
    unit: str = "s"

    @property
    def ratios(self) -> list[float]:
        return [their / our for their, our in zip(self.theirs, self.ours, strict=True)]

    @property
    def ratio(self) -> float:
        return statistics.median(self.ratios)

    def __str__(self) -> str:
        if not self.theirs:
            return f"| {self.what} | {self.reference} | | {statistics.median(self.ours):.4g} {self.unit} | | {self.note} |"
        low, high = min(self.ratios), max(self.ratios)
        theirs, ours = statistics.median(self.theirs), statistics.median(self.ours)
        return (
            f"| {self.what} | {self.reference} | {theirs:.4g} {self.unit} | {ours:.4g} {self.unit} | **{self.ratio:.3g}x** "
            f"({low:.3g} to {high:.3g}, {len(self.ratios)} turns) | {self.note} |"
        )


ROWS = ("tile", "encode", "photograph", "networks", "daemon", "memory", "flood", "start")
"""By name: each is a method of Bench."""

HEAD = "| what | reference | reference takes | pyraface (onnx) takes | ratio | |\n|---|---|--:|--:|--:|---|"


class Bench:
    """The engines and peers, and the rows made with them, to the extent that the command's options set.

    Args:
        searches: the parameters of each search, by its name.
    """

    def __init__(self, options: argparse.Namespace, searches: Mapping[SearchName, Parameters]) -> None:
        self.options = options
        self.searches = {name: Pipeline(parameters, "onnx") for name, parameters in searches.items()}
        self.onnx = self.searches["everywhere"]
        self.photos: Path = options.photos
        self._peers = {"face_recognition on dlib-bin": Peer(sys.executable, options.parameters)}
        if options.openblas:
            self._peers["face_recognition on OpenBLAS dlib"] = Peer(options.openblas, options.parameters)

    def turns(self, usual: int) -> int:
        return self.options.turns or usual

    def against_peers(
        self, ours: Mapping[str, Callable[[], object]], turns: dict[str, int], **work: object
    ) -> Iterator[Row]:
        """Yields a row a peer and work of ours, named by its title: all take turns."""
        for each in ours.values():
            each()  # work that happens only once is not measured
        for name, peer in self._peers.items():
            rows = {what: Row(what, name, [], []) for what in ours}
            for _ in range(self.turns(turns[name.rpartition(" on ")[2]])):
                theirs = peer.ask(**work)["seconds"]
                for what, each in ours.items():
                    rows[what].ours.append(timed(each)[0])
                    rows[what].theirs.append(theirs)
            yield from rows.values()

    def tile(self) -> Iterator[Row]:
        """Detection in one tile."""
        for megapixels in self.options.megapixels:
            work = partial(self.onnx.engine.detect, [tile(megapixels)])
            turns = {"dlib-bin": 3 if megapixels < 1 else 1, "OpenBLAS dlib": 5 if megapixels < 1 else 2}
            ours = {f"detection, {megapixels:g} Mpx": work}
            yield from self.against_peers(ours, turns, work="tile", megapixels=megapixels)

    def encode(self) -> Iterator[Row]:
        """Encoding of faces: landmarks, chips, network."""
        for count in self.options.faces:
            ours = {f"encoding, {count} faces": partial(self.onnx.engine.encode, *chips(count))}
            turns = {"dlib-bin": 3, "OpenBLAS dlib": 5}
            yield from self.against_peers(ours, turns, work="encode", faces=count)

    def photograph(self) -> Iterator[Row]:
        """Whole photographs, bytes in, faces out: each search, against dlib's engine on the whole pyramid."""
        turns = {"dlib-bin": 1, "OpenBLAS dlib": 2}
        with tempfile.TemporaryDirectory() as folder:
            for path, megapixels in self._photographs(Path(folder)):
                title, image = f"photograph, {megapixels:.0f} Mpx", path.read_bytes()
                ours = {
                    f"{title}, {'same pyramid' if name == 'everywhere' else name}": partial(
                        pipeline.detect, image
                    )
                    for name, pipeline in self.searches.items()
                }
                yield from self.against_peers(ours, turns, work="photograph", path=str(path))
                if 3 < megapixels < 5:
                    ours = {f"{title}, the original's pyramid": partial(self.onnx.detect, image)}
                    yield from self.against_peers(ours, turns, work="original", path=str(path))

    def networks(self) -> Iterator[Row]:
        """The networks' share of a photograph's time, and of the machine's peak speed."""
        engine = self.onnx.engine
        assert isinstance(engine, OnnxEngine)
        with InsideNetworks(engine) as inside, tempfile.TemporaryDirectory() as folder:
            for path, megapixels in self._photographs(Path(folder)):
                image = path.read_bytes()
                row = Row(f"photograph, {megapixels:.0f} Mpx: all / its networks", "(share)", [], [])
                shares, work = [], []
                for _ in range(self.turns(3)):
                    inside.seconds = 0.0
                    begin = time.process_time()
                    whole, _ = timed(partial(self.onnx.detect, image))
                    row.theirs.append(whole)
                    row.ours.append(inside.seconds)
                    shares.append(inside.seconds / whole)
                    between = time.process_time()
                    self._decode_and_zoom(image)
                    work.append((time.process_time() - between) / (between - begin))
                row.note = (
                    f"networks take {statistics.median(shares):.0%} of the time; "
                    f"decoding and zooming {statistics.median(work):.0%} of the processor's"
                )
                yield row
        yield self._sgemm(engine)

    def _decode_and_zoom(self, image: bytes) -> None:
        """The time of a photograph before the engine, by itself: the time of all threads counts."""
        parameters = self.onnx.parameters
        pixels = decode(image, parameters.images).pixels
        for level in pyramid.levels(pixels.shape[1], pixels.shape[0], parameters.detection):
            for left, top, right, bottom in level.tiles.tolist():
                zoomed(pixels, (left, top, right, bottom), level.size)

    def _sgemm(self, engine: OnnxEngine) -> Row:
        """The head's convolutions against a matrix product of the same count of operations."""
        pixels = tile(3.84)
        layout = packed_pyramid.layout(*pixels.shape[:2])
        rows, columns = cells_of(layout.height), cells_of(layout.width)
        features = np.random.default_rng(0).random((1, 32, rows, columns), np.float32)
        # two operations a weight and output: 3 layers of 45 channels and one of 1 on the score map's grid
        cells = features.shape[2] * features.shape[3]
        operations = 2 * cells * (45 * 32 * 25 + 2 * 45 * 45 * 25 + 45 * 81)
        side = 3000
        a = np.random.default_rng(0).random((side, side), np.float32)
        row = Row("as many operations: sgemm / the detector's head", "numpy's sgemm", [], [])
        for _ in range(self.turns(7)):
            ours, _ = timed(lambda: engine.detector.float32.head.run({"features": features}))
            theirs, _ = timed(lambda: a @ a)
            row.ours.append(ours)
            row.theirs.append(theirs * operations / (2 * side**3))
        rate = operations / statistics.median(row.ours) / 1e9
        row.note = f"{rate:.0f} GFLOP/s, {row.ratio:.0%} of sgemm"
        return row

    def daemon(self) -> Iterator[Row]:
        """A directory through a daemon on loopback, against the same in this process; pings meanwhile."""
        paths = sorted((self.photos / "dlib_faces").glob("*.jpg"))[:8]
        for name, pipeline in self.searches.items():
            result = daemon_rows.compare(pipeline, paths, turns=self.turns(3))
            yield Row(
                f"{len(paths)} photographs, {name}: in process / through a daemon",
                "in process",
                result.in_process,
                result.through_daemon,
                f"ping p50 {result.ping(50):.1f} ms, p99 {result.ping(99):.1f} ms of {len(result.pings)}; "
                f"ready after {result.ready:.2f} s",
            )

    def memory(self) -> Iterator[Row]:
        """The most memory an executor takes: for photographs of 36 Mpx alone, and over many of mixed sizes."""
        count = self.options.images
        begin, end = (count // 5, 2 * count // 5), (4 * count // 5, count)
        samples = self.photos / "compreface_samples"
        large = [samples / "001_A.jpg", samples / "003_A.jpg"]
        for name, pipeline in self.searches.items():
            title, parameters = f"executor's peak memory, {name}", pipeline.parameters
            [peak] = daemon_rows.peaks(large * 6, parameters, stretches=[(0, 12)])
            yield Row(title, "(memory)", [], [peak / 2**30], "12 photographs of 36 Mpx", "GiB")
            with tempfile.TemporaryDirectory() as folder:
                first, last = daemon_rows.peaks(
                    self._mixed(Path(folder), count), parameters, stretches=[begin, end]
                )
            yield Row(
                f"{title}: images {begin[0]} to {begin[1]} / {end[0]} to {end[1]}",
                "(memory)",
                [first / 2**30],
                [last / 2**30],
                f"{count} photographs of 0.1 to 36 Mpx",
                "GiB",
            )

    def flood(self) -> Iterator[Row]:
        """The memory of a daemon and its process while clients send as much as the limits allow."""
        for size in self.options.megabytes:
            allowed, taken = daemon_rows.flood(
                self.onnx.parameters, clients=8, size=round(size * 1e6), seconds=self.options.seconds
            )
            yield Row(
                "memory for images without an answer, of what max_bytes_in_flight allows",
                "(memory)",
                [],
                [taken / allowed],
                f"8 clients send files of {size:g} MB",
                "times",
            )

    def start(self) -> Iterator[Row]:
        """The time until --help is printed."""
        for program, module in (("pyraface", "client"), ("pyraface-daemon", "daemon")):
            empty, ours = start_rows.compare(f"pyraface.{module}", turns=self.turns(15))
            yield Row(f"{program} --help", "python -c pass", empty, ours)

    def _mixed(self, folder: Path, count: int) -> list[Path]:
        """The given number of paths of photographs of all sizes and shapes; each of the largest occurs once in 25."""
        chance = np.random.default_rng(0)
        large = [self.photos / "compreface_samples" / name for name in ("001_A.jpg", "003_A.jpg")]
        small = []
        with Image.open(self.photos / "compreface_samples" / "004_A.jpg") as image:
            for number in range(min(count, 40)):
                side = np.sqrt(np.exp(chance.uniform(np.log(0.1e6), np.log(12e6))))
                width, height = round(side * chance.uniform(0.7, 1.4)), round(side * chance.uniform(0.7, 1.4))
                small.append(folder / f"{number}.jpg")
                image.resize((width, height)).save(small[-1], quality=90)
        return [
            large[number // 25 % 2] if number % 25 == 24 else small[chance.integers(len(small))]
            for number in range(count)
        ]

    def _photographs(self, folder: Path) -> Iterator[tuple[Path, float]]:
        """Real photographs of 1, 4, 12 and 36 Mpx, the smaller two shrunk."""
        twelve = self.photos / "compreface_samples" / "004_A.jpg"
        for megapixels in (1, 4):
            with Image.open(io.BytesIO(twelve.read_bytes())) as image:
                factor = (megapixels * 1e6 / (image.width * image.height)) ** 0.5
                smaller = image.resize((int(image.width * factor), int(image.height * factor)))
            smaller.save(folder / f"{megapixels}.jpg", quality=92)
            yield folder / f"{megapixels}.jpg", megapixels
        yield twelve, 12
        yield self.photos / "compreface_samples" / "001_A.jpg", 36


def numbers(text: str) -> list[float]:
    """Returns what an option lists with commas."""
    return [float(number) for number in text.split(",")]


def counts(text: str) -> list[int]:
    """Returns what an option lists with commas, whole numbers."""
    return [int(count) for count in text.split(",")]


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument(
        "--rows", default=",".join(ROWS), help="the rows, separated by commas (default: %(default)s)"
    )
    parser.add_argument(
        "--openblas", metavar="PYTHON", help="an interpreter whose dlib was built against OpenBLAS"
    )
    parser.add_argument("--photos", type=Path, default=photos_folder(), help="the shared photographs")
    parser.add_argument(
        "--parameters",
        type=Path,
        metavar="FILE.xml",
        help="the parameters of the search (default: the packaged file)",
    )
    parser.add_argument(
        "--turns",
        type=int,
        metavar="N",
        help="measurements of each row (default: 1 to 15, more for short ones)",
    )
    parser.add_argument(
        "--megapixels", type=numbers, default="0.75,3.84", help="row tile: sizes (default: %(default)s)"
    )
    parser.add_argument(
        "--faces", type=counts, default="1,8,32", help="row encode: faces per call (default: %(default)s)"
    )
    parser.add_argument(
        "--images", type=int, default=500, help="row memory: images of mixed sizes (default: %(default)s)"
    )
    parser.add_argument(
        "--megabytes",
        type=numbers,
        default="5,40,120,300",
        help="row flood: file sizes (default: %(default)s)",
    )
    parser.add_argument(
        "--seconds", type=float, default=15.0, help="row flood: duration of sending (default: %(default)s)"
    )
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="also write the table to this file")
    parser.add_argument(
        "--plot", type=Path, metavar="FILE.png", help="draw the table to this file (needs matplotlib)"
    )
    options = parser.parse_args()
    wanted = options.rows.split(",")
    if unknown := set(wanted) - set(ROWS):
        parser.error(f"no such rows: {', '.join(sorted(unknown))}")
    if not options.photos.is_dir():
        parser.error(f"{options.photos} is no folder: the photographs are needed")
    try:
        searches = {name: chosen_parameters(options.parameters, search=name) for name in SEARCHES}
    except ParametersError as error:
        parser.error(str(error))

    lines = [f"{today()}; {machine()}; {versions(*PACKAGES)}", ""]
    if not options.openblas:
        lines += ["face_recognition on OpenBLAS dlib: absent (no --openblas)", ""]
    lines.append(HEAD)
    print("\n".join(lines), flush=True)
    bench = Bench(options, searches)
    done: list[Row] = []
    for name in wanted:
        for row in getattr(bench, name)():
            done.append(row)
            lines.append(str(row))
            print(row, flush=True)
    if options.markdown:
        options.markdown.write_text("\n".join(lines) + "\n")
    if options.plot:
        ratios = {
            (row.what, row.reference): row.ratio
            for row in done
            if row.reference.startswith("face_recognition")
        }
        drawings.bars(ratios, options.plot, lines[0].partition("; face_recognition")[0])


if __name__ == "__main__":
    main()
