"""dlib's detector and encoder, run by ONNX Runtime: the same weights, the same boxes and encodings, many times faster.

Landmarks and the cutting out of chips stay with dlib; they are a fraction of the time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..boxes import Boxes
from ..errors import EngineError
from . import Detections, Pixels, devices, inputs, packed_pyramid, screening, suppression, weights
from .packed_pyramid import Layout

try:
    import dlib
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as runtime_errors

    from . import graphs
except ImportError as error:
    raise EngineError(
        f"the onnx engine needs dlib, onnx and onnxruntime ({error}): pip install dlib onnx onnxruntime"
    ) from error

CHIP_SIDE, CHIP_PADDING = 150, 0.25
"""Pixels, and the share of the face left free round it: what the encoder was trained on."""

CHIPS_AT_ONCE = 32
"""Bounds the memory of the encoder: about 1 MiB a chip. More at once are no faster."""

BAND_PIXELS = 1 << 20
"""The packed image goes through the first layers in bands of about so many pixels: their output at full size would be the
largest thing in memory by far, and would not be faster."""

STRIDE, CENTER, FIELD = 8, 14, 29
"""Pixels of the packed image: from one cell of the score map to the next, to the centre of the first cell's window, and
what a cell of the first layers' output sees (three 5x5 convolutions with stride 2, without padding)."""

_FAILURES = (
    RuntimeError,
    MemoryError,
    runtime_errors.EPFail,
    runtime_errors.Fail,
    runtime_errors.InvalidArgument,
    runtime_errors.InvalidGraph,
    runtime_errors.InvalidProtobuf,
    runtime_errors.NotImplemented,
    runtime_errors.RuntimeException,
)


