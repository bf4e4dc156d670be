"""Proofs: authentication codes by which a peer proves that it holds a key, without revealing it. Pure: bytes in, bytes out.
docs/security.md describes their purpose.

A key is 32 random bytes. Each code is HMAC-SHA256 under it. The input begins with a label of the code's purpose, so that a
code of one purpose is invalid for every other:

    a connection's proofs   both nonces, the TLS certificate, the offered and chosen versions; one label for each role
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
    """The side that proves. A proof of one role is invalid for the other, so a peer's own proof cannot be sent back."""

    SERVER = b"pyraface server\0"
    CLIENT = b"pyraface client\0"


@dataclass(frozen=True)
class Transcript:
    """The handshake of one connection, as both ends know it; a proof is valid for this handshake alone.

    Attributes:
        client_nonce, server_nonce: 32 random bytes each, new for this connection: a replayed proof is invalid.
        certificate: SHA-256 of the server's certificate, as seen at this end: a machine in the middle has shown the
            client another certificate, and cannot relay a proof.
        versions: the versions that the client's hello offered.
        version: the version that the server chose.
    """

    client_nonce: bytes
    server_nonce: bytes
    certificate: bytes
    versions: tuple[int, ...]
    version: int

    def proof(self, key: bytes, role: Role) -> bytes:
        """Returns the 32 bytes that prove possession of the key."""
        versions = b"".join(number.to_bytes(8, "big") for number in (self.version, *self.versions))
        return _code(key, role.value, self.client_nonce, self.server_nonce, self.certificate, versions)

    def proven(self, proof: bytes, keys: Iterable[bytes], role: Role) -> bytes | None:
        """Returns the key of `keys` that this proof was made with, or None."""
        return next((key for key in keys if hmac.compare_digest(self.proof(key, role), proof)), None)


def certificate_digest(certificate: bytes) -> bytes:
    """Returns the digest of a certificate (DER) for a transcript."""
    return hashlib.sha256(certificate).digest()


def seal(content: bytes, key: bytes) -> bytes:
    """Returns the 32-byte seal of a datagram's content."""
    return _code(key, _BEACON, content)


def sealed(content: bytes, code: bytes, keys: Iterable[bytes]) -> bool:
    """Whether this content was sealed with one of `keys`."""
    return any(hmac.compare_digest(seal(content, key), code) for key in keys)


def _code(key: bytes, *parts: bytes) -> bytes:
    return hmac.digest(key, b"".join(parts), "sha256")
