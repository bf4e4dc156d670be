"""Comparison of parameters: those of each server with those set here, or else with those of the first server."""

from __future__ import annotations

from ...core.parameters import Parameters, declaration, differences
from ...core.parameters.differences import Difference
from ...core.protocol.messages import Welcome

MOST_NAMED = 6
"""Differences that a line names; two files that have nothing in common have 18."""


class Comparison:
    """The servers of a client, compared as they are connected.

    Servers are compared with the client's parameters if a file states these or the program has changed them. The packaged
    defaults are a choice of no one: with them, servers are compared with each other.

    Args:
        parameters: of the client.
        search, faces_from: as in `messages.Detect`.
    """

    def __init__(self, parameters: Parameters, *, search: str, faces_from: int) -> None:
        self._search = search
        self._faces_from = faces_from
        self._here = declaration(parameters)
        self._set = bool(parameters.stated) or self._here != declaration(Parameters.defaults())
        self._first: tuple[str, Welcome] | None = None
        self._told: set[str] = set()

    def lines(self, name: str, welcome: Welcome, *, child: bool) -> list[str]:
        """Returns the lines about a server that was connected just now, each line once.

        Args:
            child: it is the child daemon, which has the client's parameters.
        """
        if self._first is None:
            self._first = name, welcome
        found = self._with_the_first(name, welcome)
        if self._set and not child and (unlike := self._differences(welcome, self._here)):
            remedies = (
                f"; --search {one.here} makes the searches alike" for one in unlike if one.element == "search"
            )
            found = [
                f"server {name} finds faces by other parameters than those here: {_named(unlike, 'here')}"
                + "".join(remedies)
            ]
        found = [line for line in found if line not in self._told]
        self._told.update(found)
        return found

    def _with_the_first(self, name: str, welcome: Welcome) -> list[str]:
        assert self._first is not None
        first_name, first = self._first
        if not self._search and welcome.searches[0] != first.searches[0]:
            return [
                f"server {name} does the search {welcome.searches[0]}, and {first_name} {first.searches[0]}: "
                f"their faces differ; --search {first.searches[0]} makes them alike"
            ]
        if unlike := self._differences(welcome, first.parameters):
            return [
                f"server {name} finds faces by other parameters than {first_name}: {_named(unlike, 'there')}"
            ]
        # fingerprints differ by parameters without effect, too, such as height and width that change places
        another = welcome.fingerprint_of(self._search) != first.fingerprint_of(self._search)
        if another and welcome.software != first.software:
            return [
                f"server {name} has another pyraface ({welcome.software}) than {first_name} ({first.software}): its "
                "faces may differ"
            ]
        return []

    def _differences(self, welcome: Welcome, other: tuple[str, ...]) -> list[Difference]:
        return differences(welcome.parameters, other, search=self._search, faces_from=self._faces_from)


def _named(unlike: list[Difference], where: str) -> str:
    more = f" and {len(unlike) - MOST_NAMED} more" if len(unlike) > MOST_NAMED else ""
    return ", ".join(f"{one.element} {one.there} ({where} {one.here})" for one in unlike[:MOST_NAMED]) + more
