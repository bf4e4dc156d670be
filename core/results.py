"""Result: one image with its faces or its error, and the JSON line that stands for it in every output."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from .computed_by import ComputedBy
from .errors import DetectionError, ErrorCode
from .faces import Faces
from .protocol.messages import Failed, Found

BOX_DECIMALS = 2
"""A hundredth of a pixel: a box is exact to a few pixels."""

SECONDS_DECIMALS = 4

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
        width, height: of the upright image, in pixels.
        orientation: the EXIF orientation, 1 to 8, that was applied to make it upright.
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
            width=answer.width,
            height=answer.height,
            orientation=answer.orientation,
            seconds=answer.seconds,
            _faces=answer.faces,
        )

    def as_json(self) -> dict[str, object]:
        """Returns the line of the output file for this image, ready for json.dumps.

        The keys that a resumed run reads stand before the faces.
        """
        about: dict[str, object] = {
            "path": self.path,
            "digest": self.digest,
            "size": self.size,
            "modified": self.modified,
            "fingerprint": self.fingerprint or None,
            "computed_by": self.computed_by.as_json() if self.computed_by is not None else None,
        }
        if self.error is not None:
            code, message = self.error
            return {**about, "server": self.server or None, "error": {"code": code.value, "message": message}}
        return {
            **about,
            "width": self.width,
            "height": self.height,
            "orientation": self.orientation,
            "faces": faces_as_json(self._faces),
            "server": self.server,
            "seconds": round(self.seconds, SECONDS_DECIMALS),
        }


def faces_as_json(faces: Faces) -> list[dict[str, object]]:
    """Returns the entries of the key "faces", one for each face, ready for json.dumps (docs/output.md)."""
    return [
        {
            "box": dict(zip(("left", "top", "right", "bottom"), box, strict=True)),
            "confidence": _shortest(confidence),
            "level": level,
            "detector": detector,
            "turned": turned,
            "quality": {
                "size": round(size, BOX_DECIMALS),
                "sharpness": _shortest(sharpness),
                "inside": _shortest(inside),
                "comparable": comparable,
            },
            "encoding": [_shortest(number) for number in encoding],
        }
        for box, confidence, level, detector, turned, size, sharpness, inside, comparable, encoding in zip(
            [[round(edge, BOX_DECIMALS) for edge in box] for box in faces.boxes.tolist()],
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
