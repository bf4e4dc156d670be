"""One image through all of it: decode, pyramid, detection, fusion, encoding."""

from __future__ import annotations

import hashlib

import numpy as np
from PIL import Image

from . import boxes, engines, fusion, images, pyramid, scaling
from .engines import Engine, EngineName
from .faces import Faces
from .images import Picture
from .parameters import Parameters

SEAM = 0.05
"""Detector windows: a box that ends closer than this to a seam between tiles may be half a face. The detector clips its
boxes at the tile, so a face that goes on beyond the seam ends right there."""


class Pipeline:
    """Finds and encodes every face of an image. Not thread-safe but for `decode`, which any thread may call.

        pipeline = Pipeline(parameters.load())
        faces = pipeline.detect(Path("photo.jpg").read_bytes())

    Args:
        parameters: from `parameters.load()`.
        engine: "auto", "onnx", "dlib", or an engine that is running already.

    Raises:
        EngineError: the engine cannot be started.
    """

    def __init__(self, parameters: Parameters, engine: EngineName | Engine = "auto") -> None:
        self.parameters = parameters
        if isinstance(engine, str):
            engine = engines.start(engine, threads=parameters.daemon.engine_threads)
        self.engine: Engine = engine

    @property
    def fingerprint(self) -> str:
        """Tells whether two pipelines give the same faces: 16 hexadecimal digits of engine and parameters."""
        what = (self.engine.name, self.engine.fingerprint, self.parameters.detection, self.parameters.fusion)
        return hashlib.sha256(repr(what).encode()).hexdigest()[:16]

    def detect(self, image: bytes) -> Faces:
        """Returns the faces in the bytes of an image file, boxes in pixels of the upright image.

        Raises:
            ImageError: the bytes are no image, a damaged one, or one beyond the limits.
            EngineError: the engine failed.
        """
        return self.find(self.decode(image))

    def decode(self, image: bytes) -> Picture:
        """Returns the upright picture in the bytes of an image file.

        Raises:
            ImageError: the bytes are no image, a damaged one, or one beyond the limits.
        """
        return images.decode(image, self.parameters.images)

    def find(self, picture: Picture) -> Faces:
        """Returns the faces of a decoded picture, each once, all encoded.

        Raises:
            EngineError: the engine failed.
        """
        candidates, cut = self._candidates(picture)
        doubtful = fusion.doubtful(candidates, cut, self.parameters.fusion)
        candidates = self._encoded(picture, candidates, doubtful)
        faces = fusion.fuse(candidates, cut, self.parameters.fusion)
        return self._encoded(picture, faces, ~faces.encoded)

    def _candidates(self, picture: Picture) -> tuple[Faces, np.ndarray[tuple[int], np.dtype[np.bool_]]]:
        """What every tile of every level shows, and which of it ends at a seam."""
        width, height = picture.width, picture.height
        original = Image.fromarray(picture.pixels)
        candidates: list[Faces] = []
        cut = [np.zeros(0, np.bool_)]
        for level in pyramid.levels(width, height, self.parameters.detection):
            tiles = [scaling.resample(original, tuple(tile), level.size) for tile in level.tiles.tolist()]
            margin = SEAM * level.smallest_face
            for tile, found in zip(level.tiles, self.engine.detect(tiles), strict=True):
                in_image = boxes.to_image(found.boxes, level.zoom, (float(tile[0]), float(tile[1])))
                in_image = boxes.clip(in_image, width, height)
                candidates.append(Faces.detected(in_image, found.confidences, level=level.index))
                cut.append(pyramid.cut(in_image, tile, width, height, margin=margin))
        return Faces.concatenate(candidates), np.concatenate(cut)

    def _encoded(
        self, picture: Picture, faces: Faces, wanted: np.ndarray[tuple[int], np.dtype[np.bool_]]
    ) -> Faces:
        """The same faces, those wanted with their encodings, cut out of the picture at its full resolution."""
        if not wanted.any():
            return faces
        encodings = faces.encodings.copy()
        encodings[wanted] = self.engine.encode(picture.pixels, faces.boxes[wanted])
        return faces.with_encodings(encodings)
