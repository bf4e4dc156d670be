"""The life of a connection, as a machine of states: whatever a client does, in any order, a real daemon keeps its word.

Each request gets exactly one answer, each ping its pong, each inquire its status, each broken rule its code, and nothing
follows a last word.
"""

from __future__ import annotations

import asyncio
import io
from collections import Counter
from collections.abc import Awaitable, Iterator
from typing import TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test
from PIL import Image

from pyraface.core.errors import ErrorCode
from pyraface.core.host import keyfile
from pyraface.core.protocol import wire
from pyraface.core.protocol.messages import (
    PROTOCOL_VERSIONS,
    Cancel,
    Closing,
    Detect,
    Failed,
    Found,
    Hello,
    Inquire,
    Message,
    Ping,
    Pong,
    Proof,
    Status,
    Welcome,
)
from pyraface.core.protocol.proofs import Role
from tests.support import NONCE, DaemonProcess, Peer, daemon

T = TypeVar("T")

FRAME_LIMIT = 1 << 16


def _jpeg(side: int) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (side, side), (90, 120, 150)).save(stream, "JPEG")
    return stream.getvalue()


IMAGES: dict[str, tuple[bytes, ErrorCode | None]] = {
    "good": (_jpeg(64), None),
    "nothing": (b"", ErrorCode.NOT_AN_IMAGE),
    "text": (b"no image at all", ErrorCode.NOT_AN_IMAGE),
    "cut off": (_jpeg(64)[:300], ErrorCode.IMAGE_TRUNCATED),
    "too large": (_jpeg(600), ErrorCode.IMAGE_TOO_LARGE),
}
"""Bytes, and the code of the answer; None: faces."""

BROKEN: dict[str, tuple[bytes, ErrorCode]] = {
    "a length of 4 GiB": (b"\xff" * 4, ErrorCode.FRAME_TOO_LARGE),
    "no map": (b"\x00\x00\x00\x01\xc0", ErrorCode.MALFORMED_FRAME),
    "no message": (b"\x00\x00\x00\x0b\x81\xa4type\xa4pang", ErrorCode.UNKNOWN_MESSAGE),
    "a server's word": (wire.encode(Pong(1)), ErrorCode.UNEXPECTED_MESSAGE),
    "hello again": (wire.encode(Hello(PROTOCOL_VERSIONS, "again", NONCE)), ErrorCode.UNEXPECTED_MESSAGE),
    "an id in use": (wire.encode(Detect(9, _jpeg(64))) * 2, ErrorCode.BAD_FIELD),
}

ids = st.integers(0, 5)


