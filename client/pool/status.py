"""Status: the state of each server at one moment, for display."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Availability(str, Enum):
    """Whether a server takes images, in a word for people."""

    CONNECTED = "connected"
    DRAINING = "draining"
    """It finishes its images, and stops."""
    RESTING = "resting"
    """It failed repeatedly, or does not answer, and gets no image for a while."""
    LOST = "lost"
    """The connection ended; reconnecting."""


@dataclass(frozen=True)
class ServerStatus:
    """A server that was reached at least once, at one moment.

    Attributes:
        name: as it stands in results.
        address: "HOST:PORT", or "local" for the child daemon.
        engine, device: what finds the faces, for people.
        state: connected, draining, resting or lost.
        credits: images it takes at a time; 0 while it takes none.
        in_flight: images that it has now, cancelled ones until it has answered.
        done: images that it answered, since this client began.
        rate: images a second, lately; 0 until it is known.
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
