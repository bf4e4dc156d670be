"""client/people/regions.py: one region stays of those that are the same, and problems are few."""

from __future__ import annotations

import time

import pytest

from pyraface.client.people.regions import (
    MOST_PROBLEMS,
    MOST_REGIONS,
    Box,
    PhotographSize,
    Region,
    clean_name,
    described,
    merged,
    shortened,
)

BOX = (10.0, 10.0, 50.0, 60.0)


def region(name: str | None, box: Box = BOX, kind: str = "Face") -> Region:
    return Region(name, kind, box, "mwg", "stored", guessed=False)


def moved(by: float) -> Box:
    return BOX[0] + by, BOX[1], BOX[2] + by, BOX[3]


def test_no_packets_have_no_regions() -> None:
    assert merged([]) == ()
    assert merged([[], []]) == ()


def test_a_region_in_two_packets_is_one_and_the_first_stays() -> None:
    assert merged([[region("Ada")], [region("Ada", moved(3))]]) == (region("Ada"),)


def test_a_region_with_a_name_stays_in_place_of_one_without() -> None:
    named, unnamed = region("Ada", moved(3)), region(None)
    assert merged([[unnamed], [named]]) == (named,)
    assert merged([[named], [unnamed]]) == (named,)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (region("Ada"), region("Bob")),
        (region("Ada"), region("Ada", moved(30))),
        (region("Ada"), region("Ada", kind="Pet")),
        (region(None), region(None, moved(200))),
    ],
)
def test_different_regions_stay_two(first: Region, second: Region) -> None:
    assert merged([[first], [second]]) == (first, second)


def test_two_names_on_one_unnamed_region_stay_two() -> None:
    assert [each.name for each in merged([[region(None)], [region("Ada"), region("Bob")]])] == ["Ada", "Bob"]


def test_thousands_of_regions_in_one_place_take_little_time() -> None:
    begin = time.process_time()
    found = merged([[region(str(number)) for number in range(3000)]])
    assert len(found) == MOST_REGIONS
    assert time.process_time() - begin < 5


def test_a_picture_on_its_side_is_stored_with_its_sides_exchanged() -> None:
    assert [PhotographSize(640, 480, orientation).stored for orientation in range(1, 9)] == [
        (640, 480)
    ] * 4 + [(480, 640)] * 4


def test_a_name_of_marks_alone_is_refused_before_it_is_composed() -> None:
    with pytest.raises(ValueError, match="more than 200 characters"):
        clean_name("e" + "\u0301" * 1_000_000)


def test_a_message_shows_a_name_on_one_line() -> None:
    assert described("a\nb\u202e") == "the region 'a\\nb\\u202e'"
    assert described(None) == "a region without a name"


def test_each_problem_is_named_once_and_the_rest_are_counted() -> None:
    assert shortened(["a", "a", "b"]) == ("a", "b")
    many = shortened([str(number) for number in range(MOST_PROBLEMS + 1)])
    assert many[-1] == "1 further problem"
