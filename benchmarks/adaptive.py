"""Adaptive search: the cost of zooming and the faces found, everywhere or only where the level above responded.

    python -m benchmarks.adaptive [TRUTH] [--every N] [--rows default,adaptive,...] [--cache FOLDER] [--markdown FILE]

Every row is searched once, at the lowest threshold; the detections above a higher threshold are its result. The seconds
include the encoding of every face. "Unseen" are every second photograph, from the second on: the constants of
`core/search/adaptive.py` were chosen on the others.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pyraface.core.boxes import Boxes
from pyraface.core.engines import Detections, Engine, EngineOptions, Pixels, Tile, start
from pyraface.core.parameters import DetectionParameters
from pyraface.core.pipeline import Pipeline
from pyraface.core.search import adaptive

from . import truth as truths
from .common import PACKAGES, machine, packaged_parameters, timed, today, versions
from .metrics import Found, summarize
from .truth import Picture

OVERLAP = 0.4
THRESHOLDS = (0.0, -0.2, -0.4, -0.6)

DEFAULT = DetectionParameters()
DEEP = replace(DEFAULT, height=300, width=200, upsample=3, levels=3)
"""Tiles of the same size, zoomed up to 8 times."""

ROWS = {
    "whole": ("the whole at the budget", replace(DEFAULT, levels=1)),
    "default": ("the default: and its quadrants, up to x4", DEFAULT),
    "adaptive": ("adaptive, up to x4", replace(DEFAULT, adaptive=True)),
    "deep-adaptive": ("adaptive, up to x8, 3 levels", replace(DEEP, adaptive=True)),
    "deep": ("everywhere, up to x8, 3 levels", DEEP),
}


class Counted:
    """An engine that counts the pixels it searches."""

    def __init__(self, engine: Engine) -> None:
        self.name, self.device, self.fingerprint = engine.name, engine.device, engine.fingerprint
        self.gpu = engine.gpu
        self._engine = engine
        self.pixels = 0

    def batch_size(self, height: int, width: int) -> int:
        return self._engine.batch_size(height, width)

    def prepare(self, tile: Pixels, scales: int = 0) -> Tile:
        return self._engine.prepare(tile, scales)

    def detect(self, tiles: Sequence[Tile]) -> list[Detections]:
        self.pixels += sum(tile.shape[0] * tile.shape[1] for tile in tiles)
        return self._engine.detect(tiles)

    def encode(self, image: Pixels, boxes: Boxes) -> NDArray[np.float32]:
        return self._engine.encode(image, boxes)


@dataclass(frozen=True, eq=False)
class Seen:
    """The detections of a row in a picture, and their cost."""

    found: Found
    pixels: int
    seconds: float


def look(pictures: list[Picture], detection: DetectionParameters, cache: Path | None) -> list[Seen]:
    """Returns the detections of a row in every picture; pictures in the file `cache` are not searched again."""
    kept = {}
    if cache is not None and cache.is_file():
        kept = {line["name"]: line for line in map(json.loads, cache.read_text().splitlines())}
    packaged = packaged_parameters()
    hints = adaptive.HINT if detection.adaptive else None
    engine = Counted(start("onnx", EngineOptions(threshold=min(THRESHOLDS), hints=hints)))
    pipeline = Pipeline(replace(packaged, detection=detection), engine)
    seen = []
    for number, picture in enumerate(pictures, 1):
        print(f"\r\x1b[K{number}/{len(pictures)} {picture.name}", end="", file=sys.stderr, flush=True)
        line = kept.get(picture.name)
        if line is None:
            pixels = pipeline.decode(picture.path.read_bytes())
            if number == 1:
                pipeline.find(pixels)  # work that happens only once is not measured
            engine.pixels = 0
            seconds, faces = timed(lambda pixels=pixels: pipeline.find(pixels))  # type: ignore[misc]
            line = {"name": picture.name, "pixels": engine.pixels, "seconds": seconds}
            line |= {"boxes": faces.boxes.tolist(), "scores": faces.confidences.tolist()}
            if cache is not None:
                with cache.open("a") as stream:
                    stream.write(json.dumps(line) + "\n")
        boxes = np.array(line["boxes"], np.float32).reshape(-1, 4)
        found = Found(boxes, np.array(line["scores"], np.float32))
        seen.append(Seen(found, line["pixels"], line["seconds"]))
    print(file=sys.stderr)
    return seen


def table(pictures: list[Picture], rows: dict[str, list[Seen]]) -> Iterator[str]:
    """Yields a row a way to zoom and threshold."""
    yield (
        "| | threshold | AP | recall | precision | duplicates | false positives | megapixels an image | seconds an image |"
    )
    yield "|---|--:|--:|--:|--:|--:|--:|--:|--:|"
    for name, seen in rows.items():
        for threshold in THRESHOLDS:
            pairs = [
                (picture.truth, one.found.above(threshold))
                for picture, one in zip(pictures, seen, strict=True)
            ]
            all_of_it = summarize(pairs, overlap=OVERLAP)
            cells = [
                f"{threshold:g}",
                *(f"{x:.3f}" for x in (all_of_it.average_precision, all_of_it.recall, all_of_it.precision)),
                f"{all_of_it.duplicates}",
                f"{all_of_it.wrong}",
                f"{np.mean([one.pixels for one in seen]) / 1e6:.1f}",
                f"{np.mean([one.seconds for one in seen]):.2f}",
            ]
            yield f"| {name} | {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.adaptive", description=(__doc__ or "").partition("\n")[0]
    )
    truths.add_arguments(parser)
    parser.add_argument(
        "--rows", default="whole,default,adaptive,deep-adaptive", help=f"of {', '.join(ROWS)}"
    )
    parser.add_argument("--cache", type=Path, metavar="FOLDER", help="keep detections in this folder")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="also write the tables to this file")
    options = parser.parse_args()
    wanted = options.rows.split(",")
    if unknown := set(wanted) - set(ROWS):
        parser.error(f"no such rows: {', '.join(sorted(unknown))}; there are {', '.join(ROWS)}")
    try:
        pictures = truths.chosen(options)
    except truths.TruthError as error:
        parser.error(str(error))
    rows = {}
    for key in wanted:
        name, detection = ROWS[key]
        if options.cache is not None:
            options.cache.mkdir(parents=True, exist_ok=True)
        rows[name] = look(pictures, detection, options.cache / f"{key}.jsonl" if options.cache else None)
    lines = [f"{today()}; {machine()}; {versions(*PACKAGES)}"]
    for title, part in (("All", slice(None)), ("Unseen", slice(1, None, 2))):
        some = pictures[part]
        if some:
            lines += ["", f"{title} {len(some)} pictures:", ""]
            lines += table(some, {name: seen[part] for name, seen in rows.items()})
    print("\n".join(lines))
    if options.markdown:
        options.markdown.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
