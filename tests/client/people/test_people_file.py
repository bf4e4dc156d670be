"""client/people/people_file.py: the file is replaced in one step, and what somebody wrote meanwhile stays."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from pyraface.client.people import people_file
from pyraface.client.people.people import NamedFace, People, Person
from pyraface.client.people.people_file import load, people_path, update
from pyraface.core.errors import PeopleFileError

FACE = NamedFace("sha256:" + "0" * 64, 0, (1, 2, 3, 4), "p1", "photograph")


def ada(people: People) -> None:
    people.named("Ada")
    people.say(FACE)


@pytest.mark.parametrize(
    ("output", "path"),
    [
        ("faces.jsonl", "faces.people.json"),
        ("a/faces.jsonl.gz", "a/faces.people.json"),
        ("faces", "faces.people.json"),
        (Path("x.jsonl"), "x.people.json"),
    ],
)
def test_the_file_of_an_output(output: str, path: str) -> None:
    assert people_path(output) == path


def test_a_file_that_is_not_there_has_nobody(tmp_path: Path) -> None:
    assert load(tmp_path / "x.people.json").persons == ()


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "faces.people.json"
    assert update(path, ada).persons == (Person("p1", "Ada"),)
    assert load(path).persons == (Person("p1", "Ada"),)
    assert list(load(path).faces) == [FACE]
    assert os.listdir(tmp_path) == ["faces.people.json"]


def test_a_file_in_which_nothing_changes_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "faces.people.json"
    update(path, ada)
    os.utime(path, ns=(0, 0))
    update(path, ada)
    assert path.stat().st_mtime_ns == 0


def test_a_change_that_somebody_makes_meanwhile_stays(tmp_path: Path) -> None:
    path = tmp_path / "faces.people.json"
    update(path, ada)
    calls = []

    def change(people: People) -> None:
        if not calls:  # an editor saves the file
            path.write_text(
                path.read_text().replace('"photograph"', '"you"').replace('"Ada"', '"Ada Lovelace"')
            )
        calls.append(people.persons)
        people.say(NamedFace(FACE.digest, 0, FACE.box, people.named("Bob").id, "photograph"))

    update(path, change)
    assert [persons[0].name for persons in calls] == ["Ada", "Ada Lovelace"]
    assert [(face.person, face.said_by) for face in load(path).faces] == [("p1", "you")]


def test_a_file_that_appears_meanwhile_stays(tmp_path: Path) -> None:
    path = tmp_path / "faces.people.json"
    calls = []

    def change(people: People) -> None:
        if not calls:
            path.write_text('{"version": 1, "persons": [{"id": "x", "name": "Zoë"}], "faces": []}')
        calls.append(None)
        people.named("Bob")

    update(path, change)
    assert [person.name for person in load(path).persons] == ["Zoë", "Bob"]


def test_rights_and_links_stay(tmp_path: Path) -> None:
    target = tmp_path / "elsewhere.json"
    update(target, ada)
    target.chmod(0o640)
    link = tmp_path / "faces.people.json"
    link.symlink_to(target)
    update(link, lambda people: people.rename("p1", "Ada Lovelace"))
    assert link.is_symlink()
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    assert load(target).persons[0].name == "Ada Lovelace"


def test_a_draft_that_was_left_behind_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "faces.people.json"
    (tmp_path / ".faces.people.json.new").write_text("half")
    update(path, ada)
    assert os.listdir(tmp_path) == ["faces.people.json"]


def test_a_write_that_fails_leaves_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "faces.people.json"
    update(path, ada)
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(people_file.os, "fsync", full)
    with pytest.raises(
        PeopleFileError, match=r"faces.people.json: cannot be written: No space left on device"
    ):
        update(path, lambda people: people.rename("p1", "Bob"))
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["faces.people.json"]


def test_a_wrong_file_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "faces.people.json"
    path.write_text("{")
    with pytest.raises(PeopleFileError, match=r"faces\.people\.json: is no JSON"):
        update(path, ada)
    assert path.read_text() == "{"


def test_what_cannot_be_read_or_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for path, problem in (
        (tmp_path / "folder", "is no regular file"),
        (tmp_path / "pipe", "is no regular file"),
        (tmp_path / "nowhere" / "x", "cannot be written: No such file or directory"),
        (tmp_path / "a\0b", "cannot be "),
    ):
        with pytest.raises(PeopleFileError, match=problem):
            update(path, ada)
