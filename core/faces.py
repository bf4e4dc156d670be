"""Faces: the faces of one image, as parallel arrays and as a sequence of single faces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Literal, NamedTuple, cast, get_args, overload

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .boxes import Boxes
from .text import plural

ENCODING_LENGTH = 128
"""Numbers in an encoding: dlib's face recognition network ends in 128 outputs."""


Detector = Literal["cnn", "yunet", "given"]
"""What decided that a box holds a face: dlib's CNN, YuNet, or the caller who gave the box."""

DETECTORS: tuple[Detector, ...] = get_args(Detector)
"""The protocol numbers the detectors in this order, from 0."""

_DETECTOR_NAMES = np.dtype("U5")

TURNS = (0, 90, 180, 270)
"""Degrees clockwise."""

Location = tuple[int, int, int, int]
"""The format of a box in face_recognition: top, right, bottom, left, in whole pixels of the upright image."""


class Quality(NamedTuple):
    """The quality of one face.

    Attributes:
        size: the shorter side of its box, in pixels of the upright image.
        sharpness: 0 to 1, how much detail it shows (`core.quality`).
        inside: 0 to 1, the share of the detector's box that lies inside the image; `Face.box` ends at the image's edge.
        comparable: whether its encoding can be compared with others: it is large, sharp and whole enough, and the detector
            sure enough.
    """

    size: float
    sharpness: float
    inside: float
    comparable: bool


@dataclass(frozen=True, eq=False)
class Face:
    """One face: a view of one row of a `Faces`; its arrays are not copies.

    Attributes:
        box: (4,) float32: left, top, right, bottom, in pixels of the upright image, origin top left.
        confidence: the detector's score. dlib's is above its threshold (0 in dlib) and unbounded above; YuNet's is 0 to 1,
            on a scale of its own; 0 of a given box.
        level: the pyramid level that its box comes from; 0 of a given box.
        detector: the network that decided that it is a face, or "given": the caller gave its box.
        turned: the degrees clockwise, 0, 90, 180 or 270, that bring it upright: it was found and encoded so.
        encoding: (128,) float32.
        quality: its size, its sharpness, how much of it is inside the image, and whether it is comparable.
        page: the number of its picture in the file, from 0 (`pages.Page`); the box is in the frame of that picture.
    """

    box: NDArray[np.float32]
    confidence: float
    level: int
    detector: Detector
    turned: int
    encoding: NDArray[np.float32]
    quality: Quality
    page: int = 0

    @property
    def location(self) -> Location:
        """The box as face_recognition writes it: (top, right, bottom, left) in whole pixels."""
        left, top, right, bottom = np.rint(self.box).astype(int).tolist()
        return top, right, bottom, left

    def __eq__(self, other: object) -> bool:
        """Whether every number is equal; `face in faces` and `faces.index(face)` use this."""
        return (
            isinstance(other, Face)
            and (self.page, self.confidence, self.level, self.detector, self.turned, self.quality)
            == (other.page, other.confidence, other.level, other.detector, other.turned, other.quality)
            and np.array_equal(self.box, other.box)
            and np.array_equal(self.encoding, other.encoding, equal_nan=True)
        )

    def __hash__(self) -> int:
        return hash((self.confidence, self.level, *self.box.tolist()))


