"""Quality: encodings of faces that are small, blurred or badly saved, and the faces that the flag `comparable` drops.

    python -m benchmarks.quality [--markdown FILE]

The largest face of each photograph whose person is known is degraded in many ways: shrunk, out of focus, shaken, saved as
a poor JPEG, noisy. Then pairs are told apart by their encodings: a degraded face and a sharp one, and two faces degraded
alike. The thresholds were chosen on deepface's pairs; face_recognition's and dlib's judge them. Last, faces of WIDER FACE,
which were not degraded, and whose blur people have rated. `python -m benchmarks.occlusion` does the same for faces that
are cut or covered.
"""

from __future__ import annotations

import argparse
import csv
import io
import itertools
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from pyraface.core import boxes as geometry
from pyraface.core import quality
from pyraface.core.boxes import Boxes
from pyraface.core.engines import Engine, Pixels, start
from pyraface.core.faces import Faces
from pyraface.core.images.decode import decode
from pyraface.core.parameters import EncodingParameters, ImageLimits
from pyraface.core.pipeline import Pipeline

from .common import PACKAGES, machine, packaged_parameters, photos_folder, today, versions
from .encodings import Pair, accuracy, best, by_person, published

SIZES = (10, 12, 15, 18, 20, 22, 25, 30, 35, 40, 50, 60, 80)
"""Pixels: sides of the face's box."""
BLURS = (0.01, 0.015, 0.02, 0.025, 0.03, 0.04, 0.05, 0.06, 0.08)
"""Standard deviations of a Gaussian, in sides of the face's box."""
SHAKES = (0.05, 0.1, 0.15, 0.2)
"""How far the picture moved to the side, in sides of the face's box."""
LARGE, MIDDLE = 160, 40
"""Pixels of a face that is blurred, and of one that is blurred or saved when it has been shrunk."""
BINS = (0.0, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 1.0)
"""Of sharpness."""
THRESHOLDS = ((0, 0.0), (25, 0.0), (0, 0.35), (20, 0.3), (20, 0.35), (25, 0.35), (30, 0.4))
"""least_size and least_sharpness: none, each by itself, and both."""
WIDER_SIZES = ((10, 15), (15, 20), (20, 25), (25, 40), (40, 80), (80, 1 << 16))


@dataclass(frozen=True, eq=False)
class Face:
    """A photograph round its largest face. name: of the file; box: (4,), in pixels of it."""

    name: str
    pixels: Pixels
    box: Boxes


@dataclass(frozen=True, eq=False)
class Sample:
    """A face made worse: how, how much of it is left by both measures, and what it was encoded as."""

    way: str
    name: str
    size: float
    sharpness: float
    encoding: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Told:
    """Pairs of faces, k of each: their distance, whether they are one person, and the two measures of the worse face."""

    apart: NDArray[np.float64]
    same: NDArray[np.bool_]
    sizes: NDArray[np.float64]
    sharpness: NDArray[np.float64]

    def __getitem__(self, mask: NDArray[np.bool_]) -> Told:
        return Told(self.apart[mask], self.same[mask], self.sizes[mask], self.sharpness[mask])

    @property
    def right(self) -> NDArray[np.bool_]:
        """(k,) bool: which are told right at 0.6."""
        return (self.apart < 0.6) == self.same

    def comparable(self, least_size: float, least_sharpness: float) -> NDArray[np.bool_]:
        """(k,) bool: in which pairs both faces are worth comparing; a face that was not worsened is."""
        return (self.sizes >= least_size) & (self.sharpness >= least_sharpness)


def chips(folder: Path) -> list[Pair]:
    """Returns every pair of dlib's chips of five people."""
    people = {str(file.relative_to(folder)): file.parent.name for file in sorted(folder.glob("*/*.jpg"))}
    return [(a, b, people[a] == people[b]) for a, b in itertools.combinations(people, 2)]


def largest(engine: Engine, file: Path, name: str) -> Face | None:
    """Returns the largest face of a photograph, found at its own size, and as much again round it."""
    pixels = np.ascontiguousarray(decode(file.read_bytes(), ImageLimits()).pixels)
    [found] = engine.detect([pixels])
    if not len(found.boxes):
        return None
    box = found.boxes[np.argmax(geometry.areas(found.boxes))]
    side = float(box[2] - box[0])
    height, width, _ = pixels.shape
    left, top = (max(0, int(edge - side)) for edge in box[:2])
    right, bottom = min(width, int(box[2] + side)), min(height, int(box[3] + side))
    cut = np.ascontiguousarray(pixels[top:bottom, left:right])
    return Face(name, cut, box - np.array([left, top, left, top], np.float32))


