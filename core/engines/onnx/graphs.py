"""Graphs: the networks of `weights` as ONNX models, built in memory and serialized for ONNX Runtime.

Two changes suit ONNX Runtime's kernels and keep the results, but for the order of additions. Channels are padded with zeros
to a multiple of 16, because the fastest convolution works in blocks of 16. The detector's last layer, 9x9 with a single
output, becomes a layer of 9x1 with nine outputs and one of 1x9 that adds them up, each at its place: a third of the time.

Two further models change the results a little: the detector's halves in 8-bit integers, for `screening`.

The division of the detector's pixels, by a power of two, is part of its first weights; that changes no bit of a result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from ..network.dlib_format import Convolution
from ..network.weights import STAGES, DetectorWeights, EncoderWeights

CHANNEL_BLOCK = 16
OPSET, IR_VERSION = 17, 8  # supported by onnxruntime 1.17, the oldest version that pyraface accepts

DIVISOR = 256
"""The divisor of pixels, once the means are subtracted (dlib 20.0: dnn/input.h)."""

LARGEST_WEIGHT = 64
"""The largest integer weight: the sum of two products, 255 * 64 * 2, fits in 16 bits."""

Dimensions = list[int | str]


class _Graph:
    """A graph under construction: nodes in the order of their addition, each named after its only output."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._nodes: list[Any] = []
        self._constants: list[Any] = []

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        output = f"{operator}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, list(inputs), [output], **attributes))
        return output

    def constant(self, array: NDArray[Any]) -> str:
        name = f"constant_{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def convolution(
        self,
        source: str,
        weights: NDArray[np.float32],
        bias: NDArray[np.float32],
        *,
        stride: int = 1,
        padding: tuple[int, int] = (0, 0),
    ) -> str:
        return self.add(
            "Conv",
            source,
            self.constant(weights),
            self.constant(bias),
            kernel_shape=list(weights.shape[2:]),
            strides=[stride, stride],
            pads=[*padding, *padding],
        )

    def quantization(self, scale: float) -> tuple[str, str]:
        """The constants, scale and zero point, of unsigned 8-bit integers for values from 0 to 255 times `scale`."""
        return self.constant(np.array(scale, np.float32)), self.constant(np.array(0, np.uint8))

    def integer_convolution(
        self,
        source: str,
        weights: NDArray[np.float32],
        bias: NDArray[np.float32],
        scales: tuple[float, float],
        *,
        stride: int = 1,
        padding: int = 0,
    ) -> str:
        """A convolution and its rectifier, from and to unsigned 8-bit integers of these two scales."""
        scale, to_scale = scales
        steps = np.abs(weights).max(axis=(1, 2, 3)) / LARGEST_WEIGHT
        steps[steps == 0] = 1  # of padding channels
        whole = np.rint(weights / steps[:, None, None, None]).astype(np.int8)
        return self.add(
            "QLinearConv",
            source,
            *self.quantization(scale),
            self.constant(whole),
            self.constant(steps),
            self.constant(np.zeros(len(steps), np.int8)),
            *self.quantization(to_scale),
            self.constant(np.rint(bias / (scale * steps)).astype(np.int32)),
            kernel_shape=list(weights.shape[2:]),
            strides=[stride, stride],
            pads=[padding] * 4,
        )

    def model(
        self,
        inputs: dict[str, tuple[int, Dimensions]],
        output: str,
        shape: Dimensions,
        kind: int = TensorProto.FLOAT,
    ) -> bytes:
        """Returns the model whose single output is `output`; `inputs` are element types and shapes by name."""
        graph = helper.make_graph(
            self._nodes,
            self._name,
            [helper.make_tensor_value_info(name, *what) for name, what in inputs.items()],
            [helper.make_tensor_value_info(output, kind, shape)],
            self._constants,
        )
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION
        )
        return bytes(model.SerializeToString())


def shrinking() -> bytes:
    """Returns the model from a picture (1, 3, h, w) float32 and `size`, (4,) int64, to the picture at that size.

    Bilinear, with the centres of the corner pixels on one another, as dlib's resize_image does it.
    """
    graph = _Graph("shrinking")
    output = graph.add(
        "Resize", "picture", "", "", "size", mode="linear", coordinate_transformation_mode="align_corners"
    )
    inputs: dict[str, tuple[int, Dimensions]] = {
        "picture": (TensorProto.FLOAT, [1, 3, "h", "w"]),
        "size": (TensorProto.INT64, [4]),
    }
    return graph.model(inputs, output, [1, 3, "height", "width"])


