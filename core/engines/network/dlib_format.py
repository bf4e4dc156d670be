"""dlib's serialization format: a strict parser of numbers, tensors and the layers of a network.

dlib writes a network from the outside in: the version of every layer, the outermost first, then the input layer, then the
layers' contents, the innermost first. An integer is a control byte (low 4 bits: the number of following bytes; high bit: the
sign) and that many little-endian bytes; a real number is two integers, a mantissa and an exponent of 2; a boolean is the
character 0 or 1; a string is its length and its bytes; a tensor is its version (2), four dimensions and raw little-endian
float32. (dlib 20.0: serialize.h, float_details.h, dnn/core.h, dnn/layers.h.)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...errors import EngineError
from ...text import plural

Tensor = NDArray[np.float32]

ONE = bytes([1, 1, 1, 0])
"""The real number 1.0 in dlib's format: mantissa 1, exponent 0."""


@dataclass(frozen=True)
class Convolution:
    """A convolution, with the following normalization folded into it.

    weights: (out, in, side, side); bias: (out,); stride and padding: pixels, the same in both directions.
    """

    weights: Tensor
    bias: Tensor
    stride: int
    padding: int


def scaled(convolution: Convolution, scale: Tensor, shift: Tensor) -> Convolution:
    """Returns the convolution whose output is scale * output + shift."""
    factors = scale.astype(np.float64)
    weights = convolution.weights * factors[:, None, None, None]
    bias = convolution.bias * factors + shift
    return Convolution(
        weights.astype(np.float32), bias.astype(np.float32), convolution.stride, convolution.padding
    )


class Deserializer:
    """A reader of dlib's values, front to back. Unexpected bytes are an EngineError that names `source` and the offset.

    The caller states the expected value: `tensor(shape)`, `convolution(channels, ...)`, `expect(what, actual, expected)`.

    Attributes:
        at: the offset of the next byte.
    """

    def __init__(self, data: bytes, source: str) -> None:
        self._data = data
        self.at = 0
        self._source = source

    def _fail(self, what: str) -> EngineError:
        return EngineError(
            f"{self._source} is not the known network: at byte {self.at} {what}; "
            "reinstall it: pip install --force-reinstall face_recognition_models"
        )

    def expect(self, what: str, actual: object, expected: object) -> None:
        if actual != expected:
            raise self._fail(f"the {what} is {actual!r} instead of {expected!r}")

    def end(self) -> None:
        if self.at != len(self._data):
            raise self._fail(f"{plural(len(self._data) - self.at, 'byte')} after the end of the network")

    def _take(self, count: int) -> bytes:
        chunk = self._data[self.at : self.at + count]
        if len(chunk) < count:
            raise self._fail(f"the file ends in the middle of {plural(count, 'byte')}")
        self.at += count
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
            raise self._fail(f"a name is {plural(length, 'byte')} long")
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
        """Skips the shape that dlib stores for a part of a tensor."""
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
        """Skips the end of every layer: three flags, and three tensors that are empty outside of training."""
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
        """Returns (scale, shift), each (channels,), from the statistics of training."""
        self.layer("bn_con2")
        part = (1, channels, 1, 1)
        params = self.tensor((2 * channels, 1, 1, 1)).ravel().astype(np.float64)
        self.alias(part)
        self.alias(part)
        for _ in range(2):
            self.tensor(part)  # statistics of the last batch, of training
        mean, variance = self.tensor(part).ravel(), self.tensor(part).ravel()
        for _ in range(2):
            self.integer()  # number of updates, window of the running statistics
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
        """Returns the weights, (inputs, outputs), of a fully connected layer without bias."""
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
