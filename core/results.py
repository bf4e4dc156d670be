"""Result: one image with its faces or its error, and the JSON line that stands for it in every output."""

from __future__ import annotations

import base64
import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass

from .boxes import DECIMALS
from .computed_by import ComputedBy
from .errors import DetectionError, ErrorCode
from .faces import Faces
from .pages import Page, Unread
from .protocol.messages import Failed, Found
from .text import sendable

SECONDS_DECIMALS = 4

_FIRST_TIME, _LAST_TIME = -(2**63), 2**63 - 1

SIGNIFICANT_DIGITS = 9
"""As many as a float32 needs to be read back exactly."""


@dataclass(frozen=True, eq=False)
class Result:
    """One image and its faces, or the reason why it has none.

    Attributes:
        path: as it was given; "" for an image given as bytes.
        digest: "sha256:" and the hexadecimal SHA-256 of the file's bytes; None if it could not be read.
        size: of the file, in bytes.
        modified: the time of the file's last change, in nanoseconds since 1970; None for an image given as bytes.
        fingerprint: of what was asked for: the search and its parameters; servers with the same one find the same faces.
        computed_by: the engine, the device and the software that found the faces; None if no server answered.
        width, height: of the upright image, in pixels; of a file with several pictures, of the first that was searched.
        orientation: the EXIF orientation, 1 to 8, that was applied to make it upright.
        pictures: the number of pictures in the file.
        pages: the pictures that were searched for faces, in their order.
        unread: the pictures that could not be read, while others could.
        server: name of the server that answered.
        seconds: the time it took on that server, without waiting.
        error: (code, message) of the failure; None if nothing failed.
    """

    path: str
    digest: str | None = None
    size: int | None = None
    modified: int | None = None
    fingerprint: str = ""
    computed_by: ComputedBy | None = None
    width: int = 0
    height: int = 0
    orientation: int = 1
    server: str = ""
    seconds: float = 0.0
    error: tuple[ErrorCode, str] | None = None
    pictures: int = 0
    pages: tuple[Page, ...] = ()
    unread: tuple[Unread, ...] = ()
    _faces: Faces = dataclasses.field(default_factory=Faces.empty, repr=False)

    @property
    def faces(self) -> Faces:
        """The faces, boxes in pixels of the upright image.

        Raises:
            DetectionError: something failed; an image without faces has an empty Faces, which is no error.
        """
        if self.error is not None:
            code, message = self.error
            raise DetectionError(f"{self.path or 'image'}: {message}", code)
        return self._faces

    def answered(
        self, server: str, fingerprint: str, computed_by: ComputedBy | None, answer: Found | Failed
    ) -> Result:
        """Returns this result of a file that was read, completed by the answer of a server."""
        result = dataclasses.replace(self, server=server, fingerprint=fingerprint, computed_by=computed_by)
        if isinstance(answer, Failed):
            return dataclasses.replace(result, error=(answer.code, answer.message))
        return dataclasses.replace(
            result,
            width=answer.pages[0].width,
            height=answer.pages[0].height,
            orientation=answer.pages[0].orientation,
            pictures=answer.pictures,
            pages=answer.pages,
            unread=tuple(map(Unread, answer.unread, answer.reasons)),
            seconds=answer.seconds,
            _faces=answer.faces,
        )

    def as_json(self) -> dict[str, object]:
        """Returns the line of the output file for this image, ready for json.dumps.

        Every line has the same keys in the same order (docs/faces.schema.json): of a failure, what is not known is null,
        and the list of faces is empty. The faces stand last, behind all that a resumed run reads.
        """
        failed = self.error is not None
        return {
            **path_as_json(self.path),
            "digest": self.digest,
            "size": self.size,
            "modified": time_as_json(self.modified),
            "fingerprint": self.fingerprint or None,
            "computed_by": self.computed_by.as_json() if self.computed_by is not None else None,
            "width": None if failed else self.width,
            "height": None if failed else self.height,
            "orientation": None if failed else self.orientation,
            "pictures": None if failed else self.pictures,
            "pages": [] if failed else [page._asdict() for page in self.pages],
            "unread": [] if failed else [_unread_as_json(*one) for one in self.unread],
            "server": self.server or None,
            "seconds": None if failed else round(float(self.seconds), SECONDS_DECIMALS),
            "error": _error_as_json(*self.error) if self.error is not None else None,
            "faces": [] if failed else faces_as_json(self._faces),
        }


