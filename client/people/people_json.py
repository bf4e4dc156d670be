"""People as JSON: the text of a people file, which users may edit. docs/people.schema.json is its schema.

A person and a face take a line each, so that `grep`, `diff` and an editor show what one would look for.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence

from ...core.errors import PeopleFileError
from ...core.text import one_line
from .people import SAID_BY, NamedFace, People, Person
from .regions import Box, clean_name

VERSION = 1
"""Of the form of the file."""

MOST_PAGES = 1 << 31
"""Limit on the number of a page: that of a TIFF has 32 bits."""

LONGEST_ID = 64
"""Limit on the characters of a person's id."""

LARGEST = 1e9
"""Limit on the sides of a box, in pixels."""

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_ID = re.compile(rf"[A-Za-z0-9_.-]{{1,{LONGEST_ID}}}")
_SIDES = ("left", "top", "right", "bottom")


def dumped(people: People) -> bytes:
    """Returns the text of a people file: UTF-8, the same for the same people."""
    persons = [{"id": person.id, "name": person.name} for person in people.persons]
    faces = [
        {
            "digest": face.digest,
            "page": face.page,
            "box": dict(zip(_SIDES, map(float, face.box), strict=True)),
            "person": face.person,
            "said_by": face.said_by,
        }
        for face in people.faces
    ]
    text = f'{{\n"version": {VERSION},\n"persons": {_lines(persons)},\n"faces": {_lines(faces)}\n}}\n'
    return text.encode("utf-8")


def parsed(data: bytes, source: str) -> People:
    """Returns the people in the text of a people file.

    Args:
        source: the name of the file in messages.

    Raises:
        PeopleFileError: it is no such file, or a field is wrong; the message names the field and what must be there.
    """
    return _Reader(source).people(data)


def _lines(values: Sequence[Mapping[str, object]]) -> str:
    if not values:
        return "[]"
    return "[\n" + ",\n".join(json.dumps(value, ensure_ascii=False) for value in values) + "\n]"


class _Reader:
    """Turns JSON into people. Every error names the file and the field."""

    def __init__(self, source: str) -> None:
        self._source = one_line(source, 4096)

    def people(self, data: bytes) -> People:
        try:
            text = data.decode("utf-8-sig")
            read = json.loads(text, object_pairs_hook=self._object)
        except json.JSONDecodeError as error:
            raise self._error(
                "", f"is no JSON: {error.msg} in line {error.lineno}, column {error.colno}"
            ) from error
        except UnicodeDecodeError as error:
            raise self._error("", f"must be UTF-8, and byte {error.start} is not") from error
        except RecursionError as error:
            raise self._error("", "has values inside too many others") from error
        except ValueError as error:  # an integer of thousands of digits
            raise self._error("", f"has a number that cannot be read: {one_line(str(error), 100)}") from error
        fields = self._fields(read, "", ("version", "persons", "faces"))
        if fields["version"] != VERSION or isinstance(fields["version"], bool):
            raise self._error(
                "version", f"must be {VERSION}, not {_shown(fields['version'])}: a later pyraface wrote it"
            )
        people = People()
        for place, value in self._items(fields["persons"], "persons"):
            try:
                people.add(self._person(value, place))
            except ValueError as error:
                raise self._error(f"{place}.id", str(error)) from error
        for place, value in self._items(fields["faces"], "faces"):
            face = self._face(value, place)
            if face.person is not None and people.person(face.person) is None:
                raise self._error(f"{place}.person", f"is {face.person!r}, and no person has this id")
            before = people.face_at(face.digest, face.page, face.box)
            if before is not None:
                raise self._error(f"{place}.box", "is that of a face that stands in the file already")
            people.say(face)
        return people

    def _person(self, value: object, place: str) -> Person:
        fields = self._fields(value, place, ("id", "name"))
        id, name = fields["id"], fields["name"]
        if not (isinstance(id, str) and _ID.fullmatch(id)):
            raise self._error(
                f"{place}.id", f"must be 1 to {LONGEST_ID} letters, digits, -, _ or ., not {_shown(id)}"
            )
        try:
            clean = clean_name(name) if isinstance(name, str) else None
        except ValueError as error:
            raise self._error(f"{place}.name", f"is too long: {error}") from error
        if clean is None:
            raise self._error(f"{place}.name", f"must be a name, not {_shown(name)}")
        return Person(id, clean)

    def _face(self, value: object, place: str) -> NamedFace:
        fields = self._fields(value, place, ("digest", "page", "box", "person", "said_by"))
        digest, page, person, said_by = (fields[key] for key in ("digest", "page", "person", "said_by"))
        if not (isinstance(digest, str) and _DIGEST.fullmatch(digest)):
            raise self._error(
                f"{place}.digest", f"must be sha256: and 64 hexadecimal digits, not {_shown(digest)}"
            )
        if type(page) is not int or not 0 <= page < MOST_PAGES:
            raise self._error(f"{place}.page", f"must be a whole number from 0 on, not {_shown(page)}")
        if not (person is None or isinstance(person, str)):
            raise self._error(f"{place}.person", f"must be the id of a person or null, not {_shown(person)}")
        if said_by not in SAID_BY:
            raise self._error(f"{place}.said_by", f"must be {', '.join(SAID_BY)}, not {_shown(said_by)}")
        return NamedFace(digest, page, self._box(fields["box"], f"{place}.box"), person, said_by)

    def _box(self, value: object, place: str) -> Box:
        fields = self._fields(value, place, _SIDES)
        sides = []
        for key in _SIDES:
            side = fields[key]
            if isinstance(side, bool) or not isinstance(side, (int, float)) or not abs(side) <= LARGEST:
                raise self._error(f"{place}.{key}", f"must be a number of pixels, not {_shown(side)}")
            sides.append(float(side))
        left, top, right, bottom = sides
        if not (right > left and bottom > top):
            raise self._error(place, "must have right above left, and bottom above top")
        return left, top, right, bottom

    def _fields(self, value: object, place: str, keys: tuple[str, ...]) -> dict[str, object]:
        if not isinstance(value, dict):
            raise self._error(place, f"must be an object with {', '.join(keys)}, not {_shown(value)}")
        for key in keys:
            if key not in value:
                raise self._error(f"{place}.{key}".lstrip("."), "is missing")
        for key in value:
            if key not in keys:
                raise self._error(
                    f"{place}.{one_line(key, 40)}".lstrip("."), f"is unknown: {', '.join(keys)} are known"
                )
        return value

    def _items(self, value: object, place: str) -> Iterator[tuple[str, object]]:
        if not isinstance(value, list):
            raise self._error(place, f"must be a list, not {_shown(value)}")
        for number, item in enumerate(value):
            yield f"{place}[{number}]", item

    def _object(self, pairs: list[tuple[str, object]]) -> dict[str, object]:
        found = dict(pairs)
        if len(found) < len(pairs):
            left = list(dict.fromkeys(key for key, _ in pairs))
            twice = next(
                (key for (key, _), once in zip(pairs, left, strict=False) if key != once), pairs[-1][0]
            )
            raise self._error(one_line(twice, 40), "stands twice in one object")
        return found

    def _error(self, place: str, problem: str) -> PeopleFileError:
        return PeopleFileError(
            f"{self._source}: {place} {problem}" if place else f"{self._source}: {problem}"
        )


def _shown(value: object) -> str:
    return one_line(json.dumps(value, ensure_ascii=False)[:1000], 60)
