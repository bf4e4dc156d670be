"""Profiles: what is found in photographs of other colour spaces, if their profiles are not applied.

    python -m benchmarks.profiles [--photographs 40]

Each photograph is taken for sRGB, converted into another space, and searched as if it were sRGB, as a decoder does that
ignores the profile. Compared are the faces with those in the photograph itself, and how well deepface's published pairs are
told apart, where the first photograph of each pair is in the other space and the second one in sRGB.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pyraface.core import boxes as geometry
from pyraface.core.engines import Pixels
from pyraface.core.faces import Faces
from pyraface.core.images import profiles
from pyraface.core.images.decode import Picture, decode
from pyraface.core.parameters import ImageLimits
from pyraface.core.pipeline import Pipeline

from .common import machine, packaged_parameters, photos_folder, today, versions
from .encodings import accuracy, published

Values = NDArray[np.float64]

SAME_FACE = 0.4
"""Intersection over union from which two boxes count as one face."""


@dataclass(frozen=True)
class Space:
    """Colour space: its primaries and white point as (x, y), and the curve from light, (n, m, 3), to values, 0 to 1."""

    primaries: tuple[tuple[float, float], ...]
    curve: Callable[[Values], Values]
    white: tuple[float, float] = profiles.D65


def srgb(light: Values) -> Values:
    """IEC 61966-2-1."""
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.maximum(light, 1e-4) ** (1 / 2.4) - 0.055)


def from_srgb(values: Values) -> Values:
    """The inverse."""
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def pq(light: Values) -> Values:
    """SMPTE ST 2084, with white at 203 nits."""
    power = (light * profiles.WHITE / 10_000) ** 0.1593017578125
    return np.asarray(((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375)


def hlg(light: Values) -> Values:
    """ITU-R BT.2100, HLG on a screen of 1000 nits, with white at 203 nits."""
    shown = light * profiles.WHITE / profiles.HIGHEST
    luminance = shown @ profiles.to_xyz(profiles.PRIMARIES[profiles.BT2020])[1]
    scene = shown * np.maximum(luminance, 1e-9)[..., None] ** (1 / 1.2 - 1)
    bright = 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), bright)


_BT2020 = profiles.PRIMARIES[profiles.BT2020]
SPACES = {
    "Display P3": Space(profiles.PRIMARIES[profiles.P3], srgb),
    "Adobe RGB": Space(((0.64, 0.33), (0.21, 0.71), (0.15, 0.06)), lambda light: light ** (256 / 563)),
    "BT.2020": Space(_BT2020, srgb),
    "ProPhoto RGB": Space(
        ((0.7347, 0.2653), (0.1596, 0.8404), (0.0366, 0.0001)),
        lambda light: light ** (1 / 1.8),
        (0.3457, 0.3585),
    ),
    "BT.2020, HLG": Space(_BT2020, hlg),
    "BT.2020, PQ": Space(_BT2020, pq),
}
BACK = {"BT.2020": 1, "BT.2020, HLG": profiles.HLG, "BT.2020, PQ": profiles.PQ}
"""The code points of transfer characteristics of spaces from which pictures are converted back, too."""

BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])


def converted(pixels: Pixels, space: Space) -> Pixels:
    """Returns an sRGB picture with its values in another space."""
    whites = [BRADFORD @ [x / y, 1, (1 - x - y) / y] for x, y in (space.white, profiles.D65)]
    adaptation = np.linalg.inv(BRADFORD) @ np.diag(whites[0] / whites[1]) @ BRADFORD
    from_xyz = np.linalg.inv(profiles.to_xyz(space.primaries, space.white))
    matrix = from_xyz @ adaptation @ profiles.to_xyz(profiles.PRIMARIES[profiles.SRGB])
    light = np.maximum(from_srgb(pixels / 255.0) @ matrix.T, 0)
    return np.ascontiguousarray(np.round(255 * np.clip(space.curve(light), 0, 1)).astype(np.uint8))


def there_and_back(pixels: Pixels, space: Space, transfer: int) -> Pixels:
    """Returns a picture that was converted into another space, and by pyraface back to sRGB."""
    return profiles.convert(converted(pixels, space), {"cicp": (profiles.BT2020, transfer)})


def saved(pixels: Pixels) -> Pixels:
    """Returns a picture as a JPEG of quality 90 shows it: a change that no eye sees, to compare the others with."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=90)
    return np.array(Image.open(stream))


