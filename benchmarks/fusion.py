"""Fusion: the result for boxes that overlap, by boxes alone, by encodings alone, and by both.

    python -m benchmarks.fusion [TRUTH] [--every N] [--thresholds 0,-0.6] [--markdown FILE]

Three questions, each put to every rule:

- On photographs with truth: is each face found once, and is none lost? Candidates are found once, at the lowest threshold,
  and fused by each rule.
- The same face in two tiles or levels: do the two candidates become one? All such pairs in those photographs.
- Two people, one half behind the other: do they stay two? Composed of chips of dlib_johns, 11 of each of 5 people: an oval
  of one is laid over the other so that their boxes have a given intersection over union, and both are encoded there.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pyraface.core import boxes as geometry
from pyraface.core import fusion
from pyraface.core.boxes import Boxes
from pyraface.core.engines import Engine, Pixels, start
from pyraface.core.faces import Faces
from pyraface.core.images.decode import decode
from pyraface.core.parameters import FusionParameters
from pyraface.core.pipeline import Pipeline

from . import truth as truths
from .common import PACKAGES, machine, photos_folder, searching, today, versions
from .metrics import SMALLEST_FACE, Found, Truth, judge, summarize

OVERLAP = 0.4
"""Intersection over union from which a box is on a true face."""

Chip = tuple[str, Pixels, Boxes]
"""Whose it is, the picture, the box of the face, (4,)."""

RULES = {
    "boxes and encodings (the default)": FusionParameters(),
    "boxes only, one face from 0.5 on": FusionParameters(0.5, 0.5),
    "boxes only, from 0.4 on": FusionParameters(0.4, 0.4),
    "encodings only, of all that touch, 0.5": FusionParameters(1.0, 0.001, 0.5),
    "encodings only, of all that touch, 0.6": FusionParameters(1.0, 0.001, 0.6),
    "doubtful from 0.2 on": FusionParameters(0.5, 0.2, 0.5),
    "encodings nearer than 0.6": FusionParameters(0.5, 0.4, 0.6),
    "encodings nearer than 0.4": FusionParameters(0.5, 0.4, 0.4),
}


@dataclass(frozen=True, eq=False)
class Scene:
    """The candidates of one photograph, all that overlap another encoded, and its true faces."""

    candidates: Faces
    truth: Truth


@dataclass(frozen=True, eq=False)
class Couple:
    """Two people in one picture. overlap: intersection over union of their boxes, (2, 4)."""

    pixels: Pixels
    boxes: Boxes
    overlap: float


def scene(pipeline: Pipeline, pixels: decode.Picture, truth: Truth) -> Scene:
    """Returns a photograph's candidates, before fusion."""
    found = pipeline.search("everywhere").candidates(pixels.pixels)
    touching = fusion.doubtful(found, FusionParameters(1.0, 0.001))
    encodings = found.encodings.copy()
    encodings[touching] = pipeline.engine.encode(pixels.pixels, found.boxes[touching])
    return Scene(found.with_encodings(encodings), truth)


def same_face_pairs(scene: Scene) -> Iterator[Faces]:
    """Yields two candidates at a time that are on one true face."""
    owner = owners(scene)
    for one, other in zip(*np.nonzero(np.triu(owner[:, None] == owner[None], 1)), strict=True):
        if owner[one] >= 0:
            yield scene.candidates[np.array([one, other])]


def owners(scene: Scene) -> NDArray[np.intp]:
    """Returns the index of the true face that each candidate is on, (n,), -1 for none."""
    if not len(scene.truth.boxes):
        return np.full(len(scene.candidates), -1, np.intp)
    overlaps = geometry.iou(scene.candidates.boxes, scene.truth.boxes)
    return np.where(overlaps.max(axis=1) >= OVERLAP, overlaps.argmax(axis=1), -1)


