"""Engine: the Protocol of every engine, its options and its input.

Except for `prepare`, an engine is not thread-safe: a single thread uses it (the worker process has only one).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol, Union

import numpy as np
from numpy.typing import NDArray

from ..boxes import Boxes
from ..parameters import DetectionParameters, EncodingParameters
from .detections import Detections
from .network.packed_pyramid import ImagePyramid

Pixels = NDArray[np.uint8]
"""(height, width, 3) uint8, RGB, C-contiguous."""

Tile = Union[Pixels, ImagePyramid]  # noqa: UP007  Python 3.10 knows no | between these
"""A tile, or its pyramid, as `Engine.prepare` returns it."""

CHIP_SIDE = 150
"""The side, in pixels, of the picture of a face that the encoder takes."""

EngineName = Literal["auto", "onnx", "dlib"]
"""The names a user may choose from: `auto`, and the engines in the registry (`engines.NAMES`)."""


@dataclass(frozen=True, kw_only=True)
class EngineOptions:
    """The settings of an engine, the same for all of them. An engine ignores an option that does not concern it.

    threads: of ONNX Runtime on a CPU; 0: one for each core available to this process.
    threshold: the confidence above which a detector's response is a face; 0 is face_recognition's threshold.
    screened: whether the onnx engine on a CPU searches a tile in 8-bit integers first, and in float32 only where those
        leave room for a face.
    tile_pixels: the size of the largest tile, in pixels; the onnx engine on TensorRT plans for it.
    jitters: the number of random variations of a face, slightly turned and moved, over which its encoding is averaged;
        1: the face itself.
    landmarks: the number of points that align a face before it is encoded, 5 or 68.

    Raises:
        ValueError: an option is out of its range.
    """

    threads: int = 0
    threshold: float = 0.0
    screened: bool = True
    tile_pixels: int = DetectionParameters().tile_pixels
    jitters: int = 1
    landmarks: int = 5

    def __post_init__(self) -> None:
        if self.threads < 0:
            raise ValueError(f"threads must be 0 or more, not {self.threads}")
        if self.jitters < 1:
            raise ValueError(f"jitters must be 1 or more, not {self.jitters}")
        if self.landmarks not in (5, 68):
            raise ValueError(f"landmarks must be 5 or 68, not {self.landmarks}")

    @classmethod
    def from_parameters(
        cls, detection: DetectionParameters, encoding: EncodingParameters, *, threads: int
    ) -> EngineOptions:
        """Returns the options that parameters.xml sets."""
        return cls(
            threads=threads,
            threshold=detection.threshold,
            screened=detection.screening,
            tile_pixels=detection.tile_pixels,
            jitters=encoding.jitters,
            landmarks=encoding.landmarks,
        )


class Proposals(NamedTuple):
    """Places in one tile where a face may be, the best first.

    boxes: (n, 4) float32, in pixels of the tile: the square that dlib's detector would give for such a face. It may leave
        the tile.
    scores: (n,) float32, 0 to 1.
    """

    boxes: Boxes
    scores: NDArray[np.float32]


class Proposer(Protocol):
    """A small detector that proposes where the engine's is to look. Not thread-safe."""

    def propose(self, tiles: Sequence[Pixels], threshold: float) -> list[Proposals]:
        """Returns the proposals in each tile whose score is at least `threshold`; the tiles all have one shape.

        Raises:
            ValueError: the tiles differ in shape, or are not (h, w, 3) uint8.
            EngineError: the device failed.
        """
        ...

    def scores(self, tiles: Sequence[Pixels]) -> NDArray[np.float32]:
        """Returns the best score, (n,), of a face in the middle of each tile; the tiles all have one shape.

        Any number of tiles is processed in batches.

        Raises:
            ValueError: the tiles differ in shape, or are not (h, w, 3) uint8.
            EngineError: the device failed.
        """
        ...


class Engine(Protocol):
    """Detects and encodes; both networks, on one device."""

    name: str
    """"onnx" or "dlib"."""
    device: str
    """For people: "cpu, 2 threads", "cuda:0 Orin"."""
    gpu: bool
    """Whether the networks run on a GPU."""
    processor: str
    """The kind of the device, and anything else of it on which digits may depend: "cpu, int8", "cuda, Orin"."""
    libraries: str
    """Those that compute, with their versions: "onnxruntime 1.32.0, dlib 20.0.1"."""

    def batch_size(self, height: int, width: int) -> int:
        """Returns the best number of tiles of this size, in pixels, for one call of `detect`: 1 on a CPU."""
        ...

    def prepare(self, tile: Pixels, scales: int = 0) -> Tile:
        """Does the part of detection that any thread can do, while another one is in `detect`.

        The result may take thirteen times the tile's own memory.

        Args:
            scales: the number of scales at which the tile is searched, from its own down in steps of 5/6; 0: all. With 6
                or fewer, an engine that screens in 8-bit integers decides by these alone: confidences are up to 0.15 off,
                rarely more. An engine may ignore this and search all scales.

        Raises:
            ValueError: the tile is not (h, w, 3) uint8.
            EngineError: the preparation failed.
        """
        ...

    def detect(self, tiles: Sequence[Tile]) -> list[Detections]:
        """Returns the faces in each tile, prepared or not; all tiles have one shape.

        More tiles than `batch_size` are processed batch by batch, in the memory of one batch.

        Raises:
            ValueError: the tiles differ in shape, or are not (h, w, 3) uint8.
            EngineError: the device failed (it ran out of memory, or was lost).
        """
        ...

    def encode(self, image: Pixels, boxes: Boxes) -> NDArray[np.float32]:
        """Returns the encodings of the faces in the boxes, (n, 128) float32, from chips cut out at the image's resolution.

        Args:
            image: the upright image.
            boxes: (n, 4), in pixels of `image`; rounded to whole pixels, as face_recognition takes them.

        Raises:
            EngineError: the device failed, or an encoding is not a number.
        """
        ...

    def encode_chips(self, chips: Sequence[Pixels]) -> NDArray[np.float32]:
        """Returns the encodings, (n, 128), of faces that are aligned and cut out already; they may be no numbers.

        Args:
            chips: each (150, 150, 3) uint8.

        Raises:
            EngineError: the device failed.
        """
        ...

    def with_threshold(self, threshold: float) -> Engine:
        """Returns an engine on the same networks whose detector has another threshold; the same thread uses both.

        Raises:
            EngineError: its detector cannot be started.
        """
        ...

    def proposer(self) -> Proposer:
        """Returns a proposer, its weights loaded, that runs beside the engine: on its device, if it can.

        Raises:
            EngineError: the weights are missing or damaged, or cannot be run.
        """
        ...
