"""Pipeline: one image decoded, searched, fused, encoded and measured."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import cast

import numpy as np
from numpy.typing import NDArray

from . import boxes, engines, fusion, quality, turning
from .engines import Engine, EngineName, EngineOptions, Proposer
from .errors import ImageError
from .faces import Faces
from .images import arrays, inputs
from .images.decode import Picture, at_once, decode
from .images.inputs import ImageInput
from .parameters import Parameters
from .search import Everywhere, Guided, Search

REDUCTIONS = (2, 4, 8)
"""The factors that a JPEG decoder offers: it leaves out the finer frequencies of each block of 8 x 8 pixels."""


class Pipeline:
    """Finds and encodes every face of an image. Not thread-safe, except for `decode`, which any thread may call.

        pipeline = Pipeline(parameters.load())
        faces = pipeline.detect(Path("photo.jpg").read_bytes())

    Args:
        parameters: from `parameters.load()`.
        engine: "auto", "onnx", "dlib", or a running engine, which keeps its own options.

    Raises:
        EngineError: the engine cannot be started.
    """

    def __init__(self, parameters: Parameters, engine: EngineName | Engine = "auto") -> None:
        self.parameters = parameters
        if isinstance(engine, str):
            engine = engines.start(
                engine,
                EngineOptions.from_parameters(
                    parameters.detection, parameters.encoding, threads=parameters.daemon.engine_threads
                ),
            )
        self.engine: Engine = engine
        self._proposer: Proposer | None = None
        self.search: Search = Everywhere(engine, parameters.detection)
        if parameters.detection.search == "guided":
            self._proposer = engine.proposer()
            self.search = Guided(engine, self._proposer, parameters.detection)

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits of engine and parameters: pipelines with the same fingerprint give the same faces."""
        parameters = self.parameters
        engine = f"{self.engine.name!r}, {self.engine.fingerprint!r}"
        if self._proposer is not None:
            engine += f", {self._proposer.fingerprint!r}"
        sections = (parameters.detection, parameters.fusion, parameters.encoding)
        text = f"({engine}, {', '.join(section.as_text() for section in sections)})"
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def detect(self, image: ImageInput, *, faces_from: int = 0) -> Faces:
        """Returns the faces in an image, boxes in pixels of the upright image.

        Args:
            image: a path, the bytes of an image file, a file object, or pixels: a NumPy array (height, width, 3), uint8,
                RGB, or a PIL image, which is not turned by its EXIF orientation.
            faces_from: the side of the smallest face wanted, in pixels of the upright image; 0: the parameters decide.

        Raises:
            TypeError: the image has another form.
            OSError: the file cannot be read.
            ImageError: the bytes are not an image, or a damaged one, or one beyond the limits.
            EngineError: the engine failed.
        """
        inputs.checked(image)
        if inputs.is_pixels(image):
            picture = arrays.picture(image, self.parameters.images)
        elif inputs.is_file_content(image):
            picture = self.decode(inputs.file_content(image), faces_from=faces_from)
        else:
            picture = self._read(os.fspath(cast("str | os.PathLike[str]", image)), faces_from)
        return self.find(picture, faces_from=faces_from)

    def _read(self, path: str, faces_from: int) -> Picture:
        with open(path, "rb") as file:
            content = file.read()
        try:
            return self.decode(content, faces_from=faces_from)
        except ImageError as error:
            raise type(error)(f"{path}: {error}") from error

    def decode(self, image: bytes, admit: Callable[[int], None] = at_once, *, faces_from: int = 0) -> Picture:
        """Returns the upright picture in the bytes of an image file.

        Args:
            admit: receives the number of pixels before they are decoded, and may wait until there is memory for them.
            faces_from: the value that `find` will receive.

        Raises:
            ImageError: the bytes are not an image, or a damaged one, or one beyond the limits.
        """
        reduction = partial(self._reduction, faces_from=faces_from)
        return decode(image, self.parameters.images, reduction=reduction, admit=admit)

    def _reduction(self, width: int, height: int, *, faces_from: int) -> int:
        """Returns the factor by which a picture may be reduced so that the search does not enlarge any part of it."""
        if not self.parameters.detection.reduced_decoding or min(width, height) < max(REDUCTIONS):
            return 1
        finest = self.search.finest_zoom(width, height, faces_from=faces_from)
        return max((factor for factor in REDUCTIONS if finest * factor <= 1), default=1)

    def find(self, picture: Picture, *, faces_from: int = 0) -> Faces:
        """Returns the faces of a decoded picture, each once, all encoded and measured.

        Args:
            faces_from: the side of the smallest face wanted, in pixels of the upright image; 0: the parameters decide.

        Raises:
            EngineError: the engine failed.
        """
        height, width, _ = picture.pixels.shape
        # in pixels of the decoded picture, which may be fewer than the file's
        in_pixels = faces_from * width / picture.width
        candidates = self.search.candidates(picture.pixels, faces_from=in_pixels)
        doubtful = fusion.doubtful(candidates, self.parameters.fusion)
        candidates = self._encoded(picture, candidates, doubtful)
        faces = fusion.fuse(candidates, self.parameters.fusion)
        faces = self._encoded(picture, faces, ~faces.encoded)
        sharpness = quality.sharpness(picture.pixels, faces.boxes)
        if (width, height) != (picture.width, picture.height):
            full = boxes.to_image(faces.boxes, (width / picture.width, height / picture.height), (0.0, 0.0))
            faces = replace(faces, boxes=boxes.clip(full, picture.width, picture.height))
        return quality.measured(faces, sharpness, self.parameters.encoding)

    def _encoded(self, picture: Picture, faces: Faces, wanted: NDArray[np.bool_]) -> Faces:
        """Returns the faces, the wanted ones encoded, upright, from the picture at its full resolution."""
        if not wanted.any():
            return faces
        encodings = faces.encodings.copy()
        as_it_is = wanted & (faces.turned == 0)
        if as_it_is.any():
            encodings[as_it_is] = self.engine.encode(picture.pixels, faces.boxes[as_it_is])
        for number in np.flatnonzero(wanted & ~as_it_is).tolist():
            part, box = turning.upright(
                picture.pixels, faces.boxes[number : number + 1], int(faces.turned[number])
            )
            encodings[number] = self.engine.encode(part, box)[0]
        return faces.with_encodings(encodings)
