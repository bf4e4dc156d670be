"""Detector: dlib's face detector in two halves, the trunk run in bands, the head over the features of a whole tile."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import EngineError
from ..base import EngineOptions, Pixels, Tile
from ..detections import Detections, no_detections
from ..network import packed_pyramid, suppression
from ..network.packed_pyramid import ImagePyramid, Layout
from ..network.weights import DetectorWeights
from . import graphs, screening
from .providers import ShapeProfile
from .screening import Scores
from .session import Placement, Session

BAND_PIXELS, GPU_BAND_PIXELS = 1 << 18, 1 << 20
"""The approximate size of a band, in pixels of the packed image. The trunk takes the image band by band, because its output
at full size would be by far the largest array in memory. On a CPU, most of a small band's output stays in the cache."""

BAND_ROWS = 128
"""The maximum height of a band, in rows of the score map; it limits the bands of narrow images. On a CPU the head takes the
features in bands of so many rows, too, each with the rows that its cells look at: its layers at full size would take 90 MB
more for a tile of 3.84 Mpx, and the scores are the same to the last bit."""

STRIDE, CENTER, FIELD = 8, 14, 29
"""Pixels of the packed image: the step from one cell of the score map to the next, the centre of the first cell's window,
and the side of the trunk's receptive field (three 5x5 convolutions with stride 2, without padding)."""

MEAN_ROWS = 64
"""The number of a tile's rows from which the means are subtracted at once; they stay in the processor's cache."""

LONGEST_SHAPE = 3.0
"""The greatest ratio of a tile's sides that TensorRT plans for; CUDA runs longer tiles. A plan for every shape would take
the memory of a tile that is long both ways."""

FEW_SCALES = 6
"""A layout with so many scales or fewer is that of a crop round a proposal: every other tile has at least 8. 8-bit integers
decide on it alone. The best scores of 680 faces were up to 0.11 lower in them and, except for 7 faces, up to 0.13 higher."""

Corners = list[tuple[int, int]]
"""The first row and column of each part of a score map, in cells."""


