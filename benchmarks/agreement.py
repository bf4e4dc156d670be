"""Agreement: by how much the faces of two engines differ in a search, and what the reference face tells of an encoder.

    python -m benchmarks.agreement [PHOTOS] [--search guided] [--photographs 40]

The photographs are a sample of the JPEGs up to 400 kB in PHOTOS, the same at each run. The encoders are dlib's weights,
rounded or damaged, in ONNX Runtime; a distance is the Euclidean one from face_recognition's encoding of the same picture.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import dlib
import numpy as np
from numpy.typing import NDArray
from skimage import data

from pyraface.core import boxes
from pyraface.core.engines import Engine, Pixels, reference_face, start
from pyraface.core.engines.base import CHIP_SIDE
from pyraface.core.engines.network import weights
from pyraface.core.engines.network.weights import EncoderWeights
from pyraface.core.engines.onnx import encoder, graphs, providers
from pyraface.core.engines.onnx.session import Placement
from pyraface.core.errors import ImageError
from pyraface.core.pipeline import Pipeline

from .common import machine, packaged_parameters, photos_folder, today, versions

MOST_BYTES = 400_000
SAME_FACE = 0.4
"""Intersection over union from which two boxes count as one face: engines place a face some pixels apart."""

LAYERS = (0, 5, 15, 25)
"""Convolutions that are damaged, one at a time."""

Change = Callable[[NDArray[np.float32]], NDArray[np.float32]]


def main() -> None:
    """Prints both tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.agreement", description=__doc__)
    parser.add_argument("photos", nargs="?", type=Path, default=None, help="folder of photographs")
    parser.add_argument("--search", choices=["everywhere", "guided", "most"], default="guided")
    parser.add_argument("--photographs", type=int, default=40, help="number of photographs")
    options = parser.parse_args()
    print(f"{today()}; {machine()}; {versions('dlib', 'onnxruntime', 'numpy')}")
    print()
    print(f"| {options.search} | photographs | faces of both | encodings | edges of boxes | of one alone |")
    print("|---|--:|--:|--:|--:|--:|")
    files = _sample(options.photos or photos_folder(), options.photographs)
    usual = Pipeline(packaged_parameters(), "onnx")
    others = {
        "dlib": Pipeline(packaged_parameters(), "dlib"),
        "onnx without int8": Pipeline(packaged_parameters(screening=False), "onnx"),
    }
    for name, other in others.items():
        print(f"| onnx and {name} | {_compared(usual, other, files, options.search)} |", flush=True)
    print()
    print("| encoder | reference face | a photograph |")
    print("|---|--:|--:|")
    for name, distances in _deviations():
        print(f"| {name} | " + " | ".join(f"{distance:.2g}" for distance in distances) + " |")


def _sample(folder: Path, count: int) -> list[Path]:
    files = [file for file in sorted(folder.rglob("*.jpg")) if file.stat().st_size <= MOST_BYTES]
    return random.Random(4).sample(files, min(count, len(files)))


def _compared(one: Pipeline, other: Pipeline, files: list[Path], search: str) -> str:
    """Returns the cells of a row: medians and 95th percentiles of what differs."""
    photographs = alone = 0
    encodings: list[float] = []
    edges: list[float] = []
    for file in files:
        try:
            ours, theirs = one.detect(file, search=search), other.detect(file, search=search)
        except ImageError:  # a damaged one
            continue
        photographs += 1
        overlaps = boxes.iou(ours.boxes, theirs.boxes) if len(ours) and len(theirs) else np.zeros((0, 0))
        pairs = [(row, int(found.argmax())) for row, found in enumerate(overlaps) if found.max() > SAME_FACE]
        alone += len(ours) + len(theirs) - 2 * len(pairs)
        for row, column in pairs:
            encodings.append(float(np.linalg.norm(ours.encodings[row] - theirs.encodings[column])))
            edges.append(float(abs(ours.boxes[row] - theirs.boxes[column]).max()))
    cells = [
        f"{np.median(of):.2g}, {np.percentile(of, 95):.2g}" if of else "none" for of in (encodings, edges)
    ]
    return f"{photographs} | {len(encodings)} | {cells[0]} | {cells[1]} px | {alone}"


def _deviations() -> Iterator[tuple[str, list[float]]]:
    """Yields encoders with the distances of their encodings: of the reference face, and of a face in a photograph."""
    engine = start("dlib")
    chips = [reference_face.pixels(), _portrait(engine)]
    expected = engine.encode_chips(chips)
    whole = weights.load_encoder()
    damages: dict[str, Change] = {
        "half of the filters of a layer are zeros": _half,
        "the filters of a layer in another order": lambda layer: layer[::-1].copy(),
        "the weights of a layer are zeros": np.zeros_like,
    }
    variants = {
        "onnx": whole,
        **{f"weights with {bits} bits of mantissa": _rounded(whole, bits) for bits in (10, 7, 4)},
        **{
            f"{name} ({number})": _damaged(whole, number, change)
            for name, change in damages.items()
            for number in LAYERS
        },
    }
    for name, variant in variants.items():
        network = Placement(providers.CPU, 1).start(graphs.encoder(variant))
        [encodings] = network.run({"chips": np.stack(chips)})
        yield name, [float(np.linalg.norm(row)) for row in encodings - expected]


def _portrait(engine: Engine) -> Pixels:
    """Returns the face in scikit-image's photograph of an astronaut, as the encoder takes it."""
    image = np.ascontiguousarray(data.astronaut())
    [left, top, right, bottom] = (int(edge) for edge in engine.detect([image])[0].boxes[0])
    landmarks = encoder.load_landmarks(5)(image, dlib.rectangle(left, top, right, bottom))
    chip: Pixels = dlib.get_face_chip(image, landmarks, CHIP_SIDE, encoder.CHIP_PADDING)
    return chip


def _rounded(whole: EncoderWeights, bits: int) -> EncoderWeights:
    """Returns weights of fewer bits of mantissa than the 23 of a float32."""
    dropped = 23 - bits

    def change(numbers: NDArray[np.float32]) -> NDArray[np.float32]:
        whole_numbers = np.ascontiguousarray(numbers, np.float32).view(np.uint32)
        rounded = (whole_numbers + (1 << (dropped - 1))) >> dropped << dropped
        return rounded.astype(np.uint32).view(np.float32)

    layers = tuple(replace(layer, weights=change(layer.weights)) for layer in whole.convolutions)
    return replace(whole, convolutions=layers, projection=change(whole.projection))


def _damaged(whole: EncoderWeights, number: int, change: Change) -> EncoderWeights:
    layers = list(whole.convolutions)
    layers[number] = replace(layers[number], weights=change(layers[number].weights))
    return replace(whole, convolutions=tuple(layers))


def _half(layer: NDArray[np.float32]) -> NDArray[np.float32]:
    halved = layer.copy()
    halved[::2] = 0
    return halved


if __name__ == "__main__":
    main()
