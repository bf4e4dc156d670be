"""Status: the state of each server at one moment, for display."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Availability(str, Enum):
    """Whether a server takes images, in a word for display."""

    CONNECTED = "connected"
    DRAINING = "draining"
    """The server finishes its images, then stops."""
    RESTING = "resting"
    """The server failed repeatedly or does not answer, and gets no image for a while."""
    LOST = "lost"
    """The connection ended; the client is trying to reconnect."""


@dataclass(frozen=True)
class ServerStatus:
    """Status, at one moment, of a server that was connected at least once.

    Attributes:
        name: the name in results.
        address: "HOST:PORT", or "local" for the child daemon.
        engine, device: descriptions of the engine and of its hardware, for display.
        state: connected, draining, resting or lost.
        credits: number of images that the server takes at a time; 0 while it takes none.
        in_flight: number of images that the server has now, including cancelled ones without an answer.
        done: number of images that the server has answered since this client started.
        rate: recent images per second; 0 until known.
        deviation: the distance of its encoding of the reference face from face_recognition's on a CPU.
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
    deviation: float
