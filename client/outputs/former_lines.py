"""Former lines: lines of earlier versions, brought into today's form without computing anything again."""

from __future__ import annotations

from ...core.results import KEYS, path_as_json, path_from_json, time_as_json

FACE_KEYS = ("page", "box", "confidence", "level", "detector", "turned", "quality", "encoding")
"""The keys of a face, in their order."""

QUALITY_KEYS = ("size", "sharpness", "inside", "comparable")
"""The keys of a face's quality, in their order."""


def completed(record: dict[str, object]) -> dict[str, object]:
    """Returns the record of a line with every key, in the order in which lines are written today.

    What the earlier version did not know is null; of a failure, the list of faces is empty. Earlier versions searched the
    first picture of a file, and did not count the others. A lone surrogate in the path becomes `path_bytes`. Keys that
    pyraface does not know stay, behind its own.

    Raises:
        ValueError: the line has no path, or its faces are not those of a line.
    """
    faces = record.get("faces", [])
    if not isinstance(faces, list):
        raise ValueError("its faces are no list")
    modified = record.get("modified")
    known = {
        **record,
        **path_as_json(path_from_json(record)),
        "modified": time_as_json(modified if type(modified) is int else None),
        "pages": record.get("pages") or ([_page(record)] if record.get("width") else []),
        "unread": record.get("unread") or [],
        "faces": [_face(face) for face in faces],
    }
    return _ordered(known, KEYS)


def _face(face: object) -> dict[str, object]:
    if not isinstance(face, dict):
        raise ValueError("one of its faces is no object")
    if not isinstance(face.get("box"), dict) or not isinstance(face.get("encoding"), list):
        raise ValueError("one of its faces has no box or no encoding")
    quality = face.get("quality")
    known = _ordered(quality if isinstance(quality, dict) else {}, QUALITY_KEYS)
    return _ordered({**face, "page": face.get("page") or 0, "quality": known}, FACE_KEYS)


def _page(record: dict[str, object]) -> dict[str, object]:
    return {"page": 0, **{key: record.get(key) for key in ("width", "height", "orientation")}}


def _ordered(record: dict[str, object], keys: tuple[str, ...]) -> dict[str, object]:
    return {**{key: record.get(key) for key in keys}, **record}
