"""Wanted: auto, local and addresses, alone and together."""

from __future__ import annotations

import pytest

from pyraface.client.pool.discovery import Location
from pyraface.client.pool.servers_option import Wanted
from pyraface.core.errors import ServerError

ATTIC, CELLAR = Location("attic", 5000), Location("10.0.0.2", 6000)


@pytest.mark.parametrize(
    ("servers", "expected"),
    [
        ("auto", Wanted(True, False, ())),
        ("local", Wanted(False, True, ())),
        ("attic", Wanted(False, False, (ATTIC,))),
        ("auto,local", Wanted(True, True, ())),
        ("local, auto ,auto", Wanted(True, True, ())),
        ("local,attic", Wanted(False, True, (ATTIC,))),
        ("10.0.0.2:6000,auto,attic,attic:5000", Wanted(True, False, (CELLAR, ATTIC))),
        ("local:5000", Wanted(False, False, (Location("local", 5000),))),  # a host with this name
    ],
)
def test_each_entry_is_a_word_or_an_address(servers: str, expected: Wanted) -> None:
    assert Wanted.parse(servers, 5000) == expected


@pytest.mark.parametrize("servers", ["", ",", "auto,", ",local", "auto,,local", "auto local", "auto,attic:0"])
def test_an_entry_that_is_neither_is_an_error(servers: str) -> None:
    with pytest.raises(ServerError, match="--servers: "):
        Wanted.parse(servers, 5000)


def test_others_are_wanted_unless_the_local_server_is_wanted_alone() -> None:
    assert not Wanted.parse("local", 5000).others
    assert all(Wanted.parse(servers, 5000).others for servers in ("auto", "local,auto", "local,attic"))