@dataclass
class Found:
    """What is found in copies of photographs in one space, beside the photographs themselves.

    Attributes:
        faces: in the copies.
        both: that are in the photographs, too.
        apart: distances of the encodings of these.
    """

    faces: int
    both: int
    apart: list[float]


def compared(copies: list[Faces], originals: list[Faces]) -> Found:
    """Returns what is found in copies; the faces of each are paired with those of its photograph by their boxes."""
    found = Found(0, 0, [])
    for copy, original in zip(copies, originals, strict=True):
        found.faces += len(copy)
        if not (len(copy) and len(original)):
            continue
        overlaps = geometry.iou(original.boxes, copy.boxes)
        for row, others in enumerate(overlaps):
            column = int(others.argmax())
            if others[column] > SAME_FACE:
                found.both += 1
                found.apart.append(float(np.linalg.norm(original.encodings[row] - copy.encodings[column])))
    return found


def told_apart(first: dict[str, Faces], second: dict[str, Faces], folder: Path) -> tuple[float, int]:
    """Returns the share of deepface's pairs that are told right at 0.6 by their largest faces, and their number."""
    apart, same = [], []
    for a, b, one_person in published(folder):
        one, other = _largest(first[a]), _largest(second[b])
        if one is not None and other is not None:
            apart.append(float(np.linalg.norm(one - other)))
            same.append(one_person)
    return accuracy(np.array(apart), np.array(same, np.bool_), 0.6), len(same)


def _largest(faces: Faces) -> NDArray[np.float32] | None:
    return faces.encodings[int(geometry.areas(faces.boxes).argmax())] if len(faces) else None


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.profiles", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--photographs", type=int, default=40, help="photographs of WIDER FACE")
    options = parser.parse_args()
    photos = photos_folder()
    deepface = photos / "deepface_pairs"
    names = sorted({name for pair in published(deepface) for name in pair[:2]})
    crowds = sorted((photos / "wider_face_val_subset").rglob("*.jpg"))[:: max(1, 124 // options.photographs)]
    pipeline = Pipeline(packaged_parameters(), "onnx")

    def found(pixels: Pixels) -> Faces:
        return pipeline.find(Picture.whole(pixels))

    pictures = {
        **{name: decode((deepface / name).read_bytes(), ImageLimits()).pixels for name in names},
        **{
            str(file): decode(file.read_bytes(), ImageLimits()).pixels
            for file in crowds[: options.photographs]
        },
    }
    originals = {name: found(pixels) for name, pixels in pictures.items()}
    share, pairs = told_apart(originals, originals, deepface)
    total = sum(map(len, originals.values()))
    print(f"{today()}; {machine()}; {versions('dlib', 'onnxruntime', 'numpy')}")
    print(f"{len(pictures)} photographs with {total} faces; {pairs} pairs")
    print()
    print(
        "| space | faces | of these in the photograph, too | encodings: median, 95th percentile | pairs told right |"
    )
    print("|---|--:|--:|--:|--:|")
    print(f"| sRGB | {total} | {total} | 0 | {share:.1%} |", flush=True)
    ways: dict[str, Callable[[Pixels], Pixels]] = {
        "sRGB, saved once more as a JPEG": saved,
        **{name: partial(converted, space=space) for name, space in SPACES.items()},
        **{
            f"{name}, converted back": partial(there_and_back, space=SPACES[name], transfer=transfer)
            for name, transfer in BACK.items()
        },
    }
    for name, way in ways.items():
        copies = {file: found(way(pixels)) for file, pixels in pictures.items()}
        row = compared(list(copies.values()), list(originals.values()))
        share, _ = told_apart(copies, originals, deepface)
        apart = f"{np.median(row.apart):.2g}, {np.percentile(row.apart, 95):.2g}"
        print(f"| {name} | {row.faces} | {row.both} | {apart} | {share:.1%} |", flush=True)


if __name__ == "__main__":
    main()
