"""The datagrams by which servers and clients find each other: 8 magic bytes, one msgpack map, and where a key is asked
for, a seal of 32 bytes (`security.seal`) over the map.

    Probe         a client asks who is there; every server answers its sender with an Announcement
    Announcement  a server says that it is there
    Goodbye       a server says that it is about to stop

A datagram that is none of these is foreign: decode() returns None and the receiver ignores it. Anybody can send one; only
a seal tells that it comes from somebody with the key, and only a probe's nonce that it is not an old one. No clock is
needed for that, which machines without a battery do not have.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, ClassVar

from ..errors import ErrorCode, LocalProtocolError, RemoteProtocolError
from . import proofs, wire
from .messages import Bytes32, Positive

MAGIC = b"pyraface"

MAX_DATAGRAM = 1200
"""Bytes: below every usual MTU, so a datagram is never fragmented; a longer one is foreign."""

UNASKED = bytes(proofs.NONCE_BYTES)
"""The nonce of an announcement that answers no probe."""


@dataclass(frozen=True)
class Probe:
    """Who is there? The answer has the same nonce: 32 random bytes."""

    type: ClassVar[str] = "probe"
    nonce: Bytes32


@dataclass(frozen=True)
class Announcement:
    """A server is there.

    Attributes:
        version: the protocol version its TCP side prefers.
        instance: changes with every start: a new one at an old address is a restart.
        name: for people.
        port: of TCP, at the address that sent this.
        fingerprint: servers with the same one give the same faces.
        nonce: of the probe that this answers, or UNASKED.
    """

    type: ClassVar[str] = "announcement"
    version: Positive
    instance: str
    name: str
    port: Annotated[int, range(1, 65536)]
    fingerprint: str
    nonce: Bytes32 = UNASKED


@dataclass(frozen=True)
class Goodbye:
    """The server `instance` is about to stop."""

    type: ClassVar[str] = "goodbye"
    instance: str


Datagram = Probe | Announcement | Goodbye


@dataclass(frozen=True)
class Received:
    """What a datagram says, and what is needed to know who says so.

    Attributes:
        words: what it says.
        content: the bytes that were sealed.
        seal: 32 bytes, or none.
    """

    words: Datagram
    content: bytes
    seal: bytes

    def sealed(self, keys: Iterable[bytes]) -> bool:
        """Whether somebody with one of these keys says so."""
        return proofs.sealed(self.content, self.seal, keys)


def encode(datagram: Datagram, key: bytes | None = None) -> bytes:
    """Returns the bytes to send, sealed with a key if there is one.

    Raises:
        LocalProtocolError: a field has a wrong type or is out of range, or the datagram exceeds MAX_DATAGRAM.
    """
    content = wire.pack(datagram)
    data = MAGIC + content + (b"" if key is None else proofs.seal(content, key))
    if len(data) > MAX_DATAGRAM:
        raise LocalProtocolError(
            f"{datagram.type} makes a datagram of {len(data)} bytes; at most {MAX_DATAGRAM} are sent",
            ErrorCode.FRAME_TOO_LARGE,
        )
    return data


def decode(data: bytes) -> Received | None:
    """Returns what a datagram says, or None for a foreign one."""
    if len(data) > MAX_DATAGRAM or not data.startswith(MAGIC):
        return None
    body = data[len(MAGIC) :]
    # a map says itself where it ends: it cannot be read both ways
    for end in (len(body), len(body) - proofs.PROOF_BYTES):
        if end > 0 and (words := _words(body[:end])) is not None:
            return Received(words, body[:end], body[end:])
    return None


def _words(content: bytes) -> Datagram | None:
    kinds: tuple[type[Datagram], ...] = (Probe, Announcement, Goodbye)
    try:
        return wire.unpack(content, kinds)
    except RemoteProtocolError:
        return None
