"""Regions: how many names land on the right face, by several rules, and what reading and matching them takes.

    python -m benchmarks.regions [TRUTH] [--every N] [--markdown FILE]

Composed cases: the true faces of photographs, each photograph at the eight orientations. Its faces are squares as a detector
finds them; its regions are the same faces as people draw them: as large, around the hair, with the shoulders, or from eyes
to mouth. Some faces have no region, some regions no face, and one lies around two neighbours. Each frame of programs occurs.

Photographs of other programs (xmp_regions): each region, and the face that it lands on.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from pyraface.client.people.frames import placed, turned
from pyraface.client.people.matching import SHARED, Weights, assignment, match, nearness
from pyraface.client.people.photographs import RegionReader
from pyraface.client.people.regions import Area, Areas, Box, PhotographSize, Region
from pyraface.core import boxes as geometry
from pyraface.core.boxes import Boxes
from pyraface.core.images.decode import decode
from pyraface.core.images.packets import metadata_of

from . import truth as truths
from .common import PACKAGES, machine, photos_folder, searching, today, versions

SMALLEST = 20
"""Pixels of the shorter side from which a true face counts."""

STYLES = {
    "as large": (1.0, 0.0),
    "hair": (1.35, -0.1),
    "shoulders": (2.0, 0.3),
    "eyes to mouth": (0.65, 0.05),
}
"""How people draw: times the face's side, and how much lower, in sides of the face."""

WRITERS = ("MWG", "MWG, size upright", "MWG, no size", "Microsoft, upright", "Microsoft, stored")

BACK = {6: 8, 8: 6}


@dataclass(frozen=True, eq=False)
class Case:
    """A photograph of which the truth is known. faces: of the regions, by place; None: no face at all."""

    regions: tuple[Region, ...]
    faces: Boxes
    owners: tuple[int | None, ...]
    picture: PhotographSize


Rule = Callable[[Boxes, Boxes], dict[int, int]]
"""Returns, of regions and faces, the face of each region that has one."""


def cases(pictures: Sequence[truths.Picture]) -> Iterator[Case]:
    """Yields the composed cases, eight a picture; the same in every run."""
    random = np.random.default_rng(0)
    for picture in pictures:
        sides = picture.truth.boxes[:, 2:] - picture.truth.boxes[:, :2]
        boxes = picture.truth.boxes[~picture.truth.ignored & (sides.min(axis=1) >= SMALLEST)]
        if not len(boxes):
            continue
        data = picture.path.read_bytes()
        size = metadata_of(lambda at, length, data=data: data[at : at + length]).upright
        assert size is not None
        for orientation in range(1, 9):
            yield _case(boxes, PhotographSize(*size, orientation), random)


def _case(true: Boxes, picture: PhotographSize, random: np.random.Generator) -> Case:
    centres, sides = (true[:, :2] + true[:, 2:]) / 2, np.sqrt(geometry.areas(true))
    found = random.random(len(true)) < 0.9
    faces = _squares(centres, sides, 0.08, random)[found]
    places = np.cumsum(found) - 1
    scale, lower = STYLES[list(STYLES)[random.integers(len(STYLES))]]
    drawn = _squares(centres + np.stack([0 * sides, lower * sides], axis=1), scale * sides, 0.1, random)
    shares: list[tuple[Box, int | None]] = []
    for at in random.permutation(len(true)).tolist():
        if random.random() < 0.8:
            shares.append((_share(drawn[at], picture), int(places[at]) if found[at] else None))
    if random.random() < 0.3 and len(true) > 1:
        pair = true[np.argsort(np.abs(centres - centres[0]).sum(axis=1))[:2]]
        shares.append(
            (_share(np.concatenate([pair[:, :2].min(axis=0), pair[:, 2:].max(axis=0)]), picture), None)
        )
    if random.random() < 0.3:
        corner = random.random(2) * (picture.width, picture.height) * 0.8
        shares.append((_share(np.concatenate([corner, corner + sides.mean()]), picture), None))
    writer = WRITERS[random.integers(len(WRITERS))]
    areas = tuple(_written(share, str(at), writer, picture) for at, (share, _) in enumerate(shares))
    regions = placed(Areas(areas), picture).regions
    owners = tuple(shares[int(region.name or 0)][1] for region in regions)
    return Case(regions, faces, owners, picture)


def _squares(centres: np.ndarray, sides: np.ndarray, jitter: float, random: np.random.Generator) -> Boxes:
    halves = (sides * random.normal(1, jitter, len(sides)).clip(0.7, 1.3) / 2)[:, None]
    middles = centres + random.normal(0, jitter, centres.shape) * sides[:, None]
    return np.concatenate([middles - halves, middles + halves], axis=1).astype(np.float32)


def _share(box: np.ndarray, picture: PhotographSize) -> Box:
    left, top, right, bottom = (float(side) for side in box)
    return left / picture.width, top / picture.height, right / picture.width, bottom / picture.height


def _written(share: Box, name: str, writer: str, picture: PhotographSize) -> Area:
    """Returns a region of the upright picture as a program writes it."""
    stored = turned(share, BACK.get(picture.orientation, picture.orientation))
    if writer.startswith("Microsoft"):
        return Area(name, "Face", stored if writer.endswith("stored") else share, "microsoft")
    sizes = {"MWG": picture.stored, "MWG, size upright": (picture.width, picture.height)}
    return Area(name, "Face", stored, "mwg", size=sizes.get(writer))