def extremes(scenes: list[Scene]) -> str:
    """Returns a line: how far the boxes of one true face differ, and how near those of two come."""
    least, most = 1.0, 0.0
    for one in scenes:
        owner = owners(one)
        known = (owner[:, None] >= 0) & (owner[None] >= 0)
        same = owner[:, None] == owner[None]
        overlaps = geometry.iou(one.candidates.boxes, one.candidates.boxes)
        least = float(overlaps[known & same].min(initial=least))
        most = float(overlaps[known & ~same].max(initial=most))
    return f"Boxes of one face overlap by {least:.2f} at least, those of two faces by {most:.2f} at most."


def lost(scene: Scene, faces: Faces) -> int:
    """Returns how many true faces a candidate is on, but no fused face."""
    seen, kept = (
        set(judge(scene.truth, Found(one.boxes, one.confidences), OVERLAP)[1].tolist())
        for one in (scene.candidates, faces)
    )
    return len(seen - kept - {-1})


def chips(engine: Engine, folder: Path) -> list[Chip]:
    """Returns every chip on which a face is found."""
    found = []
    for file in sorted(folder.glob("*/*.jpg")):
        pixels = np.ascontiguousarray(Image.open(file).convert("RGB"))
        [seen] = engine.detect([pixels])
        if len(seen.voted):
            found.append((file.parent.name, pixels, seen.voted[0]))
    return found


def couples(people: list[Chip], count: int, most: float, seed: int = 0) -> Iterator[Couple]:
    """Yields two different people at a time, the second half over the first, their overlap even from 0 to `most`."""
    rng = np.random.default_rng(seed)
    made = 0
    while made < count:
        a, b = rng.choice(len(people), 2, replace=False)
        if people[a][0] != people[b][0]:
            yield _couple(people[a], people[b], float(rng.uniform(0, most)), rng)
            made += 1


def _couple(
    behind: Chip,
    before: Chip,
    overlap: float,
    rng: np.random.Generator,
) -> Couple:
    _, pixels, box = behind
    canvas = np.full((640, 640, 3), 110, np.uint8)
    canvas[240 : 240 + len(pixels), 240 : 240 + pixels.shape[1]] = pixels
    box = box + np.float32(240)
    side = float(box[2] - box[0])
    ratio, x, y = _place(overlap, rng)
    center = (box[:2] + box[2:]) / 2 + np.array([x, y]) * side
    _, front, face = before
    zoom = side * ratio / float(face[2] - face[0])
    size = round(front.shape[1] * zoom), round(front.shape[0] * zoom)
    front = np.asarray(Image.fromarray(front).resize(size, Image.Resampling.BICUBIC))
    middle = (face[:2] + face[2:]) / 2 * zoom
    left, top = (int(value) for value in np.rint(center - middle))
    rows, columns = np.mgrid[: len(front), : front.shape[1]]
    half = side * ratio / 2
    oval = ((columns - middle[0]) / half) ** 2 + ((rows - middle[1]) / (1.2 * half)) ** 2 <= 1
    canvas[top : top + len(front), left : left + front.shape[1]][oval] = front[oval]
    corner = np.array([left, top]) + middle
    pair = np.stack([box, np.concatenate([corner - half, corner + half])]).astype(np.float32)
    return Couple(canvas, pair, float(geometry.iou(pair[:1], pair[1:])[0, 0]))


def _place(overlap: float, rng: np.random.Generator) -> tuple[float, float, float]:
    """Returns the side of a square, and where its centre is, so that it overlaps the unit square round 0 by so much."""
    unit = np.array([[-0.5, -0.5, 0.5, 0.5]], np.float32)
    while True:
        ratio, angle = float(rng.uniform(0.7, 1.4)), float(rng.uniform(0, 2 * np.pi))
        toward = np.array([np.cos(angle), np.sin(angle)] * 2)
        square = np.array([-ratio, -ratio, ratio, ratio]) / 2

        def at(
            distance: float, toward: NDArray[np.float64] = toward, square: NDArray[np.float64] = square
        ) -> float:
            return float(geometry.iou(unit, (square + toward * distance)[None].astype(np.float32))[0, 0])

        if at(0) < overlap:
            continue
        near, far = 0.0, 2.5
        for _ in range(30):
            middle = (near + far) / 2
            near, far = (middle, far) if at(middle) > overlap else (near, middle)
        return ratio, float(toward[0] * near), float(toward[1] * near)


