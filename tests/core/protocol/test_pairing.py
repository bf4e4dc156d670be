from __future__ import annotations

import contextlib
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyraface.core.errors import ErrorCode, RemoteProtocolError
from pyraface.core.protocol import pairing
from pyraface.core.protocol.pairing import Exchange, Secret, normal_code
from tests.core.protocol import vectors


def secrets_of(one: str, other: str) -> tuple[Secret, Secret]:
    asks, gives = Exchange(one, asks=True), Exchange(other, asks=False)
    return asks.finish(gives.share), gives.finish(asks.share)


def test_the_same_code_makes_the_same_secret_which_carries_a_key() -> None:
    asks, gives = secrets_of("0123-4567", "0123-4567")
    assert asks == gives
    assert gives.confirms(asks.confirmation)
    assert asks.open(gives.seal(b"k" * 32)) == b"k" * 32
    assert secrets_of("0123-4567", "0123-4567")[0] != asks, "each exchange has a secret of its own"


def test_another_code_confirms_nothing_and_opens_nothing() -> None:
    asks, gives = secrets_of("0123-4567", "0123-4568")
    assert not gives.confirms(asks.confirmation)
    with pytest.raises(RemoteProtocolError) as caught:
        asks.open(gives.seal(b"k" * 32))
    assert caught.value.code is ErrorCode.WRONG_KEY


@pytest.mark.parametrize("length", [0, 31, 33])
def test_what_is_no_key_is_not_taken_for_one(length: int) -> None:
    asks, gives = secrets_of("0123-4567", "0123-4567")
    with pytest.raises(RemoteProtocolError):
        asks.open(gives.seal(bytes(length)))


def test_a_share_that_comes_back_or_is_cut_is_refused() -> None:
    gives = Exchange("0123-4567", asks=False).share
    for share in (
        b"",
        b"A",
        gives[:-1],
        gives + b"x",
        b"S" + gives[1:],
        b"B" + bytes(32),
        b"B" + b"\xff" * 32,
    ):
        with pytest.raises(RemoteProtocolError, match=r"pair\.share"):
            Exchange("0123-4567", asks=True).finish(share)
    for side in (b"A", b"B"):
        asks = Exchange("0123-4567", asks=True)
        with pytest.raises(RemoteProtocolError, match=r"pair\.share"):
            asks.finish(side + asks.share[1:])


@settings(max_examples=30)
@given(st.binary(max_size=40))
def test_whatever_a_stranger_sends_is_one_error(share: bytes) -> None:
    for data in (share, b"B" + share[:32].ljust(32, b"\0")):
        with contextlib.suppress(RemoteProtocolError):
            Exchange("0123-4567", asks=True).finish(data)


def test_the_example_of_the_specification() -> None:
    example = vectors.pairing()
    secret = Secret(example["secret"])
    assert secret.confirmation == example["confirmation"]
    assert secret.seal(example["key"]) == example["sealed"]
    assert secret.open(example["sealed"]) == example["key"]


def test_codes_are_eight_digits_and_each_another() -> None:
    codes = {pairing.new_code() for _ in range(200)}
    assert len(codes) > 190
    assert all(re.fullmatch(r"[0-9]{4}-[0-9]{4}", code) for code in codes)


@pytest.mark.parametrize(
    ("typed", "code"),
    [
        ("0123-4567\n", "0123-4567"),
        ("01234567", "0123-4567"),
        (" 0123 4567 ", "0123-4567"),
        ("", None),
        ("0123-456", None),
        ("0123-45678", None),
        ("0123-456x", None),
        ("\N{FULLWIDTH DIGIT ONE}123-4567", None),
    ],
)
def test_a_code_is_known_however_it_is_typed(typed: str, code: str | None) -> None:
    assert normal_code(typed) == code