class Life(RuleBasedStateMachine):
    """Clients of one server, one after the other, each as a person with a debugger might drive it."""

    def __init__(self, server: DaemonProcess) -> None:
        super().__init__()
        self.server = server
        self.loop = asyncio.new_event_loop()
        self.peer: Peer | None = None
        self.forget()

    def forget(self) -> None:
        self.greeted = False
        self.waiting: dict[int, ErrorCode | None] = {}
        self.cancelled: set[int] = set()
        self.pings: Counter[int] = Counter()
        self.inquiries: Counter[int] = Counter()

    def do(self, work: Awaitable[T]) -> T:
        async def bounded() -> T:
            return await asyncio.wait_for(work, 30)

        return self.loop.run_until_complete(bounded())

    def send(self, data: bytes) -> None:
        assert self.peer is not None
        self.peer.writer.write(data)
        self.do(asyncio.sleep(0))

    def take(self) -> Message | None:
        """The server's next message; what it answers is crossed off."""
        assert self.peer is not None
        message = self.do(self.peer.next())
        if isinstance(message, (Found, Failed)):
            assert message.id in self.waiting, "an answer that nobody waits for"
            expected = self.waiting.pop(message.id)
            code = message.code if isinstance(message, Failed) else None
            allowed = {expected, ErrorCode.BUSY}
            if message.id in self.cancelled:
                allowed.add(ErrorCode.CANCELLED)
            assert code in allowed, message
            self.cancelled.discard(message.id)
        elif isinstance(message, Pong):
            assert self.pings[message.id] > 0
            self.pings[message.id] -= 1
        elif isinstance(message, Status):
            assert self.inquiries[message.id] > 0
            self.inquiries[message.id] -= 1
            assert message.connections >= 1
        return message

    def ends_with(self, code: ErrorCode) -> None:
        """The server says why it ends, and nothing more."""
        while not isinstance(words := self.take(), Closing):
            assert words is not None, "the end came without a last word"
        assert words.code is code
        assert words.message
        assert self.take() is None
        self.gone()

    def gone(self) -> None:
        assert self.peer is not None
        self.do(self.peer.close())
        self.peer = None
        self.forget()

    def connected(self) -> bool:
        return self.peer is not None

    def new(self) -> bool:
        return self.peer is not None and not self.greeted

    def serving(self) -> bool:
        return self.greeted

    @precondition(lambda self: not self.connected())
    @rule()
    def connect(self) -> None:
        self.peer = self.do(Peer.connect(self.server.port))

    @precondition(new)
    @rule()
    def greet(self) -> None:
        assert self.peer is not None
        challenge = self.do(self.peer.challenged())
        (key,) = keyfile.load()
        self.send(wire.encode(Proof(self.peer.transcript(challenge).proof(key, Role.CLIENT))))
        assert isinstance(self.take(), Welcome)
        self.greeted = True

    @precondition(new)
    @rule(proof=st.binary(min_size=32, max_size=32))
    def greet_without_the_key(self, proof: bytes) -> None:
        assert self.peer is not None
        self.do(self.peer.challenged())
        self.send(wire.encode(Proof(proof)))
        self.ends_with(ErrorCode.WRONG_KEY)

    @precondition(new)
    @rule(message=st.sampled_from([Ping(1), Cancel(1), Detect(1, _jpeg(64)), Hello((1,), "", NONCE)]))
    def speak_before_proving(self, message: Message) -> None:
        assert self.peer is not None
        self.do(self.peer.challenged())
        self.send(wire.encode(message))
        self.ends_with(ErrorCode.UNEXPECTED_MESSAGE)

    @precondition(new)
    @rule(versions=st.lists(st.integers(2, 2**62), max_size=3))
    def greet_in_versions_of_the_future(self, versions: list[int]) -> None:
        self.send(wire.encode(Hello(tuple(versions), "life", NONCE)))
        self.ends_with(ErrorCode.WRONG_VERSION)

    @precondition(new)
    @rule(message=st.sampled_from([Ping(1), Inquire(1), Cancel(1), Detect(1, b"")]))
    def speak_before_greeting(self, message: Message) -> None:
        self.send(wire.encode(message))
        self.ends_with(ErrorCode.UNEXPECTED_MESSAGE)

    @precondition(serving)
    @rule(id=ids, kind=st.sampled_from(sorted(IMAGES)))
    def detect(self, id: int, kind: str) -> None:
        if id not in self.waiting:
            data, code = IMAGES[kind]
            self.waiting[id] = code
            self.send(wire.encode(Detect(id, data)))

    @precondition(serving)
    @rule(id=ids)
    def cancel(self, id: int) -> None:
        self.send(wire.encode(Cancel(id)))
        if id in self.waiting:
            self.cancelled.add(id)

    @precondition(serving)
    @rule(id=ids)
    def ping(self, id: int) -> None:
        self.pings[id] += 1
        self.send(wire.encode(Ping(id)))

    @precondition(serving)
    @rule(id=ids)
    def inquire(self, id: int) -> None:
        self.inquiries[id] += 1
        self.send(wire.encode(Inquire(id)))

    @precondition(serving)
    @rule()
    def collect(self) -> None:
        while self.waiting or +self.pings or +self.inquiries:
            assert self.take() is not None, "the server ended it without a reason"

    @precondition(serving)
    @rule(kind=st.sampled_from(sorted(BROKEN)))
    def break_a_rule(self, kind: str) -> None:
        data, code = BROKEN[kind]
        if kind == "an id in use":
            self.collect()  # so that the first of the two is not refused as busy
            self.waiting[9] = None
            with self.server.standing_still():  # nor done before the second comes
                self.send(data)
                self.ends_with(code)
        else:
            self.send(data)
            self.ends_with(code)

    @precondition(connected)
    @rule(data=st.sampled_from([b"", b"\x00", b"\x00\x00\x00\x20\x81"]))
    def leave(self, data: bytes) -> None:
        self.send(data)
        self.gone()

    @precondition(connected)
    @rule()
    def vanish(self) -> None:
        assert self.peer is not None
        self.peer.writer.transport.abort()
        self.gone()

    def teardown(self) -> None:
        if self.peer is not None:
            self.gone()
        self.connect()
        self.greet()
        self.detect(1, "good")
        self.collect()
        self.gone()
        self.loop.close()
        assert "Traceback" not in self.server.said


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    with daemon(
        tmp_path_factory.mktemp("life"),
        *("--engine", "onnx"),
        height=64,
        width=64,
        max_pixels=300_000,
        max_frame_bytes=FRAME_LIMIT,
    ) as process:
        yield process


def test_a_connection_keeps_its_word_whatever_its_client_does(server: DaemonProcess) -> None:
    run_state_machine_as_test(
        lambda: Life(server),
        settings=settings(max_examples=150, stateful_step_count=30, deadline=None, derandomize=True),
    )
