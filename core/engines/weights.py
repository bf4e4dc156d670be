"""Reads the two networks out of the files that face_recognition_models ships, in dlib's own serialized format.

dlib writes a network from the outside in: the version of every layer, the outermost first, then the input layer, and then
the layers' contents, the innermost first. An integer is a control byte (low 4 bits: how many bytes follow; high bit: minus)
and that many little-endian bytes; a real number is two integers, a mantissa and an exponent of 2; a boolean is the
character 0 or 1; a string is its length and its bytes; a tensor is its version (2), four dimensions and raw little-endian
float32. (dlib 20.0: serialize.h, float_details.h, dnn/core.h, dnn/layers.h, dnn/loss.h.)

Reading is strict. Every tag, version and shape is checked against the architecture written down here, and the file must end
where the network ends: a file that is cut off, or that holds another network, is refused with EngineError.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import EngineError

DETECTOR_FILE = "mmod_human_face_detector.dat"
ENCODER_FILE = "dlib_face_recognition_resnet_model_v1.dat"
LANDMARKS_FILE = "shape_predictor_5_face_landmarks.dat"

Tensor = NDArray[np.float32]

# (filters, side, stride, padding) of each convolution, and what follows it
_DETECTOR_LAYERS = (
    *((filters, 5, 2, 0) for filters in (16, 32, 32)),
    *((45, 5, 1, 2) for _ in range(3)),
)
STAGES = ((32, 3, False), (64, 4, True), (128, 3, True), (256, 3, True), (256, 1, True))
"""The encoder's stages: (filters, residual blocks, whether the first of the blocks halves the picture)."""


@dataclass(frozen=True)
class Convolution:
    """A convolution with the normalization that follows it folded in.

    weights: (out, in, side, side); bias: (out,); stride and padding: pixels, the same in both directions.
    """

    weights: Tensor
    bias: Tensor
    stride: int
    padding: int


@dataclass(frozen=True)
class Detector:
    """The detector: convolutions with a rectifier between each and the next; the last one's output is the score map.

    means: of red, green and blue, subtracted before the division by 256.
    window: side, in pixels, of the box that a cell of the score map stands for.
    overlap, covered: two boxes are one face where intersection over enclosing box is above the one, or intersection over
        either box above the other.
    """

    means: tuple[float, float, float]
    window: int
    overlap: float
    covered: float
    convolutions: tuple[Convolution, ...]


@dataclass(frozen=True)
class Encoder:
    """The encoder: convolutions in the order of the data flow (stem, then two a block, see STAGES), and (256, 128)."""

    means: tuple[float, float, float]
    convolutions: tuple[Convolution, ...]
    projection: Tensor


def models_folder() -> Path:
    """Returns the folder of face_recognition_models' files, without importing the package.

    Importing it needs pkg_resources, which new versions of setuptools lack.

    Raises:
        EngineError: the package is not installed.
    """
    spec = importlib.util.find_spec("face_recognition_models")
    if spec is None or not spec.submodule_search_locations:
        raise EngineError("face_recognition_models is not installed: pip install face_recognition_models")
    return Path(next(iter(spec.submodule_search_locations))) / "models"


def model_path(name: str) -> Path:
    """Returns where the model file `name` lies.

    Raises:
        EngineError: face_recognition_models or the file is missing.
    """
    path = models_folder() / name
    if not path.is_file():
        raise EngineError(f"{path} is missing: pip install --force-reinstall face_recognition_models")
    return path


@cache
def digest() -> str:
    """Returns the SHA-256, in hexadecimal, of the three files that decide boxes and encodings.

    Raises:
        EngineError: one of them is missing or cannot be read.
    """
    total = hashlib.sha256()
    for name in (DETECTOR_FILE, ENCODER_FILE, LANDMARKS_FILE):
        total.update(hashlib.sha256(_bytes_of(model_path(name))).digest())
    return total.hexdigest()


def load_detector() -> Detector:
    """Returns the detector of face_recognition_models.

    Raises:
        EngineError: its file is missing, or not the network we know.
    """
    path = model_path(DETECTOR_FILE)
    return parse_detector(_bytes_of(path), str(path))


def load_encoder() -> Encoder:
    """Returns the encoder of face_recognition_models.

    Raises:
        EngineError: its file is missing, or not the network we know.
    """
    path = model_path(ENCODER_FILE)
    return parse_encoder(_bytes_of(path), str(path))


