"""Screening: the cost of a tile in 8-bit integers (core/engines/onnx/screening.py), and the errors of its scores.

    python -m benchmarks.screening [PHOTOS] [--megapixels 3.84] [--every 1] [--whole 8]

Every so many of the photographs, shrunk to the size of a tile. Prints the ranges of the layers, the errors that MARGIN must
cover, how much of a photograph float32 goes over again, and the time of the networks both ways. Then some whole
photographs, bytes in, faces out, at the default parameters, by turns without screening and with it.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from pyraface.core.engines import EngineOptions
from pyraface.core.engines.network import packed_pyramid, weights
from pyraface.core.engines.onnx import graphs, screening
from pyraface.core.engines.onnx.detector import Corners, Halves, cells_of
from pyraface.core.engines.onnx.engine import OnnxEngine
from pyraface.core.engines.onnx.runtime import onnxruntime
from pyraface.core.engines.onnx.screening import Scores
from pyraface.core.errors import ImageError
from pyraface.core.images.decode import decode
from pyraface.core.parameters import ImageLimits
from pyraface.core.pipeline import Pipeline

from .common import PACKAGES, machine, packaged_parameters, photos_folder, timed, today, versions
from .parity import SUFFIXES, shrunk


class Measures:
    """Of every photograph, one number a list."""

    def __init__(self) -> None:
        self.engine = OnnxEngine(EngineOptions())
        network = weights.load_detector()
        self.trunk = showing_its_layers(graphs.detector_trunk(network))
        self.head = showing_its_layers(graphs.detector_head(network))
        self.ranges = np.zeros(len(screening.TRUNK_RANGES) + len(screening.HEAD_RANGES) - 1)
        self.below: list[float] = []
        self.errors: list[NDArray[np.float32]] = []
        self.again: list[float] = []
        self.seconds: list[tuple[float, float]] = []
        self.lost = 0

    def add(self, pixels: NDArray[np.uint8]) -> None:
        engine = self.engine
        layout = packed_pyramid.layout(*pixels.shape[:2])
        size = cells_of(layout.height), cells_of(layout.width)
        tile = engine.prepare(pixels)
        assert isinstance(tile, packed_pyramid.ImagePyramid)  # of a photograph
        self._add_ranges(tile)

        def through(halves: Halves, corners: Corners, size: tuple[int, int]) -> Scores:
            return halves.scores([tile] * len(corners), corners, size)

        assert engine.detector.int8 is not None  # on a CPU
        float32 = partial(through, engine.detector.float32)
        screen = partial(through, engine.detector.int8, [(0, 0)], size)
        screen()
        whole, [exact] = timed(partial(float32, [(0, 0)], size))
        screened, [scores] = timed(screen)
        again = 0

        def counted(corners: Corners, size: tuple[int, int]) -> Scores:
            nonlocal again
            again += len(corners) * size[0] * size[1]
            return float32(corners, size)

        rescoring, final = timed(partial(screening.rescored, scores, counted, 0.0))
        faces = exact > 0
        self.errors.append((exact - scores)[faces])
        self.below.append(float((exact - scores)[faces].max(initial=0)))
        self.lost += int((faces != (final > 0)).sum())
        self.again.append(again / scores.size)
        self.seconds.append((whole, screened + rescoring))

    def _add_ranges(self, tile: packed_pyramid.ImagePyramid) -> None:
        layout = tile.layout
        packed = np.empty((1, 3, layout.height, layout.width), np.float32)
        layout.fill(packed[0], 0, 0, tile.images)
        features, *trunk = self.trunk.run(None, {"image": packed})
        _, *head = self.head.run(None, {"features": features})
        layers = [*trunk[: len(screening.TRUNK_RANGES) - 1], features, *head]
        self.ranges = np.maximum(self.ranges, [layer.max() for layer in layers])


def showing_its_layers(model: bytes) -> Any:
    """A session of a network in float32 with the output of every rectifier beside its own."""
    shown = onnx.load_model_from_string(model)
    own = shown.graph.output[0].name
    for node in shown.graph.node:
        if node.op_type == "Relu" and node.output[0] != own:
            shown.graph.output.append(
                onnx.helper.make_tensor_value_info(node.output[0], onnx.TensorProto.FLOAT, None)
            )
    return onnxruntime.InferenceSession(shown.SerializeToString(), providers=["CPUExecutionProvider"])


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.screening", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("photos", nargs="?", type=Path, default=photos_folder(), help="a folder of folders")
    parser.add_argument("--megapixels", type=float, default=3.84, help="larger pictures are shrunk to this")
    parser.add_argument("--every", type=int, default=1, help="take every Nth photograph")
    parser.add_argument("--whole", type=int, default=8, help="number of whole photographs that are timed")
    arguments = parser.parse_args()
    if not arguments.photos.is_dir():
        parser.error(f"{arguments.photos} is no folder")
    measures = Measures()
    paths = sorted(path for path in arguments.photos.rglob("*") if path.suffix.lower() in SUFFIXES)
    searched: list[Path] = []
    for path in paths[:: arguments.every]:
        try:
            pixels = shrunk(decode(path.read_bytes(), ImageLimits()).pixels, arguments.megapixels)
        except ImageError:
            continue
        if min(pixels.shape[:2]) < max(packed_pyramid.SMALLEST_TILE):
            continue
        print(f"\r\x1b[K{path.name}", end="", file=sys.stderr, flush=True)
        measures.add(pixels)
        searched.append(path)
    print(file=sys.stderr)

    print(f"{today()}; {machine()}; {versions(*PACKAGES)}")
    errors = np.concatenate(measures.errors)
    whole, screened = np.array(measures.seconds).T
    print(
        f"- {len(measures.again)} photographs up to {arguments.megapixels} Mpx; {len(errors)} scores above 0"
    )
    largest = ", ".join(f"{value:.2f}" for value in measures.ranges)
    ranges = (*screening.TRUNK_RANGES, *screening.HEAD_RANGES[1:])
    print(f"- largest values, layer by layer: {largest} (integers hold {', '.join(map(str, ranges))})")
    print(
        f"- scores above 0 are off by {np.sqrt((errors**2).mean()):.3f} (root mean square), and lower in integers by "
        f"{max(measures.below):.3f} at most (MARGIN {screening.MARGIN})"
    )
    print(f"- scores that screening took to the other side of 0: {measures.lost}")
    print(
        f"- float32 goes over {np.median(measures.again):.1%} of a photograph again (median; {np.mean(measures.again):.1%} "
        f"in the mean, {max(measures.again):.0%} at most)"
    )
    ratio = whole.sum() / screened.sum()
    print(
        f"- the networks: {whole.sum():.1f} s all in float32, {screened.sum():.1f} s screened: {ratio:.2f}x"
    )
    if arguments.whole:
        photographs(searched[:: max(1, len(searched) // arguments.whole)])


def photographs(paths: list[Path]) -> None:
    """Prints how long whole photographs take, without screening and with it."""
    defaults = packaged_parameters(search="everywhere")
    pipelines = [
        Pipeline(defaults, OnnxEngine(EngineOptions(screened=screened))) for screened in (False, True)
    ]
    ratios, seconds, faces = [], [], []
    for path in paths:
        image = path.read_bytes()
        found = [pipeline.detect(image) for pipeline in pipelines]
        turns = np.array([[timed(partial(one.detect, image))[0] for one in pipelines] for _ in range(3)])
        seconds.append(np.median(turns, axis=0))
        ratios.append(np.median(turns[:, 0] / turns[:, 1]))
        faces.append([len(one) for one in found])
    whole, screened = np.sum(seconds, axis=0)
    print(
        f"- {len(ratios)} whole photographs: {whole:.1f} s in float32, {screened:.1f} s screened: {np.median(ratios):.2f}x "
        f"(median; {min(ratios):.2f} to {max(ratios):.2f}); faces {' / '.join(map(str, np.sum(faces, axis=0)))}"
    )


if __name__ == "__main__":
    main()