def path_as_json(path: str) -> dict[str, str | None]:
    """Returns the keys that stand for a path: `path`, always valid Unicode, and `path_bytes`.

    Args:
        path: as Python has it; a lone surrogate stands for a byte of a file name that is not UTF-8.
    """
    try:
        name = os.fsencode(path)
    except UnicodeEncodeError:  # no file can have this name
        name = path.encode("utf-8", "surrogatepass")
    try:
        return {"path": name.decode("utf-8"), "path_bytes": None}
    except UnicodeDecodeError:
        return {"path": name.decode("utf-8", "replace"), "path_bytes": base64.b64encode(name).decode("ascii")}


def path_from_json(line: Mapping[str, object]) -> str:
    """Returns the path of a line as Python has it.

    Args:
        line: one of an earlier version, without `path_bytes`, has lone surrogates in `path`.

    Raises:
        ValueError: the line has no path, or none that a file can have.
    """
    path, name = line.get("path"), line.get("path_bytes")
    if not isinstance(path, str) or not (name is None or isinstance(name, str)):
        raise ValueError("it has no path")
    if name is not None:
        raw = base64.b64decode(name, validate=True)
    elif path.isascii():
        raw = path.encode("ascii")
    else:
        raw = path.encode("utf-8", "surrogateescape")
    if b"\0" in raw:
        raise ValueError("its path has a NUL")
    return os.fsdecode(raw)


def time_as_json(modified: int | None) -> int | None:
    """Returns a time in nanoseconds as a line has it: in 64 bits, as every reader of JSON infers them.

    A time after the year 2262 becomes the last one of that range, and one before 1677 the first.
    """
    return None if modified is None else max(_FIRST_TIME, min(modified, _LAST_TIME))


def _error_as_json(code: ErrorCode, message: str) -> dict[str, str]:
    return {"code": code.value, "message": sendable(message, len(message))}


def _unread_as_json(page: int, reason: str) -> dict[str, object]:
    return {"page": page, "reason": sendable(reason, len(reason))}


def faces_as_json(faces: Faces) -> list[dict[str, object]]:
    """Returns the entries of the key "faces", one for each face, ready for json.dumps (docs/output.md)."""
    return [
        {
            "page": page,
            "box": dict(zip(("left", "top", "right", "bottom"), box, strict=True)),
            "confidence": _shortest(confidence),
            "level": level,
            "detector": detector,
            "turned": turned,
            "quality": {
                "size": round(size, DECIMALS),
                "sharpness": _shortest(sharpness),
                "inside": _shortest(inside),
                "comparable": comparable,
            },
            "encoding": [_shortest(number) for number in encoding],
        }
        for page, box, confidence, level, detector, turned, size, sharpness, inside, comparable, encoding in zip(
            faces.pages.tolist(),
            [[round(edge, DECIMALS) for edge in box] for box in faces.boxes.tolist()],
            faces.confidences.tolist(),
            faces.levels.tolist(),
            faces.detectors.tolist(),
            faces.turned.tolist(),
            faces.sizes.tolist(),
            faces.sharpness.tolist(),
            faces.inside.tolist(),
            faces.comparable.tolist(),
            faces.encodings.tolist(),
            strict=True,
        )
    ]


def _shortest(number: float) -> float:
    return float(f"{number:.{SIGNIFICANT_DIGITS}g}")


KEYS = tuple(Result("").as_json())
"""The keys of a line, in their order."""
