from __future__ import annotations

import dataclasses
import hashlib
import hmac
import random

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyraface.core.errors import ErrorCode, LocalProtocolError
from pyraface.core.protocol import announcement, wire
from pyraface.core.protocol.announcement import MAGIC, MAX_DATAGRAM, Announcement, Datagram, Goodbye, Probe
from pyraface.core.protocol.messages import Hello, Ping
from tests.core.protocol import vectors

EXAMPLES = vectors.examples("datagram")
KEY = bytes(range(32))
HERE = Announcement(version=1, instance="9f86", name="attic", port=5000, fingerprint="5e88")


def packed(**fields: object) -> bytes:
    return MAGIC + bytes(msgpack.packb(fields))


def test_the_specification_has_an_example_of_every_datagram() -> None:
    assert {type(datagram) for datagram, _ in EXAMPLES} == {Probe, Announcement, Goodbye}


@pytest.mark.parametrize(("datagram", "data"), EXAMPLES, ids=lambda value: getattr(value, "type", ""))
def test_a_datagram_is_as_specified_to_the_byte(datagram: Datagram, data: bytes) -> None:
    sealed = not isinstance(datagram, Probe)
    assert announcement.encode(datagram, KEY if sealed else None).hex(" ") == data.hex(" ")
    received = announcement.decode(data)
    assert received is not None
    assert received.words == datagram
    assert received.sealed([bytes(32), KEY]) is sealed


def words(data: bytes) -> Datagram | None:
    received = announcement.decode(data)
    return received and received.words


def test_a_seal_is_of_its_own_content_and_key() -> None:
    content = announcement.encode(HERE)[len(MAGIC) :]
    seal = hmac.new(KEY, b"pyraface beacon\0" + content, hashlib.sha256).digest()
    assert announcement.encode(HERE, KEY) == MAGIC + content + seal
    other = announcement.encode(dataclasses.replace(HERE, port=5001))
    for data in (other + seal, MAGIC + content + bytes(32), MAGIC + content):
        received = announcement.decode(data)
        assert received is not None
        assert not received.sealed([KEY])
    received = announcement.decode(announcement.encode(HERE, KEY))
    assert received is not None
    assert received.sealed([KEY])
    assert not received.sealed([])
    assert not received.sealed([bytes(32)])


def test_a_seal_is_32_bytes_or_none() -> None:
    data = announcement.encode(HERE, KEY)
    for changed in (data[:-1], data[:-31], data + b"x", data + bytes(32)):
        assert announcement.decode(changed) is None


FOREIGN = {
    "nothing": b"",
    "part of the magic": MAGIC[:-1],
    "the magic alone": MAGIC,
    "another magic": b"PYRAFACE" + announcement.encode(Probe(KEY))[8:],
    "space before the magic": b" " + announcement.encode(Probe(KEY)),
    "text of the old program": b"192.168.1.7",
    "http": b"GET / HTTP/1.1\r\n\r\n",
    "no map": MAGIC + b"\xc0",
    "a map cut off": announcement.encode(HERE)[:-1],
    "something after the map": announcement.encode(HERE) + b"\0",
    "a frame": MAGIC + wire.encode(Ping(1)),
    "a message": MAGIC + wire.pack(Ping(1)),
    "another message": MAGIC + wire.pack(Hello((1,), "", bytes(32))),
    "no type": packed(),
    "unknown type": packed(type="hi"),
    "type no text": packed(type=1),
    "a field too many": packed(type="probe", nonce=KEY, name="x"),
    "a field too few": packed(type="goodbye"),
    "a field that is none": packed(type="goodbye", instance=None),
    "a key twice": MAGIC + b"\x83\xa4type\xa7goodbye\xa8instance\xa1a\xa8instance\xa1b",
    "nested": MAGIC + b"\x91" * 1000,
    "port 0": packed(**{"type": "announcement", **dataclasses.asdict(HERE), "port": 0}),
    "port 65536": packed(**{"type": "announcement", **dataclasses.asdict(HERE), "port": 65536}),
    "port bool": packed(**{"type": "announcement", **dataclasses.asdict(HERE), "port": True}),
    "version 0": packed(**{"type": "announcement", **dataclasses.asdict(HERE), "version": 0}),
    "too long": packed(type="goodbye", instance="x" * 1000) + bytes(200),
    "too long, though well-formed": packed(
        **{"type": "announcement", **dataclasses.asdict(HERE), "name": "é" * 600}
    ),
}


@pytest.mark.parametrize("data", FOREIGN.values(), ids=FOREIGN)
def test_a_foreign_datagram_is_none(data: bytes) -> None:
    assert announcement.decode(data) is None


@pytest.mark.parametrize("port", [1, 5000, 65535])
def test_every_port_there_is_can_be_announced(port: int) -> None:
    there = dataclasses.replace(HERE, port=port)
    assert words(announcement.encode(there)) == there


def test_the_longest_datagram_is_sent_and_understood() -> None:
    long = dataclasses.replace(HERE, instance="i" * 300, name="n" * 300)
    room = MAX_DATAGRAM - len(announcement.encode(long))
    longest = dataclasses.replace(long, name="n" * (300 + room))
    data = announcement.encode(longest)
    assert len(data) == MAX_DATAGRAM
    assert words(data) == longest
    with pytest.raises(LocalProtocolError, match=rf"{MAX_DATAGRAM + 1} bytes") as caught:
        announcement.encode(dataclasses.replace(longest, fingerprint=longest.fingerprint + "x"))
    assert caught.value.code == ErrorCode.FRAME_TOO_LARGE


@pytest.mark.parametrize(
    "datagram",
    [
        Goodbye("x" * 1001),
        Goodbye("\udcff"),
        Goodbye(7),  # type: ignore[arg-type]
        dataclasses.replace(HERE, port=0),
        dataclasses.replace(HERE, port=65536),
        dataclasses.replace(HERE, version=0),
    ],
    ids=["too long", "surrogate", "no text", "port 0", "port 65536", "version 0"],
)
def test_encode_refuses_what_others_would_take_for_foreign(datagram: Datagram) -> None:
    with pytest.raises(LocalProtocolError):
        announcement.encode(datagram)


def test_a_server_of_a_later_version_is_heard() -> None:
    later = dataclasses.replace(HERE, version=2)
    assert words(announcement.encode(later)) == later


def test_the_specification_names_the_magic_and_the_longest_datagram() -> None:
    text = vectors.DOCUMENT.read_text(encoding="utf-8").replace("\n", " ")
    assert f"`{MAGIC.decode()}`" in text
    assert f"at most {MAX_DATAGRAM} bytes" in text


@given(st.binary(max_size=200))
def test_garbage_is_foreign_with_the_magic_or_without(data: bytes) -> None:
    if not data.startswith(MAGIC):
        assert announcement.decode(data) is None
    announcement.decode(MAGIC + data)


def test_damaged_datagrams_raise_nothing() -> None:
    rng = random.Random(1)
    for _ in range(5000):
        _, data = rng.choice(EXAMPLES)
        changed = bytearray(data)
        for _ in range(rng.randrange(1, 4)):
            at = rng.randrange(len(changed))
            changed[at : at + rng.randrange(3)] = rng.randbytes(rng.randrange(3))
        found = announcement.decode(bytes(changed))
        if found is not None:
            announcement.encode(found.words)
