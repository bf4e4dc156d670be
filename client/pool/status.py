"""How each server is, at one moment: for whoever shows it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Availability(str, Enum):
    """How a server is, as a person would say it."""

    CONNECTED = "connected"
    DRAINING = "draining"
    """It finishes what it has, and stops."""
    RESTING = "resting"
    """It failed again and again, and gets nothing for a while."""
    LOST = "lost"
    """The connection ended; it is tried again."""


@dataclass(frozen=True)
class ServerStatus:
    """A server that was reached at least once, at one moment.

    Attributes:
        name: as it stands in results.
        address: "HOST:PORT", or "local" for the child daemon.
        engine, device: what finds the faces, for people.
        state: connected, draining, resting or lost.
        credits: images it takes at a time; 0 while it takes none.
        in_flight: images that it has now.
        done: images that it answered, since this client began.
        rate: images a second that it does; 0 until it is known.
    """

    name: str
    address: str
    engine: str
    device: str
    state: Availability
    credits: int
    in_flight: int
    done: int
    rate: float