class OnnxEngine:
    """The networks of face_recognition_models in ONNX Runtime; see `Engine` for what the methods promise.

    It runs on CUDA where onnxruntime offers it and it starts, otherwise on the CPU.

    Args:
        threads: for a CPU; 0 means one a core this process may use.
        threshold: responses of this score or less are no faces; face_recognition's is 0.
        screened: whether a CPU goes over a tile in 8-bit integers first, and in float32 only where a face can be (see
            `screening`).

    Raises:
        EngineError: weights are missing or damaged, or ONNX Runtime does not take the networks.
        ValueError: threads is negative.
    """

    name = "onnx"

    def __init__(self, threads: int = 0, threshold: float = 0.0, *, screened: bool = True) -> None:
        if threads < 0:
            raise ValueError(f"threads must be 0 or more, not {threads}")
        self._threads = threads or devices.cores()
        self._threshold = threshold
        self._network = weights.load_detector()
        try:
            self._landmarks = dlib.shape_predictor(str(weights.model_path(weights.LANDMARKS_FILE)))
            self._normalize = self._session(graphs.normalization(self._network))
            self._shrink = self._session(graphs.shrinking())
            kind, self.device = self._start_networks(weights.load_encoder())
            self._screen = None
            if screened and kind == "cpu":
                self._screen = self._session(graphs.screen(self._network, screening.RANGES))
                kind = "cpu, screened in int8"
        except _FAILURES as error:
            raise EngineError(f"the onnx engine cannot be started: {error}") from error
        self.fingerprint = (
            f"onnxruntime {onnxruntime.__version__}, dlib {dlib.__version__}, {kind}, "
            f"weights {weights.digest()[:16]}"
        )

    def _start_networks(self, encoder: weights.Encoder) -> tuple[str, str]:
        """Loads the networks onto the GPU, or else the CPU; returns which: its kind, and the device for people."""
        models = (
            graphs.detector_trunk(self._network),
            graphs.detector_head(self._network),
            graphs.encoder(encoder),
        )
        device = f"cpu, {self._threads} thread{'s' if self._threads > 1 else ''}"
        if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
            try:
                sessions = [self._session(model, accelerated=True) for model in models]
            except _FAILURES as error:
                device += f" (CUDA did not start: {error})"
            else:
                if all("CUDAExecutionProvider" in session.get_providers() for session in sessions):
                    self._trunk, self._head, self._encoder = sessions
                    return "cuda", f"cuda:0{devices.gpu_name()}"
                device += " (CUDA did not start)"
        self._trunk, self._head, self._encoder = [self._session(model) for model in models]
        return "cpu", device

    def detect(self, tiles: Sequence[Pixels]) -> list[Detections]:
        if not tiles:
            return []
        tiles, height, width = inputs.checked_tiles(tiles)
        if height < packed_pyramid.SMALLEST_TILE[0] or width < packed_pyramid.SMALLEST_TILE[1]:
            return [inputs.nothing() for _ in tiles]
        layout = packed_pyramid.layout(height, width)
        # One by one: a tile keeps every core busy, and a batch would only need more memory.
        return [self._detect(tile, layout) for tile in tiles]

    def encode(self, image: Pixels, boxes: Boxes) -> NDArray[np.float32]:
        image = inputs.checked_pixels(image)
        rectangles = [dlib.rectangle(*box) for box in inputs.whole(boxes)]
        encodings = [
            self._run(self._encoder, {"chips": np.stack(chips)}) for chips in self._chips(image, rectangles)
        ]
        return inputs.checked_encodings(
            np.concatenate([np.zeros((0, 128), np.float32), *encodings]), len(boxes)
        )

    def _detect(self, tile: Pixels, layout: Layout) -> Detections:
        scores = self._scores(self._features(tile, layout))
        rows, columns = np.nonzero(scores > self._threshold)
        confidences = scores[rows, columns]
        centers = np.stack([columns, rows], axis=1) * STRIDE + CENTER
        boxes = layout.to_tile(centers, self._network.window)
        overlap, covered = self._network.overlap, self._network.covered
        height, width, _ = tile.shape
        return suppression.detections(
            boxes,
            confidences,
            (height, width),
            threshold=self._threshold,
            overlap=overlap,
            covered=covered,
        )

    def _scores(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """The score map of a tile, (h, w)."""

        def exact(features: NDArray[np.float32]) -> NDArray[np.float32]:
            return self._run(self._head, {"features": features})

        scores = (
            exact(features) if self._screen is None else self._run(self._screen, {"features": features})
        )[0, 0]
        if not np.isfinite(scores.max()):
            raise EngineError(f"the detector gave scores that are no numbers: {self.device} is broken")
        return (
            scores if self._screen is None else screening.rescored(scores, features, exact, self._threshold)
        )

    def _features(self, tile: Pixels, layout: Layout) -> NDArray[np.float32]:
        """The first layers' output for the packed image, (1, channels, rows, columns), put together from bands."""
        pictures = list(self._pictures(tile, layout))
        rows = (layout.height - FIELD) // STRIDE + 1
        step = min(rows, max(1, BAND_PIXELS // (STRIDE * layout.width)))
        parts = []
        for row in range(0, rows, step):
            count = min(step, rows - row)
            band = np.empty((1, 3, (count - 1) * STRIDE + FIELD, layout.width), np.float32)
            layout.fill(band[0], row * STRIDE, pictures)
            parts.append(self._run(self._trunk, {"image": band}))
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=2)

    def _pictures(self, tile: Pixels, layout: Layout) -> Iterator[NDArray[np.float32]]:
        """The tile at every size of the layout, (3, h, w), each shrunk from the one before."""
        picture = self._run(self._normalize, {"pixels": tile[None]})
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

    def _session(self, model: bytes, *, accelerated: bool = False) -> Any:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # failures arrive as exceptions; nothing is printed
        options.intra_op_num_threads = self._threads
        # a plan of the memory, kept for every shape that ever came, and photographs have many: memory for no speed
        options.enable_mem_pattern = False
        if _memory_is_shared():
            options.add_session_config_entry("session.use_env_allocators", "1")
        # Threads that spin after their work would take the cores from the next session's, and from decoding.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        providers: list[Any] = ["CPUExecutionProvider"]
        if accelerated:
            providers.insert(0, ("CUDAExecutionProvider", _cuda_options()))
        return onnxruntime.InferenceSession(model, options, providers=providers, enable_fallback=0)

    def _run(self, session: Any, feeds: dict[str, NDArray[Any]]) -> NDArray[np.float32]:
        try:
            output: NDArray[np.float32] = session.run(None, feeds)[0]
        except _FAILURES as error:
            raise EngineError(f"ONNX Runtime failed on {self.device}: {error}") from error
        return output


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


def _cuda_options() -> dict[str, str]:
    options = {
        # the shapes change with every picture: trying all algorithms for each would cost more than it gains
        "cudnn_conv_algo_search": "HEURISTIC",
        "arena_extend_strategy": "kSameAsRequested",
    }
    if tuple(int(part) for part in onnxruntime.__version__.split(".")[:2]) >= (1, 18):
        # 10 bits of mantissa would move the numbers by more than all other differences between engines together
        options["use_tf32"] = "0"
    return options
