"""Weights: detector and encoder, read from the files of face_recognition_models.

The parser is strict. It checks every tag, version and shape against the architecture in this module, and the file must end
where the network ends: a truncated file, or another network, is refused with EngineError.
"""

from __future__ import annotations

import hashlib
import importlib.util
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from ...errors import EngineError
from .dlib_format import ONE, Convolution, Deserializer, Tensor, scaled

DETECTOR_FILE = "mmod_human_face_detector.dat"
ENCODER_FILE = "dlib_face_recognition_resnet_model_v1.dat"
LANDMARKS_FILE = "shape_predictor_5_face_landmarks.dat"
MORE_LANDMARKS_FILE = "shape_predictor_68_face_landmarks.dat"
"""Its licence excludes commercial use: it is read only where parameters.xml asks for 68 points."""

SHA256 = {
    DETECTOR_FILE: "4cb19393e2fbaf2b1609a9319ad5386618c886a6234ec1b971f3e87c85d87fe6",
    ENCODER_FILE: "55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30",
    LANDMARKS_FILE: "c4b1e9804792707d3a405c2c16a80a20269e6675021f64a41d30fffafbc41888",
    MORE_LANDMARKS_FILE: "fbdc2cb80eb9aa7a758672cbfdda32ba6300efe9b6e6c7a299ff7e736b11b92f",
}
"""Of the files in face_recognition_models 0.3.0, the last release (2017). No others are used: a client computes fingerprints
by these, and encodings by other weights could not be compared with anyone's."""

# (filters, side, stride, padding) of each convolution with normalization and rectifier; one more computes the scores
_DETECTOR_LAYERS = (
    *((filters, 5, 2, 0) for filters in (16, 32, 32)),
    *((45, 5, 1, 2) for _ in range(3)),
)
STAGES = ((32, 3, False), (64, 4, True), (128, 3, True), (256, 3, True), (256, 1, True))
"""The encoder's stages: (filters, residual blocks, whether the first block halves the picture)."""


@dataclass(frozen=True)
class DetectorWeights:
    """The detector: convolutions with a rectifier between two; the output of the last one is the score map.

    means: of red, green and blue, subtracted before the division by 256.
    window: side, in pixels, of the box that a cell of the score map stands for.
    overlap, covered: two boxes are one face where their intersection is above `overlap` of the box that encloses both, or
        above `covered` of either box.
    """

    means: tuple[float, float, float]
    window: int
    overlap: float
    covered: float
    convolutions: tuple[Convolution, ...]


@dataclass(frozen=True)
class EncoderWeights:
    """The encoder: convolutions in the order of the data flow (stem, then two for each block, see STAGES), and a
    projection, (256, 128)."""

    means: tuple[float, float, float]
    convolutions: tuple[Convolution, ...]
    projection: Tensor


def models_folder() -> Path:
    """Returns the folder of face_recognition_models' files, without an import of the package.

    The import needs pkg_resources, which new versions of setuptools lack.

    Raises:
        EngineError: the package is not installed.
    """
    spec = importlib.util.find_spec("face_recognition_models")
    if spec is None or not spec.submodule_search_locations:
        raise EngineError("face_recognition_models is not installed: pip install face_recognition_models")
    return Path(next(iter(spec.submodule_search_locations))) / "models"


def model_path(name: str) -> Path:
    """Returns the path of the model file `name`.

    Raises:
        EngineError: face_recognition_models or the file is missing.
    """
    path = models_folder() / name
    if not path.is_file():
        raise EngineError(f"{path} is missing: pip install --force-reinstall face_recognition_models")
    return path


def landmarks_file(points: int) -> str:
    """Returns the name of the file of the predictor of 5 or 68 landmarks."""
    return LANDMARKS_FILE if points == 5 else MORE_LANDMARKS_FILE


@cache
def checked_path(name: str) -> Path:
    """Returns the path of the model file `name`, for a library that reads it itself.

    Raises:
        EngineError: the file is missing, cannot be read, or is not the known one.
    """
    path = model_path(name)
    _bytes_of(path)
    return path


def load_detector() -> DetectorWeights:
    """Returns the detector of face_recognition_models.

    Raises:
        EngineError: the file is missing, or is not the known network.
    """
    path = model_path(DETECTOR_FILE)
    return parse_detector(_bytes_of(path), str(path))


def detector_answering_everything(threshold: float) -> bytes:
    """Returns the detector's file of face_recognition_models, changed by `answering_everything`.

    Raises:
        EngineError: the file is missing, or is not the known network.
    """
    path = model_path(DETECTOR_FILE)
    return answering_everything(_bytes_of(path), threshold, str(path))


def load_encoder() -> EncoderWeights:
    """Returns the encoder of face_recognition_models.

    Raises:
        EngineError: the file is missing, or is not the known network.
    """
    path = model_path(ENCODER_FILE)
    return parse_encoder(_bytes_of(path), str(path))


