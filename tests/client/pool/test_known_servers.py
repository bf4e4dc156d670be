"""Which server an announcement is of, and where that is tried."""

from __future__ import annotations

from typing import cast

from pyraface.client.pool.connection import ServerConnection
from pyraface.client.pool.discovery import Location, Sighting
from pyraface.client.pool.known_servers import FORGOTTEN, MOST_ADDRESSES, KnownServer, KnownServers

INTERVAL = 5.0
CONNECTION = cast(ServerConnection, object())
"""Stands for one; it is only looked whether there is one."""


def at(number: int) -> Location:
    return Location(f"10.0.0.{number}", 5000)


class Heard:
    """The servers of a network, by their announcements."""

    def __init__(self) -> None:
        self.known = KnownServers(INTERVAL)
        self.now = 100.0

    def hear(self, instance: str, place: int, name: str = "attic") -> tuple[KnownServer, bool]:
        return self.known.hear(Sighting(instance, name, at(place)), self.now)


def test_an_instance_is_one_server_at_all_addresses_at_which_it_is_heard() -> None:
    heard = Heard()
    server, new = heard.hear("a", 1)
    assert new
    assert heard.hear("a", 2) == (server, False)
    assert heard.known.places(server) == [at(1), at(2)]


def test_the_first_address_is_tried_first_unless_the_server_was_heard_at_another_alone_since() -> None:
    heard = Heard()
    for _ in range(3):
        server, _ = heard.hear("a", 1)
        heard.hear("a", 2)
        heard.now += INTERVAL
    assert heard.known.places(server) == [at(1), at(2)]
    heard.hear("a", 2)
    heard.now += INTERVAL
    heard.hear("a", 2)
    assert heard.known.places(server) == [at(2), at(1)]


def test_a_new_instance_with_the_name_and_the_address_of_a_lost_server_is_that_server() -> None:
    heard = Heard()
    server, _ = heard.hear("a", 1)
    heard.hear("a", 2)
    assert heard.hear("b", 1) == (server, False)
    assert server.instance == "b"
    assert heard.known.places(server) == [at(1)], "the other address was that of the process that ended"


def test_while_a_server_is_in_use_a_new_instance_at_its_address_does_not_replace_it() -> None:
    heard = Heard()
    server, _ = heard.hear("a", 1)
    server.connection = CONNECTION
    assert heard.hear("b", 1) == (server, False)
    assert server.instance == "a"


def test_another_name_at_the_address_of_a_server_is_another_server() -> None:
    heard = Heard()
    server, _ = heard.hear("a", 1)
    other, new = heard.hear("b", 1, name="cellar")
    assert new
    assert other is not server
    assert heard.known.places(other) == [at(1)]


def test_two_servers_with_one_name_are_two() -> None:
    heard = Heard()
    assert heard.hear("a", 1)[0] is not heard.hear("b", 2)[0]


def test_there_is_an_end_to_the_addresses_of_a_server_and_the_oldest_goes() -> None:
    heard = Heard()
    for number in range(1, 3 * MOST_ADDRESSES):
        server, _ = heard.hear("a", number)
        heard.now += 1.0
    assert len(server.addresses) == MOST_ADDRESSES
    assert at(3 * MOST_ADDRESSES - 1) in server.addresses


def test_a_server_that_was_named_is_tried_there_first_and_then_where_else_it_was_reached() -> None:
    known = KnownServers(INTERVAL)
    server = known.add_named(at(1))
    server.heard_at(at(2), 100.0)
    assert known.places(server) == [at(1), at(2)]


def test_a_server_is_in_sight_while_it_is_announced() -> None:
    heard = Heard()
    server, _ = heard.hear("a", 1)
    assert heard.known.in_sight(server, heard.now + FORGOTTEN * INTERVAL)
    assert not heard.known.in_sight(server, heard.now + FORGOTTEN * INTERVAL + 1)
    assert not heard.known.in_sight(heard.known.add_named(at(2)), heard.now)