def table(
    scenes: list[Scene], pairs: list[Faces], composed: list[Faces], overlaps: list[float]
) -> Iterator[str]:
    """Yields a row a rule."""
    doubt = np.array(overlaps) >= FusionParameters().doubtful_overlap
    yield (
        "| | AP | precision | duplicates | faces lost | encoded an image | one face in two tiles: became one | two people: "
        "stayed two | with an overlap of 0.4 and more |"
    )
    yield "|---|--:|--:|--:|--:|--:|--:|--:|--:|"
    for name, rule in RULES.items():
        fused = [fusion.fuse(one.candidates, rule) for one in scenes]
        found = [
            (one.truth, Found(faces.boxes, faces.confidences))
            for one, faces in zip(scenes, fused, strict=True)
        ]
        summary = summarize(found, overlap=OVERLAP)
        cells = [
            f"{summary.average_precision:.3f}",
            f"{summary.precision:.3f}",
            str(summary.duplicates),
            str(sum(lost(one, faces) for one, faces in zip(scenes, fused, strict=True))),
            f"{np.mean([fusion.doubtful(one.candidates, rule).sum() for one in scenes]):.2f}",
        ]
        one = np.array([len(fusion.fuse(pair, rule)) == 1 for pair in pairs], np.bool_)
        two = np.array([len(fusion.fuse(pair, rule)) == 2 for pair in composed], np.bool_)
        cells += [_share(one, ".2%"), _share(two, ".1%"), _share(two[doubt], ".1%")]
        yield f"| {name} | {' | '.join(cells)} |"


def _share(which: NDArray[np.bool_], format: str) -> str:
    return f"{which.mean():{format}}" if len(which) else "-"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.fusion", description=(__doc__ or "").partition("\n")[0]
    )
    truths.add_arguments(parser)
    parser.add_argument("--thresholds", default="0,-0.6", help="thresholds of the detector (default: 0,-0.6)")
    parser.add_argument("--couples", type=int, default=600, help="pairs of people to compose")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="also write the tables to this file")
    options = parser.parse_args()
    try:
        pictures = truths.chosen(options)
        thresholds = [float(text) for text in options.thresholds.split(",")]
    except (truths.TruthError, ValueError) as error:
        parser.error(str(error))

    engine = start("onnx")
    composed, overlaps = [], []
    for couple in couples(chips(engine, photos_folder() / "dlib_johns"), options.couples, 0.5):
        faces = Faces.detected(couple.boxes, np.array([1, 0.9], np.float32), level=0)
        composed.append(faces.with_encodings(engine.encode(couple.pixels, couple.boxes)))
        overlaps.append(couple.overlap)
    lines = [f"{today()}; {machine()}; {versions(*PACKAGES)}", ""]
    lines.append(f"{len(pictures)} pictures; {len(composed)} pairs of two people.")
    pipeline = searching("everywhere", threshold=min(thresholds))
    scenes = []
    for number, picture in enumerate(pictures, 1):
        print(f"\r\x1b[K{number}/{len(pictures)} {picture.name}", end="", file=sys.stderr, flush=True)
        scenes.append(scene(pipeline, pipeline.decode(picture.path.read_bytes()), picture.truth))
    print(file=sys.stderr)
    count = sum(int((~one.truth.only(SMALLEST_FACE, np.inf).ignored).sum()) for one in scenes)
    for threshold in thresholds:
        above = [
            replace(one, candidates=one.candidates[one.candidates.confidences > threshold]) for one in scenes
        ]
        pairs = [pair for one in above for pair in same_face_pairs(one)]
        lines += [
            "",
            f"Threshold {threshold:g}: {count} true faces, {len(pairs)} pairs of candidates on one of them.",
            extremes(above),
            "",
        ]
        lines += table(above, pairs, composed, overlaps)
    print("\n".join(lines))
    if options.markdown:
        options.markdown.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