def parse_detector(data: bytes, source: str = DETECTOR_FILE) -> DetectorWeights:
    """Returns the detector in `data`, which has the format of mmod_human_face_detector.dat.

    Raises:
        EngineError: the bytes are not that network; the message names `source` and the offset of the first difference.
    """
    reader = Deserializer(data, source)
    window = _detector_window(reader)
    overlap, covered = reader.real(), reader.real()
    for _ in range(2):
        reader.real()  # overlap of boxes to ignore, of training
    reader.versions([2] * (3 * len(_DETECTOR_LAYERS)) + [3])
    reader.expect("input", reader.text(), "input_rgb_image_pyramid")
    means = reader.means()

    convolutions: list[Convolution] = []
    channels = 3
    for filters, side, stride, padding in _DETECTOR_LAYERS:
        raw = reader.convolution(channels, filters, side, stride, padding, innermost=not convolutions)
        convolutions.append(scaled(raw, *reader.batch_normalization(filters)))
        reader.rectifier()
        channels = filters
    convolutions.append(reader.convolution(channels, 1, 9, 1, 4))
    reader.end()
    return DetectorWeights(means, window, overlap, covered, tuple(convolutions))


def answering_everything(data: bytes, threshold: float, source: str = DETECTOR_FILE) -> bytes:
    """Returns the detector in `data`, changed so that dlib returns every response above `threshold`.

    dlib's Python interface returns responses above 0, and only the strongest response to each face. In the changed detector
    the limits of overlap are 1, which no overlap exceeds, and all scores are shifted by -threshold.

    Raises:
        EngineError: as `parse_detector`.
    """
    last = parse_detector(data, source).convolutions[-1]
    reader = Deserializer(data, source)
    _detector_window(reader)
    limits = reader.at
    for _ in range(2):
        reader.real()
    scores: bytes = last.weights.tobytes()
    bias = data.index(scores) + len(scores)
    raised: bytes = (last.bias - np.float32(threshold)).tobytes()
    return data[:limits] + ONE + ONE + data[reader.at : bias] + raised + data[bias + len(raised) :]


def _detector_window(reader: Deserializer) -> int:
    """Reads the detector's file up to the limits of suppression, and returns the window's side."""
    reader.expect("version", reader.integer(), 1)
    reader.expect("loss", reader.text(), "loss_mmod_")
    reader.expect("version of the loss", reader.integer(), 1)
    window = reader.integer()
    reader.expect("height of the window", reader.integer(), window)
    for _ in range(3):
        reader.real()  # two losses and an overlap, of training
    return window


def parse_encoder(data: bytes, source: str = ENCODER_FILE) -> EncoderWeights:
    """Returns the encoder in `data`, which has the format of dlib_face_recognition_resnet_model_v1.dat.

    Raises:
        EngineError: the bytes are not that network; the message names `source` and the offset of the first difference.
    """
    reader = Deserializer(data, source)
    reader.expect("version", reader.integer(), 1)
    reader.expect("loss", reader.text(), "loss_metric_2")
    for _ in range(2):
        reader.real()  # margin and distance, of training
    inwards = [2, 2]  # fully connected, average pool
    for _, blocks, halves in reversed(STAGES):
        for block in reversed(range(blocks)):
            # a 1 is a tag or a skip: the two ends of a shortcut
            inwards += [2, 2, *([2, 1, 1] if halves and block == 0 else []), 2, 2, 2, 2, 2, 1]
    reader.versions([*inwards, 2, 2, 2, 3])  # max pool, rectifier, normalization, convolution
    reader.expect("input", reader.text(), "input_rgb_image_sized")
    means = reader.means()
    for side in ("height", "width"):
        reader.expect(side, reader.integer(), 150)

    convolutions = [
        scaled(reader.convolution(3, 32, 7, 2, 0, innermost=True), *reader.affine(32)),
    ]
    reader.rectifier()
    reader.pool("max_pool_2", (3, 3, 2, 2, 0, 0))
    channels = 32
    for filters, blocks, halves in STAGES:
        for block in range(blocks):
            down = halves and block == 0
            first = reader.convolution(channels, filters, 3, 2 if down else 1, 0 if down else 1)
            convolutions.append(scaled(first, *reader.affine(filters)))
            reader.rectifier()
            second = reader.convolution(filters, filters, 3, 1, 1)
            convolutions.append(scaled(second, *reader.affine(filters)))
            if down:
                reader.pool("avg_pool_2", (2, 2, 2, 2, 0, 0))
            reader.layer("add_prev_")
            reader.state()
            reader.rectifier()
            channels = filters
    reader.pool("avg_pool_2", (0, 0, 1, 1, 0, 0))
    projection = reader.projection(channels, 128)
    reader.end()
    return EncoderWeights(means, tuple(convolutions), projection)


def _bytes_of(path: Path) -> bytes:
    """Returns the bytes of a known file.

    Raises:
        EngineError: it cannot be read, or is another file.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise EngineError(f"{path} cannot be read: {error.strerror}") from error
    digest = hashlib.sha256(data).hexdigest()
    if digest != SHA256[path.name]:
        raise EngineError(
            f"{path} has the SHA-256 {digest}, not {SHA256[path.name]}: it is damaged or another file; "
            "pip install --force-reinstall face_recognition_models"
        )
    return data