@dataclass(frozen=True, eq=False)
class Faces(Sequence[Face]):
    """n faces; row i of every array is face i.

    `len(faces)`, `for face in faces` and `faces[0]` give single faces (`Face`); `faces[1:3]`, `faces[faces.comparable]` and
    `faces[[2, 0]]` give the `Faces` that a slice, a mask or indices pick, in that order.

    Attributes:
        boxes: (n, 4) float32: left, top, right, bottom, in pixels of the upright image, origin top left.
        confidences: (n,) float32: the detector's score. dlib's is above its threshold (0 in dlib) and unbounded above;
            YuNet's is 0 to 1, on a scale of its own; 0 of a given box.
        levels: (n,) int32: the pyramid level the box comes from; 0 is the whole image, 1 its quadrants, and so on.
        detectors: (n,) text of 5 characters: the network that decided, "cnn" or "yunet", or "given" with the box.
        turned: (n,) int32: the degrees clockwise, 0, 90, 180 or 270, that bring a face upright: it was found and encoded so.
        encodings: (n, 128) float32: two faces of one person are usually closer than 0.6 (Euclidean distance);
            a row of NaN stands for an encoding that was not computed.
        sharpness: (n,) float32: 0 to 1, how much detail a face shows (`quality`).
        inside: (n,) float32: 0 to 1, the share of the detector's box that lies inside the image.
        comparable: (n,) bool: whether the encoding of a face can be compared with others: it is large, sharp and whole
            enough, and the detector sure enough.
        pages: (n,) int32: the number of each face's picture in the file, from 0; its box is in the frame of that picture.

    Raises:
        ValueError: an array has another shape or type; the message names the expected and the actual one.
    """

    boxes: Boxes
    confidences: NDArray[np.float32]
    levels: NDArray[np.int32]
    detectors: NDArray[np.str_]
    turned: NDArray[np.int32]
    encodings: NDArray[np.float32]
    sharpness: NDArray[np.float32]
    inside: NDArray[np.float32]
    comparable: NDArray[np.bool_]
    pages: NDArray[np.int32]

    def __post_init__(self) -> None:
        n = len(self.boxes)
        expected: dict[str, tuple[tuple[int, ...], DTypeLike]] = {
            "boxes": ((n, 4), np.float32),
            "confidences": ((n,), np.float32),
            "levels": ((n,), np.int32),
            "detectors": ((n,), _DETECTOR_NAMES),
            "turned": ((n,), np.int32),
            "encodings": ((n, ENCODING_LENGTH), np.float32),
            "sharpness": ((n,), np.float32),
            "inside": ((n,), np.float32),
            "comparable": ((n,), np.bool_),
            "pages": ((n,), np.int32),
        }
        for name, (shape, dtype) in expected.items():
            array = getattr(self, name)
            if array.shape != shape or array.dtype != dtype:
                raise ValueError(
                    f"{name} must be {np.dtype(dtype)} of shape {shape}, not {array.dtype} of shape {array.shape}"
                )

    @classmethod
    def empty(cls) -> Faces:
        """Returns an empty `Faces`: every array has length 0."""
        return cls.detected(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), level=0)

    @classmethod
    def detected(
        cls,
        boxes: Boxes,
        confidences: NDArray[np.float32],
        *,
        level: int,
        detector: Detector = "cnn",
        turned: int = 0,
        inside: NDArray[np.float32] | None = None,
    ) -> Faces:
        """Returns faces of one level, one detector and one turn, neither encoded nor measured, of the first page.

        Args:
            boxes: as far as they lie inside the image.
            inside: the share of each that does; None: they are whole.

        Their encodings and sharpness are NaN, comparable is False.

        Such faces exist inside the pipeline alone.
        """
        n = len(boxes)
        return cls(
            boxes,
            confidences,
            np.full(n, level, np.int32),
            np.full(n, detector, _DETECTOR_NAMES),
            np.full(n, turned, np.int32),
            np.full((n, ENCODING_LENGTH), np.nan, np.float32),
            np.full(n, np.nan, np.float32),
            np.ones(n, np.float32) if inside is None else inside,
            np.zeros(n, np.bool_),
            np.zeros(n, np.int32),
        )

    @classmethod
    def concatenate(cls, parts: list[Faces]) -> Faces:
        """Returns the faces of all parts, in their order."""
        if not parts:
            return cls.empty()
        return cls(*(np.concatenate([getattr(part, one.name) for part in parts]) for one in fields(cls)))

    def __len__(self) -> int:
        return len(self.boxes)

    @overload
    def __getitem__(self, index: int | np.integer) -> Face: ...

    @overload
    def __getitem__(
        self, index: slice | NDArray[np.bool_] | NDArray[np.integer] | Sequence[int] | Sequence[bool]
    ) -> Faces: ...

    def __getitem__(
        self,
        index: int
        | np.integer
        | slice
        | NDArray[np.bool_]
        | NDArray[np.integer]
        | Sequence[int]
        | Sequence[bool],
    ) -> Face | Faces:
        """Returns one face for a number, or the faces that a slice, a mask or indices pick, in that order.

        Raises:
            IndexError: there is no such face, or a mask has another length.
            TypeError: the index has another type.
        """
        if isinstance(index, slice):
            return self._picked(index)
        if isinstance(index, (int, np.integer)):
            return self._face(int(index))
        wanted = np.asarray(index)
        if wanted.size == 0 and wanted.dtype != np.bool_:
            wanted = wanted.astype(np.intp)  # NumPy takes an empty list for floats
        if wanted.ndim != 1 or not (wanted.dtype == np.bool_ or np.issubdtype(wanted.dtype, np.integer)):
            raise TypeError(
                "faces are picked by a number, a slice, a mask (n,) of bools or indices (m,) of whole numbers, "
                f"not by {type(index).__name__}"
            )
        return self._picked(wanted)

    def _picked(self, index: slice | NDArray[np.bool_] | NDArray[np.integer]) -> Faces:
        return Faces(*(getattr(self, one.name)[index] for one in fields(self)))

    def _face(self, number: int) -> Face:
        if not -len(self) <= number < len(self):
            raise IndexError(f"there is no face {number} among {plural(len(self), 'face')}")
        return Face(
            self.boxes[number],
            float(self.confidences[number]),
            int(self.levels[number]),
            cast("Detector", str(self.detectors[number])),
            int(self.turned[number]),
            self.encodings[number],
            Quality(
                float(self.sizes[number]),
                float(self.sharpness[number]),
                float(self.inside[number]),
                bool(self.comparable[number]),
            ),
            int(self.pages[number]),
        )

    @property
    def locations(self) -> list[Location]:
        """Each box as face_recognition writes it: (top, right, bottom, left) in whole pixels."""
        edges = np.rint(self.boxes).astype(int).tolist()
        return [(top, right, bottom, left) for left, top, right, bottom in edges]

    @property
    def encoded(self) -> NDArray[np.bool_]:
        """(n,) bool: which faces have an encoding."""
        return ~np.isnan(self.encodings[:, 0]) if len(self) else np.zeros(0, np.bool_)

    @property
    def sizes(self) -> NDArray[np.float32]:
        """(n,) float32: the shorter side of each box, in pixels of the upright image.

        Of a face that the edge of the photograph cuts off, only the visible part counts.
        """
        sides = self.boxes[:, 2:] - self.boxes[:, :2]
        return np.asarray(sides.min(axis=1), np.float32)

    def with_encodings(self, encodings: NDArray[np.float32]) -> Faces:
        """Returns the same faces with other encodings, (n, 128) float32."""
        return replace(self, encodings=encodings)

    def on_page(self, page: int) -> Faces:
        """Returns the same faces, all of one page."""
        return replace(self, pages=np.full(len(self), page, np.int32))

    def with_quality(self, sharpness: NDArray[np.float32], comparable: NDArray[np.bool_]) -> Faces:
        """Returns the same faces with other measures of quality, (n,) float32 and (n,) bool."""
        return replace(self, sharpness=sharpness, comparable=comparable)
