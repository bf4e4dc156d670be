"""HOG: face_recognition's default detector, and its CNN, against pyraface's searches: a file in, encodings out.

    python -m benchmarks.hog [--photos FOLDER] [--cnn N] [--every N] [--threads N] [--markdown FILE]

The programs take turns, picture by picture, in one process. face_recognition is called as its users call it:
load_image_file, face_locations, face_encodings, with their defaults, which upsample once. Its CNN then takes some 15 s
a megapixel on a dlib without a BLAS, so it gets the N smallest pictures of each set alone, in rows of their own. A true
face is a nose in CompreFace's noses.csv that lies in a box; a box holds one. deepface's pictures have no such list.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pyraface.core.boxes import Boxes
from pyraface.core.pipeline import Pipeline

from .common import CNN, HOG, PACKAGES, machine, photos_folder, searching, timed, today, versions
from .parity import SUFFIXES
from .reference import face_recognition

Points = NDArray[np.float64]
"""(n, 2): x, y."""


@dataclass(frozen=True, eq=False)
class Picture:
    """A file, its megapixels, and the noses in it; None where they are not known."""

    path: Path
    megapixels: float
    noses: Points | None


@dataclass
class Total:
    """What a program found in pictures, and the seconds that it took.

    boxes: of all pictures; right: boxes that hold a nose; pictures: with a box.
    """

    boxes: int = 0
    right: int = 0
    pictures: int = 0
    wall: float = 0.0
    processor: float = 0.0

    def add(self, picture: Picture, find: Callable[[Path], Boxes]) -> None:
        begin = time.process_time()
        wall, boxes = timed(partial(find, picture.path))
        self.processor += time.process_time() - begin
        self.wall += wall
        self.boxes += len(boxes)
        self.right += 0 if picture.noses is None else held(boxes, picture.noses)
        self.pictures += len(boxes) > 0


def ours(pipeline: Pipeline, path: Path) -> Boxes:
    return pipeline.detect(path).boxes


def theirs(model: str, path: Path) -> Boxes:
    """face_recognition, as its users write it."""
    image = face_recognition.load_image_file(path)
    locations = face_recognition.face_locations(image, model=model)
    face_recognition.face_encodings(image, locations)
    return np.array(
        [(left, top, right, bottom) for top, right, bottom, left in locations], np.float32
    ).reshape(-1, 4)


def held(boxes: Boxes, noses: Points) -> int:
    """Returns how many noses lie in a box, each box holding one at most."""
    waiting = list(range(len(boxes)))
    found = 0
    for x, y in noses:
        for index in waiting:
            left, top, right, bottom = boxes[index]
            if left <= x <= right and top <= y <= bottom:
                waiting.remove(index)
                found += 1
                break
    return found


def compreface(folder: Path) -> list[Picture]:
    """Returns the samples and their noses; a picture without a row has none."""
    noses: dict[str, list[tuple[float, float]]] = {}
    with (folder / "noses.csv").open(newline="") as lines:
        for row in csv.DictReader(lines):
            noses.setdefault(row["file"], []).append((float(row["x"]), float(row["y"])))
    return [
        Picture(path, _megapixels(path), np.array(noses.get(path.name, []), float).reshape(-1, 2))
        for path in sorted(folder.glob("*.jpg"))
    ]


def deepface(folder: Path) -> list[Picture]:
    paths = sorted(path for path in (folder / "images").iterdir() if path.suffix.lower() in SUFFIXES)
    return [Picture(path, _megapixels(path), None) for path in paths]


def _megapixels(path: Path) -> float:
    with Image.open(path) as image:
        return float(image.width * image.height / 1e6)


def rows(
    name: str, pictures: list[Picture], programs: Mapping[str, Callable[[Path], Boxes]]
) -> Iterator[str]:
    """Yields a row a program."""
    totals = {program: Total() for program in programs}
    for find in programs.values():
        find(pictures[0].path)  # work that happens only once is not measured
    for picture in pictures:
        for program, find in programs.items():
            totals[program].add(picture, find)
    [reference, *_] = totals.values()
    noses = [picture.noses for picture in pictures if picture.noses is not None]
    title = f"{name}: {len(pictures)} photographs, {sum(picture.megapixels for picture in pictures):.1f} Mpx"
    for program, total in totals.items():
        right = f"{total.right} of {sum(map(len, noses))}" if noses else "-"
        yield (
            f"| {title} | {program} | {right} | {total.boxes} | {total.pictures} | {total.wall:.2f} "
            f"({total.wall / reference.wall:.1f}x) | {total.processor:.2f} ({total.processor / reference.processor:.1f}x) |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.hog", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--photos", type=Path, default=photos_folder(), help="the shared photographs")
    parser.add_argument(
        "--cnn", type=int, default=4, metavar="N", help="pictures a set for its CNN (default: %(default)s)"
    )
    parser.add_argument("--every", type=int, default=1, metavar="N", help="take every Nth picture only")
    parser.add_argument("--threads", type=int, default=0, help="of the onnx engine; 0: one a core")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="also write the table to this file")
    options = parser.parse_args()
    if not options.photos.is_dir():
        parser.error(f"{options.photos} is no folder: the photographs are needed")
    sets = {
        "compreface_samples": compreface(options.photos / "compreface_samples")[:: options.every],
        "deepface_pairs": deepface(options.photos / "deepface_pairs")[:: options.every],
    }
    programs: dict[str, Callable[[Path], Boxes]] = {
        f"pyraface, {name}": partial(ours, searching(name, threads=options.threads))
        for name in ("guided", "everywhere", "most")
    }
    programs[HOG] = partial(theirs, "hog")
    lines = [f"{today()}; {machine()}; {versions(*PACKAGES)}", ""]
    lines.append("| | program | true faces | boxes | photographs with a box | wall s | CPU s |")
    lines.append("|---|---|--:|--:|--:|--:|--:|")
    print("\n".join(lines), flush=True)
    for name, pictures in sets.items():
        smallest = sorted(pictures, key=lambda picture: picture.megapixels)[: options.cnn]
        shown = list(rows(name, pictures, programs))
        if smallest:
            cnn: dict[str, Callable[[Path], Boxes]] = {**programs, CNN: partial(theirs, "cnn")}
            shown += rows(f"{name}, the smallest", smallest, cnn)
        lines += shown
        print("\n".join(shown), flush=True)
    if options.markdown:
        options.markdown.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
