"""People: persons, and for each face that somebody named its person and who said so. Nothing is read or written here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal, get_args

from .regions import Box

SaidBy = Literal["you", "photograph", "group"]
"""Who said whose face it is: the user; a region in the photograph's metadata; a group of faces that are alike, a guess. The
user has the last word, and a photograph before a group."""

SAID_BY: tuple[SaidBy, ...] = get_args(SaidBy)

SAME_FACE = 0.5
"""Intersection over union from which two boxes in a picture are of one face: another search finds it a little elsewhere."""


@dataclass(frozen=True)
class Person:
    """A person: an id that never changes, and a name, which two persons may share."""

    id: str
    name: str


@dataclass(frozen=True)
class NamedFace:
    """Whose face it is.

    Attributes:
        digest: of the photograph, `sha256:` and 64 hexadecimal digits, as in `faces.jsonl`.
        page: the number of the picture in the file, from 0.
        box: in pixels of the upright picture; of a face in `faces.jsonl`, or of a region where none was found.
        person: the id; None: a face whose name is not wanted, and which programs leave without one.
        said_by: who said so.
    """

    digest: str
    page: int
    box: Box
    person: str | None
    said_by: SaidBy


class People:
    """Persons and their faces. What the user said is never changed by what a program says."""

    def __init__(self) -> None:
        self._persons: dict[str, Person] = {}
        self._names: dict[str, str] = {}
        self._faces: dict[tuple[str, int], list[NamedFace]] = {}
        self._next = 1

    @property
    def persons(self) -> tuple[Person, ...]:
        """The persons, in the order in which they were added."""
        return tuple(self._persons.values())

    @property
    def faces(self) -> Iterator[NamedFace]:
        """The faces, those of a photograph together."""
        return (face for faces in self._faces.values() for face in faces)

    def person(self, id: str) -> Person | None:
        """Returns the person with this id."""
        return self._persons.get(id)

    def add(self, person: Person) -> None:
        """Adds a person.

        Raises:
            ValueError: the id is in use.
        """
        if person.id in self._persons:
            raise ValueError(f"the id {person.id} is that of two persons")
        self._persons[person.id] = person
        self._names.setdefault(person.name, person.id)

    def rename(self, id: str, name: str) -> None:
        """Gives a person another name.

        Raises:
            KeyError: there is no such person.
        """
        self._persons[id] = replace(self._persons[id], name=name)
        self._names = {}
        for person in self._persons.values():
            self._names.setdefault(person.name, person.id)

    def named(self, name: str) -> Person:
        """Returns the first person with this name, who is added if there is none."""
        known = self._names.get(name)
        if known is not None:
            return self._persons[known]
        while f"p{self._next}" in self._persons:
            self._next += 1
        person = Person(f"p{self._next}", name)
        self.add(person)
        return person

    def face_at(self, digest: str, page: int, box: Box) -> NamedFace | None:
        """Returns what was said of the face at this place (SAME_FACE); None if nothing was."""
        near = ((overlap(face.box, box), face) for face in self._faces.get((digest, page), ()))
        best = max(near, key=lambda each: each[0], default=None)
        return best[1] if best is not None and best[0] >= SAME_FACE else None

    def say(self, face: NamedFace) -> bool:
        """Takes down whose face it is, in place of what was said of it before.

        Returns:
            False if that stands because somebody with a later word said it: nothing is changed then.

        Raises:
            KeyError: there is no such person.
        """
        if face.person is not None and face.person not in self._persons:
            raise KeyError(face.person)
        of_picture = self._faces.setdefault((face.digest, face.page), [])
        before = self.face_at(face.digest, face.page, face.box)
        if before is None:
            of_picture.append(face)
            return True
        if SAID_BY.index(before.said_by) < SAID_BY.index(face.said_by):
            return False
        of_picture[of_picture.index(before)] = face
        return True


def overlap(a: Box, b: Box) -> float:
    """Returns intersection over union of two boxes, 0 to 1."""
    shared = max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    whole = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
    return shared / whole if whole > 0 else 0.0
