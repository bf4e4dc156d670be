"""Encoder: dlib's landmarks and face chips, and its encoding network in ONNX Runtime.

dlib finds the landmarks and cuts out the chips; both take a fraction of the network's time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import dlib
import numpy as np
from numpy.typing import NDArray

from ...boxes import Boxes
from ...errors import EngineError
from ...faces import ENCODING_LENGTH
from .. import checks, reference_face
from ..base import CHIP_SIDE, Pixels
from ..network import weights
from .session import FAILURES, Placement

CHIP_PADDING = 0.25
"""The margin round the face as a share of a chip's side: the encoder was trained on such chips."""

CHIPS_AT_ONCE = 32
"""The largest batch. It bounds the encoder's memory, about 1 MiB a chip; larger batches are no faster."""

LIBRARY = f"dlib {dlib.__version__}"
"""Landmarks and chips depend on it."""


def load_landmarks(points: int) -> Any:
    """Returns dlib's predictor of 5 or 68 landmarks.

    Raises:
        EngineError: its file is missing or another one.
        RuntimeError: dlib cannot read the file.
    """
    return dlib.shape_predictor(str(weights.checked_path(weights.landmarks_file(points))))


class Encoder:
    """dlib's encoder; see `Engine` for the meaning of `encode`.

    Args:
        model: the encoding network in ONNX's format.
        landmarks: dlib's predictor.
        jitters: the number of random variations of a face over which its encoding is averaged; 1: the face itself.

    Attributes:
        network: from chips, (n, 150, 150, 3) uint8, to encodings, (n, 128).

    Raises:
        EngineError, FAILURES: the network cannot be started on this placement.
    """

    def __init__(self, placement: Placement, model: bytes, landmarks: Any, jitters: int) -> None:
        # without TensorRT, which would have to plan for each number of faces: this is a small part of the work
        self.network = placement.start(model)
        self._landmarks = landmarks
        self._jitters = jitters

    def try_out(self) -> None:
        """Runs the network once: a library may not load, or may compute nonsense, before its first use.

        Raises:
            EngineError: the device failed, or the encoding of the reference face is not a number, or too far off.
        """
        reference_face.deviation(self.encode_chips([reference_face.pixels()])[0])

    def encode(self, image: Pixels, boxes: Boxes) -> NDArray[np.float32]:
        """Returns the encodings of the faces in `boxes`, (n, 128)."""
        image = checks.checked_pixels(image)
        rectangles = [dlib.rectangle(*box) for box in checks.whole_pixels(boxes)]
        encodings = [self._encoded(chips) for chips in self._chips(image, rectangles)]
        empty = np.zeros((0, ENCODING_LENGTH), np.float32)
        return checks.checked_encodings(np.concatenate([empty, *encodings]), len(boxes))

    def _chips(self, image: Pixels, rectangles: list[Any]) -> Iterator[list[Pixels]]:
        """The faces, upright and cut out, CHIPS_AT_ONCE at a time.

        Each in a call of its own: dlib shrinks the part of the image that holds all faces of a call, so that the sampling
        of a large face would depend on the others.
        """
        for start in range(0, len(rectangles), CHIPS_AT_ONCE):
            try:
                yield [
                    dlib.get_face_chip(image, self._landmarks(image, rectangle), CHIP_SIDE, CHIP_PADDING)
                    for rectangle in rectangles[start : start + CHIPS_AT_ONCE]
                ]
            except FAILURES as error:
                raise EngineError(f"dlib could not cut out a face: {error}") from error

    def _encoded(self, chips: list[Pixels]) -> NDArray[np.float32]:
        """The encodings of chips, (n, 128), each the mean over its jitters, if there are any."""
        if self._jitters == 1:
            return self.encode_chips(chips)
        means = []
        for chip in chips:
            jittered = dlib.jitter_image(chip, self._jitters)
            parts = [
                self.encode_chips(jittered[start : start + CHIPS_AT_ONCE])
                for start in range(0, len(jittered), CHIPS_AT_ONCE)
            ]
            means.append(np.concatenate(parts).mean(axis=0))
        return np.stack(means)

    def encode_chips(self, chips: Sequence[Pixels]) -> NDArray[np.float32]:
        """Returns the encodings of chips, (n, 128)."""
        [encodings] = self.network.run({"chips": np.stack(chips)})
        return encodings
