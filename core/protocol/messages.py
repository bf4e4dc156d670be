"""What client and daemon say to each other, and a daemon to its executor. `wire` turns these into bytes and back.

A conversation: Hello, Challenge, Proof and Welcome (Hello and Welcome, where no key is asked for); then any number of
Detect, each answered by exactly one Found or Failed with its id, in any order; Cancel, Ping and Pong, Inquire and Status
at any time; Draining when the server is about to stop; Closing as the last word of a side that ends the connection
because of an error. A pairing is a conversation of its own: Pair, Pair, Proof, Paired.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, ClassVar, get_args

from ..errors import ErrorCode
from ..faces import Faces
from ..text import sendable

PROTOCOL_VERSIONS = (1,)
"""The versions this code speaks, the preferred one last."""

MAX_FACES_FROM = 1000
"""Pixels: whoever wants only larger faces shrinks the image."""

Pixels = Annotated[int, range(MAX_FACES_FROM + 1)]
Positive = Annotated[int, range(1, 2**63)]
"""A plain `int` in a message is 0 to 2^63 - 1; where less is allowed, its annotation says so and `wire` checks it."""


Bytes32 = Annotated[bytes, 32]
"""Exactly so many bytes: nonces and proofs (`security`)."""


@dataclass(frozen=True)
class Hello:
    """The client's first message: the versions it speaks, what it is, for the server's log, and 32 random bytes."""

    type: ClassVar[str] = "hello"
    versions: tuple[int, ...]
    client: str
    nonce: Bytes32


@dataclass(frozen=True)
class Challenge:
    """The server's first message where a key is asked for: it proves its own, and gives the client what to prove.

    `version` is the one both speak from here on.
    """

    type: ClassVar[str] = "challenge"
    version: Positive
    nonce: Bytes32
    proof: Bytes32


@dataclass(frozen=True)
class Proof:
    """The client's answer to a Challenge whose proof is right."""

    type: ClassVar[str] = "proof"
    proof: Bytes32


@dataclass(frozen=True)
class Welcome:
    """The client may begin.

    Attributes:
        version: the one both speak from here on.
        name: of the server, for people.
        instance: changes with every start of the server.
        engine, device: what finds the faces, for people.
        fingerprint: servers with the same one give the same faces.
        max_frame_bytes: the longest frame this server takes.
        max_pixels: the largest image this server takes.
        credits: how many requests may be without an answer at a time.
    """

    type: ClassVar[str] = "welcome"
    version: Positive
    name: str
    instance: str
    engine: str
    device: str
    fingerprint: str
    max_frame_bytes: Positive
    max_pixels: Positive
    credits: Positive


@dataclass(frozen=True, eq=False)
class Detect:
    """Find the faces in the bytes of an image file. The client chooses the id; it must not be in use.

    Attributes:
        faces_from: the smallest face wanted, in pixels of the image; 0: as the server's parameters say.
    """

    type: ClassVar[str] = "detect"
    id: int
    faces_from: Pixels = field(default=0, kw_only=True)
    image: bytes


@dataclass(frozen=True)
class Cancel:
    """The answer is no longer wanted. One still comes: Failed (`cancelled`), or the faces if they were ready."""

    type: ClassVar[str] = "cancel"
    id: int


@dataclass(frozen=True, eq=False)
class Found:
    """The faces of request `id`.

    Attributes:
        faces: all encoded and measured; every number finite.
        width, height: of the upright image, in pixels; boxes are in this frame.
        orientation: the EXIF orientation (1 to 8) that was applied to make it upright.
        seconds: time in the executor, waiting not counted; at least 0.
    """

    type: ClassVar[str] = "found"
    id: int
    faces: Faces
    width: Positive
    height: Positive
    orientation: Annotated[int, range(1, 9)]
    seconds: float


@dataclass(frozen=True)
class Failed:
    """Request `id` has no faces to show. `elsewhere`: another server may do better."""

    type: ClassVar[str] = "failed"
    id: int
    code: ErrorCode
    message: str
    elsewhere: bool

    @classmethod
    def because(cls, id: int, code: ErrorCode, message: str) -> Failed:
        """Returns the answer for a code, its message made what a frame may hold."""
        return cls(id, code, sendable(message, MAX_TEXT), code.elsewhere)


@dataclass(frozen=True)
class Ping:
    """Answered with a Pong of the same id at once, whatever the server is busy with."""

    type: ClassVar[str] = "ping"
    id: int


@dataclass(frozen=True)
class Pong:
    """The answer to a Ping."""

    type: ClassVar[str] = "pong"
    id: int


@dataclass(frozen=True)
class Inquire:
    """Answered with a Status of the same id at once, whatever the server is busy with."""

    type: ClassVar[str] = "inquire"
    id: int


@dataclass(frozen=True)
class Status:
    """The answer to an Inquire: how busy the server is. Nothing in it tells of a file or of another client.

    Attributes:
        software: what the server runs, with its version, for people.
        waiting: images that wait in its queue.
        working: images with the worker.
        connections: clients, the one that asks among them.
        answered: images done since the start, whatever came of them; not those refused or cancelled.
        rate: images a second, over the last minute, or since the start if that is less.
        uptime: seconds since the start.
    """

    type: ClassVar[str] = "status"
    id: int
    software: str
    waiting: int
    working: int
    connections: int
    answered: int
    rate: float
    uptime: float


@dataclass(frozen=True)
class Draining:
    """The server finishes what it has and stops: send it nothing more."""

    type: ClassVar[str] = "draining"


@dataclass(frozen=True)
class Closing:
    """The connection ends here because of an error; nothing follows."""

    type: ClassVar[str] = "closing"
    code: ErrorCode
    message: str

    @classmethod
    def because(cls, code: ErrorCode, message: str) -> Closing:
        """Returns the last message for a code, its text made what a frame may hold."""
        return cls(code, sendable(message, MAX_TEXT))


@dataclass(frozen=True)
class Pair:
    """Each side's first word of a pairing (`pairing`): its share, and what it is called, for people."""

    type: ClassVar[str] = "pair"
    name: str
    share: bytes


@dataclass(frozen=True)
class Paired:
    """The last word of a pairing: the key, sealed."""

    type: ClassVar[str] = "paired"
    sealed: bytes


Message = (
    Hello
    | Challenge
    | Proof
    | Welcome
    | Detect
    | Cancel
    | Found
    | Failed
    | Ping
    | Pong
    | Inquire
    | Status
    | Draining
    | Closing
    | Pair
    | Paired
)

MESSAGES: tuple[type[Message], ...] = get_args(Message)

MAX_TEXT = 1000
"""Characters in any text field: names and error messages are for people, who do not read more."""
