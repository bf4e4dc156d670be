"""What the scheduler decides, and what it knows of a server: plain values, for whoever drives it."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar

J = TypeVar("J", bound=Hashable)
S = TypeVar("S", bound=Hashable)


@dataclass(frozen=True)
class Send(Generic[J, S]):
    """Have this server do this image."""

    server: S
    job: J


@dataclass(frozen=True)
class Cancel(Generic[J, S]):
    """Tell this server that the image is not wanted any more; its credit is in use until it answers."""

    server: S
    job: J


class Reason(Enum):
    """Why an image is given up."""

    REFUSED = "refused"
    """By as many servers as may be, or by all there are."""
    LOST = "lost"
    """Servers were lost with it, again and again."""


@dataclass(frozen=True)
class GiveUp(Generic[J]):
    """This image has failed for good."""

    job: J
    reason: Reason


@dataclass(frozen=True)
class Disconnect(Generic[S]):
    """End the connection to this server, which answers nothing any more; report `server_down` then."""

    server: S


@dataclass(frozen=True)
class Load:
    """What a server has and does.

    Attributes:
        credits: images that it takes at a time, as it granted them; 0 while it is lost or draining.
        in_flight: images that it has; those that are cancelled count until it has answered.
        done: images that it was the first to answer.
        rate: images a second, as shown of late; 0 until it has shown any.
        resting: whether it gets nothing for a while, because it failed or was busy.
        stuck: whether it has not answered for so long that it gets nothing until it does.
    """

    credits: int
    in_flight: int
    done: int
    rate: float
    resting: bool
    stuck: bool


Decision = Send[J, S] | Cancel[J, S] | GiveUp[J] | Disconnect[S]
