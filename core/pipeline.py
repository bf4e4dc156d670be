"""One image through all of it: decode, pyramid, detection, fusion, encoding, quality."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import groupby, islice
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray

from . import adaptive, boxes, engines, fusion, pyramid, quality, resampling
from .boxes import Boxes
from .engines import Engine, EngineName, EngineOptions, Tile, devices
from .faces import Faces
from .images.decode import Picture, at_once, decode
from .parameters import Parameters
from .pyramid import Level

REDUCTIONS = (2, 4, 8)
"""What a JPEG decoder can do: it leaves out the finer frequencies of each block of 8 x 8 pixels."""


TILES_AHEAD = 1
"""Tiles that are zoomed and prepared before the engine asks for them, or as many as it asks for at once."""

ZOOMING_THREADS = 4
"""At most; Pillow zooms without the interpreter's lock. The first tile is there the sooner, and nothing else runs then."""


class Pipeline:
    """Finds and encodes every face of an image. Not thread-safe but for `decode`, which any thread may call.

        pipeline = Pipeline(parameters.load())
        faces = pipeline.detect(Path("photo.jpg").read_bytes())

    Args:
        parameters: from `parameters.load()`.
        engine: "auto", "onnx", "dlib", or an engine that is running already, with its own threshold.

    Raises:
        EngineError: the engine cannot be started.
    """

    def __init__(self, parameters: Parameters, engine: EngineName | Engine = "auto") -> None:
        self.parameters = parameters
        if isinstance(engine, str):
            engine = engines.start(
                engine,
                EngineOptions.from_parameters(
                    parameters.detection,
                    parameters.encoding,
                    threads=parameters.daemon.engine_threads,
                    hints=adaptive.HINT if parameters.detection.adaptive else None,
                ),
            )
        self.engine: Engine = engine
        self._zoomers = ThreadPoolExecutor(min(devices.cores(), ZOOMING_THREADS), "zoom")

    @property
    def fingerprint(self) -> str:
        """Tells whether two pipelines give the same faces: 16 hexadecimal digits of engine and parameters."""
        parameters = self.parameters
        what = (
            self.engine.name,
            self.engine.fingerprint,
            parameters.detection,
            parameters.fusion,
            parameters.encoding,
        )
        return hashlib.sha256(repr(what).encode()).hexdigest()[:16]

    def detect(self, image: bytes, *, faces_from: int = 0) -> Faces:
        """Returns the faces in the bytes of an image file, boxes in pixels of the upright image.

        Args:
            faces_from: the smallest face wanted, in pixels of the image; 0: as the parameters say.

        Raises:
            ImageError: the bytes are no image, a damaged one, or one beyond the limits.
            EngineError: the engine failed.
        """
        return self.find(self.decode(image, faces_from=faces_from), faces_from=faces_from)

    def decode(self, image: bytes, admit: Callable[[int], None] = at_once, *, faces_from: int = 0) -> Picture:
        """Returns the upright picture in the bytes of an image file.

        Args:
            admit: is told the number of pixels before they are decoded, and may wait until there is room for them.
            faces_from: as it will be when the faces are to be found.

        Raises:
            ImageError: the bytes are no image, a damaged one, or one beyond the limits.
        """
        reduction = partial(self._reduction, faces_from=faces_from)
        return decode(image, self.parameters.images, reduction=reduction, admit=admit)

    def _reduction(self, width: int, height: int, *, faces_from: int) -> int:
        """By how much a picture may be smaller so that its finest level still shrinks it."""
        detection = self.parameters.detection
        if not detection.reduced_decoding or min(width, height) < max(REDUCTIONS):
            return 1
        levels = pyramid.levels(width, height, detection, faces_from=faces_from)
        finest = max(max(level.zoom) for level in levels)
        return max((factor for factor in REDUCTIONS if finest * factor <= 1), default=1)

    def find(self, picture: Picture, *, faces_from: int = 0) -> Faces:
        """Returns the faces of a decoded picture, each once, all encoded and measured.

        Args:
            faces_from: the smallest face wanted, in pixels of the upright image; 0: as the parameters say.

        Raises:
            EngineError: the engine failed.
        """
        candidates = self.candidates(picture, faces_from=faces_from)
        doubtful = fusion.doubtful(candidates, self.parameters.fusion)
        candidates = self._encoded(picture, candidates, doubtful)
        faces = fusion.fuse(candidates, self.parameters.fusion)
        faces = self._encoded(picture, faces, ~faces.encoded)
        sharpness = quality.sharpness(picture.pixels, faces.boxes)
        height, width, _ = picture.pixels.shape
        if (width, height) != (picture.width, picture.height):
            full = boxes.to_image(faces.boxes, (width / picture.width, height / picture.height), (0.0, 0.0))
            faces = replace(faces, boxes=boxes.clip(full, picture.width, picture.height))
        return quality.measured(faces, sharpness, self.parameters.encoding)

    def candidates(self, picture: Picture, *, faces_from: int = 0) -> Faces:
        """What every tile of every level shows, in the frame of the picture."""
        height, width, _ = picture.pixels.shape
        detection = self.parameters.detection
        # in pixels of what was decoded, which may be less than the file has
        levels = pyramid.levels(width, height, detection, faces_from=faces_from * width / picture.width)
        if not detection.adaptive:
            return self._look(picture, levels)[0]
        candidates: list[Faces] = []
        hints = np.zeros((0, 4), np.float32)
        for index, level in enumerate(levels):
            if index:
                level = adaptive.closer(
                    level,
                    hints,
                    zoom=min(levels[index - 1].zoom),
                    faces=int((candidates[-1].confidences > adaptive.SURE).sum()),
                    width=width,
                    height=height,
                    budget=detection.tile_pixels,
                )
            found, hints = self._look(picture, [level])
            candidates.append(found)
        return Faces.concatenate(candidates)

    def _look(self, picture: Picture, levels: list[Level]) -> tuple[Faces, Boxes]:
        """What the tiles of these levels show, and their hints, (n, 4), in the frame of the picture."""
        height, width, _ = picture.pixels.shape
        candidates: list[Faces] = []
        hints: list[Boxes] = [np.zeros((0, 4), np.float32)]
        for level, tiles, pixels in self._batches(picture, levels):
            detected = self.engine.detect(pixels)
            pixels.clear()  # they take some 150 MB, and the next are being made
            for tile, found in zip(tiles, detected, strict=True):
                origin = float(tile[0]), float(tile[1])
                # a face that goes on beyond its tile has its whole box; only the picture's own edge cuts it off
                in_image = boxes.clip(boxes.to_image(found.voted, level.zoom, origin), width, height)
                candidates.append(Faces.detected(in_image, found.confidences, level=level.index))
                hints.append(boxes.to_image(found.hints, level.zoom, origin))
        return Faces.concatenate(candidates), np.concatenate(hints)

    def _batches(
        self, picture: Picture, levels: list[Level]
    ) -> Iterator[tuple[Level, list[NDArray[np.int64]], list[Tile]]]:
        """The tiles, zoomed and prepared, as many of one level at a time as the engine wants."""
        for level, tiles in groupby(self._tiles(picture, levels), key=itemgetter(0)):
            while some := list(islice(tiles, self._batch(level))):
                _, places, prepared = map(list, zip(*some, strict=True))
                some.clear()  # nothing here holds on to a tile that the engine is done with
                yield level, places, prepared

    def _batch(self, level: Level) -> int:
        width, height = level.size
        return self.engine.batch(height, width)

    def _tiles(
        self, picture: Picture, levels: list[Level]
    ) -> Iterator[tuple[Level, NDArray[np.int64], Tile]]:
        """Every tile of every level, zoomed and prepared; that happens to the next batch while the engine has the last one.

        No more of them: the deepest levels have dozens of tiles, and to hold them all would take what a tile takes, dozens
        of times.
        """
        ahead = max(TILES_AHEAD, *map(self._batch, levels))
        upcoming = ((level, tile) for level in levels for tile in level.tiles)
        preparing: deque[tuple[Level, NDArray[np.int64], Future[Tile]]] = deque()
        while True:
            # the one that is asked for, and those ahead of it
            for level, tile in islice(upcoming, 1 + ahead - len(preparing)):
                preparing.append((level, tile, self._prepare(picture, tile, level.size)))
            if not preparing:
                return
            yield _ready(*preparing.popleft())

    def _prepare(self, picture: Picture, tile: NDArray[np.int64], size: tuple[int, int]) -> Future[Tile]:
        """A tile, as threads have zoomed it, strip by strip, and the engine has prepared it."""
        left, top, right, bottom = tile.tolist()
        box = left, top, right, bottom
        zoomed = np.empty((size[1], size[0], 3), np.uint8)
        submit = self._zoomers.submit
        strips = [
            submit(resampling.resample_rows, picture.pixels, box, zoomed, rows)
            for rows in resampling.strips(box, size)
        ]

        def prepared() -> Tile:
            for strip in strips:  # they came into the threads' queue before this: none waits for this thread
                strip.result()
            return self.engine.prepare(zoomed)

        return submit(prepared)

    def _encoded(self, picture: Picture, faces: Faces, wanted: NDArray[np.bool_]) -> Faces:
        """The same faces, those wanted with their encodings, cut out of the picture at its full resolution."""
        if not wanted.any():
            return faces
        encodings = faces.encodings.copy()
        encodings[wanted] = self.engine.encode(picture.pixels, faces.boxes[wanted])
        return faces.with_encodings(encodings)


def _ready(
    level: Level, tile: NDArray[np.int64], prepared: Future[Tile]
) -> tuple[Level, NDArray[np.int64], Tile]:
    return level, tile, prepared.result()
