"""dlib's detector and encoder, run by ONNX Runtime: the same weights, the same boxes and encodings, many times faster.

Landmarks and the cutting out of chips stay with dlib; they are a fraction of the time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...boxes import Boxes
from ...errors import EngineError
from .. import checks, devices
from ..base import Engine, EngineOptions, Pixels, Tile
from ..detections import Detections, no_detections
from ..network import packed_pyramid, suppression, weights
from ..network.packed_pyramid import ImagePyramid, Layout
from . import screening

try:
    import dlib

    from . import graphs, providers
    from .runtime import failures, onnxruntime
except ImportError as error:
    raise EngineError(
        f"the onnx engine needs dlib, onnx and onnxruntime ({error}): pip install dlib onnx onnxruntime"
    ) from error

CHIP_SIDE, CHIP_PADDING = 150, 0.25
"""Pixels, and the share of the face left free round it: what the encoder was trained on."""

CHIPS_AT_ONCE = 32
"""Bounds the memory of the encoder: about 1 MiB a chip. More at once are no faster."""

BAND_PIXELS, GPU_BAND_PIXELS = 1 << 18, 1 << 20
"""The packed image goes through the first layers in bands of about so many pixels: their output at full size would be the
largest thing in memory by far. On a CPU, much of what a small band becomes stays in the processor's cache."""

BAND_ROWS = 128
"""The most rows of the score map in a band, where it is narrow."""

STRIDE, CENTER, FIELD = 8, 14, 29
"""Pixels of the packed image: from one cell of the score map to the next, to the centre of the first cell's window, and
what a cell of the first layers' output sees (three 5x5 convolutions with stride 2, without padding)."""

MEAN_ROWS = 64
"""Rows of a tile from which the means are subtracted at once: they stay in the processor's cache."""

_FAILURES = (
    RuntimeError,
    MemoryError,
    failures.EPFail,
    failures.Fail,
    failures.InvalidArgument,
    failures.InvalidGraph,
    failures.InvalidProtobuf,
    failures.NotImplemented,
    failures.RuntimeException,
)


