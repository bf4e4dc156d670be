"""Encodings: how well their distance tells whether two photographs show one person, for pyraface and face_recognition.

    python -m benchmarks.encodings [--markdown FILE]

On deepface_pairs, the published pairs; on face_recognition_knn, every pair of photographs of one person each. In each
photograph the largest face counts. "face_recognition" are its boxes and encodings, of the photograph at its own size,
without upsampling, by the onnx engine, which gives the same (`benchmarks.parity`). A row more for each size: the
photographs shrunk until the face has so many pixels, to see from which size on an encoding is worth comparing.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pyraface.core import boxes as geometry
from pyraface.core.boxes import Boxes
from pyraface.core.engines import Engine, EngineOptions, Pixels, start
from pyraface.core.images.decode import Picture, decode
from pyraface.core.parameters import SEARCHES, ImageLimits
from pyraface.core.pipeline import Pipeline

from .common import PACKAGES, machine, packaged_parameters, photos_folder, today, versions

SIZES = (20, 30, 40, 60, 80, 120)
"""Pixels: sides of the face's box."""

Pair = tuple[str, str, bool]
Encode = Callable[[Pixels], NDArray[np.float32]]
"""From a photograph to the encoding of its largest face, (1, 128), or (0, 128) where none is found."""


def published(folder: Path) -> list[Pair]:
    """Returns deepface's pairs: two files, and whether they show one person."""
    with (folder / "pairs.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [(f"images/{row['file_x']}", f"images/{row['file_y']}", row["same"] == "Yes") for row in rows]


def by_person(folder: Path) -> list[Pair]:
    """Returns every pair of face_recognition's photographs of one person."""
    people = {str(file.relative_to(folder)): file.parent.name for file in sorted(folder.glob("train/*/*"))}
    people |= {
        "test/alex_lacamoire1.jpg": "alex_lacamoire",
        "test/johnsnow_test1.jpg": "kit_harington",
        "test/obama1.jpg": "obama",
    }
    return [(a, b, people[a] == people[b]) for a, b in itertools.combinations(people, 2)]


def plain(engine: Engine) -> Encode:
    """Returns what face_recognition does with a photograph."""

    def encode(pixels: Pixels) -> NDArray[np.float32]:
        [found] = engine.detect([pixels])
        return engine.encode(pixels, _largest(found.boxes))

    return encode


def ours(pipeline: Pipeline) -> Encode:
    """Returns what pyraface does with a photograph."""

    def encode(pixels: Pixels) -> NDArray[np.float32]:
        faces = pipeline.find(Picture.whole(pixels))
        areas = geometry.areas(faces.boxes)
        return faces.encodings[np.argsort(-areas)[:1]]

    return encode


def shrunk(engine: Engine, side: int) -> Encode:
    """Returns what an encoding is worth of a face that has so many pixels, found where it was before it was shrunk."""

    def encode(pixels: Pixels) -> NDArray[np.float32]:
        [found] = engine.detect([pixels])
        box = _largest(found.boxes)
        if not len(box):
            return engine.encode(pixels, box)
        factor = min(1.0, side / float(box[0, 2] - box[0, 0]))
        size = round(pixels.shape[1] * factor), round(pixels.shape[0] * factor)
        small = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS))
        return engine.encode(small, box * np.float32(factor))

    return encode


def _largest(boxes: Boxes) -> Boxes:
    return boxes[np.argsort(-geometry.areas(boxes))[:1]]


def distances(
    folder: Path, pairs: list[Pair], encode: Encode
) -> tuple[NDArray[np.float64], NDArray[np.bool_], int]:
    """Returns the distance of each pair and whether it is one person; and in how many photographs no face was found."""
    names = sorted({name for a, b, _ in pairs for name in (a, b)})
    encodings = {}
    for number, name in enumerate(names, 1):
        print(f"\r\x1b[K{number}/{len(names)} {name}", end="", file=sys.stderr, flush=True)
        pixels = decode((folder / name).read_bytes(), ImageLimits()).pixels
        encodings[name] = encode(np.ascontiguousarray(pixels))
    print(file=sys.stderr)
    missing = sum(1 for one in encodings.values() if not len(one))
    known = [(a, b, same) for a, b, same in pairs if len(encodings[a]) and len(encodings[b])]
    apart = [float(np.linalg.norm(encodings[a] - encodings[b])) for a, b, _ in known]
    return np.array(apart), np.array([same for _, _, same in known], np.bool_), missing


def accuracy(apart: NDArray[np.float64], same: NDArray[np.bool_], threshold: float) -> float:
    """Returns the share of pairs that are told right when those nearer than the threshold are one person."""
    return float(((apart < threshold) == same).mean())


def best(apart: NDArray[np.float64], same: NDArray[np.bool_]) -> tuple[float, float]:
    """Returns the threshold that tells most pairs right, and their share."""
    thresholds = np.arange(0.3, 1.0, 0.005)
    shares = [accuracy(apart, same, float(threshold)) for threshold in thresholds]
    index = int(np.argmax(shares))
    return float(thresholds[index]), shares[index]


def table(rows: dict[str, Encode], sets: dict[str, tuple[Path, list[Pair]]]) -> Iterator[str]:
    """Yields a row a way to encode and set of pairs."""
    yield "| | pairs | of one person | no face in | right at 0.6 | right at the best threshold | which is |"
    yield "|---|--:|--:|--:|--:|--:|--:|"
    for title, (folder, pairs) in sets.items():
        for name, encode in rows.items():
            apart, same, missing = distances(folder, pairs, encode)
            threshold, share = best(apart, same)
            yield (
                f"| {title}: {name} | {len(same)} | {same.sum()} | {missing} | {accuracy(apart, same, 0.6):.2%} | "
                f"{share:.2%} | {threshold:.3f} |"
            )


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.encodings", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="also write the tables to this file")
    options = parser.parse_args()
    photos = photos_folder()
    engine = start("onnx")
    sets = {
        "deepface": (photos / "deepface_pairs", published(photos / "deepface_pairs")),
        "knn": (photos / "face_recognition_knn", by_person(photos / "face_recognition_knn")),
    }
    rows = {"face_recognition": plain(engine)}
    rows |= {
        f"pyraface, {name}": ours(Pipeline(packaged_parameters(search=name), engine)) for name in SEARCHES
    }
    rows |= {
        "face_recognition, 10 jitters": plain(start("onnx", EngineOptions(jitters=10))),
        "face_recognition, 68 landmarks": plain(start("onnx", EngineOptions(landmarks=68))),
    }
    sizes = {f"a face of {side} px": shrunk(engine, side) for side in SIZES}
    lines = [f"{today()}; {machine()}; {versions(*PACKAGES)}", "", *table(rows, sets), ""]
    lines += table(sizes, {"deepface": sets["deepface"]})
    print("\n".join(lines))
    if options.markdown:
        options.markdown.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
