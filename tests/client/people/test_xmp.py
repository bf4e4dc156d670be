"""client/people/xmp.py: every way of writing a region is read, and whatever a packet holds, it costs a line at most."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import pytest

from pyraface.client.people import xmp
from pyraface.client.people.regions import LONGEST_NAME, MOST_PROBLEMS, MOST_REGIONS, Area
from pyraface.client.people.xmp import areas_of
from tests.client.people.packets import NAMESPACES, area, microsoft, mwg, packet

PERSIAN = "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645"
"""A word with a joiner, which is invisible and belongs to it."""

BOX = (0.25, 0.125, 0.5, 0.375)


def only(data: bytes) -> Area:
    found = areas_of(data)
    assert found.problems == ()
    [area] = found.areas
    return area


def test_a_region_as_lightroom_writes_it_is_read() -> None:
    assert only(packet(mwg([("Ada", BOX)], size=(640, 480)))) == Area(
        "Ada", "Face", BOX, "mwg", size=(640, 480)
    )


def test_a_region_as_exiftool_writes_it_is_read() -> None:
    text = (
        "<mwg-rs:Regions rdf:parseType='Resource'>"
        "<mwg-rs:AppliedToDimensions rdf:parseType='Resource'><stDim:h>480</stDim:h><stDim:w>640</stDim:w>"
        "</mwg-rs:AppliedToDimensions><mwg-rs:RegionList><rdf:Seq><rdf:li rdf:parseType='Resource'>"
        "<mwg-rs:Area rdf:parseType='Resource'><stArea:h>0.25</stArea:h><stArea:w>0.25</stArea:w>"
        "<stArea:x>0.375</stArea:x><stArea:y>0.25</stArea:y></mwg-rs:Area>"
        "<mwg-rs:Name><rdf:Alt><rdf:li xml:lang='x-default'>Ada</rdf:li></rdf:Alt></mwg-rs:Name>"
        "<mwg-rs:Type>Face</mwg-rs:Type></rdf:li></rdf:Seq></mwg-rs:RegionList></mwg-rs:Regions>"
    )
    assert only(packet(text)) == Area("Ada", "Face", BOX, "mwg", size=(640, 480))


def test_a_region_of_microsoft_is_read() -> None:
    assert only(packet(microsoft([("Ada", BOX)]))) == Area("Ada", "Face", BOX, "microsoft")


def test_a_name_without_a_rectangle_is_that_of_a_person_somewhere_in_the_photograph() -> None:
    found = areas_of(packet(microsoft([("Ada", None), ("Ada", None), (None, None)])))
    assert (found.areas, found.problems, found.unplaced) == ((), (), ("Ada",))


def test_a_region_of_apple_is_told_from_others() -> None:
    found = only(packet(mwg([(None, BOX)], inside='<mwg-rs:Extensions apple-fi:FaceID="57"/>')))
    assert found == Area(None, "Face", BOX, "apple")


@pytest.mark.parametrize("kind", ["Pet", "Focus", "BarCode", "Landscape"])
def test_a_region_around_something_else_says_what(kind: str) -> None:
    assert only(packet(mwg([("Rex", BOX)], kind=kind))).kind == kind


def test_a_region_without_a_type_is_a_face() -> None:
    assert only(packet(mwg([("Ada", BOX)], kind=None))).kind == "Face"


@pytest.mark.parametrize(
    ("box", "unit", "pixels"),
    [
        (BOX, "normalized", False),
        (BOX, None, False),
        (BOX, "pixel", False),
        ((10.0, 20.0, 40.0, 50.0), "pixel", True),
        ((10.0, 20.0, 40.0, 50.0), None, True),
        ((0.5, 0.5, 1.75, 1.75), "normalized", False),
    ],
)
def test_a_unit_is_taken_from_the_numbers_where_it_is_missing_or_wrong(
    box: tuple[float, float, float, float], unit: str | None, pixels: bool
) -> None:
    found = only(packet(mwg([("Ada", box)], unit=unit)))
    assert (found.box, found.pixels) == (pytest.approx(box), pixels)


def test_decimal_commas_are_read() -> None:
    text = mwg([("Ada", BOX)]).replace("0.375", "0,375").replace("0.25", "0,25")
    assert only(packet(text)).box == BOX


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_packet_is_read_in_each_encoding_of_xmp(encoding: str) -> None:
    data = packet(mwg([("Ádá", BOX)])).decode().replace("\ufeff", "").encode(encoding)
    assert only(data).name == "Ádá"


def test_room_behind_a_packet_is_passed_over() -> None:
    assert only(packet(mwg([("Ada", BOX)])) + b" " * 2000 + b"\n\0").name == "Ada"


def test_a_packet_without_regions_is_not_parsed() -> None:
    assert areas_of(b"<damaged") == xmp.Areas()
    assert areas_of(packet().replace(NAMESPACES.split()[1].encode(), b"")).areas == ()


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("  Ada \t Lovelace\n", "Ada Lovelace"),
        ("", None),
        ("\u200f", None),
        ("\u202egnp.exe", "gnp.exe"),
        ("Ada\u2066\u2069 L", "Ada L"),
        (PERSIAN, PERSIAN),
        ("E\u0301mile", "Émile"),
        ("👩\u200d🚀", "👩\u200d🚀"),
        ("a/../b", "a/../b"),
    ],
)
def test_a_name_is_one_line_of_visible_characters(name: str, read: str | None) -> None:
    assert only(packet(mwg([(name, BOX)]))).name == read
    assert only(packet(microsoft([(name, BOX)]))).name == read


def test_a_region_whose_name_is_too_long_has_none() -> None:
    found = areas_of(packet(mwg([("x" * (LONGEST_NAME + 1), BOX), ("x" * LONGEST_NAME, BOX)])))
    assert [area.name for area in found.areas] == [None, "x" * LONGEST_NAME]
    assert found.problems == ("a name has more than 200 characters",)


@pytest.mark.parametrize(
    "value", ["NaN", "inf", "-inf", "1e999", "", "x", "1_0", "\u0660", "0x10", "1e7777", "1" * 30, "-1"]
)
def test_a_region_with_a_wrong_number_costs_a_line(value: str) -> None:
    text = mwg([("Ada", BOX), ("Bob", BOX)]).replace("stArea:w='0.25'", f"stArea:w='{value}'", 1)
    found = areas_of(packet(text))
    assert [area.name for area in found.areas] == ["Bob"]
    [problem] = found.problems
    assert problem.startswith("the region 'Ada' ")
    assert problem.isprintable()


@pytest.mark.parametrize(
    "value", ["", "0.1", "0.1,0.1,0.1", "0.1,0.1,nan,0.1", "0,0,0,0", "0,0,-1,1", "," * 10_000]
)
def test_a_wrong_rectangle_costs_a_line(value: str) -> None:
    text = microsoft([("Ada", BOX)]).replace("0.25, 0.125, 0.25, 0.25", value)
    found = areas_of(packet(text))
    assert found.areas == ()
    [problem] = found.problems
    assert problem.startswith("the region 'Ada' ")
    assert len(problem) < 120


def test_a_region_without_an_area_costs_a_line() -> None:
    text = mwg([(None, BOX)]).replace(area(BOX), "")
    assert areas_of(packet(text)).problems == (
        "a region without a name has no place, or no width and height",
    )


BOMB = "<!DOCTYPE x [<!ENTITY a 'aaaaaaaa'>" + "".join(
    f"<!ENTITY {name} '{f'&{before};' * 10}'>" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    "data",
    [
        (BOMB + "]>").encode() + packet(mwg([("&i;", BOX)])).replace(b"&amp;", b"&"),
        b"<!DOCTYPE x SYSTEM 'file:///etc/passwd'>" + packet(mwg([("Ada", BOX)])),
        b"<!DOCTYPE x [<!ENTITY a SYSTEM 'file:///etc/passwd'>]>" + packet(mwg([("Ada", BOX)])),
        packet(mwg([("Ada", BOX)]))[:-60],
        packet(mwg([("Ada", BOX)])).replace(b"Ada", b"\x01\x02"),
        packet(mwg([("Ada", BOX)])).replace(b"Ada", b"\xff\xfe"),
        b"<?xml version='1.0' encoding='no-such'?>" + packet(mwg([("Ada", BOX)])),
        b"<?xml version='1.0' encoding='utf-7'?>" + packet(mwg([("Ada", BOX)])),
        packet(mwg([("Ada", BOX)]), "<rdf:li>" * 5000, "</rdf:li>" * 5000),
        packet(mwg([("Ada", BOX)]), "<rdf:li/>" * (xmp.MOST_ELEMENTS + 1)),
        b"\xff\xfe" + b"\0" * 1000,
        b"\xfe\xff<\0",
    ],
)
def test_a_hostile_packet_costs_one_line(data: bytes) -> None:
    found = areas_of(data)
    assert found.areas == ()
    [problem] = found.problems
    assert problem.isprintable()
    assert len(problem) < 200


@pytest.mark.parametrize("write", [mwg, microsoft])
def test_of_a_hundred_thousand_regions_the_first_thousand_are_read(write: Callable[..., str]) -> None:
    found = areas_of(packet(write([("Ada", BOX)] * 100_000)))
    assert len(found.areas) == MOST_REGIONS
    assert found.problems == ("the XMP has more than 1000 regions; the rest is not read",)


def test_regions_take_memory_up_to_a_limit() -> None:
    data = packet(mwg([("Ada", BOX)] * 20_000))
    tracemalloc.start()
    areas_of(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40 << 20


def test_many_problems_are_counted() -> None:
    found = areas_of(packet(mwg([(str(number), (0.5, 0.5, 0.4, 0.6)) for number in range(100)])))
    assert len(found.problems) == MOST_PROBLEMS + 1
    assert found.problems[-1] == "95 further problems"
