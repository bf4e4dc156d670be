"""Occlusion: encodings of faces cut by the edge of the photograph or covered, and the flag `comparable` that drops them.

    python -m benchmarks.occlusion [--search SEARCH] [--shares S,S,...] [--every N] [--markdown FILE]

The largest face of each photograph whose person is known is hidden in part: the photograph is cut so that a share of the
face's box is missing at one of its four sides, or that part of it is covered with a piece of the same photograph. Then the
photograph is searched, and the face encoded, as usual. The thresholds are chosen on every second photograph, from the first
on, and judged on the others. Last, the faces of WIDER FACE by the detector's confidence: two faces in one photograph are two
people, so that their encodings should be apart.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pyraface.core import boxes as geometry
from pyraface.core import quality
from pyraface.core.boxes import Boxes
from pyraface.core.engines import Pixels
from pyraface.core.faces import Faces
from pyraface.core.images.decode import Picture
from pyraface.core.parameters import DetectionParameters, EncodingParameters
from pyraface.core.pipeline import Pipeline

from . import truth as truths
from .common import PACKAGES, machine, packaged_parameters, photos_folder, today, versions
from .encodings import Pair, by_person, published
from .metrics import Found, Verdict, judge
from .quality import chips

SIDES = ("left", "top", "right", "bottom")
CUT, COVERED = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6), (0.2, 0.3, 0.4, 0.5)
"""Shares of the face's box that are hidden."""
NEAR = 0.6
SAME_FACE = 0.3
"""The least intersection over union of a detection and what is left of the face."""
THRESHOLDS = (
    (0.0, -1.0),
    (0.0, 0.6),
    (0.7, -1.0),
    (0.65, 0.6),
    (0.7, 0.4),
    (0.7, 0.6),
    (0.7, 0.8),
    (0.75, 0.6),
)
"""least_inside and least_confidence: none, each by itself, and both."""
CONFIDENCES = (-1.0, 0.0, 0.6, 0.8, 1.0, 1.05, 2.0)


@dataclass(frozen=True, eq=False)
class Face:
    """A photograph round its largest face. box: (4,), in pixels of it."""

    pixels: Pixels
    box: Boxes


@dataclass(frozen=True, eq=False)
class View:
    """A face hidden in part, as the search found it.

    way: "whole", "cut" or "covered", side and share say how it was hidden; name: of the photograph; odd: whether it is a
    second one, of the judging ones; found: one face, or none.
    """

    way: str
    side: str
    share: float
    name: str
    odd: bool
    found: Faces


@dataclass(frozen=True, eq=False)
class Set:
    """The views of all photographs of a set, and its pairs."""

    views: list[View]
    pairs: list[Pair]


def largest(pipeline: Pipeline, file: Path) -> Face | None:
    """Returns the largest face that the search finds in a photograph, and as much again round it."""
    pixels = pipeline.decode(file.read_bytes()).pixels
    found = pipeline.find(Picture.whole(np.ascontiguousarray(pixels))).boxes
    if not len(found):
        return None
    box = found[np.argmax(geometry.areas(found))]
    side = float((box[2:] - box[:2]).max())
    height, width, _ = pixels.shape
    left, top = (max(0, int(edge - side)) for edge in box[:2])
    right, bottom = min(width, int(box[2] + side)), min(height, int(box[3] + side))
    return Face(pixels[top:bottom, left:right], box - np.array([left, top, left, top], np.float32))


def hidden(face: Face, shares: Sequence[float]) -> Iterator[tuple[str, str, float, Pixels, Boxes]]:
    """Yields the face as it is, cut and covered: way, side, share, the picture, and the box of what is left of the face."""
    yield "whole", "", 0.0, face.pixels, face.box
    height, width, _ = face.pixels.shape
    for side, share in itertools.product(SIDES, [share for share in CUT if share in shares]):
        left, top, right, bottom = _remaining(face.box, side, share, (width, height))
        pixels = np.ascontiguousarray(face.pixels[top:bottom, left:right])
        box = face.box - np.array([left, top, left, top], np.float32)
        yield "cut", side, share, pixels, geometry.clip(box[None], right - left, bottom - top)[0]
    for side, share in itertools.product(SIDES, [share for share in COVERED if share in shares]):
        yield "covered", side, share, _covered(face, side, share), face.box


