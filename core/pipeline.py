"""Pipeline: one image decoded, each of its pages searched, and their faces fused, encoded and measured."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import __version__
from . import boxes, engines, fingerprints, fusion, quality, turning
from . import search as searches
from .computed_by import ComputedBy
from .engines import Engine, EngineName, EngineOptions, Proposer
from .errors import BadBoxError, EngineError, ImageError, TruncatedImageError
from .faces import Faces
from .given_boxes import UNKNOWN_TURN, GivenBoxes
from .host import forks
from .images import arrays, inputs
from .images.decode import Picture, at_once, decode, pictures
from .images.inputs import ImageInput
from .pages import Page, Unread
from .parameters import AUTOMATIC, Parameters, SearchName, search_named
from .search import Search

log = logging.getLogger("pyraface.pipeline")

REDUCTIONS = (2, 4, 8)
"""The factors that a JPEG decoder offers: it leaves out the finer frequencies of each block of 8 x 8 pixels."""


LEAST_SIDE = 1
"""The pixels of a given box's width and height that must be inside of the picture."""


@dataclass(frozen=True, eq=False)
class Findings:
    """The faces of an image file.

    Attributes:
        faces: of all pages, page by page; boxes in pixels of the upright picture of their page.
        pages: the pictures that were searched, in their order; at least one.
        unread: the pictures that could not be read.
        pictures: the number of pictures in the file.
    """

    faces: Faces
    pages: tuple[Page, ...]
    unread: tuple[Unread, ...]
    pictures: int