def worsened(face: Face) -> Iterator[tuple[str, Pixels, Boxes]]:
    """Yields the face as it is, and made worse in each way: how, its picture, its box there."""
    yield "as they are", face.pixels, face.box
    for side in SIZES:
        yield f"of {side} px", *_shrunk(face, side)
    for side in (LARGE, MIDDLE):
        pixels, box = _shrunk(face, side)
        picture, of = Image.fromarray(pixels), float(box[2] - box[0])
        for share in BLURS:
            if side == LARGE or share in (0.02, 0.04):
                name = f"{'' if side == LARGE else f'of {side} px, '}out of focus by {share:.1%}"
                yield name, np.asarray(picture.filter(ImageFilter.GaussianBlur(share * of))), box
    for quality_ in (10, 20, 40):
        stream = io.BytesIO()
        picture.save(stream, "JPEG", quality=quality_)
        yield f"of {MIDDLE} px, JPEG {quality_}", np.asarray(Image.open(stream).convert("RGB")), box
    pixels, box = _shrunk(face, LARGE)
    of = float(box[2] - box[0])
    for share in SHAKES:
        yield f"shaken by {share:.0%}", _shaken(pixels, max(1, round(share * of))), box
    blurred = Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(0.05 * of))
    noise = np.random.default_rng(0).normal(0, 5, pixels.shape)
    noisy = np.clip(np.asarray(blurred, float) + noise, 0, 255).astype(np.uint8)
    yield "out of focus by 5.0%, with noise", noisy, box


def _shrunk(face: Face, side: float) -> tuple[Pixels, Boxes]:
    factor = min(1.0, side / float(face.box[2] - face.box[0]))
    height, width, _ = face.pixels.shape
    size = max(1, round(width * factor)), max(1, round(height * factor))
    small = Image.fromarray(face.pixels).resize(size, Image.Resampling.LANCZOS)
    return np.asarray(small), face.box * np.float32(factor)


def _shaken(pixels: Pixels, by: int) -> Pixels:
    padded = np.pad(pixels.astype(float), ((0, 0), (by, 0), (0, 0)), mode="edge")
    sums = np.cumsum(padded, axis=1)
    return np.rint((sums[:, by:] - sums[:, :-by]) / by).astype(np.uint8)


def samples(engine: Engine, folder: Path, pairs: list[Pair]) -> list[Sample]:
    """Returns every face of a set, made worse in every way."""
    found = []
    names = sorted({name for a, b, _ in pairs for name in (a, b)})
    for number, name in enumerate(names, 1):
        print(f"\r\x1b[K{number}/{len(names)} {name}", end="", file=sys.stderr, flush=True)
        if (face := largest(engine, folder / name, name)) is None:
            continue
        for way, pixels, box in worsened(face):
            pixels = np.ascontiguousarray(pixels)
            [encoding] = engine.encode(pixels, box[None])
            [sharpness] = quality.sharpness(pixels, box[None]).tolist()
            size = float(min(box[2] - box[0], box[3] - box[1]))
            found.append(Sample(way, name, size, sharpness, encoding))
    print(file=sys.stderr)
    return found


def against_sharp(worse: list[Sample], own: dict[str, Sample], pairs: list[Pair]) -> Told:
    """Returns each worsened face with each photograph that is its partner in a pair, as it is."""
    partners: dict[str, list[tuple[str, bool]]] = {}
    for a, b, same in pairs:
        partners.setdefault(a, []).append((b, same))
        partners.setdefault(b, []).append((a, same))
    rows = [
        (np.linalg.norm(one.encoding - own[name].encoding), same, one.size, one.sharpness)
        for one in worse
        for name, same in partners.get(one.name, [])
        if name in own
    ]
    return _told(rows)


