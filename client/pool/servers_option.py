"""Option --servers, and `Client(servers=...)`: the servers wanted, read from the text."""

from __future__ import annotations

from dataclasses import dataclass

from .discovery import Location, locations

AUTO, LOCAL = "auto", "local"


@dataclass(frozen=True)
class Wanted:
    """The servers that a user wants.

    Attributes:
        auto: the servers that answer on the network; where there is none, the local one.
        local: the local one: a child daemon on this machine.
        named: the servers at these addresses.
    """

    auto: bool
    local: bool
    named: tuple[Location, ...]

    @classmethod
    def parse(cls, servers: str, default_port: int) -> Wanted:
        """Returns the servers in "auto,local,HOST[:PORT],...", any of them, in any order.

        Raises:
            ServerError: an entry has another form; the message names it.
        """
        entries = [entry.strip() for entry in servers.split(",")]
        named = [entry for entry in entries if entry not in (AUTO, LOCAL)]
        places = locations(",".join(named), default_port) if named else []
        return cls(AUTO in entries, LOCAL in entries, tuple(places))

    @property
    def others(self) -> bool:
        """Whether servers besides the local one are wanted."""
        return self.auto or bool(self.named)