def _remaining(box: Boxes, side: str, share: float, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """The part of a picture, `size` pixels, in which the share of a box at its side is missing."""
    start, end = (
        np.rint(box[:2] + share * (box[2:] - box[:2])),
        np.rint(box[2:] - share * (box[2:] - box[:2])),
    )
    edges = {"left": (0, start[0]), "top": (1, start[1]), "right": (2, end[0]), "bottom": (3, end[1])}
    part = [0, 0, *size]
    part[edges[side][0]] = int(edges[side][1])
    return part[0], part[1], part[2], part[3]


def _covered(face: Face, side: str, share: float) -> Pixels:
    """The picture with its lower left corner, enlarged, before the share of the face at a side."""
    height, width, _ = face.pixels.shape
    left, top, right, bottom = np.clip(np.rint(face.box).astype(int), 0, [width, height] * 2).tolist()
    kept = _remaining(face.box, side, share, (width, height))
    if side in ("left", "top"):
        right, bottom = (kept[0], bottom) if side == "left" else (right, kept[1])
    else:
        left, top = (kept[2], top) if side == "right" else (left, kept[3])
    corner = Image.fromarray(np.ascontiguousarray(face.pixels[-height // 6 :, : width // 6]))
    pixels = face.pixels.copy()
    pixels[top:bottom, left:right] = np.asarray(corner.resize((right - left, bottom - top)))
    return pixels


def looked_at(
    pipeline: Pipeline, folder: Path, pairs: list[Pair], every: int, shares: Sequence[float]
) -> Set:
    """Returns what the search finds of the largest face of every n-th photograph of a set."""
    views = []
    names = sorted({name for a, b, _ in pairs for name in (a, b)})[::every]
    for number, name in enumerate(names):
        print(f"\r\x1b[K{number + 1}/{len(names)} {name}", end="", file=sys.stderr, flush=True)
        if (face := largest(pipeline, folder / name)) is None:
            continue
        for way, side, share, pixels, box in hidden(face, shares):
            faces = pipeline.find(Picture.whole(np.ascontiguousarray(pixels)))
            same = np.flatnonzero(geometry.iou(faces.boxes, box[None])[:, 0] >= SAME_FACE)[:1]
            views.append(View(way, side, share, name, number % 2 == 1, faces[same]))
    print(file=sys.stderr)
    return Set(views, pairs)


def by_side(looked: Set) -> Iterator[str]:
    """Yields a row a way, share and side."""
    yield (
        "| deepface's faces | found | inside | confidence | from its whole self | comparable "
        "| two such strangers nearer than 0.6 | where both are comparable |"
    )
    yield "|---|--:|--:|--:|--:|--:|--:|--:|"
    whole = {view.name: view.found for view in looked.views if view.way == "whole"}
    for key in dict.fromkeys((view.way, view.share, view.side) for view in looked.views):
        group = [view for view in looked.views if (view.way, view.share, view.side) == key]
        seen = [view for view in group if len(view.found)]
        name = f"{key[0]}, {key[1]:.0%} at the {key[2]}" if key[2] else key[0]
        if not seen:
            yield f"| {name} | 0 of {len(group)} | - | - | - | 0% | - | - |"
            continue
        found = Faces.concatenate([view.found for view in seen])
        drift = [
            np.linalg.norm(view.found.encodings - whole[view.name].encodings)
            for view in seen
            if len(whole[view.name])
        ]
        kept = [view for view in seen if view.found.comparable[0]]
        near, near_kept = _near(seen, looked.pairs), _near(kept, looked.pairs)
        yield (
            f"| {name} | {len(seen)} of {len(group)} | {np.median(found.inside):.2f} | {np.median(found.confidences):.2f} | "
            f"{np.median(drift):.2f} | {found.comparable.sum() / len(group):.0%} | {near} | {near_kept} |"
        )


def _near(views: list[View], pairs: list[Pair]) -> str:
    """How many of the pairs of two people are nearer than NEAR, of views of one way."""
    found = {view.name: view.found.encodings[0] for view in views}
    apart = np.array(
        [
            np.linalg.norm(found[a] - found[b])
            for a, b, same in pairs
            if not same and a in found and b in found
        ]
    )
    return f"{(apart < NEAR).sum()} of {len(apart)}"


def by_thresholds(sets: Sequence[Set]) -> Iterator[str]:
    """Yields two rows a pair of thresholds: the photographs that they are chosen on, and the others; all sets together."""
    yield (
        "| least_inside, least_confidence | photographs | comparable: whole | cut by 10% | 20% | 30% | 40% | 50% | 60% "
        "| covered by 20% | 30% | 40% | 50% | with a whole one: right at 0.6 | one person missed | strangers taken "
        "| two such: right at 0.6 | one person missed | strangers taken |"
    )
    yield f"|---|---|{'--:|' * 17}"
    kinds = [("whole", 0.0), *(("cut", share) for share in CUT), *(("covered", share) for share in COVERED)]
    for (inside, confidence), odd in itertools.product(THRESHOLDS, (False, True)):
        thresholds = replace(EncodingParameters(), least_inside=inside, least_confidence=confidence)
        kept: list[tuple[View, bool]] = []
        pairs: list[NDArray[np.float64]] = []
        for one in sets:
            views = [(view, _comparable(view.found, thresholds)) for view in one.views if view.odd == odd]
            kept += views
            pairs.append(_distances(one, [view for view, ok in views if ok]))
        shares = [_percent([ok for view, ok in kept if (view.way, view.share) == kind]) for kind in kinds]
        apart, same, alike = np.concatenate(pairs).T
        cells = [_told(apart[alike == which], same[alike == which] > 0) for which in (0, 1)]
        part = "judging" if odd else "choosing"
        yield f"| {inside:g}, {confidence:g} | {part} | {' | '.join(shares)} | {' | '.join(cells)} |"


def _comparable(found: Faces, thresholds: EncodingParameters) -> bool:
    return bool(quality.measured(found, found.sharpness, thresholds).comparable.any())


def _percent(flags: list[bool]) -> str:
    return f"{np.mean(flags):.1%}" if flags else "-"


def _distances(one: Set, kept: list[View]) -> NDArray[np.float64]:
    """(n, 3): of pairs of a hidden face and a whole one, and of two hidden alike: distance, one person, alike."""
    whole = {
        view.name: view.found.encodings[0] for view in one.views if view.way == "whole" and len(view.found)
    }
    alike: dict[tuple[str, float, str], dict[str, NDArray[np.float32]]] = {}
    for view in kept:
        if view.way != "whole":
            alike.setdefault((view.way, view.share, view.side), {})[view.name] = view.found.encodings[0]
    rows = []
    for group in alike.values():
        for a, b, same in one.pairs:
            rows += [
                (np.linalg.norm(group[x] - whole[y]), same, 0)
                for x, y in ((a, b), (b, a))
                if x in group and y in whole
            ]
            if a in group and b in group:
                rows.append((np.linalg.norm(group[a] - group[b]), same, 1))
    return np.array(rows, float).reshape(-1, 3)


def _told(apart: NDArray[np.float64], same: NDArray[np.bool_]) -> str:
    if not same.any() or same.all():
        return "- | - | -"
    near = apart < NEAR
    return f"{(near == same).mean():.2%} | {(~near[same]).mean():.1%} | {near[~same].mean():.2%}"


def by_confidence(pipeline: Pipeline, pictures: Sequence[truths.Picture]) -> Iterator[str]:
    """Yields a row a range of confidence: true faces, comparable by the other measures, with others of their photograph."""
    others = replace(pipeline.parameters.encoding, least_confidence=-1.0)
    counts: list[NDArray[np.float64]] = []
    pairs: list[NDArray[np.float64]] = []
    for number, picture in enumerate(pictures, 1):
        print(f"\r\x1b[K{number}/{len(pictures)} {picture.name}", end="", file=sys.stderr, flush=True)
        found = pipeline.find(pipeline.decode(picture.path.read_bytes()))
        verdicts, _ = judge(picture.truth, Found(found.boxes, found.confidences), 0.4)
        found = quality.measured(found, found.sharpness, others)
        found = found[found.comparable & (verdicts == Verdict.RIGHT)]
        first, second = np.triu_indices(len(found), 1)
        apart = np.linalg.norm(found.encodings[first] - found.encodings[second], axis=1)
        counts.append(found.confidences)
        pairs.append(
            np.stack([apart, np.minimum(found.confidences[first], found.confidences[second])], axis=1)
        )
    print(file=sys.stderr)
    confidences, (apart, least) = np.concatenate(counts), np.concatenate(pairs).T
    yield "| WIDER FACE's faces: confidence | faces | pairs in one photograph, by the lower confidence | nearer than 0.6 |"
    yield "|---|--:|--:|--:|"
    for low, high in itertools.pairwise(CONFIDENCES):
        some = (least >= low) & (least < high)
        share = f"{(apart[some] < NEAR).mean():.0%}" if some.any() else "-"
        count = ((confidences >= low) & (confidences < high)).sum()
        yield f"| {low:g} to {high:g} | {count} | {some.sum()} | {share} |"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.occlusion", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--search", choices=("everywhere", "guided"), default="guided")
    parser.add_argument(
        "--shares",
        type=lambda text: [float(share) for share in text.split(",")],
        default=CUT,
        help=f"of the face that are hidden, some of {', '.join(map(str, CUT))}",
    )
    truths.add_arguments(parser)
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="also write the tables to this file")
    options = parser.parse_args()
    packaged = packaged_parameters()
    pipeline = Pipeline(replace(packaged, detection=DetectionParameters(search=options.search)), "onnx")
    photos = photos_folder()
    folders: dict[str, Callable[[Path], list[Pair]]] = {
        "deepface_pairs": published,
        "face_recognition_knn": by_person,
        "dlib_johns": chips,
    }
    sets = [
        looked_at(pipeline, photos / name, read(photos / name), options.every, options.shares)
        for name, read in folders.items()
    ]
    lines = [f"{today()}; {machine()}; {versions(*PACKAGES)}; search {options.search}", ""]
    lines += [*by_side(sets[0]), "", *by_thresholds(sets), ""]
    lines += by_confidence(pipeline, truths.chosen(options))
    print("\n".join(lines))
    if options.markdown:
        options.markdown.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
