"""client/people/people_json.py: what is written is read again, and a wrong field is named."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from pyraface.client.people.people import SAID_BY, NamedFace, People, Person
from pyraface.client.people.people_json import dumped, parsed
from pyraface.core.errors import PeopleFileError
from tests.support import ROOT

SCHEMA = json.loads((ROOT / "docs" / "people.schema.json").read_text())
DIGEST = "sha256:" + "0" * 64


def one(**changes: Any) -> dict[str, Any]:
    face = {
        "digest": DIGEST,
        "page": 0,
        "box": {"left": 1, "top": 2.5, "right": 30, "bottom": 40},
        "person": "p1",
        "said_by": "you",
    }
    return {"version": 1, "persons": [{"id": "p1", "name": "Ada"}], "faces": [{**face, **changes}]}


def error_of(value: object) -> str:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    with pytest.raises(PeopleFileError) as raised:
        parsed(data, "faces.people.json")
    text = str(raised.value)
    assert text.startswith("faces.people.json: ")
    assert text.isprintable()
    assert len(text) < 300
    return text.removeprefix("faces.people.json: ")


def same(a: People, b: People) -> bool:
    return a.persons == b.persons and list(a.faces) == list(b.faces)


side = st.floats(0, 1e6, allow_nan=False)
boxes = st.tuples(side, side, side, side).filter(lambda box: box[2] > box[0] and box[3] > box[1])


@given(
    st.lists(
        st.text("Aé\u200d ', \"\\", min_size=1, max_size=20)
        .map(str.strip)
        .filter(lambda name: name.strip("\u200d")),
        max_size=5,
    ),
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), boxes, st.sampled_from(SAID_BY)), max_size=8),
)
def test_people_are_read_as_they_were_written(names: list[str], faces: list[Any]) -> None:
    people = People()
    for number, name in enumerate(names):
        people.add(Person(f"id-{number}", " ".join(name.split())))
    for which, page, box, said_by in faces:
        person = people.persons[which].id if which < len(people.persons) else None
        people.say(NamedFace(DIGEST, page, box, person, said_by))
    data = dumped(people)
    again = parsed(data, "x")
    assert same(again, people)
    assert dumped(again) == data
    Draft202012Validator(SCHEMA).validate(json.loads(data))


def test_a_person_and_a_face_take_a_line_each() -> None:
    assert dumped(parsed(json.dumps(one()).encode(), "x")).decode() == (
        '{\n"version": 1,\n"persons": [\n{"id": "p1", "name": "Ada"}\n],\n"faces": [\n'
        f'{{"digest": "{DIGEST}", "page": 0, "box": {{"left": 1.0, "top": 2.5, "right": 30.0, "bottom": 40.0}}, '
        '"person": "p1", "said_by": "you"}\n]\n}\n'
    )


def test_nobody_is_a_file_with_empty_lists() -> None:
    assert json.loads(dumped(People())) == {"version": 1, "persons": [], "faces": []}


def test_a_file_that_an_editor_of_windows_wrote_is_read() -> None:
    assert parsed("\ufeff".encode() + json.dumps(one(), indent=2).replace("\n", "\r\n").encode(), "x").persons


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (b"", "is no JSON: Expecting value in line 1, column 1"),
        (b'{"version": 1,\n}', "is no JSON: "),
        (b"\xff", "must be UTF-8, and byte 0 is not"),
        (b"[" * 100_000, "has values inside too many others"),
        (b'{"version": ' + b"1" * 5000 + b"}", "has a number that cannot be read: "),
        (b'{"version": 1, "version": 2}', "version stands twice in one object"),
        ([], "must be an object with version, persons, faces, not []"),
        ({"version": 1, "persons": []}, "faces is missing"),
        ({**one(), "x\n": 1}, "x\\n is unknown: version, persons, faces are known"),
        ({**one(), "version": 2}, "version must be 1, not 2: a later pyraface wrote it"),
        ({**one(), "version": True}, "version must be 1, not true"),
        ({**one(), "persons": {}}, "persons must be a list, not {}"),
        ({**one(), "persons": ["Ada"]}, 'persons[0] must be an object with id, name, not "Ada"'),
        ({**one(), "persons": [{"id": "a b", "name": "Ada"}]}, "persons[0].id must be 1 to 64 letters"),
        ({**one(), "persons": [{"id": "p1", "name": " "}]}, 'persons[0].name must be a name, not " "'),
        ({**one(), "persons": [{"id": "p1", "name": "x" * 201}]}, "persons[0].name is too long"),
        ({**one(), "persons": one()["persons"] * 2}, "persons[1].id the id p1 is that of two persons"),
        ({**one(), "faces": one()["faces"] * 2}, "faces[1].box is that of a face that stands in the file already"),
        (one(digest="sha256:0"), 'faces[0].digest must be sha256: and 64 hexadecimal digits, not "sha256:0"'),
        (one(page=-1), "faces[0].page must be a whole number from 0 on, not -1"),
        (one(page=True), "faces[0].page must be a whole number from 0 on, not true"),
        (one(person="p2"), "faces[0].person is 'p2', and no person has this id"),
        (one(person=1), "faces[0].person must be the id of a person or null, not 1"),
        (one(said_by="me"), 'faces[0].said_by must be you, photograph, group, not "me"'),
        (one(said_by=["you"]), 'faces[0].said_by must be you, photograph, group, not ["you"]'),
        (one(box=[1, 2, 3, 4]), "faces[0].box must be an object with left, top, right, bottom, not [1, 2, 3, 4]"),
        (one(box={"left": 1, "top": 1, "right": 1, "bottom": 2}), "faces[0].box must have right above left"),
        (one(box={"left": float("nan"), "top": 1, "right": 1, "bottom": 2}), "faces[0].box.left must be a number of "),
        (one(box={"left": 1, "top": 1e300, "right": 1, "bottom": 2}), "faces[0].box.top must be a number of pixels"),
        (one(box={"left": True, "top": 1, "right": 1, "bottom": 2}), "faces[0].box.left must be a number of pixels, "),
    ],
)  # fmt: skip
def test_a_wrong_field_is_named(value: object, problem: str) -> None:
    assert error_of(value).startswith(problem)


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    Draft202012Validator(SCHEMA).validate(one())
    assert list(Draft202012Validator(SCHEMA).iter_errors(one(said_by="me")))
