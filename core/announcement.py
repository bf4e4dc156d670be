"""The datagrams by which servers and clients find each other: 8 magic bytes and one msgpack map.

    Probe         a client asks who is there; every server answers its sender with an Announcement
    Announcement  a server says that it is there
    Goodbye       a server says that it is about to stop

A datagram that is none of these is foreign: decode() returns None and the receiver ignores it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from . import wire
from .errors import ErrorCode, LocalProtocolError, RemoteProtocolError
from .messages import Positive

MAGIC = b"pyraface"

MAX_DATAGRAM = 1200
"""Bytes: below every usual MTU, so a datagram is never fragmented; a longer one is foreign."""


@dataclass(frozen=True)
class Probe:
    """Who is there?"""

    type: ClassVar[str] = "probe"


@dataclass(frozen=True)
class Announcement:
    """A server is there.

    Attributes:
        version: the protocol version its TCP side prefers.
        instance: changes with every start: a new one at an old address is a restart.
        name: for people.
        port: of TCP, at the address that sent this.
        fingerprint: servers with the same one give the same faces.
    """

    type: ClassVar[str] = "announcement"
    version: Positive
    instance: str
    name: str
    port: Annotated[int, range(1, 65536)]
    fingerprint: str


@dataclass(frozen=True)
class Goodbye:
    """The server `instance` is about to stop."""

    type: ClassVar[str] = "goodbye"
    instance: str


Datagram = Probe | Announcement | Goodbye


def encode(datagram: Datagram) -> bytes:
    """Returns the bytes to send.

    Raises:
        LocalProtocolError: a field has a wrong type or is out of range, or the datagram exceeds MAX_DATAGRAM.
    """
    data = MAGIC + wire.pack(datagram)
    if len(data) > MAX_DATAGRAM:
        raise LocalProtocolError(
            f"{datagram.type} makes a datagram of {len(data)} bytes; at most {MAX_DATAGRAM} are sent",
            ErrorCode.FRAME_TOO_LARGE,
        )
    return data


def decode(data: bytes) -> Datagram | None:
    """Returns what a datagram says, or None for a foreign one."""
    if len(data) > MAX_DATAGRAM or not data.startswith(MAGIC):
        return None
    kinds: tuple[type[Datagram], ...] = (Probe, Announcement, Goodbye)
    try:
        return wire.unpack(data[len(MAGIC) :], kinds)
    except RemoteProtocolError:
        return None
