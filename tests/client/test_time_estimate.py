"""client/time_estimate.py: the time is that of the megapixels at the speed that is known, and says what it is from."""

from __future__ import annotations

import pytest

from pyraface.client.time_estimate import Work, estimate


def work(*pixels: int | None) -> Work:
    found = Work()
    for one in pixels:
        found.add(one)
    return found


def test_photographs_of_unknown_size_are_as_large_as_the_others() -> None:
    found = work(10_000_000, None, 14_000_000, None)
    assert found.megapixels == pytest.approx(48)
    assert str(found) == "4, 24 megapixels and 2 photographs of unknown size"
    assert work(None).megapixels is None
    assert work().megapixels == 0
    assert str(work()) == "0"


def test_servers_share_the_work() -> None:
    hour = work(*[12_000_000] * 3000)
    assert estimate(hour, {"attic": 10.0}) == (
        "about 1:00 h, at 10.00 megapixels/s: the speed of the last images of attic"
    )
    assert "about 24:00 min, at 25.00 megapixels/s: " in estimate(hour, {"attic": 10.0, "cellar": 15.0})
    assert estimate(hour, {"a": 1.0, "b": 1.0, "c": 1.0}).endswith("of a, b and c")


def test_a_server_of_unknown_speed_is_said_to_make_it_faster() -> None:
    found = estimate(work(30_000_000), {"attic": 1.0, "cellar": 0.0})
    assert found.startswith("about 30 s, ")
    assert found.endswith("of attic; less with cellar, which processed no image before")


@pytest.mark.parametrize(
    ("found", "speeds", "words"),
    [
        (work(1), {"attic": 0.0}, "unknown, because attic processed no image before"),
        (work(1), {}, "unknown, because no server answers"),
        (work(None), {"attic": 1.0}, "unknown, because no header says"),
        (work(), {"attic": 1.0}, "no photograph to process"),
    ],
)
def test_a_time_that_is_not_known_is_not_made_up(found: Work, speeds: dict[str, float], words: str) -> None:
    assert estimate(found, speeds).startswith(words)
