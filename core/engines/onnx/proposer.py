"""YuNet run by ONNX Runtime: proposals of faces, in tiles of any size."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from numpy.typing import NDArray

from ...errors import EngineError
from .. import checks
from ..base import Pixels, Proposals
from ..network import yunet
from .session import FAILURES, Placement

SCORED_AT_ONCE = 64
"""Tiles in a batch of `scores`; larger ones are no faster."""


class YuNet:
    """The Proposer on YuNet; see `base.Proposer` for what the methods promise.

    Args:
        placement: where the networks run.

    Raises:
        EngineError: the weights are missing or damaged, or cannot be run.
    """

    def __init__(self, placement: Placement) -> None:
        model = any_size(yunet.load_weights())
        try:
            # without shapes, so CUDA takes TensorRT's place: a plan would have to hold tiles of 32 px to thousands a side,
            # for a network that is a small part of the work
            self._session = placement.start(model)
        except FAILURES as error:
            raise EngineError(f"YuNet cannot be started on {placement.device}: {error}") from error
        self._gpu = placement.gpu

    def propose(self, tiles: Sequence[Pixels], threshold: float) -> list[Proposals]:
        if not tiles:
            return []
        outputs, size = self._outputs(tiles)
        proposals = []
        for index in range(len(tiles)):
            boxes, scores = yunet.decoded([each[index] for each in outputs], size, threshold)
            proposals.append(Proposals(yunet.as_dlib(boxes), scores))
        return proposals

    def scores(self, tiles: Sequence[Pixels]) -> NDArray[np.float32]:
        parts = [np.zeros(0, np.float32)]
        for start in range(0, len(tiles), SCORED_AT_ONCE):
            some = list(tiles[start : start + SCORED_AT_ONCE])
            # a GPU chooses its algorithms, and with them its memory, for each size of a batch
            padding = some[:1] * (SCORED_AT_ONCE - len(some)) if self._gpu else []
            parts.append(yunet.middle_scores(*self._outputs(some + padding))[: len(some)])
        return np.concatenate(parts)

    def _outputs(self, tiles: Sequence[Pixels]) -> tuple[list[NDArray[np.float32]], tuple[int, int]]:
        """The network's outputs, (tiles, cells, 1 or 4) each, and the height and width of its input."""
        planes = yunet.network_input([checks.checked_pixels(tile) for tile in tiles])
        # the network joins the maps of all tiles, one after the other
        outputs = [
            each.reshape(len(tiles), -1, each.shape[-1]) for each in self._session.run({"input": planes})
        ]
        height, width = planes.shape[2:]
        return outputs, (height, width)


def any_size(model: bytes) -> bytes:
    """Returns the network for inputs of any number and size, with the outputs in use alone; the file's is for 640 x 640."""
    network = onnx.load_from_string(model)
    for dimension, name in zip(
        network.graph.input[0].type.tensor_type.shape.dim, ("n", "", "h", "w"), strict=True
    ):
        if name:
            dimension.dim_param = name
    del network.graph.value_info[:]
    outputs = {output.name: output for output in network.graph.output}
    del network.graph.output[:]
    for name in yunet.OUTPUTS:
        shape = outputs[name].type.tensor_type.shape
        shape.dim[1].dim_param = f"cells of {name}"
        network.graph.output.append(outputs[name])
    serialized: bytes = network.SerializeToString()
    return serialized
