"""Admission: who may be connected."""

from __future__ import annotations

import pytest

from pyraface.core.errors import ErrorCode, LimitError
from pyraface.daemon.admission import Admission, site


def test_a_newcomer_takes_the_place_of_the_oldest_that_was_not_greeted() -> None:
    door = Admission[str](3, 3)
    assert [door.enter(guest, "10.0.0.1") for guest in "abc"] == [None] * 3
    door.greeted("a")
    assert door.enter("d", "10.0.0.2") == "b"
    assert len(door) == 3
    door.leave("b")  # who had to go is gone already
    assert door.enter("e", "10.0.0.3") == "c"


def test_who_was_greeted_stays_and_the_newcomer_is_refused() -> None:
    door = Admission[str](2, 2)
    for guest, host in (("a", "10.0.0.1"), ("b", "10.0.0.2")):
        door.enter(guest, host)
        door.greeted(guest)
    with pytest.raises(LimitError, match="params/daemon/max_connections") as refused:
        door.enter("c", "10.0.0.3")
    assert refused.value.code is ErrorCode.TOO_MANY_CONNECTIONS
    assert len(door) == 2
    door.leave("a")
    assert door.enter("c", "10.0.0.3") is None


def test_one_address_does_not_keep_out_the_others() -> None:
    door = Admission[int](10, 2)
    for guest in (1, 2):
        door.enter(guest, "10.0.0.1")
        door.greeted(guest)
    with pytest.raises(LimitError, match="max_connections_per_address") as refused:
        door.enter(3, "10.0.0.1")
    assert refused.value.code is ErrorCode.TOO_MANY_FROM_ADDRESS
    assert door.enter(4, "10.0.0.2") is None
    # and who fills its own share with silence displaces only itself
    assert door.enter(5, "10.0.0.2") is None
    assert door.enter(6, "10.0.0.2") == 4
    door.leave(1)
    assert door.enter(7, "10.0.0.1") is None


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("192.168.1.7", "192.168.1.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
    ],
)
def test_an_address_is_what_one_machine_cannot_choose_anew(host: str, expected: str) -> None:
    assert site(host) == expected