def first_come(boxes: Boxes, faces: Boxes, times: float) -> dict[int, int]:
    """Each region takes the first face that it may have and that is left."""
    possible = shared(boxes, faces, times) > 0
    found: dict[int, int] = {}
    for region in range(len(boxes)):
        left = [face for face in np.flatnonzero(possible[region]).tolist() if face not in found.values()]
        if left:
            found[region] = left[0]
    return found


def largest(boxes: Boxes, faces: Boxes, times: float) -> dict[int, int]:
    """Each region takes the face with the largest overlap, whether another region has it or not."""
    weights = shared(boxes, faces, times)
    return {at: int(row.argmax()) for at, row in enumerate(weights) if len(row) and row.max() > 0}


def shared(boxes: Boxes, faces: Boxes, times: float) -> Weights:
    """Returns the share of the smaller one's area that each region and face have in common, 0 if they cannot be one."""
    areas, face_areas = geometry.areas(boxes)[:, None], geometry.areas(faces)[None, :]
    smaller, larger = np.minimum(areas, face_areas), np.maximum(areas, face_areas)
    share = geometry.intersections(boxes, faces) / np.maximum(smaller, 1e-9)
    return np.where((share > SHARED) & (larger <= times * smaller), share, 0.0)


def overlaps(boxes: Boxes, faces: Boxes, times: float) -> Weights:
    """Returns intersection over union of each region and face, 0 if they cannot be one."""
    return np.where(shared(boxes, faces, times) > 0, geometry.iou(boxes, faces), 0.0)


def optimal(weights: Callable[[Boxes, Boxes], Weights]) -> Rule:
    """Returns the rule that gives the largest total weight."""
    return lambda boxes, faces: dict(assignment(weights(boxes, faces)))


RULES: dict[str, Rule] = {
    "at most 5 times the area, first come": partial(first_come, times=5),
    "at most 5 times, the largest overlap over the smaller area": partial(largest, times=5),
    "at most 5 times, optimal by the overlap over the smaller area": optimal(partial(shared, times=5)),
    "at most 5 times, optimal by intersection over union": optimal(partial(overlaps, times=5)),
    "at most 8 times, first come": partial(first_come, times=8),
    "at most 8 times, optimal by the overlap over the smaller area": optimal(partial(shared, times=8)),
    "at most 8 times, optimal by intersection over union": optimal(partial(overlaps, times=8)),
    "at most 8 times, optimal by the distance of the middles (pyraface)": optimal(nearness),
}


def composed(pictures: Sequence[truths.Picture]) -> Iterator[str]:
    """Yields a row a rule."""
    every = list(cases(pictures))
    names = sum(owner is not None for case in every for owner in case.owners)
    others = sum(len(case.owners) for case in every) - names
    yield f"{len(every)} composed cases, {names} names with a face, {others} regions without one"
    yield ""
    yield "| rule | names on the right face | names on a wrong face | regions without a face that took one |"
    yield "|---|--:|--:|--:|"
    moved = [match(case.regions, case.faces, case.picture).boxes for case in every]
    written = [geometry.as_boxes([region.box for region in case.regions]) for case in every]
    rows = [(title, rule, moved) for title, rule in RULES.items()]
    rows.append(("the same, frames as the files say", optimal(nearness), written))
    for title, rule, boxes in rows:
        right = wrong = taken = 0
        for case, each in zip(every, boxes, strict=True):
            for region, face in rule(each, case.faces).items():
                owner = case.owners[region]
                right += owner == face
                wrong += owner not in (None, face)
                taken += owner is None
        yield f"| {title} | {right / names:.1%} | {wrong / names:.2%} | {taken} |"


def photographs(folder: Path) -> Iterator[str]:
    """Yields a row a region of the photographs of other programs, and what reading them takes."""
    pipeline, reader = searching("guided"), RegionReader()
    yield "| photograph | region | scheme | overlap with its face (IoU) |"
    yield "|---|---|---|--:|"
    seconds = []
    for path in sorted(folder.glob("*.[jp][pn]g")):
        image = decode(path.read_bytes(), pipeline.parameters.images)
        picture = PhotographSize(image.width, image.height, image.orientation)
        faces = pipeline.find(image).boxes
        found = reader.read(path, picture)
        matched = match(found.regions, faces, picture)
        overlaps = {pair.region: f"{pair.overlap:.2f}" for pair in matched.pairs}
        for at, region in enumerate(found.regions):
            yield f"| {path.name} | {region.name or '(no name)'} | {region.scheme} | {overlaps.get(at, 'no face')} |"
        for _ in range(20):
            begin = time.perf_counter()
            match(reader.read(path, picture).regions, faces, picture)
            seconds.append(time.perf_counter() - begin)
    yield ""
    usual, most = 1000 * statistics.median(seconds), 1000 * max(seconds)
    yield f"reading and matching a photograph: {usual:.2f} ms, at most {most:.2f} ms"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.regions", description=(__doc__ or "").partition("\n")[0]
    )
    truths.add_arguments(parser)
    parser.add_argument(
        "--photos", type=Path, default=photos_folder() / "xmp_regions", help="photographs with regions"
    )
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="also write the tables to this file")
    options = parser.parse_args()
    try:
        pictures = truths.chosen(options)
    except truths.TruthError as error:
        parser.error(str(error))
    lines = []
    head = f"{today()}; {machine()}; {versions(*PACKAGES)}"
    for line in itertools.chain([head, ""], composed(pictures), [""], photographs(options.photos)):
        lines.append(line)
        print(line, flush=True)
    if options.markdown:
        options.markdown.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
