"""Datagrams of discovery: 8 magic bytes, one msgpack map and, with authentication, a seal of 32 bytes (`proofs.seal`) over
the map.

    Probe         a client searches for servers; every server answers its sender with an Announcement
    Announcement  a server is available
    Goodbye       a server is about to stop

Every other datagram is foreign: decode() returns None and the receiver ignores it. Any machine can send datagrams. The seal
shows that the sender has the key, and the probe's nonce shows that an answer is new. This needs no clock, which machines
without a battery do not have.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, ClassVar

from ..errors import ErrorCode, LocalProtocolError, RemoteProtocolError
from ..text import plural
from . import proofs, wire
from .messages import Bytes32, Positive

MAGIC = b"pyraface"

MAX_DATAGRAM = 1200
"""Bytes: below every usual MTU, so a datagram is never fragmented; a longer one is foreign."""

UNASKED = bytes(proofs.NONCE_BYTES)
"""The nonce of an announcement that is not an answer to a probe."""


@dataclass(frozen=True)
class Probe:
    """A search for servers. The answers have the same nonce: 32 random bytes."""

    type: ClassVar[str] = "probe"
    nonce: Bytes32


@dataclass(frozen=True)
class Announcement:
    """A server is available.

    Attributes:
        version: the protocol version that the server prefers.
        instance: changes with every start: a new instance at a known address is a restart.
        name: of the server, for people.
        port: of TCP, at the address that sent this.
        fingerprint: as in `messages.Welcome`.
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
    """A datagram, with the data that its authentication needs.

    Attributes:
        words: the decoded datagram.
        content: the bytes that were sealed.
        seal: 32 bytes, or empty.
    """

    words: Datagram
    content: bytes
    seal: bytes

    def sealed(self, keys: Iterable[bytes]) -> bool:
        """Whether the sender has one of these keys."""
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
            f"{datagram.type} makes a datagram of {plural(len(data), 'byte')}; the limit is {MAX_DATAGRAM}",
            ErrorCode.FRAME_TOO_LARGE,
        )
    return data


def decode(data: bytes) -> Received | None:
    """Returns a decoded datagram, or None for a foreign one."""
    if len(data) > MAX_DATAGRAM or not data.startswith(MAGIC):
        return None
    body = data[len(MAGIC) :]
    # a msgpack map has a definite end, so at most one of the two is valid
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
