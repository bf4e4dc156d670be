"""Sharpness: measures of sharpness, by how well they predict, at each size of picture, the change of a face's encoding.

    python -m benchmarks.sharpness [--markdown FILE]

The faces of `benchmarks.quality`, made worse as there. For each measure and side, the rank correlation (Spearman's) of what
it says with the distance of the encoding from that of the sharp face: -1 if it orders all faces right.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pyraface.core import quality
from pyraface.core.boxes import Boxes
from pyraface.core.engines import Engine, Pixels, start

from .common import PACKAGES, machine, photos_folder, today, versions
from .encodings import by_person, published
from .quality import chips, largest, worsened

SIDES = (32, 48, 64, 100, 150)

Gray = NDArray[np.float32]


def _laplacian(gray: Gray) -> float:
    """Its variance (J. L. Pech-Pacheco et al.: Diatom autofocusing in brightfield microscopy, ICPR 2000)."""
    inner = gray[:-2, 1:-1] + gray[2:, 1:-1] + gray[1:-1, :-2] + gray[1:-1, 2:] - 4 * gray[1:-1, 1:-1]
    return float(inner.var())


def _gradient(gray: Gray) -> float:
    """Its energy (as Tenengrad: J. M. Tenenbaum, Accommodation in computer vision, 1970), of the picture's contrast."""
    energy = (np.diff(gray, axis=0) ** 2).mean() + (np.diff(gray, axis=1) ** 2).mean()
    return float(energy / _contrast(gray))


def _reblurred(gray: Gray) -> float:
    """What a mean of 3 x 3 pixels changes, of the picture's contrast."""
    down = (gray[:-2] + gray[1:-1] + gray[2:]) / 3
    mean = (down[:, :-2] + down[:, 1:-1] + down[:, 2:]) / 3
    return float(((gray[1:-1, 1:-1] - mean) ** 2).mean() / _contrast(gray))


def _contrast(gray: Gray) -> float:
    return float(gray.var()) + 1e-3


MEASURES: dict[str, Callable[[Gray], float]] = {
    "Crete's blur, as pyraface has it": quality.detail,
    "variance of the Laplacian": _laplacian,
    "variance of the Laplacian, of the contrast": lambda gray: _laplacian(gray) / _contrast(gray),
    "energy of the gradient, of the contrast": _gradient,
    "what blurring again changes, of the contrast": _reblurred,
}

WAYS: dict[str, Callable[[str], bool]] = {
    "all": bool,
    "shrunk": lambda way: way.startswith("of ") and "," not in way,
    "out of focus or shaken": lambda way: way.startswith(("out of", "shaken")) and "noise" not in way,
}


def gray(pixels: Pixels, box: Boxes, side: int) -> Gray:
    """Returns the face as it is measured, at another side, (side, side)."""
    height, width, _ = pixels.shape
    left, top, right, bottom = np.clip(np.rint(box).astype(int), 0, [width, height, width, height]).tolist()
    face = Image.fromarray(np.ascontiguousarray(pixels[top:bottom, left:right])).convert("L")
    return np.asarray(face.resize((side, side), Image.Resampling.BILINEAR), np.float32)


def correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Returns Spearman's rank correlation; equal numbers stay in their order."""
    ranks = [np.argsort(np.argsort(values, kind="stable")) for values in (a, b)]
    return float(np.corrcoef(*ranks)[0, 1])


def table(engine: Engine, photos: Path) -> Iterator[str]:
    """Yields a row a measure and side."""
    sets = {
        "deepface_pairs": published(photos / "deepface_pairs"),
        "face_recognition_knn": by_person(photos / "face_recognition_knn"),
        "dlib_johns": chips(photos / "dlib_johns"),
    }
    files = sorted(
        {photos / folder / name for folder, pairs in sets.items() for a, b, _ in pairs for name in (a, b)}
    )
    ways: list[str] = []
    moved: list[float] = []
    said: dict[tuple[str, int], list[float]] = {(name, side): [] for name in MEASURES for side in SIDES}
    for number, file in enumerate(files, 1):
        print(f"\r\x1b[K{number}/{len(files)} {file.name}", end="", file=sys.stderr, flush=True)
        if (face := largest(engine, file, file.name)) is None:
            continue
        own: NDArray[np.float32] | None = None
        for way, worse, box in worsened(face):
            pixels = np.ascontiguousarray(worse)
            [encoding] = engine.encode(pixels, box[None])
            if own is None:
                own = encoding  # the first is the face as it is
                continue
            ways.append(way)
            moved.append(float(np.linalg.norm(encoding - own)))
            for side in SIDES:
                picture = gray(pixels, box, side)
                for name, measure in MEASURES.items():
                    said[name, side].append(measure(picture))
    print(file=sys.stderr)
    masks = [np.array([chosen(way) for way in ways]) for chosen in WAYS.values()]
    yield f"| measure | side | {' | '.join(f'{name} ({mask.sum()})' for name, mask in zip(WAYS, masks, strict=True))} |"
    yield f"|---|--:|{'--:|' * len(WAYS)}"
    distances = np.array(moved)
    for (name, side), values in said.items():
        figures = [correlation(np.array(values)[mask], distances[mask]) for mask in masks]
        yield f"| {name} | {side} | {' | '.join(f'{figure:.3f}' for figure in figures)} |"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.sharpness", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="also write the table to this file")
    options = parser.parse_args()
    lines = [f"{today()}; {machine()}; {versions(*PACKAGES)}", "", *table(start("onnx"), photos_folder())]
    print("\n".join(lines))
    if options.markdown:
        options.markdown.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