def parse_detector(data: bytes, source: str = DETECTOR_FILE) -> Detector:
    """Returns the detector that `data` holds, in the layout of mmod_human_face_detector.dat.

    Raises:
        EngineError: the bytes are not that network, naming `source` and the offset of what was not expected.
    """
    reader = _Reader(data, source)
    reader.expect("version", reader.integer(), 1)
    reader.expect("loss", reader.text(), "loss_mmod_")
    reader.expect("version of the loss", reader.integer(), 1)
    window = reader.integer()
    reader.expect("height of the window", reader.integer(), window)
    for _ in range(3):
        reader.real()  # two losses and an overlap, of training
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
        convolutions.append(_scaled(raw, *reader.batch_normalization(filters)))
        reader.rectifier()
        channels = filters
    convolutions.append(reader.convolution(channels, 1, 9, 1, 4))
    reader.end()
    return Detector(means, window, overlap, covered, tuple(convolutions))


def parse_encoder(data: bytes, source: str = ENCODER_FILE) -> Encoder:
    """Returns the encoder that `data` holds, in the layout of dlib_face_recognition_resnet_model_v1.dat.

    Raises:
        EngineError: the bytes are not that network, naming `source` and the offset of what was not expected.
    """
    reader = _Reader(data, source)
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
        _scaled(reader.convolution(3, 32, 7, 2, 0, innermost=True), *reader.affine(32)),
    ]
    reader.rectifier()
    reader.pool("max_pool_2", (3, 3, 2, 2, 0, 0))
    channels = 32
    for filters, blocks, halves in STAGES:
        for block in range(blocks):
            down = halves and block == 0
            first = reader.convolution(channels, filters, 3, 2 if down else 1, 0 if down else 1)
            convolutions.append(_scaled(first, *reader.affine(filters)))
            reader.rectifier()
            second = reader.convolution(filters, filters, 3, 1, 1)
            convolutions.append(_scaled(second, *reader.affine(filters)))
            if down:
                reader.pool("avg_pool_2", (2, 2, 2, 2, 0, 0))
            reader.layer("add_prev_")
            reader.state()
            reader.rectifier()
            channels = filters
    reader.pool("avg_pool_2", (0, 0, 1, 1, 0, 0))
    projection = reader.projection(channels, 128)
    reader.end()
    return Encoder(means, tuple(convolutions), projection)


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise EngineError(f"{path} cannot be read: {error.strerror}") from error


def _scaled(convolution: Convolution, scale: Tensor, shift: Tensor) -> Convolution:
    """Returns the convolution whose output is scale * output + shift."""
    factors = scale.astype(np.float64)
    weights = convolution.weights * factors[:, None, None, None]
    bias = convolution.bias * factors + shift
    return Convolution(
        weights.astype(np.float32), bias.astype(np.float32), convolution.stride, convolution.padding
    )


