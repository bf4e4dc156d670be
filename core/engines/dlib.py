"""The reference engine: face_recognition's own detector and encoder, through its own functions."""

from __future__ import annotations

import copy
import importlib
import tempfile
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ImageFile

from ..boxes import Boxes
from ..errors import EngineError
from ..faces import ENCODING_LENGTH
from . import checks, devices
from .base import Engine, EngineOptions, Pixels, Proposer, Tile
from .detections import Detections, no_detections
from .network import packed_pyramid, suppression, weights

_FAILURES = (RuntimeError, MemoryError)


class DlibEngine(Engine):
    """face_recognition's CNN detector and encoder; see `Engine` for the meaning of the methods.

    Boxes are those of face_locations(image, number_of_times_to_upsample=0, model="cnn"), encodings those of
    face_encodings(image, locations, num_jitters=1, model="small"). It runs on the GPU where dlib was built with CUDA.
    dlib holds the GIL during its work.

    The detector is dlib's own with face_recognition's weights. Only the suppression of overlapping boxes is done here,
    by the same rule: suppressed responses have a vote in the mean box.

    Raises:
        EngineError: dlib, face_recognition or one of their dependencies is missing, or the device cannot be used.
    """

    name = "dlib"

    def __init__(self, options: EngineOptions) -> None:
        self._threads = options.threads or devices.cores()
        self._jitters, self._model = options.jitters, "small" if options.landmarks == 5 else "large"
        # first, because these errors name the file; face_recognition reads them itself
        weights.checked_path(weights.ENCODER_FILE)
        weights.checked_path(weights.landmarks_file(options.landmarks))
        self._network = weights.load_detector()
        dlib, self._api = _imported()
        self._set_threshold(options.threshold)
        try:
            self.gpu = _finds_gpu(dlib)
            self.device = f"cuda:{dlib.cuda.get_device()}{devices.gpu_name()}" if self.gpu else "cpu"
        except _FAILURES as error:
            raise EngineError(f"the dlib engine cannot use the GPU: {error}") from error
        self.processor = devices.processor("cuda") if self.gpu else "cpu"
        self.libraries = f"dlib {dlib.__version__}"

    def batch_size(self, height: int, width: int) -> int:
        return devices.batch_size(height, width) if self.gpu else 1

    def prepare(self, tile: Pixels, scales: int = 0) -> Pixels:
        del scales  # dlib packs its own pyramid
        return checks.checked_pixels(tile)

    def detect(self, tiles: Sequence[Tile]) -> list[Detections]:
        if not tiles:
            return []
        tiles, height, width = checks.checked_tiles(tiles)
        if height < packed_pyramid.SMALLEST_TILE[0] or width < packed_pyramid.SMALLEST_TILE[1]:
            # dlib would fail, or write beyond its memory
            return [no_detections() for _ in tiles]
        try:
            found = self._detector(tiles, 0, batch_size=self.batch_size(height, width))
        except _FAILURES as error:
            raise EngineError(f"dlib failed to detect on {self.device}: {error}") from error
        return [self._detections(faces, height, width) for faces in found]

    def encode(self, image: Pixels, boxes: Boxes) -> NDArray[np.float32]:
        image = checks.checked_pixels(image)
        locations = [(top, right, bottom, left) for left, top, right, bottom in checks.whole_pixels(boxes)]
        try:
            encodings = self._api.face_encodings(
                image, known_face_locations=locations, num_jitters=self._jitters, model=self._model
            )
        except _FAILURES as error:
            raise EngineError(f"dlib failed to encode on {self.device}: {error}") from error
        return checks.checked_encodings(encodings, len(locations))

    def encode_chips(self, chips: Sequence[Pixels]) -> NDArray[np.float32]:
        try:
            encodings = [self._api.face_encoder.compute_face_descriptor(chip, 0) for chip in chips]
        except _FAILURES as error:
            raise EngineError(f"dlib failed to encode on {self.device}: {error}") from error
        return np.array(encodings, np.float32).reshape(len(chips), ENCODING_LENGTH)

    def with_threshold(self, threshold: float) -> Engine:
        other = copy.copy(self)
        other._set_threshold(threshold)
        return other

    def _set_threshold(self, threshold: float) -> None:
        """Loads the detector for a threshold, which is a part of its network."""
        import dlib

        self._threshold = threshold
        try:
            with tempfile.NamedTemporaryFile(suffix=".dat") as file:
                file.write(weights.detector_answering_everything(threshold))
                file.flush()
                self._detector = dlib.cnn_face_detection_model_v1(file.name)
        except OSError as error:
            text = f"the dlib engine cannot write a temporary file: {error.strerror}; set TMPDIR to a folder with free space"
            raise EngineError(text) from error
        except _FAILURES as error:
            raise EngineError(f"the dlib engine cannot be started: {error}") from error

    def proposer(self) -> Proposer:
        try:
            from .onnx.proposer import YuNet
            from .onnx.providers import CPU
            from .onnx.session import Placement
        except ImportError as error:
            raise EngineError(
                f"YuNet needs onnx and onnxruntime ({error}): pip install onnx onnxruntime, or search everywhere"
            ) from error
        # on the CPU, beside a GPU too: ONNX Runtime with CUDA is another package, and YuNet takes little time
        return YuNet(Placement(CPU, self._threads))

    def _detections(self, responses: Any, height: int, width: int) -> Detections:
        boxes = [(one.rect.left(), one.rect.top(), one.rect.right(), one.rect.bottom()) for one in responses]
        responded = np.array(boxes, np.int64).reshape(-1, 4)
        scores = np.array([one.confidence for one in responses], np.float32) + np.float32(self._threshold)
        faces = scores > self._threshold  # a sum may be rounded to the threshold itself, which has no vote
        return suppression.detections(
            responded[faces],
            scores[faces],
            (height, width),
            threshold=self._threshold,
            overlap=self._network.overlap,
            covered=self._network.covered,
        )


def has_gpu() -> bool:
    """Returns whether dlib was built with CUDA and finds a GPU."""
    try:
        import dlib

        return _finds_gpu(dlib)
    except (ImportError, RuntimeError):  # no dlib; or built for CUDA, without a working driver
        return False


def _finds_gpu(dlib: Any) -> bool:
    return bool(dlib.DLIB_USE_CUDA) and dlib.cuda.get_num_devices() > 0


def _imported() -> tuple[Any, Any]:
    """The modules dlib and face_recognition.api, which loads its models during its import."""
    pillow = ImageFile.LOAD_TRUNCATED_IMAGES
    try:
        with warnings.catch_warnings():
            # face_recognition_models, whose last release is of 2017, imports pkg_resources, which warns
            warnings.filterwarnings("ignore", message=".*pkg_resources")
            # imported first: where this fails, face_recognition prints a message, closes stdin and ends the process
            importlib.import_module("face_recognition_models")
            import dlib
            from face_recognition import api
    except ImportError as error:
        wanted = "'setuptools<81'" if error.name == "pkg_resources" else "dlib face_recognition"
        raise EngineError(f"the dlib engine cannot be started ({error}): pip install {wanted}") from error
    except _FAILURES as error:
        raise EngineError(f"the dlib engine cannot be started: {error}") from error
    finally:
        # face_recognition sets it for the whole process, which would accept truncated photographs as complete ones
        ImageFile.LOAD_TRUNCATED_IMAGES = pillow
    return dlib, api
