"""Pairing: a key transferred to another machine by a short code that a person types there. Cryptography alone, no I/O.

SPAKE2 (RFC 9382, as implemented by the package spake2) derives a secret from the code; both sides get the same secret if and
only if they have the same code. An eavesdropper learns nothing about the code, and a participant can test one guess in each
exchange. Therefore each code is valid for one exchange.

    other machine, with the code    daemon's machine, which made the code
    Pair(share)                ->
                               <-   Pair(share)
    Proof(confirmation)        ->                      the guess: right or wrong, this code is used up
                               <-   Paired(sealed)     the key, sealed with the secret

The side that asks confirms first: a guesser learns only that the guess was wrong.
"""

from __future__ import annotations

import hmac
import re
import secrets
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from spake2 import SPAKE2_A, SPAKE2_B

from ..errors import ErrorCode, RemoteProtocolError
from .proofs import KEY_BYTES

DIGITS = 8

SHARE_BYTES = 33
"""One byte for the side, 32 for a point of the curve Ed25519."""

_ASKS, _GIVES = b"pyraface asks", b"pyraface gives"

_NONCE = bytes(12)
"""A constant, because each secret seals one key, once."""


def new_code() -> str:
    """Returns a code: eight random digits, in two groups."""
    digits = f"{secrets.randbelow(10**DIGITS):0{DIGITS}}"
    return f"{digits[:4]}-{digits[4:]}"


def normal_code(typed: str) -> str | None:
    """Returns typed text in the form of `new_code`; None if it is not a code."""
    digits = re.sub(r"[\s-]", "", typed)
    return f"{digits[:4]}-{digits[4:]}" if re.fullmatch(rf"[0-9]{{{DIGITS}}}", digits) else None


class Exchange:
    """One side of one exchange. `share` goes to the other side; `finish` takes the other's, once."""

    def __init__(self, code: str, *, asks: bool) -> None:
        side = SPAKE2_A if asks else SPAKE2_B
        self._side = side(code.encode("ascii"), idA=_ASKS, idB=_GIVES)
        self.share: bytes = self._side.start()

    def finish(self, share: bytes) -> Secret:
        """Returns the secret, which the other side shares if it has the same code.

        Raises:
            RemoteProtocolError: this is not a valid share of the other side.
        """
        try:
            if len(share) != SHARE_BYTES:
                raise ValueError(f"not {SHARE_BYTES} bytes")
            return Secret(self._side.finish(share))
        except Exception as error:
            raise RemoteProtocolError(
                "pair.share: must be a SPAKE2 share of the other side", ErrorCode.BAD_FIELD
            ) from error


@dataclass(frozen=True)
class Secret:
    """The result of an exchange: 32 bytes."""

    value: bytes

    @property
    def confirmation(self) -> bytes:
        """The proof by which the side that asks shows that it has this secret."""
        return self._derived(b"pyraface pairing confirmation")

    def confirms(self, confirmation: bytes) -> bool:
        """Whether a confirmation proves that the other side has this secret."""
        return hmac.compare_digest(self.confirmation, confirmation)

    def seal(self, key: bytes) -> bytes:
        """Returns a key encrypted with this secret."""
        return self._cipher.encrypt(_NONCE, key, None)

    def open(self, sealed: bytes) -> bytes:
        """Returns the key.

        Raises:
            RemoteProtocolError: it was sealed with another secret: the other side does not have the code.
        """
        try:
            key = self._cipher.decrypt(_NONCE, sealed, None)
        except InvalidTag:
            key = b""
        if len(key) != KEY_BYTES:
            raise RemoteProtocolError(
                "the key was sealed by a machine that does not have the code", ErrorCode.WRONG_KEY
            )
        return key

    @property
    def _cipher(self) -> ChaCha20Poly1305:
        return ChaCha20Poly1305(self._derived(b"pyraface pairing key"))

    def _derived(self, label: bytes) -> bytes:
        return hmac.digest(self.value, label, "sha256")