class Pipeline:
    """Finds and encodes every face of an image. Not thread-safe, except for `decode`, which any thread may call.

        pipeline = Pipeline(parameters.load())
        faces = pipeline.detect(Path("photo.jpg").read_bytes())

    Args:
        parameters: from `parameters.load()`.
        engine: "auto", "onnx", "dlib", or a running engine, which keeps its own options.
        frugal: whether it takes less memory, and more time, for the same faces.

    A process that is forked after this was made needs one of its own, because the threads of the engine stay in the
    parent. It cannot have one if this has searched an image: libvips does not survive that.

    Attributes:
        default_search: the search that the parameters set. Any other is started when it is asked for first.

    Raises:
        EngineError: the engine cannot be started, or cannot do the search that the parameters name.
        RuntimeError: a pipeline searched an image before this process was forked.
    """

    _searched_in: ClassVar[int] = 0
    """The id of the process in which a pipeline searched an image first; 0: none has."""

    def __init__(
        self, parameters: Parameters, engine: EngineName | Engine = "auto", *, frugal: bool = False
    ) -> None:
        if self._searched_in not in (0, os.getpid()):
            # its threads are in the parent, and it would wait for them
            raise RuntimeError(
                "a Pipeline searched an image before this process was forked, and libvips works in no such process: fork "
                "before the first image, or start processes with multiprocessing's method spawn"
            )
        self.parameters = parameters
        self._process = os.getpid()
        if isinstance(engine, str):
            engine = engines.start(
                engine,
                EngineOptions.from_parameters(
                    parameters.detection, parameters.encoding, threads=parameters.daemon.engine_threads
                ),
            )
        self.engine: Engine = engine
        self._frugal = frugal
        self._proposer: Proposer | None = None
        self._searches: dict[SearchName, Search] = {}
        self._starting = threading.Lock()
        self.default_search: SearchName = self._default_search()

    def _default_search(self) -> SearchName:
        if self.parameters.detection.search != "auto":
            named = search_named(self.parameters.detection.search)
            self.search(named)
            return named
        try:
            self.search(AUTOMATIC)
        except EngineError as error:
            log.warning("images are searched everywhere, because %s cannot run: %s", AUTOMATIC, error)
            return "everywhere"
        return AUTOMATIC

    def search(self, name: str = "") -> Search:
        """Returns a search, started when it is asked for first; "" is the default one. Any thread may call this.

        Raises:
            ValueError: there is no search of this name.
            EngineError: it cannot run; the message says what is missing.
            RuntimeError: this is a process forked after the pipeline was made.
        """
        forks.check(self._process, "Pipeline")
        wanted = search_named(name) if name else self.default_search
        with self._starting:
            if wanted not in self._searches:
                self._searches[wanted] = searches.start(
                    wanted,
                    self.engine,
                    self._shared_proposer,
                    self.parameters.detection,
                    frugal=self._frugal,
                )
            return self._searches[wanted]

    def _shared_proposer(self) -> Proposer:
        if self._proposer is None:
            self._proposer = self.engine.proposer()
        return self._proposer

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the default search."""
        return self.fingerprint_of(self.default_search)

    def fingerprint_of(self, name: str) -> str:
        """Returns the fingerprint of a search (`fingerprints`): the same gives the same faces, with any engine.

        Raises:
            ValueError: there is no search of this name.
        """
        parameters = self.parameters
        return fingerprints.of(
            search_named(name), parameters.detection, parameters.fusion, parameters.encoding
        )

    @property
    def computed_by(self) -> ComputedBy:
        """What computes the faces: the engine, its device, and the versions of the software."""
        engine = self.engine
        return ComputedBy(engine.name, engine.processor, f"{__version__}, {engine.libraries}")

    def detect(self, image: ImageInput, *, faces_from: int = 0, search: str = "") -> Faces:
        """Returns the faces in an image, boxes in pixels of the upright image.

        Of a file with several pictures, all pages are searched (`decode.pictures`), and `Faces.pages` tells them apart; a
        page that cannot be read is a warning in the log.

        Args:
            image: a path, the bytes of an image file, a file object, or pixels: a NumPy array (height, width, 3), uint8,
                RGB, or a PIL image, which is not turned by its EXIF orientation.
            faces_from: the side of the smallest face wanted, in pixels of the upright image; 0: the parameters decide.
            search: "everywhere", "guided" or "most"; "": the parameters decide.

        Raises:
            TypeError: the image has another form.
            ValueError: there is no search of this name.
            OSError: the file cannot be read.
            ImageError: the bytes are not an image, or a damaged one, or one beyond the limits.
            EngineError: the engine failed, or cannot do this search.
        """
        search_in = partial(self.find_all, faces_from=faces_from, search=search)
        name, found = self._of_image(image, search_in, faces_from=faces_from, search=search)
        for page, reason in found.unread:
            log.warning("%s: picture %d is not read: %s", name or "image", page, reason)
        return found.faces

    def encode(
        self,
        image: ImageInput,
        boxes: ArrayLike,
        *,
        turned: ArrayLike | None = None,
        page: int = 0,
        search: str = "",
    ) -> Faces:
        """Returns the faces in boxes that come from elsewhere, in the order of the boxes; nothing is searched for.

        Each is encoded and measured as if the search had found it there: `detect`'s boxes have the same encodings again.
        Its detector is "given", its confidence and its level are 0; `comparable` asks for its size, its sharpness and how
        much of it is inside. A box that leaves the picture ends at its edge.

        Args:
            image: as for `detect`.
            boxes: n rows of left, top, right, bottom, in pixels of the upright picture; at most 1000.
            turned: the degrees clockwise, 0, 90, 180 or 270, that bring each face upright, n of them, as `Faces.turned` has
                them; None: the search decides, as for a face that it finds there ("everywhere" turns none).
            page: the number of the picture in the file that the boxes are in; 0 is also the frame at which an animation
                is searched.
            search: as for `detect`.

        Raises:
            ValueError: a box is empty or not a number, or there are too many; the message names it, counted from 1.
            BadBoxError: a box shows nothing of the picture, or the file has no such picture.
            Exception: as `detect`.
        """
        given = GivenBoxes.of(boxes, turned, page)
        encode_in = partial(self.encode_all, given=given, search=search)
        return self._of_image(image, encode_in, faces_from=0, search=search)[1].faces

    def _of_image(
        self,
        image: ImageInput,
        work: Callable[[Iterable[Picture | Unread]], Findings],
        *,
        faces_from: int,
        search: str,
    ) -> tuple[str, Findings]:
        """Returns the path of an image, "" if it has none, and what `work` finds in its pictures."""
        inputs.checked(image)
        if inputs.is_pixels(image):
            return "", work([arrays.picture(image, self.parameters.images)])
        name = ""
        if inputs.is_file_content(image):
            content = inputs.file_content(image)
        else:
            name = os.fspath(cast("str | os.PathLike[str]", image))
            content = _read(name)
        try:
            return name, work(self.pictures(content, faces_from=faces_from, search=search))
        except ImageError as error:
            if name:
                error.args = (
                    f"{name}: {error}",
                )  # of a new error, what it says beside its message would be lost
            raise

    def decode(
        self,
        image: bytes,
        admit: Callable[[int], None] = at_once,
        *,
        faces_from: int = 0,
        search: str = "",
    ) -> Picture:
        """Returns the first upright picture in the bytes of an image file; arguments and errors are those of `pictures`."""
        reduction = partial(self._reduction, faces_from=faces_from, search=self.search(search))
        return decode(image, self.parameters.images, reduction=reduction, admit=admit)

    def pictures(
        self,
        image: bytes,
        admit: Callable[[int], None] = at_once,
        *,
        faces_from: int = 0,
        search: str = "",
    ) -> Iterator[Picture | Unread]:
        """Returns the upright pictures in the bytes of an image file, as `decode.pictures` yields them.

        Args:
            admit: receives the number of pixels of a picture before they are decoded, and may wait until there is memory for
                them.
            faces_from, search: the values that `find` will receive.

        Raises:
            ImageError: the bytes are not an image, or a damaged one, or one beyond the limits; raised by the first `next`.
            ValueError, EngineError: as `search`.
        """
        reduction = partial(self._reduction, faces_from=faces_from, search=self.search(search))
        return pictures(image, self.parameters.images, reduction=reduction, admit=admit)

    def _reduction(self, width: int, height: int, *, faces_from: int, search: Search) -> int:
        """Returns the factor by which a picture may be reduced so that the search does not enlarge any part of it."""
        if not self.parameters.detection.reduced_decoding or min(width, height) < max(REDUCTIONS):
            return 1
        finest = search.finest_zoom(width, height, faces_from=faces_from)
        return max((factor for factor in REDUCTIONS if finest * factor <= 1), default=1)

    def find_all(
        self, pictures: Iterable[Picture | Unread], *, faces_from: int = 0, search: str = ""
    ) -> Findings:
        """Returns the faces of the pictures of one file, each picture searched for itself.

        Args:
            pictures: as `pictures` returns them; none is held after it was searched.
            faces_from, search: as for `find`.

        Raises:
            Exception: as `find`, and what `pictures` raises.
        """
        faces: list[Faces] = []
        pages: list[Page] = []
        unread: list[Unread] = []
        count = 1
        for picture in pictures:
            if isinstance(picture, Unread):
                unread.append(picture)
                continue
            faces.append(self.find(picture, faces_from=faces_from, search=search))
            pages.append(Page(picture.page, picture.width, picture.height, picture.orientation))
            count = picture.pictures
            del picture  # before the next one is decoded
        return Findings(Faces.concatenate(faces), tuple(pages), tuple(unread), count)

    def find(self, picture: Picture, *, faces_from: int = 0, search: str = "") -> Faces:
        """Returns the faces of a decoded picture, each once, all encoded and measured.

        Args:
            faces_from: the side of the smallest face wanted, in pixels of the upright image; 0: the parameters decide.
            search: as for `detect`.

        Raises:
            ValueError: there is no search of this name.
            EngineError: the engine failed, or cannot do this search.
        """
        chosen = self.search(search)
        Pipeline._searched_in = os.getpid()
        # in pixels of the decoded picture, which may be fewer than the file's
        in_pixels = faces_from * _scale(picture)[0]
        candidates = chosen.candidates(picture.pixels, faces_from=in_pixels)
        doubtful = fusion.doubtful(candidates, self.parameters.fusion)
        candidates = self._encoded(picture, candidates, doubtful)
        faces = fusion.fuse(candidates, self.parameters.fusion)
        faces = self._encoded(picture, faces, ~faces.encoded)
        return self._measured(picture, faces)

    def encode_all(
        self,
        pictures: Iterable[Picture | Unread],
        given: GivenBoxes,
        *,
        faces_from: int = 0,
        search: str = "",
    ) -> Findings:
        """Returns the faces in the given boxes of one of a file's pictures; the others are not looked at.

        Args:
            pictures: as `pictures` returns them.
            faces_from, search: as for `find`.

        Raises:
            Exception: as `encode`, and what `pictures` raises.
        """
        chosen = self.search(search)
        Pipeline._searched_in = os.getpid()
        picture = _picture_of(pictures, given.page)
        seen = boxes.clip(given.boxes, picture.width, picture.height)
        for number, sides in enumerate((seen[:, 2:] - seen[:, :2]).tolist(), start=1):
            if min(sides) < LEAST_SIDE:
                raise BadBoxError(
                    f"box {number} shows nothing of the picture of {picture.width} x {picture.height} pixels: it must "
                    f"have {LEAST_SIDE} pixel or more of its width and of its height inside"
                )
        at = boxes.from_image(seen, _scale(picture))
        in_pixels = faces_from * _scale(picture)[0]
        turned = given.turned.copy()
        if (unknown := turned == UNKNOWN_TURN).any():
            turned[unknown] = chosen.turns(picture.pixels, at, faces_from=in_pixels)[unknown]
        inside = boxes.inside(given.boxes, picture.width, picture.height)
        faces = Faces.detected(at, np.zeros(len(at), np.float32), level=0, detector="given", inside=inside)
        faces = self._encoded(picture, replace(faces, turned=turned), np.ones(len(at), np.bool_))
        faces = self._measured(picture, faces)
        page = Page(picture.page, picture.width, picture.height, picture.orientation)
        return Findings(faces, (page,), (), picture.pictures)

    def _measured(self, picture: Picture, faces: Faces) -> Faces:
        """Returns faces, boxes in pixels of the decoded picture, with their quality, in the frame of the upright one."""
        sharpness = quality.sharpness(picture.pixels, faces.boxes)
        faces = replace(faces, boxes=_upright(picture, faces.boxes))
        return quality.measured(faces, sharpness, self.parameters.encoding).on_page(picture.page)

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


def _scale(picture: Picture) -> tuple[float, float]:
    """Pixels of the decoded picture per pixel of the upright one: less than 1 where it was reduced."""
    height, width, _ = picture.pixels.shape
    return width / picture.width, height / picture.height


def _upright(picture: Picture, found: boxes.Boxes) -> boxes.Boxes:
    """Returns boxes of the decoded picture in the frame of the upright one; `encode` sees the same when recorded."""
    scale = _scale(picture)
    whole = found
    if scale != (1.0, 1.0):
        whole = boxes.clip(boxes.to_image(found, scale, (0.0, 0.0)), picture.width, picture.height)
    return boxes.recordable(whole, found, scale)


def _picture_of(pictures: Iterable[Picture | Unread], page: int) -> Picture:
    """Returns the picture of this number; for 0, also the frame at which an animation is searched.

    Raises:
        BadBoxError: the file has no such picture.
        TruncatedImageError: it cannot be read.
    """
    others: list[int] = []
    held: Picture | None = None
    for picture in pictures:
        if isinstance(picture, Unread):
            if picture.page == page:
                raise TruncatedImageError(
                    f"picture {page}, which the boxes are in, cannot be read: {picture.reason}"
                )
            continue
        if picture.page == page:
            return picture
        if page == 0 and not others:
            held = (
                picture  # what follows tells whether it is a frame, or a page after one that cannot be read
            )
        others.append(picture.page)
        del picture  # before the next one is decoded
    if held is None:
        listed = ", ".join(map(str, others))
        raise BadBoxError(
            f"picture {page}, which the boxes are in, was not decoded: those of this file are {listed}"
        )
    return held


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()
