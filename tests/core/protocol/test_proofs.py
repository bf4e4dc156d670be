from __future__ import annotations

import dataclasses
import hashlib
import hmac

import pytest

from pyraface.core.protocol import proofs
from pyraface.core.protocol.proofs import KEY_BYTES, Role, Transcript
from tests.core.protocol import vectors

KEY = bytes(range(KEY_BYTES))
OTHER = bytes(reversed(KEY))
HERE = Transcript(b"c" * 32, b"s" * 32, b"d" * 32, (1, 2), 1)


def test_the_example_of_the_specification_is_proved_to_the_byte() -> None:
    example = vectors.proofs()
    nonces = [bytes.fromhex(example[name]) for name in ("hello", "challenge", "certificate")]
    versions = tuple(int(number) for number in example["versions"].split(", "))
    transcript = Transcript(*nonces, versions, int(example["version"]))
    key = bytes.fromhex(example["key"])
    assert transcript.proof(key, Role.SERVER).hex(" ") == example["server"]
    assert transcript.proof(key, Role.CLIENT).hex(" ") == example["client"]


def test_a_proof_is_made_of_what_the_specification_lists() -> None:
    content = (
        b"pyraface server\0"
        + b"c" * 32
        + b"s" * 32
        + b"d" * 32
        + bytes([0] * 7 + [1]) * 2
        + bytes([0] * 7 + [2])
    )
    assert HERE.proof(KEY, Role.SERVER) == hmac.new(KEY, content, hashlib.sha256).digest()


@pytest.mark.parametrize("role", Role)
def test_only_the_key_that_it_was_made_with_proves_it(role: Role) -> None:
    proof = HERE.proof(KEY, role)
    assert HERE.proven(proof, [OTHER, KEY], role) == KEY
    assert HERE.proven(proof, [OTHER], role) is None
    assert HERE.proven(proof, [], role) is None


def test_a_proof_of_one_side_is_none_of_the_other() -> None:
    assert HERE.proven(HERE.proof(KEY, Role.SERVER), [KEY], Role.CLIENT) is None
    assert HERE.proven(HERE.proof(KEY, Role.CLIENT), [KEY], Role.SERVER) is None


@pytest.mark.parametrize(
    "changed",
    [
        {"client_nonce": b"C" * 32},
        {"server_nonce": b"S" * 32},
        {"certificate": b"D" * 32},
        {"versions": (1,)},
        {"versions": (2, 1)},
        {"version": 2},
    ],
    ids=str,
)
def test_a_proof_holds_for_its_own_connection_alone(changed: dict[str, object]) -> None:
    elsewhere = dataclasses.replace(HERE, **changed)  # type: ignore[arg-type]
    assert elsewhere.proven(HERE.proof(KEY, Role.SERVER), [KEY], Role.SERVER) is None


@pytest.mark.parametrize("proof", [b"", bytes(31), bytes(32), bytes(33)], ids=len)
def test_what_is_no_proof_proves_nothing(proof: bytes) -> None:
    assert HERE.proven(proof, [KEY], Role.SERVER) is None


def test_a_certificate_stands_for_itself_by_its_sha_256() -> None:
    assert proofs.certificate_digest(b"der") == hashlib.sha256(b"der").digest()
