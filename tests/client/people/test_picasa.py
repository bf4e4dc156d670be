"""client/people/picasa.py: faces and contacts of both forms of the file; one line that is wrong costs no other."""

from __future__ import annotations

import tracemalloc

import pytest

from pyraface.client.people import picasa
from pyraface.client.people.picasa import Folder, contacts_of
from pyraface.client.people.regions import MOST_REGIONS, Area

ADA = "a1b2c3d4e5f60001"
CORNERS = "4000200080006000"
BOX = (0x4000 / 0xFFFF, 0x2000 / 0xFFFF, 0x8000 / 0xFFFF, 0x6000 / 0xFFFF)


def folder(
    faces: str, contacts: str = f"[Contacts2]\r\n{ADA}=Ada Lovelace;;\r\n", name: str = "a.jpg"
) -> Folder:
    return Folder(f"[Picasa]\r\nname=x\r\n{contacts}[{name}]\r\nstar=yes\r\nfaces={faces}\r\n".encode())


def test_a_face_has_the_name_of_its_contact() -> None:
    assert folder(f"rect64({CORNERS}),{ADA}").areas_of("a.jpg").areas == (
        Area("Ada Lovelace", "Face", BOX, "picasa"),
    )


def test_a_photograph_that_is_not_in_the_file_has_no_faces() -> None:
    assert folder(f"rect64({CORNERS}),{ADA}").areas_of("b.jpg") == picasa.Areas()


def test_names_of_files_are_compared_in_any_case() -> None:
    assert folder(f"rect64({CORNERS}),{ADA}", name="IMG_1.JPG").areas_of("img_1.jpg").areas


def test_leading_zeros_are_left_out_of_rectangles_and_ids() -> None:
    contacts = "[Contacts2]\n00b2c3=Ada\n"
    [found] = folder("rect64(20008000ffff),b2c3", contacts).areas_of("a.jpg").areas
    assert found == Area("Ada", "Face", (0.0, 0x2000 / 0xFFFF, 0x8000 / 0xFFFF, 1.0), "picasa")


def test_a_face_that_nobody_has_named_has_no_name() -> None:
    found = folder(f"rect64({CORNERS}),ffffffffffffffff").areas_of("a.jpg")
    assert [area.name for area in found.areas] == [None]
    assert found.problems == ()


def test_names_of_the_older_form_stand_in_contacts_xml() -> None:
    data = f"[Contacts]\n{ADA}=joe_lh,cb98\n[a.jpg]\nfaces=rect64({CORNERS}),{ADA}\n".encode()
    names = contacts_of(f'<contacts><contact id="{ADA}" name="Ada" /><contact id="2"/></contacts>'.encode())
    assert Folder(data, names).areas_of("a.jpg").areas[0].name == "Ada"
    found = Folder(data).areas_of("a.jpg")
    assert found.areas[0].name is None
    assert found.problems == (f"the contact {ADA} of Picasa has no name: it is not in [Contacts2]",)


@pytest.mark.parametrize("data", ["Zoë".encode(), "\ufeffZoë".encode(), "Zoë".encode("cp1252")])
def test_the_file_is_read_in_each_encoding_of_picasa(data: bytes) -> None:
    mark, name = (data[:3], data[3:]) if data.startswith(b"\xef\xbb\xbf") else (b"", data)
    text = mark + b"[Contacts2]\n1=" + name + b";;\n[a.jpg]\nfaces=rect64(4000200080006000),1\n"
    assert Folder(text).areas_of("a.jpg").areas[0].name == "Zoë"


@pytest.mark.parametrize(
    "entry",
    [
        "rect64(),1",
        "rect64(12345678901234567),1",
        "rect64(xyz),1",
        "rect64(1)",
        "junk",
        "rect64(1),g",
        "\x1b[2J",
    ],
)
def test_a_face_of_another_form_costs_a_line_and_no_other_face(entry: str) -> None:
    found = folder(f"{entry};rect64({CORNERS}),{ADA}").areas_of("a.jpg")
    assert [area.name for area in found.areas] == ["Ada Lovelace"]
    [problem] = found.problems
    assert problem.isprintable()


def test_a_rectangle_without_an_area_costs_a_line() -> None:
    found = folder(f"rect64(8000200040006000),{ADA}").areas_of("a.jpg")
    assert found.areas == ()
    assert found.problems == ("the region 'Ada Lovelace' is not wider and higher than 0",)


def test_lines_of_no_known_form_cost_nothing() -> None:
    text = f"junk\n=\n[[\n]\n[DEFAULT]\nfaces=x\n  faces=y\n[Contacts2]\n{ADA}=Ada;;\n[a.jpg]\nfaces=rect64({CORNERS}),{ADA}"
    assert Folder(text.encode()).areas_of("a.jpg").areas[0].name == "Ada"


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "a/b.jpg", ".album:1", "\0"])
def test_a_section_is_looked_up_and_never_a_path(name: str) -> None:
    found = folder(f"rect64({CORNERS}),{ADA}", name=name)
    assert found.areas_of("passwd").areas == ()
    assert found.areas_of("b.jpg").areas == ()


def test_a_name_that_is_too_long_is_named_and_its_face_has_none() -> None:
    found = folder(f"rect64({CORNERS}),{ADA}", f"[Contacts2]\n{ADA}={'x' * 5000}\n")
    assert found.problems == ("a name has more than 200 characters",)
    assert found.areas_of("a.jpg").areas[0].name is None


def test_a_hundred_thousand_faces_cost_a_line_and_little_memory() -> None:
    for faces in (f"rect64({CORNERS}),{ADA};" * 100_000, ";" * 1_000_000, "xy;" * 1_000_000):
        ini = folder(faces)
        tracemalloc.start()
        found = ini.areas_of("a.jpg")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert len(found.areas) <= MOST_REGIONS
        assert len(found.problems) <= 6
        assert peak < 20 << 20
    assert len(folder(f"rect64({CORNERS}),{ADA};" * 100_000).areas_of("a.jpg").areas) == MOST_REGIONS


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0",
        b"<contacts>",
        b"<!DOCTYPE x [<!ENTITY a 'b'>]><contacts><contact id='1' name='&a;'/></contacts>",
        b"<?xml version='1.0' encoding='no-such'?><contacts/>",
        b" " * (picasa.MOST_BYTES + 1),
    ],
)
def test_wrong_contacts_are_an_error_of_one_line(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"^(is no contacts.xml|has more than 16 MiB)") as raised:
        contacts_of(data)
    assert str(raised.value).isprintable()


def test_a_contact_whose_name_is_too_long_is_left_out() -> None:
    data = f"<contacts><contact id='1' name='{'x' * 300}'/><contact id='2' display='Ada'/></contacts>"
    assert contacts_of(data.encode()) == {"2": "Ada"}