def features(detector: DetectorWeights) -> int:
    """Returns the number of channels of the features, the trunk's output."""
    return int(_trunk(detector)[-1].weights.shape[0])


def detector_trunk(detector: DetectorWeights) -> bytes:
    """Returns the model of the trunk, all convolutions with stride 2: packed images (n, 3, h, w) to features at 1/8."""
    graph = _Graph("detector_trunk")
    at = "image"
    for convolution in _trunk(detector):
        at = graph.convolution(at, convolution.weights, convolution.bias, stride=convolution.stride)
        at = graph.add("Relu", at)
    shape: Dimensions = ["n", features(detector), "r", "c"]
    return graph.model({"image": (TensorProto.FLOAT, ["n", 3, "h", "w"])}, at, shape)


def detector_head(detector: DetectorWeights) -> bytes:
    """Returns the model of the head, all other convolutions: features (n, c, h, w) to scores (n, 1, h, w)."""
    *inner, _ = detector.convolutions[len(_trunk(detector)) :]
    graph = _Graph("detector_head")
    at, filled = "features", inner[0].weights.shape[1]
    for convolution in inner:
        weights, bias = _filled(convolution, inputs=filled)
        at = graph.convolution(at, weights, bias, padding=(convolution.padding, convolution.padding))
        at = graph.add("Relu", at)
        filled = len(weights)
    return _scores(graph, detector, at, filled)


def screen_trunk(detector: DetectorWeights, ranges: Sequence[float]) -> bytes:
    """Returns the model of `detector_trunk` in 8-bit integers, except for the first layer, which has three input channels.

    Values are unsigned: none is negative after a rectifier, and the lower end of their range is the rectifier. Weights have
    7 bits and a scale for each output. Processors without instructions for dot products of bytes (AVX-512 VNNI, Arm's
    dotprod) add two products in 16 bits; larger weights could overflow them, and no error would tell of the wrong result.

    Args:
        ranges: the largest value of each layer's output.
    """
    first, *inner = _trunk(detector)
    graph = _Graph("screen_trunk")
    at = graph.add("Relu", graph.convolution("image", first.weights, first.bias, stride=first.stride))
    scale = ranges[0] / 255
    at = graph.add("QuantizeLinear", at, *graph.quantization(scale))
    for one, largest in zip(inner, ranges[1:], strict=True):
        at = graph.integer_convolution(at, one.weights, one.bias, (scale, largest / 255), stride=one.stride)
        scale = largest / 255
    shape: Dimensions = ["n", features(detector), "r", "c"]
    return graph.model({"image": (TensorProto.FLOAT, ["n", 3, "h", "w"])}, at, shape, TensorProto.UINT8)


def screen_head(detector: DetectorWeights, ranges: Sequence[float]) -> bytes:
    """Returns the model of `detector_head` in 8-bit integers, for the features of `screen_trunk`, except for the last layer,
    a small part of the work.

    Args:
        ranges: the largest value of the features, and of each layer's output but the last.
    """
    *inner, _ = detector.convolutions[len(_trunk(detector)) :]
    graph = _Graph("screen_head")
    at, scale, filled = "features", ranges[0] / 255, features(detector)
    for convolution, largest in zip(inner, ranges[1:], strict=True):
        weights, bias = _filled(convolution, inputs=filled)
        at = graph.integer_convolution(at, weights, bias, (scale, largest / 255), padding=convolution.padding)
        scale, filled = largest / 255, len(weights)
    at = graph.add("DequantizeLinear", at, *graph.quantization(scale))
    return _scores(graph, detector, at, filled, TensorProto.UINT8)


