"""Proofs that a peer holds a key, without showing it. Pure: bytes in, bytes out; docs/security.md says what they are for.

A key is 32 random bytes. Everything is HMAC-SHA256 under it, over a label that says what the code is for, so that
none of them can stand for another:

    a connection's proofs   both nonces, the TLS certificate, what was said of versions; one label for each role
    a datagram's seal       its content
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

KEY_BYTES = NONCE_BYTES = PROOF_BYTES = 32

_BEACON = b"pyraface beacon\0"


class Role(bytes, Enum):
    """Who proves: a proof of one is none of the other, so nobody can be answered with his own."""

    SERVER = b"pyraface server\0"
    CLIENT = b"pyraface client\0"


@dataclass(frozen=True)
class Transcript:
    """The handshake of one connection, as both ends know it; a proof is valid for this one and no other.

    Attributes:
        client_nonce, server_nonce: 32 bytes each, random, of this connection alone: an old proof proves nothing.
        certificate: SHA-256 of the server's certificate, as it was seen at this end: whoever sits between the two has
            shown another one to the client, and can pass on no proof.
        versions: what the client's hello offered.
        version: what the server chose of it.
    """

    client_nonce: bytes
    server_nonce: bytes
    certificate: bytes
    versions: tuple[int, ...]
    version: int

    def proof(self, key: bytes, role: Role) -> bytes:
        """Returns the 32 bytes by which one who has the key proves it."""
        versions = b"".join(number.to_bytes(8, "big") for number in (self.version, *self.versions))
        return _code(key, role.value, self.client_nonce, self.server_nonce, self.certificate, versions)

    def proven(self, proof: bytes, keys: Iterable[bytes], role: Role) -> bytes | None:
        """Returns the one of `keys` that this proof was made with, None if it is none of them."""
        return next((key for key in keys if hmac.compare_digest(self.proof(key, role), proof)), None)


def certificate_digest(certificate: bytes) -> bytes:
    """Returns the digest of a certificate (DER) that stands in a transcript."""
    return hashlib.sha256(certificate).digest()


def seal(content: bytes, key: bytes) -> bytes:
    """Returns the 32 bytes that go with a datagram's content."""
    return _code(key, _BEACON, content)


def sealed(content: bytes, code: bytes, keys: Iterable[bytes]) -> bool:
    """Whether this content was sealed with one of `keys`."""
    return any(hmac.compare_digest(seal(content, key), code) for key in keys)


def _code(key: bytes, *parts: bytes) -> bytes:
    return hmac.digest(key, b"".join(parts), "sha256")
