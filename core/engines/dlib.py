"""The reference: what face_recognition itself finds and encodes, through its own functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..boxes import Boxes
from ..errors import EngineError
from . import Detections, Pixels, inputs, packed_pyramid, weights
from .devices import gpu_name

_FAILURES = (RuntimeError, MemoryError)


class DlibEngine:
    """face_recognition's CNN detector and encoder; see `Engine` for what the methods promise.

    Boxes are those of face_locations(image, number_of_times_to_upsample=0, model="cnn"), encodings those of
    face_encodings(image, locations, num_jitters=1, model="small"). It runs on the GPU where dlib was built with CUDA.
    dlib holds the GIL all the while.

    Raises:
        EngineError: dlib, face_recognition or what they need is missing, or the device cannot be used.
    """

    name = "dlib"

    def __init__(self) -> None:
        weights.digest()  # says which file is missing; face_recognition would only quit
        self._dlib, self._api = _imported()
        cuda = bool(self._dlib.DLIB_USE_CUDA)
        self.device = f"cuda:{self._dlib.cuda.get_device()}{gpu_name()}" if cuda else "cpu"
        self.fingerprint = (
            f"dlib {self._dlib.__version__}, {'cuda' if cuda else 'cpu'}, weights {weights.digest()[:16]}"
        )

    def detect(self, tiles: Sequence[Pixels]) -> list[Detections]:
        if not tiles:
            return []
        height, width = inputs.common_shape(tiles)
        if height < packed_pyramid.SMALLEST_TILE[0] or width < packed_pyramid.SMALLEST_TILE[1]:
            # dlib would fail, or write beyond its memory
            return [Detections(inputs.inside([], height, width), np.zeros(0, np.float32)) for _ in tiles]
        try:
            found = self._api.cnn_face_detector(list(tiles), 0, batch_size=len(tiles))
        except _FAILURES as error:
            raise EngineError(f"dlib failed to detect on {self.device}: {error}") from error
        return [self._detections(faces, height, width) for faces in found]

    def encode(self, image: Pixels, boxes: Boxes) -> NDArray[np.float32]:
        inputs.check_pixels(image)
        locations = [(top, right, bottom, left) for left, top, right, bottom in inputs.whole(boxes)]
        try:
            encodings = self._api.face_encodings(
                image, known_face_locations=locations, num_jitters=1, model="small"
            )
        except _FAILURES as error:
            raise EngineError(f"dlib failed to encode on {self.device}: {error}") from error
        return inputs.checked_encodings(encodings, len(locations))

    @staticmethod
    def _detections(faces: Any, height: int, width: int) -> Detections:
        boxes = [(face.rect.left(), face.rect.top(), face.rect.right(), face.rect.bottom()) for face in faces]
        confidences = np.array([face.confidence for face in faces], np.float32)
        return Detections(inputs.inside(boxes, height, width), confidences)


def _imported() -> tuple[Any, Any]:
    """dlib and face_recognition.api, which loads its models as it is imported."""
    try:
        import dlib
        from face_recognition import api
    except SystemExit as error:
        # face_recognition quits where face_recognition_models cannot be imported
        raise EngineError(
            "face_recognition_models cannot be imported; it needs pkg_resources: pip install 'setuptools<81'"
        ) from error
    except ImportError as error:
        raise EngineError(
            f"the dlib engine needs dlib and face_recognition ({error}): pip install dlib face_recognition"
        ) from error
    except _FAILURES as error:
        raise EngineError(f"the dlib engine cannot be started: {error}") from error
    return dlib, api