def encoder(network: EncoderWeights) -> bytes:
    """Returns the model from chips (n, 150, 150, 3) uint8 to encodings (n, 128) float32."""
    graph = _Graph("encoder")
    convolutions = iter(network.convolutions)

    def convolved(at: str) -> str:
        convolution = next(convolutions)
        return graph.convolution(
            at,
            convolution.weights,
            convolution.bias,
            stride=convolution.stride,
            padding=(convolution.padding, convolution.padding),
        )

    planes = graph.add("Transpose", "chips", perm=[0, 3, 1, 2])
    values = graph.add("Cast", planes, to=TensorProto.FLOAT)
    centred = graph.add(
        "Sub", values, graph.constant(np.array(network.means, np.float32).reshape(1, 3, 1, 1))
    )
    at = graph.add("Mul", centred, graph.constant(np.array(1 / DIVISOR, np.float32)))
    at = graph.add("Relu", convolved(at))
    at = graph.add("MaxPool", at, kernel_shape=[3, 3], strides=[2, 2])
    side, channels = 35, 32
    for filters, blocks, halves in STAGES:
        for block in range(blocks):
            shortcut = at
            if halves and block == 0:
                shortcut = graph.add("AveragePool", at, kernel_shape=[2, 2], strides=[2, 2])
            at = graph.add("Relu", convolved(at))
            at = convolved(at)
            if halves and block == 0:
                # dlib adds pictures of different sizes as if the smaller one went on with zeros
                inside, outside = (side - 3) // 2 + 1, side // 2
                side = max(inside, outside)
                at = _extended(graph, at, side - inside, 0)
                shortcut = _extended(graph, shortcut, side - outside, filters - channels)
            at = graph.add("Relu", graph.add("Add", at, shortcut))
            channels = filters
    at = graph.add("Flatten", graph.add("GlobalAveragePool", at))
    at = graph.add("MatMul", at, graph.constant(network.projection))
    return graph.model({"chips": (TensorProto.UINT8, ["n", 150, 150, 3])}, at, ["n", 128])


def _scores(
    graph: _Graph, detector: DetectorWeights, at: str, channels: int, kind: int = TensorProto.FLOAT
) -> bytes:
    """The model from features of this element type to scores: the graph up to `at`, which has so many channels, followed by
    the detector's last layer."""
    last = detector.convolutions[-1]
    column, row = _split(last, inputs=channels)
    no_bias = np.zeros(len(column), np.float32)
    at = graph.convolution(at, column, no_bias, padding=(last.padding, 0))
    at = graph.convolution(at, row, last.bias, padding=(0, last.padding))
    shape: Dimensions = ["n", features(detector), "h", "w"]
    return graph.model({"features": (kind, shape)}, at, ["n", 1, "h", "w"])


def _trunk(detector: DetectorWeights) -> list[Convolution]:
    """The convolutions with stride 2; the first one also divides the pixels."""
    first, *others = [convolution for convolution in detector.convolutions if convolution.stride == 2]
    return [replace(first, weights=first.weights / np.float32(DIVISOR)), *others]


def _extended(graph: _Graph, source: str, pixels: int, channels: int) -> str:
    if pixels == 0 and channels == 0:
        return source
    pads = np.array([0, 0, 0, 0, 0, channels, pixels, pixels], np.int64)
    return graph.add("Pad", source, graph.constant(pads))


def _filled(convolution: Convolution, *, inputs: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The weights and the bias, padded with zeros to a number of outputs that is a multiple of CHANNEL_BLOCK."""
    out, into, *side = convolution.weights.shape
    wide = -(-out // CHANNEL_BLOCK) * CHANNEL_BLOCK
    weights = np.zeros((wide, inputs, *side), np.float32)
    weights[:out, :into] = convolution.weights
    return weights, np.pad(convolution.bias, (0, wide - out))


def _split(last: Convolution, *, inputs: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """A convolution with one output as two: (CHANNEL_BLOCK, inputs, side, 1), and (1, CHANNEL_BLOCK, 1, side) of ones and
    zeros.

    Output i of the first is column i of the kernel, summed downwards; the second shifts it by i pixels and adds all up.
    """
    _, into, side, _ = last.weights.shape
    column = np.zeros((CHANNEL_BLOCK, inputs, side, 1), np.float32)
    column[:side, :into, :, 0] = last.weights[0].transpose(2, 0, 1)
    row = np.zeros((1, CHANNEL_BLOCK, 1, side), np.float32)
    row[0, np.arange(side), 0, np.arange(side)] = 1
    return column, row