class OnnxEngine(Engine):
    """The networks of face_recognition_models in ONNX Runtime; see `Engine` for what the methods promise.

    It runs on the first that is there and starts: TensorRT, CUDA, the CPU. Landmarks, the pyramid and suppression are the
    CPU's work in any case.

    Raises:
        EngineError: weights are missing or damaged, or ONNX Runtime does not take the networks.
    """

    name = "onnx"

    def __init__(self, options: EngineOptions) -> None:
        self._threads = options.threads or devices.cores()
        self._threshold = options.threshold
        self._hints = options.hints
        self._jitters = options.jitters
        self._network = weights.load_detector()
        points = weights.LANDMARKS_FILE if options.landmarks == 5 else weights.MORE_LANDMARKS_FILE
        try:
            self._landmarks = dlib.shape_predictor(str(weights.model_path(points)))
            self._start_networks(graphs.encoder(weights.load_encoder()), options.tile_pixels)
            # a thread a plane where the processor has nothing else to do; on a CPU it runs beside the networks
            self._shrink = self._session(graphs.shrinking(), threads=3 if self._provider.gpu else 1)
            self._screen_trunk = self._screen_head = None
            self.gpu = self._provider.gpu
            if options.screened and not self.gpu:
                self._screen_trunk = self._session(graphs.screen_trunk(self._network, screening.TRUNK_RANGES))
                self._screen_head = self._session(graphs.screen_head(self._network, screening.HEAD_RANGES))
        except _FAILURES as error:
            raise EngineError(f"the onnx engine cannot be started: {error}") from error
        kind = self._provider.kind + (", screened in int8" if self._screen_head is not None else "")
        self.fingerprint = (
            f"onnxruntime {onnxruntime.__version__}, dlib {dlib.__version__}, {kind}, "
            f"weights {weights.digest()[:16]}"
        )

    def _start_networks(self, encoder: bytes, tile_pixels: int) -> None:
        """Loads the networks onto the first provider that starts."""
        detector = (graphs.detector_trunk(self._network), graphs.detector_head(self._network))
        cpu = f"cpu, {self._threads} thread{'s' if self._threads > 1 else ''}"
        failed = ""
        for provider in providers.best_first(onnxruntime.get_available_providers()):
            self._provider = provider
            self.device = f"cuda:0{devices.gpu_name()}, {provider.label}" if provider.gpu else cpu + failed
            try:
                self._trunk, self._head = [
                    self._network_on(provider, model, shapes)
                    for model, shapes in zip(detector, _shapes(tile_pixels), strict=True)
                ]
                # TensorRT would have to plan it for each number of faces, and it is a small part of the work
                self._encoder = self._session(encoder, providers.CUDA if provider.gpu else providers.CPU)
                if provider.gpu:
                    self._try_out()
                return
            except (EngineError, *_FAILURES) as error:
                if not provider.gpu:
                    raise
                failed += f" ({provider.label} did not start: {error})"

    def _network_on(self, provider: providers.Provider, model: bytes, shapes: providers.ShapeProfile) -> Any:
        session = self._session(model, provider, shapes)
        if provider != providers.TENSORRT:
            return session
        return providers.Planned(session, self._session(model, providers.CUDA), shapes)

    def _try_out(self) -> None:
        """Runs each network once. A library may load, and fail, or compute no numbers, only then."""
        band = np.zeros((1, 3, FIELD, FIELD), np.float32)
        scores = self._run(self._head, {"features": self._run(self._trunk, {"image": band})})
        chips = np.zeros((1, CHIP_SIDE, CHIP_SIDE, 3), np.uint8)
        if not np.isfinite([scores.max(), self._run(self._encoder, {"chips": chips}).max()]).all():
            raise EngineError("it computes what is not a number")

    def batch_size(self, height: int, width: int) -> int:
        # On a CPU one tile keeps every core busy; what TensorRT plans for is one.
        return devices.batch_size(height, width) if self._provider == providers.CUDA else 1

    def prepare(self, tile: Pixels) -> Tile:
        tile = checks.checked_pixels(tile)
        height, width, _ = tile.shape
        if height < packed_pyramid.SMALLEST_TILE[0] or width < packed_pyramid.SMALLEST_TILE[1]:
            return tile
        layout = packed_pyramid.layout(height, width)
        return ImagePyramid(layout, list(self._pictures(tile, layout)))

    def detect(self, tiles: Sequence[Tile]) -> list[Detections]:
        if not tiles:
            return []
        tiles, height, width = checks.checked_tiles(tiles)
        size = self.batch_size(height, width)
        return [
            detections
            for start in range(0, len(tiles), size)
            for detections in self._detect(tiles[start : start + size])
        ]

    def encode(self, image: Pixels, boxes: Boxes) -> NDArray[np.float32]:
        image = checks.checked_pixels(image)
        rectangles = [dlib.rectangle(*box) for box in checks.whole_pixels(boxes)]
        encodings = [self._encoded(chips) for chips in self._chips(image, rectangles)]
        return checks.checked_encodings(
            np.concatenate([np.zeros((0, 128), np.float32), *encodings]), len(boxes)
        )

    def _encoded(self, chips: list[Pixels]) -> NDArray[np.float32]:
        """The encodings of faces that were cut out, (n, 128); of each the mean over its jitters, if there are any."""
        if self._jitters == 1:
            return self._run(self._encoder, {"chips": np.stack(chips)})
        means = []
        for chip in chips:
            jittered = dlib.jitter_image(chip, self._jitters)
            parts = [
                self._run(self._encoder, {"chips": np.stack(jittered[start : start + CHIPS_AT_ONCE])})
                for start in range(0, len(jittered), CHIPS_AT_ONCE)
            ]
            means.append(np.concatenate(parts).mean(axis=0))
        return np.stack(means)

    def _detect(self, tiles: list[Tile]) -> Iterator[Detections]:
        prepared = [tile if isinstance(tile, ImagePyramid) else self.prepare(tile) for tile in tiles]
        pyramids = [tile for tile in prepared if isinstance(tile, ImagePyramid)]
        if not pyramids:
            yield from (no_detections() for _ in tiles)  # too small for dlib, and for any face
            return
        overlap, covered = self._network.overlap, self._network.covered
        layout = pyramids[0].layout
        height, width = layout.sizes[0]
        for scores in self._scores(pyramids):
            boxes, confidences = self._above(scores, self._threshold, layout)
            found = suppression.detections(
                boxes,
                confidences,
                (height, width),
                threshold=self._threshold,
                overlap=overlap,
                covered=covered,
            )
            if self._hints is not None:
                weak = self._above(scores, self._hints, layout)
                hints = suppression.hints(*weak, overlap=overlap, covered=covered)
                found = found._replace(hints=hints)
            yield found

    def _above(
        self, scores: NDArray[np.float32], floor: float, layout: Layout
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The boxes, (n, 4), and the scores of the cells that score above a floor."""
        rows, columns = np.nonzero(scores > floor)
        centers = np.stack([columns, rows], axis=1) * STRIDE + CENTER
        return layout.to_tile(centers, self._network.window), scores[rows, columns]

    def _scores(self, tiles: list[ImagePyramid]) -> NDArray[np.float32]:
        """The score maps of tiles, (n, h, w)."""
        layout = tiles[0].layout
        size = _cells(layout.height), _cells(layout.width)
        screened = self._screen_head is not None and size[0] * size[1] >= screening.WORTHWHILE
        trunk, head = (self._screen_trunk, self._screen_head) if screened else (self._trunk, self._head)
        scores = self._through(trunk, head, tiles, [(0, 0)] * len(tiles), size)
        if not np.isfinite(scores.max()):
            raise EngineError(f"the detector gave scores that are no numbers: {self.device} is broken")
        if not screened:
            return scores

        def exact(tile: ImagePyramid, corners: list[tuple[int, int]], size: tuple[int, int]) -> Any:
            return self._through(self._trunk, self._head, [tile] * len(corners), corners, size)

        return np.stack(
            [
                screening.rescored(one, partial(exact, tile), self._threshold)
                for one, tile in zip(scores, tiles, strict=True)
            ]
        )

    def _through(
        self,
        trunk: Any,
        head: Any,
        tiles: list[ImagePyramid],
        corners: list[tuple[int, int]],
        size: tuple[int, int],
    ) -> NDArray[np.float32]:
        """The scores, (n, rows, columns), of parts of packed images, whose features are put together from bands.

        Args:
            tiles: n, of one size.
            corners: the first row and column of each part, in cells.
            size: rows and columns of all parts.
        """
        rows, columns = size
        width = _pixels(columns)
        most = GPU_BAND_PIXELS if self._provider.gpu else BAND_PIXELS
        step = min(rows, BAND_ROWS, max(1, most // (STRIDE * width * len(tiles))))
        # one memory for all bands: the system clears new memory, which takes time
        memory = np.empty(len(tiles) * 3 * _pixels(step) * width, np.float32)
        parts = []
        for row in range(0, rows, step):
            shape = (len(tiles), 3, _pixels(min(step, rows - row)), width)
            bands = memory[: math.prod(shape)].reshape(shape)
            for band, tile, (top, left) in zip(bands, tiles, corners, strict=True):
                tile.layout.fill(band, (top + row) * STRIDE, left * STRIDE, tile.images)
            parts.append(self._run(trunk, {"image": bands}))
        features = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=2)
        return self._run(head, {"features": features})[:, 0]

    def _pictures(self, tile: Pixels, layout: Layout) -> Iterator[NDArray[np.float32]]:
        """The tile at every size of the layout, (3, h, w), each shrunk from the one before."""
        picture = np.empty((1, 3, *tile.shape[:2]), np.float32)
        for top in range(0, len(tile), MEAN_ROWS):
            some = slice(top, top + MEAN_ROWS)
            for channel, mean in enumerate(np.array(self._network.means, np.float32)):
                plane = picture[0, channel, some]
                np.copyto(plane, tile[some, :, channel])
                plane -= mean
        yield picture[0]
        for height, width in layout.sizes[1:]:
            size = np.array([1, 3, height, width], np.int64)
            picture = self._run(self._shrink, {"picture": picture, "size": size})
            yield picture[0]

    def _chips(self, image: Pixels, rectangles: list[Any]) -> Iterator[list[Pixels]]:
        """The faces, upright and cut out, CHIPS_AT_ONCE at a time.

        Each by itself: dlib shrinks the part of the image that holds all faces it is asked for at once, so that where a
        large one is sampled would depend on the others.
        """
        for start in range(0, len(rectangles), CHIPS_AT_ONCE):
            try:
                yield [
                    dlib.get_face_chip(image, self._landmarks(image, rectangle), CHIP_SIDE, CHIP_PADDING)
                    for rectangle in rectangles[start : start + CHIPS_AT_ONCE]
                ]
            except _FAILURES as error:
                raise EngineError(f"dlib could not cut out a face: {error}") from error

    def _session(
        self,
        model: bytes,
        provider: providers.Provider = providers.CPU,
        shapes: providers.ShapeProfile | None = None,
        *,
        threads: int = 0,
    ) -> Any:
        options = self._options()
        if threads:
            options.intra_op_num_threads = threads
        if provider.gpu:
            providers.find_libraries()
        chain = providers.session_providers(provider, shapes)
        session = onnxruntime.InferenceSession(model, options, providers=chain, enable_fallback=0)
        if provider.execution_provider not in session.get_providers():
            raise EngineError("its libraries, the driver or a GPU are missing")
        return session

    def _options(self) -> Any:
        """For every session; chosen by measurement (benchmarks/runtime.py)."""
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # failures arrive as exceptions; nothing is printed
        options.intra_op_num_threads = self._threads
        # a plan of the memory, kept for every shape that ever came, and photographs have many: memory for no speed
        options.enable_mem_pattern = False
        if _memory_is_shared():
            options.add_session_config_entry("session.use_env_allocators", "1")
        # Threads that spin after their work would take the cores from the next session's, and from decoding.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        return options

    def _run(self, session: Any, feeds: dict[str, NDArray[Any]]) -> NDArray[np.float32]:
        try:
            output: NDArray[np.float32] = session.run(None, feeds)[0]
        except _FAILURES as error:
            raise EngineError(f"ONNX Runtime failed on {self.device}: {error}") from error
        return output


def _cells(pixels: int) -> int:
    """How many cells of the score map so many pixels of the packed image give."""
    return (pixels - FIELD) // STRIDE + 1


def _pixels(cells: int) -> int:
    """How many pixels of the packed image so many cells of the score map see."""
    return (cells - 1) * STRIDE + FIELD


def _shapes(tile_pixels: int) -> tuple[providers.ShapeProfile, providers.ShapeProfile]:
    """The shapes of the trunk's input and of the head's, for tiles of up to so many pixels."""
    usual = packed_pyramid.layout(*(max(22, int((tile_pixels * factor) ** 0.5)) for factor in (2 / 3, 3 / 2)))
    sides = (
        (FIELD, packed_pyramid.layout(*packed_pyramid.SMALLEST_TILE).width),
        (usual.height, usual.width),
        providers.largest_packed(tile_pixels),
    )
    cells = [(_cells(height), _cells(width)) for height, width in sides]
    channels = graphs.features(weights.load_detector())
    bands = [(1, 3, _pixels(min(rows, BAND_ROWS)), _pixels(columns)) for rows, columns in cells]
    return (
        providers.ShapeProfile("image", *bands),
        providers.ShapeProfile("features", *((1, channels, rows, columns) for rows, columns in cells)),
    )


@cache
def _memory_is_shared() -> bool:
    """Gives all sessions of this process one arena: one after the other they use the same memory."""
    memory = onnxruntime.OrtMemoryInfo(
        "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
    )
    try:
        onnxruntime.create_and_register_allocator(memory, None)
    except _FAILURES:
        return False  # an application has its own already, with options that are its own business
    return True