class _Reader:
    """Takes dlib's values from bytes, front to back; every surprise is an EngineError."""

    def __init__(self, data: bytes, source: str) -> None:
        self._data = data
        self._at = 0
        self._source = source
        self._innermost = False

    def _fail(self, what: str) -> EngineError:
        return EngineError(
            f"{self._source} is not the network we know: at byte {self._at} {what}; "
            "reinstall it: pip install --force-reinstall face_recognition_models"
        )

    def expect(self, what: str, actual: object, expected: object) -> None:
        if actual != expected:
            raise self._fail(f"the {what} is {actual!r} instead of {expected!r}")

    def end(self) -> None:
        if self._at != len(self._data):
            raise self._fail(f"there are {len(self._data) - self._at} bytes after the network")

    def _take(self, count: int) -> bytes:
        chunk = self._data[self._at : self._at + count]
        if len(chunk) < count:
            raise self._fail(f"the file ends where {count} more bytes were expected")
        self._at += count
        return chunk

    def integer(self) -> int:
        control = self._take(1)[0]
        if not 1 <= control & 0x7F <= 8:
            raise self._fail(f"an integer starts with the byte {control:#x}")
        magnitude = int.from_bytes(self._take(control & 0x0F), "little")
        return -magnitude if control & 0x80 else magnitude

    def real(self) -> float:
        mantissa, exponent = self.integer(), self.integer()
        if not -1100 < exponent < 1100:
            raise self._fail(f"a real number has the exponent {exponent}")
        return float(np.ldexp(float(mantissa), exponent))

    def text(self) -> str:
        length = self.integer()
        if not 0 <= length <= 64:
            raise self._fail(f"a name is {length} bytes long")
        return self._take(length).decode("ascii", "replace")

    def tensor(self, shape: tuple[int, int, int, int] | None = None) -> Tensor:
        """Returns the next tensor; without `shape`, it must be empty."""
        self.expect("version of a tensor", self.integer(), 2)
        self.expect("shape of a tensor", tuple(self._integers(4)), shape or (0, 0, 0, 0))
        count = int(np.prod(shape)) if shape else 0
        values = np.frombuffer(self._take(4 * count), "<f4").astype(np.float32)
        if not np.isfinite(values).all():
            raise self._fail("a tensor holds numbers that are not finite")
        return values.reshape(shape or (0,))

    def alias(self, shape: tuple[int, int, int, int]) -> None:
        """Skips the shape that dlib notes of a part of a tensor."""
        self.expect("version of a part", self.integer(), 1)
        self.expect("shape of a part", tuple(self._integers(4)), shape)

    def _integers(self, count: int) -> Iterator[int]:
        return (self.integer() for _ in range(count))

    def versions(self, expected: list[int]) -> None:
        for version in expected:
            self.expect("version of a layer", self.integer(), version)

    def means(self) -> tuple[float, float, float]:
        return self.real(), self.real(), self.real()

    def layer(self, name: str) -> None:
        self.expect("layer", self.text(), name)

    def state(self, *, innermost: bool = False) -> None:
        """Skips what every layer ends with: three flags and three tensors that are empty outside of training."""
        for _ in range(3):
            flag = self._take(1)
            if flag not in (b"0", b"1"):
                raise self._fail(f"a flag is {flag!r}")
        for _ in range(3):
            self.tensor()
        if innermost:
            self.expect("samples an image expands to", self.integer(), 1)

    def rectifier(self) -> None:
        self.layer("relu_")
        self.state()

    def pool(self, name: str, geometry: tuple[int, ...]) -> None:
        self.layer(name)
        self.expect("geometry of a pool", tuple(self._integers(6)), geometry)
        self.state()

    def convolution(
        self, channels: int, filters: int, side: int, stride: int, padding: int, *, innermost: bool = False
    ) -> Convolution:
        self.layer("con_4")
        count = filters * channels * side * side
        params = self.tensor((count + filters, 1, 1, 1)).ravel()
        geometry = tuple(self._integers(7))
        self.expect(
            "geometry of a convolution", geometry, (filters, side, side, stride, stride, padding, padding)
        )
        self.alias((filters, channels, side, side))
        self.alias((1, filters, 1, 1))
        self._learning_rates()
        self.state(innermost=innermost)
        weights = params[:count].reshape(filters, channels, side, side)
        return Convolution(weights, params[count:], stride, padding)

    def batch_normalization(self, channels: int) -> tuple[Tensor, Tensor]:
        """Returns (scale, shift), each (channels,), from the statistics that training left behind."""
        self.layer("bn_con2")
        part = (1, channels, 1, 1)
        params = self.tensor((2 * channels, 1, 1, 1)).ravel().astype(np.float64)
        self.alias(part)
        self.alias(part)
        for _ in range(2):
            self.tensor(part)  # the last batch's own statistics, of training
        mean, variance = self.tensor(part).ravel(), self.tensor(part).ravel()
        for _ in range(2):
            self.integer()  # updates so far, window of the running statistics
        self._learning_rates()
        epsilon = self.real()
        self.state()
        if (variance < 0).any():
            raise self._fail("a variance is negative")
        scale = params[:channels] / np.sqrt(variance.astype(np.float64) + epsilon)
        shift = params[channels:] - mean * scale
        return scale.astype(np.float32), shift.astype(np.float32)

    def affine(self, channels: int) -> tuple[Tensor, Tensor]:
        """Returns (scale, shift), each (channels,)."""
        self.layer("affine_")
        params = self.tensor((2 * channels, 1, 1, 1)).ravel()
        self.alias((1, channels, 1, 1))
        self.alias((1, channels, 1, 1))
        self.expect("mode of an affine layer", self.integer(), 0)
        self.state()
        return params[:channels], params[channels:]

    def projection(self, inputs: int, outputs: int) -> Tensor:
        """Returns (inputs, outputs), of a fully connected layer without bias."""
        self.layer("fc_2")
        self.expect("size of the projection", tuple(self._integers(2)), (outputs, inputs))
        params = self.tensor((inputs, outputs, 1, 1)).reshape(inputs, outputs)
        self.alias((inputs, outputs, 1, 1))
        self.alias((0, 0, 0, 0))
        self.expect("bias of the projection", self.integer(), 1)
        self._learning_rates()
        self.state()
        return params

    def _learning_rates(self) -> None:
        for _ in range(4):
            self.real()
