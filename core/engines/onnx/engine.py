"""The onnx engine: dlib's detector and encoder run by ONNX Runtime.

Weights, boxes and encodings are those of the dlib engine; it is many times faster.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ...boxes import Boxes
from ...errors import EngineError
from .. import checks, devices
from ..base import Engine, EngineOptions, Pixels, Proposer, Tile
from ..detections import Detections
from ..network import weights

try:
    from . import graphs, providers
    from .detector import Detector
    from .encoder import LIBRARY, Encoder, load_landmarks
    from .proposer import YuNet
    from .runtime import onnxruntime
    from .session import FAILURES, Placement, place
except ImportError as error:
    raise EngineError(
        f"the onnx engine needs dlib, onnx and onnxruntime ({error}): pip install dlib onnx onnxruntime"
    ) from error


class OnnxEngine(Engine):
    """The networks of face_recognition_models in ONNX Runtime; see `Engine` for the meaning of the methods.

    They run on the first provider that starts: TensorRT, CUDA, the CPU. Landmarks, the pyramid and suppression run on the
    CPU in any case.

    Raises:
        EngineError: weights are missing or damaged, or ONNX Runtime refuses the networks.
    """

    name = "onnx"

    def __init__(self, options: EngineOptions) -> None:
        detector_weights = weights.load_detector()
        try:
            landmarks = load_landmarks(options.landmarks)
            encoder_model = graphs.encoder(weights.load_encoder())

            def start(placement: Placement) -> tuple[Detector, Encoder]:
                detector = Detector(placement, detector_weights, options)
                encoder = Encoder(placement, encoder_model, landmarks, options.jitters)
                if placement.gpu:
                    detector.try_out()
                    encoder.try_out()
                return detector, encoder

            self._placement, (self.detector, self.encoder) = place(options.threads or devices.cores(), start)
        except FAILURES as error:
            raise EngineError(f"the onnx engine cannot be started: {error}") from error
        self.gpu = self._placement.gpu
        self.device = self._placement.device
        kind = self._placement.provider.kind
        self.processor = devices.processor(kind) if self.gpu else kind
        if self.detector.int8 is not None:
            self.processor += ", int8"
        self.libraries = f"onnxruntime {onnxruntime.__version__}, {LIBRARY}"

    def batch_size(self, height: int, width: int) -> int:
        # On a CPU one tile keeps every core busy, and TensorRT plans for one.
        return devices.batch_size(height, width) if self._placement.provider == providers.CUDA else 1

    def with_threshold(self, threshold: float) -> Engine:
        other = copy.copy(self)
        other.detector = self.detector.with_threshold(threshold)
        return other

    def proposer(self) -> Proposer:
        return YuNet(self._placement)

    def prepare(self, tile: Pixels, scales: int = 0) -> Tile:
        return self.detector.prepare(checks.checked_pixels(tile), scales)

    def detect(self, tiles: Sequence[Tile]) -> list[Detections]:
        if not tiles:
            return []
        tiles, height, width = checks.checked_tiles(tiles)
        size = self.batch_size(height, width)
        return [
            detections
            for start in range(0, len(tiles), size)
            for detections in self.detector.detect(tiles[start : start + size])
        ]

    def encode_chips(self, chips: Sequence[Pixels]) -> NDArray[np.float32]:
        return self.encoder.encode_chips(chips)

    def encode(self, image: Pixels, boxes: Boxes) -> NDArray[np.float32]:
        return self.encoder.encode(image, boxes)
