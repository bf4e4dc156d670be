"""JSON record of an image: how its faces and its numbers are written, with which digits (docs/output.md)."""

from __future__ import annotations

from .faces import Faces

BOX_DECIMALS = 2
"""A hundredth of a pixel: a box is exact to a few pixels."""

SECONDS_DECIMALS = 4

SIGNIFICANT_DIGITS = 9
"""As many as a float32 needs to be read back exactly."""


def of_faces(faces: Faces) -> list[dict[str, object]]:
    """Returns the entries of the key "faces", one for each face, ready for json.dumps."""
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