@dataclass(frozen=True)
class Halves:
    """The detector's two halves, in float32 or in 8-bit integers.

    trunk: from packed images to features.
    head: from features to scores.
    band_pixels: the approximate number of pixels that the trunk takes at once.
    band_rows: the most rows of scores that the head gives at once; 0: all.
    """

    trunk: Session
    head: Session
    band_pixels: int
    band_rows: int

    def scores(self, tiles: list[ImagePyramid], corners: Corners, size: tuple[int, int]) -> Scores:
        """Returns the scores, (n, rows, columns), of parts of packed images.

        Args:
            tiles: the n images, all of one layout.
            corners: the first row and column of each part, in cells.
            size: rows and columns of every part, in cells.

        Raises:
            EngineError: the device failed.
        """
        rows, columns = size
        width = pixels_under(columns)
        step = min(rows, BAND_ROWS, max(1, self.band_pixels // (STRIDE * width * len(tiles))))
        # one buffer for all bands: the system clears new memory, which takes time
        buffer = np.empty(len(tiles) * 3 * pixels_under(step) * width, np.float32)
        parts = []
        for row in range(0, rows, step):
            shape = (len(tiles), 3, pixels_under(min(step, rows - row)), width)
            bands = buffer[: math.prod(shape)].reshape(shape)
            for band, tile, (top, left) in zip(bands, tiles, corners, strict=True):
                tile.layout.fill(band, (top + row) * STRIDE, left * STRIDE, tile.images)
            parts.append(self.trunk.run({"image": bands})[0])
        return self._scored(parts[0] if len(parts) == 1 else np.concatenate(parts, axis=2))

    def _scored(self, features: NDArray[Any]) -> Scores:
        rows = features.shape[2]
        step = self.band_rows or rows
        parts = []
        for row in range(0, rows, step):
            first, last = max(0, row - screening.REACH), min(rows, row + step + screening.REACH)
            band = np.ascontiguousarray(features[:, :, first:last])
            scores = self.head.run({"features": band})[0][:, 0]
            parts.append(scores[:, row - first : row - first + step])
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)


class Detector:
    """dlib's detector; see `Engine` for the meaning of `prepare` and `detect`.

    Attributes:
        float32: the network as it was trained.
        int8: the network in 8-bit integers, which screens a tile on a CPU; None: nothing is screened.

    Raises:
        EngineError, FAILURES: the networks cannot be started on this placement.
    """

    def __init__(self, placement: Placement, weights: DetectorWeights, options: EngineOptions) -> None:
        self._weights = weights
        self._threshold = options.threshold
        self._device = placement.device
        # a GPU has the features at full size; TensorRT plans for these
        bands = (GPU_BAND_PIXELS, 0) if placement.gpu else (BAND_PIXELS, BAND_ROWS)
        image, features = shape_profiles(options.tile_pixels, graphs.features(weights))
        self.float32 = Halves(
            placement.start(graphs.detector_trunk(weights), image),
            placement.start(graphs.detector_head(weights), features),
            *bands,
        )
        self.int8: Halves | None = None
        if options.screened and not placement.gpu:
            self.int8 = Halves(
                placement.start(graphs.screen_trunk(weights, screening.TRUNK_RANGES)),
                placement.start(graphs.screen_head(weights, screening.HEAD_RANGES)),
                *bands,
            )
        # beside a GPU, a thread for each colour plane: the CPU is idle; otherwise one, because the networks run beside it
        self._shrinking = placement.start_on_cpu(graphs.shrinking(), threads=3 if placement.gpu else 1)

    def with_threshold(self, threshold: float) -> Detector:
        """Returns a detector on the same networks with another threshold."""
        other = copy.copy(self)
        other._threshold = threshold
        return other

    def try_out(self) -> None:
        """Runs the network once: a library may not load, or may compute NaN, before its first use.

        Raises:
            EngineError: the device failed, or the score is not a number.
        """
        band = np.zeros((1, 3, FIELD, FIELD), np.float32)
        [features] = self.float32.trunk.run({"image": band})
        [scores] = self.float32.head.run({"features": features})
        if not np.isfinite(scores.max()):
            raise EngineError("it computes NaN")

    def prepare(self, tile: Pixels, scales: int = 0) -> Tile:
        """Returns the tile's pyramid; the tile itself where it is too small for one."""
        height, width, _ = tile.shape
        if height < packed_pyramid.SMALLEST_TILE[0] or width < packed_pyramid.SMALLEST_TILE[1]:
            return tile
        layout = packed_pyramid.layout(height, width, scales)
        return ImagePyramid(layout, list(self._images(tile, layout)))

    def detect(self, tiles: list[Tile]) -> Iterator[Detections]:
        """Yields the faces of each tile; the tiles have one shape and run as one batch."""
        prepared = [tile if isinstance(tile, ImagePyramid) else self.prepare(tile) for tile in tiles]
        pyramids = [tile for tile in prepared if isinstance(tile, ImagePyramid)]
        if not pyramids:
            yield from (no_detections() for _ in tiles)  # too small for dlib, and for any face
            return
        overlap, covered = self._weights.overlap, self._weights.covered
        layout = pyramids[0].layout
        for scores in self._scores(pyramids):
            rows, columns = np.nonzero(scores > self._threshold)
            if not len(rows):
                yield no_detections()
                continue
            centers = np.stack([columns, rows], axis=1) * STRIDE + CENTER
            yield suppression.detections(
                layout.to_tile(centers, self._weights.window),
                scores[rows, columns],
                layout.sizes[0],
                threshold=self._threshold,
                overlap=overlap,
                covered=covered,
            )

    def _scores(self, tiles: list[ImagePyramid]) -> Scores:
        """The score maps of tiles, (n, h, w)."""
        layout = tiles[0].layout
        size = cells_of(layout.height), cells_of(layout.width)
        few_scales = len(layout.places) <= FEW_SCALES
        screened = self.int8 is not None and (few_scales or size[0] * size[1] >= screening.WORTHWHILE)
        halves = self.int8 if self.int8 is not None and screened else self.float32
        scores = halves.scores(tiles, [(0, 0)] * len(tiles), size)
        if not np.isfinite(scores.max()):
            raise EngineError(f"the detector computed scores that are not numbers: {self._device} is broken")
        if few_scales or not screened:
            return scores
        return np.stack(
            [
                screening.rescored(one, partial(self._exact, tile), self._threshold)
                for one, tile in zip(scores, tiles, strict=True)
            ]
        )

    def _exact(self, tile: ImagePyramid, corners: Corners, size: tuple[int, int]) -> Scores:
        return self.float32.scores([tile] * len(corners), corners, size)

    def _images(self, tile: Pixels, layout: Layout) -> Iterator[NDArray[np.float32]]:
        """The tile at every size of the layout, (3, h, w), each shrunk from the one before."""
        picture = np.empty((1, 3, *tile.shape[:2]), np.float32)
        for top in range(0, len(tile), MEAN_ROWS):
            some = slice(top, top + MEAN_ROWS)
            for channel, mean in enumerate(np.array(self._weights.means, np.float32)):
                plane = picture[0, channel, some]
                np.copyto(plane, tile[some, :, channel])
                plane -= mean
        yield picture[0]
        for height, width in layout.sizes[1:]:
            size = np.array([1, 3, height, width], np.int64)
            [picture] = self._shrinking.run({"picture": picture, "size": size})
            yield picture[0]


def cells_of(pixels: int) -> int:
    """Returns the number of score map cells along so many pixels of the packed image."""
    return (pixels - FIELD) // STRIDE + 1


def pixels_under(cells: int) -> int:
    """Returns the number of pixels of the packed image that so many score map cells see."""
    return (cells - 1) * STRIDE + FIELD


def shape_profiles(tile_pixels: int, channels: int) -> tuple[ShapeProfile, ShapeProfile]:
    """Returns the shapes of the trunk's input and of the head's, which has so many channels, for tiles of up to
    `tile_pixels`."""
    usual = packed_pyramid.layout(*(max(22, int((tile_pixels * factor) ** 0.5)) for factor in (2 / 3, 3 / 2)))
    sides = (
        (FIELD, packed_pyramid.layout(*packed_pyramid.SMALLEST_TILE).width),
        (usual.height, usual.width),
        largest_packed(tile_pixels),
    )
    cells = [(cells_of(height), cells_of(width)) for height, width in sides]
    bands = [(1, 3, pixels_under(min(rows, BAND_ROWS)), pixels_under(columns)) for rows, columns in cells]
    return (
        ShapeProfile("image", *bands),
        ShapeProfile("features", *((1, channels, rows, columns) for rows, columns in cells)),
    )


def largest_packed(tile_pixels: int) -> tuple[int, int]:
    """Returns the height and the width, in pixels, that hold the packed image of every tile of up to `tile_pixels` whose
    longer side is at most LONGEST_SHAPE times the shorter one."""
    steps = 32
    shapes = [LONGEST_SHAPE ** (2 * step / steps - 1) for step in range(steps + 1)]
    sides = [(math.sqrt(tile_pixels / shape), math.sqrt(tile_pixels * shape)) for shape in shapes]
    smallest = packed_pyramid.SMALLEST_TILE
    layouts = [
        packed_pyramid.layout(max(smallest[0], math.ceil(height)), max(smallest[1], math.ceil(width)))
        for height, width in sides
    ]
    return max(one.height for one in layouts), max(one.width for one in layouts)