def alike(worse: list[Sample], pairs: list[Pair]) -> Told:
    """Returns each pair of two faces that were made worse in the same way."""
    by_way: dict[str, dict[str, Sample]] = {}
    for one in worse:
        by_way.setdefault(one.way, {})[one.name] = one
    rows = [
        (
            np.linalg.norm(group[a].encoding - group[b].encoding),
            same,
            min(group[a].size, group[b].size),
            min(group[a].sharpness, group[b].sharpness),
        )
        for group in by_way.values()
        for a, b, same in pairs
        if a in group and b in group
    ]
    return _told(rows)


def _told(rows: list[tuple[object, ...]]) -> Told:
    apart, same, sizes, sharpness = zip(*rows, strict=True)
    return Told(np.array(apart, float), np.array(same, np.bool_), np.array(sizes), np.array(sharpness))


def by_way(found: list[Sample], pairs: list[Pair]) -> Iterator[str]:
    """Yields a row a way to make a face worse."""
    own = {one.name: one for one in found if one.way == "as they are"}
    yield (
        "| deepface's faces | size | sharpness | from its sharp self | against a sharp one: right at 0.6 "
        "| one person missed | strangers taken | right at the best threshold "
        "| two such: right at 0.6 | one person missed | strangers taken | right at the best threshold |"
    )
    yield "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|"
    for way, group in _grouped(found):
        drift = np.median([np.linalg.norm(one.encoding - own[one.name].encoding) for one in group])
        size = np.median([one.size for one in group])
        sharp = np.median([one.sharpness for one in group])
        yield (
            f"| {way} | {size:.0f} | {sharp:.2f} | {drift:.2f} | {_shares(against_sharp(group, own, pairs))} | "
            f"{_shares(alike(group, pairs))} |"
        )


def _grouped(found: list[Sample]) -> Iterator[tuple[str, list[Sample]]]:
    for way in dict.fromkeys(one.way for one in found):
        yield way, [one for one in found if one.way == way]


def _shares(told: Told) -> str:
    threshold, share = best(told.apart, told.same)
    near = told.apart < 0.6
    return (
        f"{accuracy(told.apart, told.same, 0.6):.1%} | {(~near[told.same]).mean():.1%} | "
        f"{near[~told.same].mean():.1%} | {share:.1%} ({threshold:.2f})"
    )


def by_sharpness(found: list[Sample], pairs: list[Pair]) -> Iterator[str]:
    """Yields a row a range of sharpness, for all kinds of damage together."""
    own = {one.name: one for one in found if one.way == "as they are"}
    told = against_sharp(found, own, pairs)
    yield (
        "| sharpness | pairs with a sharp one | right at 0.6 | one person missed | strangers taken "
        "| right at the best threshold |"
    )
    yield "|---|--:|--:|--:|--:|--:|"
    for low, high in itertools.pairwise(BINS):
        some = told[(told.sharpness >= low) & (told.sharpness < high)]
        if some.same.any() and not some.same.all():
            yield f"| {low:.2f} to {high:.2f} | {len(some.same)} | {_shares(some)} |"


def flagged(sets: dict[str, tuple[list[Sample], list[Pair]]]) -> Iterator[str]:
    """Yields a row a set and a pair of thresholds: what they keep and what they drop of all that was made worse."""
    yield (
        "| least_size, least_sharpness | set | against a sharp one: kept | of those right | wrong answers dropped "
        "| right ones dropped | two such: kept | of those right | wrong answers dropped | right ones dropped |"
    )
    yield "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|"
    tables = {}
    for title, (found, pairs) in sets.items():
        own = {one.name: one for one in found if one.way == "as they are"}
        tables[title] = against_sharp(found, own, pairs), alike(found, pairs)
    for size, sharp in THRESHOLDS:
        for title, told in tables.items():
            yield (
                f"| {size}, {sharp:g} | {title} | "
                + " | ".join(_kept(one, one.comparable(size, sharp)) for one in told)
                + " |"
            )


def _kept(told: Told, kept: NDArray[np.bool_]) -> str:
    right = told.right
    return f"{kept.mean():.0%} | {right[kept].mean():.2%} | {(~kept[~right]).mean():.0%} | {(~kept[right]).mean():.0%}"


