"""What became of one image."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from ..core.errors import DetectionFailed, ErrorCode
from ..core.faces import Faces
from ..core.messages import Failed, Found


@dataclass(frozen=True, eq=False)
class Result:
    """One image and its faces, or the reason why there are none to show.

    Attributes:
        path: as it was given; "" for an image given as bytes.
        digest: "sha256:" and the hexadecimal SHA-256 of the file's bytes; None if it could not be read.
        width, height: of the upright image, in pixels.
        orientation: the EXIF orientation, 1 to 8, that was applied to make it upright.
        server: name of the server that answered.
        seconds: it took there, waiting not counted.
        error: (code, message) of what failed; None if nothing did.
    """

    path: str
    digest: str | None = None
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
            DetectionFailed: something failed; an image without faces has an empty Faces, which is no error.
        """
        if self.error is not None:
            code, message = self.error
            raise DetectionFailed(f"{self.path or 'image'}: {message}", code)
        return self._faces

    @classmethod
    def of(cls, path: str, digest: str, server: str, answer: Found | Failed) -> Result:
        """Returns the result that a server's answer stands for."""
        if isinstance(answer, Failed):
            return cls(path, digest, server=server, error=(answer.code, answer.message))
        return cls(
            path,
            digest,
            answer.width,
            answer.height,
            answer.orientation,
            server,
            answer.seconds,
            _faces=answer.faces,
        )

    def as_json(self) -> dict[str, object]:
        """Returns what the output file holds for this image, ready for json.dumps."""
        if self.error is not None:
            code, message = self.error
            about = {"path": self.path, "digest": self.digest, "server": self.server or None}
            return {**about, "error": {"code": code.value, "message": message}}
        faces = self._faces
        return {
            "path": self.path,
            "digest": self.digest,
            "width": self.width,
            "height": self.height,
            "orientation": self.orientation,
            "faces": [
                {
                    "box": dict(zip(("left", "top", "right", "bottom"), box, strict=True)),
                    "confidence": _short(confidence),
                    "level": level,
                    "encoding": [_short(number) for number in encoding],
                }
                for box, confidence, level, encoding in zip(
                    [[round(edge, 2) for edge in box] for box in faces.boxes.tolist()],
                    faces.confidences.tolist(),
                    faces.levels.tolist(),
                    faces.encodings.tolist(),
                    strict=True,
                )
            ],
            "server": self.server,
            "seconds": round(self.seconds, 4),
        }


def _short(number: float) -> float:
    """Returns a float32's value with no more digits than it needs to be read back exactly: nine."""
    return float(f"{number:.9g}")
