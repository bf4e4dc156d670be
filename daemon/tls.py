"""TLS: the credentials of a server, which are its key and a certificate made at each start.

The certificate vouches for nothing; no authority signed it, and its private key is never on a disk. It makes the channel
secret, and the proof of the key (`core.protocol.proofs`) covers it: so the other end of the channel has the key.
"""

from __future__ import annotations

import asyncio
import datetime
import os
import socket
import ssl
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ..core.protocol.proofs import certificate_digest

# clients do not check the dates: a machine without a clock boots in 1970
_FROM, _TO = datetime.datetime(1970, 1, 1), datetime.datetime(9999, 12, 31)


@dataclass(frozen=True)
class Credentials:
    """A key, the TLS context of every connection, and the digest of its certificate."""

    key: bytes
    context: ssl.SSLContext
    certificate: bytes

    @classmethod
    def for_key(cls, key: bytes) -> Credentials:
        """Returns credentials for a key, with a new certificate."""
        private = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "pyraface")])
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(private.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(_FROM)
            .not_valid_after(_TO)
            .sign(private, hashes.SHA256())
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.num_tickets = 0  # a client connects once: no session is resumed
        encoded = serialization.Encoding.PEM
        _load(
            context,
            certificate.public_bytes(encoded)
            + private.private_bytes(encoded, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
        )
        return cls(key, context, certificate_digest(certificate.public_bytes(serialization.Encoding.DER)))


def _load(context: ssl.SSLContext, pem: bytes) -> None:
    """Gives a context its certificate; ssl reads files only, and this one is in memory."""
    number = os.memfd_create("certificate", os.MFD_CLOEXEC)
    with open(number, "wb") as file:
        file.write(pem)
        file.flush()
        context.load_cert_chain(f"/proc/self/fd/{number}")


async def accepted(
    client: socket.socket, credentials: Credentials | None, *, limit: int, patience: float
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Returns the streams of an accepted client: within TLS, where there are credentials.

    Args:
        limit: bytes that the reader buffers.
        patience: seconds for the handshake of TLS.

    Raises:
        OSError: the client is gone, or does not speak TLS.
    """
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=limit)
    protocol = asyncio.StreamReaderProtocol(reader)
    context = None if credentials is None else credentials.context
    transport, _ = await loop.connect_accepted_socket(
        lambda: protocol, client, ssl=context, ssl_handshake_timeout=None if context is None else patience
    )
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)
