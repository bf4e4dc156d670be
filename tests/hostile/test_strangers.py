"""Strangers and guests: bytes that are no greeting, no TLS, no message, or none at this time."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import NamedTuple

import msgpack
import pytest

from pyraface.core.errors import ErrorCode
from pyraface.core.protocol import wire
from tests.hostile.victim import (
    MARK,
    Victim,
    detect,
    done_to,
    encode,
    frame,
    hello,
    last_words,
    packed,
    rows_of,
)
from tests.support import run


class Said(NamedTuple):
    """Bytes, and the code that ends the connection for them."""

    name: str
    data: bytes
    code: ErrorCode


STRANGERS = [
    Said("garbage", bytes(range(1, 256)) * 4, ErrorCode.FRAME_TOO_LARGE),
    Said("a length of 4 GiB", b"\xff" * 4, ErrorCode.FRAME_TOO_LARGE),
    Said("an image's length before the welcome", wire.PREFIX.pack(1 << 20), ErrorCode.FRAME_TOO_LARGE),
    Said("a length of zero", bytes(4), ErrorCode.MALFORMED_FRAME),
    Said("HTTP", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", ErrorCode.FRAME_TOO_LARGE),
    Said("SSH", b"SSH-2.0-OpenSSH_9.9\r\n", ErrorCode.FRAME_TOO_LARGE),
    Said("nothing but half a length", b"\0\0", ErrorCode.TIMED_OUT),
    Said("no word at all", b"", ErrorCode.TIMED_OUT),
    Said("lists in lists", frame(b"\x91" * 8000), ErrorCode.MALFORMED_FRAME),
    Said("maps in maps", frame(b"\x81\xa1a" * 2500), ErrorCode.MALFORMED_FRAME),
    Said("a map of 4 billion", frame(b"\xdf" + b"\xff" * 4), ErrorCode.MALFORMED_FRAME),
    Said("a list of 4 billion", frame(b"\xdd" + b"\xff" * 4), ErrorCode.MALFORMED_FRAME),
    Said("text of 4 GiB", frame(b"\x81\xa4type\xdb" + b"\xff" * 4), ErrorCode.MALFORMED_FRAME),
    Said("bytes of 4 GiB", frame(b"\x81\xa4type\xc6" + b"\xff" * 4), ErrorCode.MALFORMED_FRAME),
    Said("eight thousand empty lists", frame(b"\xdc\x1f\x40" + b"\x90" * 8000), ErrorCode.MALFORMED_FRAME),
    Said("a key twice", frame(b"\x82\xa4type\xa4ping\xa4type\xa4ping"), ErrorCode.MALFORMED_FRAME),
    Said("a key that is bytes", frame(b"\x81\xc4\x04type\xa4ping"), ErrorCode.MALFORMED_FRAME),
    Said("an extension", frame(b"\x81\xa4type\xd4\x05\x00"), ErrorCode.MALFORMED_FRAME),
    Said("a time stamp", frame(b"\x81\xa4type\xd6\xff\0\0\0\0"), ErrorCode.MALFORMED_FRAME),
    Said("broken UTF-8", frame(b"\x81\xa4type\xa2\xc3\x28"), ErrorCode.MALFORMED_FRAME),
    Said(
        "a byte more",
        frame(msgpack.packb({"type": "hello", "versions": [1], "client": ""}) + b"\0"),
        ErrorCode.MALFORMED_FRAME,
    ),
    Said("versions that are text", hello(versions="1"), ErrorCode.BAD_FIELD),
    Said("versions beyond 64 bits of sign", hello(versions=[2**64 - 1]), ErrorCode.BAD_FIELD),
    Said("a client that is a number", hello(client=5), ErrorCode.BAD_FIELD),
    Said("a client's name of 1001 letters", hello(client="x" * 1001), ErrorCode.BAD_FIELD),
    Said("one field too many", hello(more=None), ErrorCode.BAD_FIELD),
    Said("a nonce that is short", hello(nonce=b"x"), ErrorCode.BAD_FIELD),
    Said(
        "a nonce of a megabyte, which is too much to say so early",
        hello(nonce=bytes(1 << 20)),
        ErrorCode.FRAME_TOO_LARGE,
    ),
    Said("a proof of nothing", hello() + packed(type="proof", proof=bytes(32)), ErrorCode.WRONG_KEY),
    Said("an image instead of a proof", hello() + detect(), ErrorCode.UNEXPECTED_MESSAGE),
    Said("an unknown message", packed(type="../../etc/passwd\n"), ErrorCode.UNKNOWN_MESSAGE),
    Said("an image before hello", detect(), ErrorCode.UNEXPECTED_MESSAGE),
]


GUESTS = [
    Said("a length of 4 GiB from a guest", b"\xff" * 4, ErrorCode.FRAME_TOO_LARGE),
    Said(
        "an id of a thousand lists in few",
        packed(type="ping", id=[[[]] * 32] * 32),
        ErrorCode.MALFORMED_FRAME,
    ),
    Said("an id that is a long list", packed(type="ping", id=[0] * 101), ErrorCode.MALFORMED_FRAME),
    Said(
        "an id that is a wide map",
        packed(type="ping", id=dict.fromkeys(map(str, range(101)), 0)),
        ErrorCode.MALFORMED_FRAME,
    ),
    Said("an id that is a long text", packed(type="ping", id="x" * 4001), ErrorCode.MALFORMED_FRAME),
    Said("7 MB of lists in lists", frame(b"\x91" * 7_000_000), ErrorCode.MALFORMED_FRAME),
    Said(
        "7 million empty lists",
        frame(b"\xdd\x00\x6a\xcf\xc0" + b"\x90" * 7_000_000),
        ErrorCode.MALFORMED_FRAME,
    ),
    Said(
        "a map of a million",
        frame(b"\xdf\x00\x0f\x42\x40" + b"\xa3abc\x01" * 1_000_000),
        ErrorCode.MALFORMED_FRAME,
    ),
    Said("an id of 2^63", detect(id=2**63), ErrorCode.BAD_FIELD),
    Said("an id of 2^64 - 1", detect(id=2**64 - 1), ErrorCode.BAD_FIELD),
    Said("an id below zero", detect(id=-1), ErrorCode.BAD_FIELD),
    Said("an id that is a fraction", detect(id=1.5), ErrorCode.BAD_FIELD),
    Said("an id that is true", detect(id=True), ErrorCode.BAD_FIELD),
    Said("an id that is a list", detect(id=[1]), ErrorCode.BAD_FIELD),
    Said("an image that is text", detect(image=MARK), ErrorCode.BAD_FIELD),
    Said("an image that is nothing", detect(image=None), ErrorCode.BAD_FIELD),
    Said("an image that is a map", detect(image={"a": MARK}), ErrorCode.BAD_FIELD),
    Said("a box that is not a number", encode(boxes=rows_of((1, 2, float("nan"), 4))), ErrorCode.BAD_FIELD),
    Said("a box that ends nowhere", encode(boxes=rows_of((1, 2, float("inf"), 4))), ErrorCode.BAD_FIELD),
    Said("a box beyond every picture", encode(boxes=rows_of((-3e38, 2, 3e38, 4))), ErrorCode.BAD_FIELD),
    Said("a box without width", encode(boxes=rows_of((1, 2, 1, 4))), ErrorCode.BAD_FIELD),
    Said("a box without a turn", encode(boxes=rows_of((1, 2, 3, 4), (1, 2, 3, 4))), ErrorCode.BAD_FIELD),
    Said("100,000 boxes", encode(boxes=rows_of(*[(1, 2, 3, 4)] * 100_000)), ErrorCode.BAD_FIELD),
    Said("boxes of 2^62 rows", encode(boxes={**rows_of(), "shape": [2**62, 4]}), ErrorCode.BAD_FIELD),
    Said("boxes that are text", encode(boxes=MARK), ErrorCode.BAD_FIELD),
    Said("boxes of a page below zero", encode(page=-1), ErrorCode.BAD_FIELD),
    Said("a smallest face below zero", detect(faces_from=-1), ErrorCode.BAD_FIELD),
    Said("a ping without an id", packed(type="ping"), ErrorCode.BAD_FIELD),
    Said("half a length from a guest", b"\0\0\0", ErrorCode.SLOW_SENDER),
    Said("a frame that stops", frame(bytes(1 << 20))[:1000], ErrorCode.SLOW_SENDER),
    Said("silence after the welcome", b"", ErrorCode.IDLE),
]


@pytest.mark.parametrize("said", STRANGERS, ids=lambda said: said.name)
def test_what_a_stranger_says(victim: Victim, said: Said) -> None:
    async def attack(victim: Victim) -> None:
        peer = await victim.connect()
        peer.writer.write(said.data)
        assert (await last_words(peer)).code is said.code

    done_to(victim, attack)


HELLO_OF_TLS = bytes.fromhex("1603010200010001fc0303") + bytes(range(200))


CLEARTEXT = {
    "HTTP without TLS": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "SSH without TLS": b"SSH-2.0-OpenSSH_9.9\r\n",
    "hello without TLS": hello(),
    "garbage without TLS": bytes(range(256)) * 100,
    "half a hello of TLS": HELLO_OF_TLS,
    "a hello of TLS and garbage": HELLO_OF_TLS.ljust(517, b"\xff") + bytes(1000),
    "SSLv2": bytes.fromhex("802e0100020015001000000010010080") + bytes(32),
    "an alert": bytes.fromhex("15030100020250"),
    "no byte at all": b"",
}


@pytest.mark.parametrize("name", CLEARTEXT)
def test_what_is_said_without_tls(victim: Victim, name: str) -> None:
    """The connection ends, at the latest when the time for the greeting is over; what TLS says to that is its own affair."""

    async def attack(victim: Victim) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", victim.process.port)
        writer.write(CLEARTEXT[name])
        with contextlib.suppress(ConnectionError):
            assert len(await asyncio.wait_for(reader.read(-1), 30)) < 100
        writer.close()

    done_to(victim, attack)


@pytest.mark.parametrize("said", GUESTS, ids=lambda said: said.name)
def test_what_a_guest_says(victim: Victim, said: Said) -> None:
    async def attack(victim: Victim) -> None:
        peer = await victim.welcomed()
        peer.writer.write(said.data)
        assert (await last_words(peer)).code is said.code

    done_to(victim, attack)


def test_what_is_said_wrongly_is_in_the_log_without_the_image_in_it(victim: Victim) -> None:
    """The log leaves out lines when there are many: here each is said until it is logged."""
    marked = [
        (said, guest)
        for rows, guest in ((STRANGERS, False), (GUESTS, True))
        for said in rows
        if MARK.encode() in said.data
    ]
    assert len(marked) > 8

    async def talk() -> None:
        deadline = time.monotonic() + 60
        for said, guest in marked:
            before = len(victim.said())
            while said.code.value not in victim.said()[before:]:  # the line was left out
                assert time.monotonic() < deadline, said.name
                peer = await (victim.welcomed() if guest else victim.connect())
                peer.writer.write(said.data)
                await last_words(peer)
                await asyncio.sleep(0.05)

    run(talk())
    victim.check()
