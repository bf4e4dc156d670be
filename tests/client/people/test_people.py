"""client/people/people.py: what the user said stands, whatever a program says after it."""

from __future__ import annotations

import itertools

import pytest

from pyraface.client.people.people import SAID_BY, NamedFace, People, Person, SaidBy, overlap
from pyraface.client.people.regions import Box

DIGEST = "sha256:" + "a" * 64
BOX: Box = (10, 10, 50, 50)


def face(person: str | None, said_by: SaidBy = "photograph", box: Box = BOX, page: int = 0) -> NamedFace:
    return NamedFace(DIGEST, page, box, person, said_by)


@pytest.fixture
def people() -> People:
    found = People()
    found.add(Person("p1", "Ada"))
    found.add(Person("p2", "Bob"))
    return found


@pytest.mark.parametrize(("before", "after"), list(itertools.product(SAID_BY, SAID_BY)))
def test_who_has_the_last_word(people: People, before: SaidBy, after: SaidBy) -> None:
    assert people.say(face("p1", before))
    changed = people.say(face("p2", after))
    assert changed is (SAID_BY.index(after) <= SAID_BY.index(before))
    assert [each.person for each in people.faces] == ["p2" if changed else "p1"]


def test_a_face_of_nobody_stays_so(people: People) -> None:
    people.say(face(None, "you"))
    assert not people.say(face("p1", "photograph"))
    assert [each.person for each in people.faces] == [None]


def test_a_face_that_is_found_a_little_elsewhere_is_the_same(people: People) -> None:
    people.say(face("p1", "you"))
    moved = (14, 8, 54, 48)
    assert not people.say(face("p2", box=moved))
    assert people.face_at(DIGEST, 0, moved) == face("p1", "you")


@pytest.mark.parametrize(("page", "box"), [(1, BOX), (0, (40, 10, 80, 50)), (0, (10, 10, 20, 20))])
def test_another_face_is_not_the_same(people: People, page: int, box: Box) -> None:
    people.say(face("p1", "you"))
    assert people.face_at(DIGEST, page, box) is None
    assert people.say(face("p2", "group", box, page))
    assert len(list(people.faces)) == 2


def test_of_two_faces_the_nearer_is_meant(people: People) -> None:
    people.say(face("p1", box=(10, 10, 50, 50)))
    people.say(face("p2", box=(25, 10, 65, 50)))
    found = people.face_at(DIGEST, 0, (22, 10, 62, 50))
    assert found is not None
    assert found.person == "p2"


def test_a_face_of_a_person_who_is_not_there_is_refused(people: People) -> None:
    with pytest.raises(KeyError, match="p9"):
        people.say(face("p9"))
    assert list(people.faces) == []


def test_a_name_is_that_of_its_first_person_and_a_new_one_gets_a_new_id(people: People) -> None:
    people.add(Person("x", "Ada"))
    assert people.named("Ada").id == "p1"
    assert people.named("Cleo") == Person("p3", "Cleo")
    assert people.named("Cleo").id == "p3"
    assert [person.id for person in people.persons] == ["p1", "p2", "x", "p3"]


def test_an_id_is_that_of_one_person(people: People) -> None:
    with pytest.raises(ValueError, match="the id p1 is that of two persons"):
        people.add(Person("p1", "Cleo"))


def test_a_person_who_is_renamed_keeps_the_faces(people: People) -> None:
    people.say(face("p1"))
    people.rename("p1", "Ada Lovelace")
    assert people.named("Ada Lovelace").id == "p1"
    assert people.named("Ada").id == "p3"
    assert [each.person for each in people.faces] == ["p1"]


def test_the_overlap_of_boxes() -> None:
    assert overlap(BOX, BOX) == 1
    assert overlap((0, 0, 2, 2), (1, 0, 3, 2)) == pytest.approx(1 / 3)
    assert overlap((0, 0, 1, 1), (1, 1, 2, 2)) == 0
