"""Turned: how many faces are found, recognised and told apart in photographs that are turned or tilted.

    python -m benchmarks.turned [TRUTH] [--every N] [--searches guided,everywhere] [--markdown FILE]

deepface's photographs, each with its largest face, are turned by quarter turns and tilted by less; the faces are compared
with themselves upright and with each other. The last line counts the faces of TRUTH, of people who stand and sit, that are
declared turned.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from pyraface.core import boxes as geometry
from pyraface.core.boxes import Boxes
from pyraface.core.engines import Pixels
from pyraface.core.faces import Face
from pyraface.core.images.decode import Picture, decode
from pyraface.core.parameters import SEARCHES, ImageLimits
from pyraface.core.pipeline import Pipeline

from . import truth as truths
from .common import PACKAGES, machine, photos_folder, searching, today, versions
from .encodings import Pair, accuracy, published

TURNS = (0, 90, 180, 270)
TILTS = (15, 30, 45, 60, 75)
"""Degrees clockwise."""
GRAY = (123, 117, 104)
"""Of the corners that a tilted photograph does not fill."""
SAME_PLACE = 0.3
"""The least intersection over union of a face and the place where it must be."""


@dataclass(frozen=True, eq=False)
class Photograph:
    """A photograph with a face: its name, its pixels upright, and the face in them."""

    name: str
    pixels: Pixels
    face: Face


def photographs(pipeline: Pipeline, folder: Path, pairs: list[Pair]) -> list[Photograph]:
    """Returns the photographs of a set in which a face is found, each with its largest."""
    found = []
    for name in sorted({name for a, b, _ in pairs for name in (a, b)}):
        pixels = np.ascontiguousarray(decode((folder / name).read_bytes(), ImageLimits()).pixels)
        faces = pipeline.find(Picture.whole(pixels))
        if len(faces):
            found.append(Photograph(name, pixels, faces[int(geometry.areas(faces.boxes).argmax())]))
    return found


def rotated(one: Photograph, degrees: int) -> tuple[Pixels, Boxes]:
    """Returns a photograph rotated clockwise, and the place of its face there, (1, 4)."""
    picture = Image.fromarray(one.pixels)
    whole = picture.rotate(-degrees, Image.Resampling.BICUBIC, expand=True, fillcolor=GRAY)
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    center = (one.face.box[:2] + one.face.box[2:]) / 2
    moved = turn @ (center - np.array(picture.size) / 2) + np.array(whole.size) / 2
    half = (one.face.box[2:] - one.face.box[:2]).mean() / 2
    return np.asarray(whole), np.concatenate([moved - half, moved + half]).astype(np.float32)[None]


def seen(pipeline: Pipeline, one: Photograph, degrees: int) -> Face | None:
    """Returns the photograph's face as it is found when the photograph is rotated."""
    pixels, place = rotated(one, degrees)
    faces = pipeline.find(Picture.whole(pixels))
    overlaps = geometry.iou(faces.boxes, place)[:, 0]
    if not len(faces) or overlaps.max() < SAME_PLACE:
        return None
    return faces[int(overlaps.argmax())]


def table(pipelines: dict[str, Pipeline], folder: Path) -> Iterator[str]:
    """Yields a row a search and a rotation."""
    pairs = published(folder)
    yield (
        "| search | turned clockwise by | found | then turned upright by 0, 90, 180, 270 | from itself upright (median) "
        "| nearer than 0.6 to itself | strangers nearer than 0.6 | published pairs right at 0.6 |"
    )
    yield "|---|--:|--:|---|--:|--:|--:|--:|"
    for search, pipeline in pipelines.items():
        upright = photographs(pipeline, folder, pairs)
        for degrees in (*TURNS, *TILTS):
            print(f"\r\x1b[K{search}, {degrees} degrees", end="", file=sys.stderr, flush=True)
            yield f"| {search} | {degrees} | {_row(pipeline, upright, degrees, pairs)} |"
    print(file=sys.stderr)


def strangers(pairs: list[Pair]) -> list[tuple[str, str]]:
    """Returns every pair of photographs of two people, by the published pairs of one."""
    people = {name: {name} for a, b, _ in pairs for name in (a, b)}
    for a, b, same in pairs:
        if same:
            one = people[a] | people[b]
            people.update(dict.fromkeys(one, one))
    return [(a, b) for a, b in itertools.combinations(sorted(people), 2) if b not in people[a]]


def _row(pipeline: Pipeline, upright: list[Photograph], degrees: int, pairs: list[Pair]) -> str:
    faces = [(one, seen(pipeline, one, degrees)) for one in upright]
    found = {one.name: face for one, face in faces if face is not None}
    own = np.array([_apart(one.face, face) for one, face in faces if face is not None])
    known = [(a, b, same) for a, b, same in pairs if a in found and b in found]
    apart = np.array([_apart(found[a], found[b]) for a, b, _ in known])
    same = np.array([same for *_, same in known], np.bool_)
    others = np.array([_apart(found[a], found[b]) for a, b in strangers(pairs) if a in found and b in found])
    turned = [sum(face.turned == turn for face in found.values()) for turn in TURNS]
    return " | ".join(
        [
            f"{len(found)} of {len(upright)}",
            ", ".join(map(str, turned)),
            f"{np.median(own):.2f}" if len(own) else "-",
            f"{(own < 0.6).sum()} of {len(own)}",
            f"{(others < 0.6).sum()} of {len(others)}",
            f"{accuracy(apart, same, 0.6):.1%}" if len(known) else "-",
        ]
    )


def _apart(a: Face, b: Face) -> float:
    return float(np.linalg.norm(a.encoding - b.encoding))


def declared(pipeline: Pipeline, pictures: list[truths.Picture]) -> str:
    """Returns a line: how many faces of upright photographs are declared turned."""
    faces = turned = 0
    for number, picture in enumerate(pictures, 1):
        print(f"\r\x1b[K{number}/{len(pictures)} {picture.name}", end="", file=sys.stderr, flush=True)
        found = pipeline.find(pipeline.decode(picture.path.read_bytes()))
        faces += len(found)
        turned += int((found.turned != 0).sum())
    print(file=sys.stderr)
    return f"Upright photographs: {turned} of {faces} faces in {len(pictures)} are declared turned."


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.turned", description=(__doc__ or "").partition("\n")[0]
    )
    truths.add_arguments(parser)
    parser.add_argument("--searches", default="guided", help="with commas between; default: guided")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="where to write the table, too")
    options = parser.parse_args()
    names = options.searches.split(",")
    if unknown := set(names) - set(SEARCHES):
        parser.error(f"there is no search {min(unknown)!r}: choose from {', '.join(SEARCHES)}")
    try:
        pictures = truths.chosen(options)
    except truths.TruthError as error:
        parser.error(str(error))
    pipelines = {name: searching(name) for name in names}
    lines = [f"{today()}; {machine()}; {versions(*PACKAGES)}", ""]
    lines += table(pipelines, photos_folder() / "deepface_pairs")
    lines += ["", declared(pipelines[names[0]], pictures)]
    print("\n".join(lines))
    if options.markdown:
        options.markdown.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