def labelled(folder: Path) -> Iterator[str]:
    """Yields a row a range of sizes: WIDER FACE's true faces, which people called clear, blurred or heavily blurred."""
    by_file: dict[str, list[tuple[Boxes, int]]] = {}
    with (folder / "truth.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            x, y, w, h = (float(row[key]) for key in "xywh")
            if row["invalid"] != "1":
                box = np.array([x, y, x + w, y + h], np.float32)
                by_file.setdefault(row["file"], []).append((box, int(row["blur"])))
    rows = []
    for name, faces in by_file.items():
        pixels = decode((folder / "images" / name).read_bytes(), ImageLimits()).pixels
        boxes = np.stack([box for box, _ in faces])
        sizes = (boxes[:, 2:] - boxes[:, :2]).min(axis=1)
        blurs = [blur for _, blur in faces]
        rows += list(zip(sizes.tolist(), blurs, quality.sharpness(pixels, boxes).tolist(), strict=True))
    table = np.array(rows)
    sizes, blurs, sharp = table.T
    yield (
        "| WIDER FACE's faces | clear, blurred, heavily blurred | their median sharpness | not comparable "
        "| a clear one is sharper than a heavily blurred one |"
    )
    yield "|---|--:|--:|--:|--:|"
    default = EncodingParameters()
    dropped = (sizes < default.least_size) | (sharp < default.least_sharpness)
    for low, high in WIDER_SIZES:
        groups = [(sizes >= low) & (sizes < high) & (blurs == kind) for kind in range(3)]
        clear, heavy = sharp[groups[0]], sharp[groups[2]]
        wins = (clear[:, None] > heavy[None]).mean() if len(clear) and len(heavy) else np.nan
        name = f"{low} to {high} px" if high < 1 << 16 else f"{low} px and more"
        yield (
            f"| {name} | {', '.join(str(group.sum()) for group in groups)} | "
            f"{', '.join(f'{np.median(sharp[group]):.2f}' for group in groups)} | "
            f"{', '.join(f'{dropped[group].mean():.0%}' for group in groups)} | {wins:.0%} |"
        )


def in_practice(pipeline: Pipeline, folder: Path) -> Iterator[str]:
    """Yields one line: how many of the faces that pyraface finds in every third photograph of WIDER FACE are comparable."""
    files = sorted((folder / "images").glob("*/*.jpg"))[::3]
    found = Faces.concatenate([pipeline.detect(file.read_bytes()) for file in files])
    least = pipeline.parameters.encoding
    lacks = {
        "are too small": found.sizes < least.least_size,
        "too blurred": found.sharpness < least.least_sharpness,
        "cut by the edge": found.inside < least.least_inside,
        "of too low a confidence": found.confidences < least.least_confidence,
    }
    reasons = ", ".join(f"{share.mean():.0%} {reason}" for reason, share in lacks.items())
    yield (
        f"The default finds {len(found)} faces in {len(files)} of its photographs: {found.comparable.mean():.0%} are "
        f"comparable, {reasons}; a face may be several of these."
    )


def cost() -> Iterator[str]:
    """Yields a row a size of face: how long its sharpness takes."""
    yield "| a face of | takes |"
    yield "|---|--:|"
    chance = np.random.default_rng(0)
    for side in (20, 90, 380, 1000, 3000):
        pixels = chance.integers(0, 256, (side + 40, side + 40, 3), np.uint8)
        box = np.array([[20, 20, side + 20, side + 20]], np.float32)
        turns = []
        for _ in range(30):
            begin = time.perf_counter()
            quality.sharpness(pixels, box)
            turns.append(time.perf_counter() - begin)
        yield f"| {side} px | {np.median(turns) * 1e3:.2f} ms |"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.quality", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="also write the tables to this file")
    options = parser.parse_args()
    photos = photos_folder()
    engine = start("onnx")
    pairs = {
        "deepface": ("deepface_pairs", published(photos / "deepface_pairs")),
        "knn": ("face_recognition_knn", by_person(photos / "face_recognition_knn")),
        "johns": ("dlib_johns", chips(photos / "dlib_johns")),
    }
    sets = {title: (samples(engine, photos / name, some), some) for title, (name, some) in pairs.items()}
    lines = [f"{today()}; {machine()}; {versions(*PACKAGES)}", "", *by_way(*sets["deepface"]), ""]
    lines += [*by_sharpness(*sets["deepface"]), "", *flagged(sets), ""]
    wider = photos / "wider_face_val_subset"
    pipeline = Pipeline(packaged_parameters(), engine)
    lines += [*labelled(wider), "", *in_practice(pipeline, wider), "", *cost()]
    print("\n".join(lines))
    if options.markdown:
        options.markdown.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
