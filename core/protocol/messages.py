"""Messages between client and daemon, and between a daemon and its worker. `wire` converts them to bytes and back.

A connection begins with Hello, Challenge, Proof and Welcome (without authentication: Hello and Welcome). Then follow any
number of Detect and Encode, each answered by exactly one Found or Failed with its id, in any order. Cancel, Ping and Pong,
Inquire and Status may be sent at any time. Draining announces that the server is about to stop; Closing is the last message
of a side that ends the connection because of an error. A pairing is a conversation of its own: Pair, Pair, Proof, Paired.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, ClassVar, get_args

from ..computed_by import ComputedBy
from ..errors import ErrorCode
from ..faces import Faces
from ..given_boxes import GivenBoxes
from ..pages import MAX_PAGES, Page
from ..text import sendable

PROTOCOL_VERSIONS = (1,)
"""The versions that this code supports, the preferred one last."""

MAX_FACES_FROM = 1000
"""Pixels: to find only larger faces, a client shrinks the image."""

Pixels = Annotated[int, range(MAX_FACES_FROM + 1)]
Positive = Annotated[int, range(1, 2**63)]
"""A plain `int` in a message is 0 to 2^63 - 1; an annotation narrows the range, and `wire` checks it."""

Bytes32 = Annotated[bytes, 32]
"""Exactly 32 bytes: nonces and proofs (`proofs`)."""

ImageBytes = bytes | bytearray
"""The bytes of an image file. A receiver leaves a large one in the buffer into which it was received."""


@dataclass(frozen=True)
class Hello:
    """The client's first message: the versions it supports, its software for the server's log, and 32 random bytes."""

    type: ClassVar[str] = "hello"
    versions: tuple[int, ...]
    client: str
    nonce: Bytes32


@dataclass(frozen=True)
class Challenge:
    """The server's first message if it requires a key: the proof of its own key, and the nonce for the client's proof.

    `version` is the protocol version of the rest of the connection.
    """

    type: ClassVar[str] = "challenge"
    version: Positive
    nonce: Bytes32
    proof: Bytes32


@dataclass(frozen=True)
class Proof:
    """The client's answer to a Challenge with a valid proof."""

    type: ClassVar[str] = "proof"
    proof: Bytes32


@dataclass(frozen=True)
class Welcome:
    """The end of the handshake: the client may send requests.

    Attributes:
        version: the protocol version of the rest of the connection.
        name: of the server, for people.
        instance: an identifier that changes with every start of the server.
        engine: the engine that finds the faces.
        device: the hardware that it uses, for people.
        processor: the kind of that hardware, and anything else of it on which digits may depend.
        software: the versions of pyraface and of the libraries that compute.
        fingerprint: of what the default search looks for; servers with the same one find the same faces, but for noise.
        searches: the names of the searches that this server can do, its default first.
        fingerprints: of each of these searches: that of the default search, first, is `fingerprint`.
        max_frame_bytes: the longest frame that this server accepts.
        max_pixels: the largest image that this server accepts.
        credits: the number of requests that may be in flight.
        deviation: the distance of this server's encoding of `engines.reference_face` from the right one.
        parameters: SECTION/ELEMENT=VALUE, as in parameters.xml, of each parameter that has a part in which faces are found.
    """

    type: ClassVar[str] = "welcome"
    version: Positive
    name: str
    instance: str
    engine: str
    device: str
    processor: str
    software: str
    fingerprint: str
    searches: tuple[str, ...]
    fingerprints: tuple[str, ...]
    max_frame_bytes: Positive
    max_pixels: Positive
    credits: Positive
    deviation: float
    parameters: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.fingerprints[:1] != (self.fingerprint,) or len(self.searches) != len(self.fingerprints):
            raise ValueError("fingerprints must be those of searches, and the first one fingerprint")
        if len(set(self.searches)) != len(self.searches):
            raise ValueError("searches must differ")

    @property
    def computed_by(self) -> ComputedBy:
        """What computes the faces."""
        return ComputedBy(self.engine, self.processor, self.software)

    def fingerprint_of(self, search: str) -> str:
        """Returns the fingerprint of a search that this server can do; "" is its default."""
        return self.fingerprints[self.searches.index(search) if search else 0]


@dataclass(frozen=True, eq=False)
class Detect:
    """A request for the faces in the bytes of an image file. The client chooses the id; it must not be in use.

    Attributes:
        faces_from: the smallest face wanted, in pixels of the image; 0: the default of the server's parameters.
        search: the name of one of the server's searches; "": its default.
    """

    type: ClassVar[str] = "detect"
    id: int
    faces_from: Pixels = field(default=0, kw_only=True)
    search: str = field(default="", kw_only=True)
    image: ImageBytes


@dataclass(frozen=True, eq=False)
class Encode:
    """A request for the encodings of faces in given boxes; nothing is searched for. Its id is one of those of Detect.

    Attributes:
        boxes: in one picture of the file; the answer has a face for each, in their order.
        faces_from, search: as in Detect: a picture is decoded and its faces are turned as that search does.
    """

    type: ClassVar[str] = "encode"
    id: int
    faces_from: Pixels = field(default=0, kw_only=True)
    search: str = field(default="", kw_only=True)
    boxes: GivenBoxes
    image: ImageBytes


Request = Detect | Encode
"""What is answered with Found or Failed."""


@dataclass(frozen=True)
class Cancel:
    """The client no longer wants an answer. One still comes: Failed (`cancelled`), or the faces if they were ready."""

    type: ClassVar[str] = "cancel"
    id: int


@dataclass(frozen=True, eq=False)
class Found:
    """The faces of request `id`.

    Attributes:
        faces: all encoded and measured; every number finite.
        pages: the pictures of the file that were searched, in their order: at least one.
        unread: the numbers of the pictures that could not be read.
        reasons: why, for each of these.
        pictures: the number of pictures in the file.
        seconds: processing time in the worker, without the time in the queue; at least 0.
    """

    type: ClassVar[str] = "found"
    id: int
    faces: Faces
    pages: tuple[Page, ...]
    unread: tuple[int, ...]
    reasons: tuple[str, ...]
    pictures: Positive
    seconds: float

    def __post_init__(self) -> None:
        numbers = [page.page for page in self.pages]
        if not numbers or len(numbers) + len(self.unread) > MAX_PAGES:
            raise ValueError(f"pages must be at least one, and with unread at most {MAX_PAGES}")
        if len({*numbers, *self.unread}) != len(numbers) + len(self.unread):
            raise ValueError("pages and unread must not have a number twice")
        if numbers != sorted(numbers) or max([*numbers, *self.unread]) >= self.pictures:
            raise ValueError("pages must rise, and be below pictures, as unread must")
        if len(self.unread) != len(self.reasons):
            raise ValueError("reasons must be those of unread")
        if not set(self.faces.pages.tolist()).issubset(numbers):
            raise ValueError("the pages of faces must be among pages")


@dataclass(frozen=True)
class Failed:
    """The error of request `id`. `elsewhere`: another server may succeed."""

    type: ClassVar[str] = "failed"
    id: int
    code: ErrorCode
    message: str
    elsewhere: bool

    @classmethod
    def because(cls, id: int, code: ErrorCode, message: str, *, elsewhere: bool | None = None) -> Failed:
        """Returns the answer for a code, its message shortened and cleaned to fit a frame.

        Args:
            elsewhere: None: what the code says.
        """
        return cls(id, code, sendable(message, MAX_TEXT), code.elsewhere if elsewhere is None else elsewhere)


@dataclass(frozen=True)
class Ping:
    """A check that the server is alive: answered at once, however busy it is, with a Pong of the same id."""

    type: ClassVar[str] = "ping"
    id: int


@dataclass(frozen=True)
class Pong:
    """The answer to a Ping."""

    type: ClassVar[str] = "pong"
    id: int


@dataclass(frozen=True)
class Inquire:
    """A request for the server's status: answered at once, however busy it is, with a Status of the same id."""

    type: ClassVar[str] = "inquire"
    id: int


@dataclass(frozen=True)
class Status:
    """The answer to an Inquire: the server's load. It reveals nothing about files or other clients.

    Attributes:
        software: the server's software and its version, for people.
        waiting: images in the queue.
        working: images with the worker.
        connections: connected clients, including the one that asks.
        answered: images done since the start, with or without success; refused and cancelled images are not counted.
        rate: images per second over the last minute, or since the start if that is shorter.
        speed: megapixels per second, in the time with work, of the last images with faces or without; 0 until there is one.
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
    speed: float
    uptime: float


@dataclass(frozen=True)
class Draining:
    """The server finishes its accepted requests and stops: send it no more."""

    type: ClassVar[str] = "draining"


@dataclass(frozen=True)
class Closing:
    """The last message of a side that ends the connection because of an error."""

    type: ClassVar[str] = "closing"
    code: ErrorCode
    message: str

    @classmethod
    def because(cls, code: ErrorCode, message: str) -> Closing:
        """Returns the last message for a code, its text shortened and cleaned to fit a frame."""
        return cls(code, sendable(message, MAX_TEXT))


@dataclass(frozen=True)
class Pair:
    """The first message of each side of a pairing (`pairing`): its share, and the machine's name, for people."""

    type: ClassVar[str] = "pair"
    name: str
    share: bytes


@dataclass(frozen=True)
class Paired:
    """The last message of a pairing: the sealed key."""

    type: ClassVar[str] = "paired"
    sealed: bytes


Message = (
    Hello
    | Challenge
    | Proof
    | Welcome
    | Detect
    | Encode
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
"""Characters in any text field: names and error messages are for people, who do not read longer ones."""
