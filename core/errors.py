"""Errors: every exception that pyraface raises on purpose, and the codes of failed images and connections on the wire.

    PyrafaceError
    |-- ParametersError            parameters.xml is wrong: names the file, the element, the value and what is allowed
    |-- KeyFileError               the file with this user's keys is wrong or missing: names the remedy
    |-- EngineError                an engine cannot be started, or failed on an image; .code says how
    |   `-- EngineMemoryError      for want of memory
    |-- ImageError                 the image cannot be searched; .code says why
    |   |-- NotAnImageError        no picture
    |   |-- FormatNotReadError     a picture in a format, or a variant of one, that is not read; .package may help
    |   |-- TruncatedImageError    an image that is cut off or damaged
    |   |-- BadBoxError            a box to be encoded lies outside of the picture
    |   `-- ImageTooLargeError     more pixels, or a longer side, than the limits allow
    |       `-- ImageMemoryError   more pixels than there is memory for
    |-- ProtocolError              the wire protocol was broken; .code says how
    |   |-- LocalProtocolError     by this side: a bug
    |   `-- RemoteProtocolError    by the peer
    |-- LimitError                 a limit of this side was reached, and neither side is at fault; .code says which
    |-- DetectionError             the faces of an image that failed were asked for; .code says why it failed
    |-- ServerError                no server can be reached or started
    |   |-- WrongKeyError          the server has none of this user's keys
    |   |-- SearchUnavailableError the server cannot do the search that was asked for
    |   |-- RefusedError           the server ended the greeting; .code says why
    |   |-- ServerLostError        the connection ended before the answer came
    |   `-- ServerMemoryError      no server has the memory for one image after another
    |-- PairingError               no key was transferred
    |-- UnreadableError            a file has no bytes to send; .code says why
    |-- OutputError                the output cannot be written
    |   `-- ReaderGoneError        the reader of the output has ended, as `head` does: no error of either
    |-- PeopleFileError            a people file is wrong, or cannot be read or written: names the file and the field
    |-- NoImagesError              the paths hold no image
    `-- NoServersError             no server reports its status

Each layer raises its own: core.images ImageError, core.protocol ProtocolError, and so on. Between processes a failed image
is no exception but a `messages.Failed` with a code of `ErrorCode`.
"""

from __future__ import annotations

import re
from enum import Enum


class ErrorCode(str, Enum):
    """The reason why a request failed or a connection ends. The value is sent on the wire.

    `elsewhere` says whether the same request may succeed at another server. If it is False, another server would fail too,
    or the answer is not wanted any more.
    """

    # the image
    NOT_AN_IMAGE = "not-an-image"
    FORMAT_NOT_READ = "format-not-read"
    IMAGE_TRUNCATED = "image-truncated"
    IMAGE_TOO_LARGE = "image-too-large"
    BAD_BOX = "bad-box"
    # the server
    TOO_SLOW = "too-slow"
    EXECUTOR_LOST = "executor-lost"
    ENGINE_FAILED = "engine-failed"
    OUT_OF_MEMORY = "out-of-memory"
    BUSY = "busy"
    DRAINING = "draining"
    SEARCH_UNAVAILABLE = "search-unavailable"
    CANCELLED = "cancelled"
    TOO_MANY_CONNECTIONS = "too-many-connections"
    TOO_MANY_FROM_ADDRESS = "too-many-from-address"
    OVERLOADED = "overloaded"
    # the protocol
    FRAME_TOO_LARGE = "frame-too-large"
    MALFORMED_FRAME = "malformed-frame"
    UNKNOWN_MESSAGE = "unknown-message"
    BAD_FIELD = "bad-field"
    WRONG_VERSION = "wrong-version"
    WRONG_KEY = "wrong-key"
    UNEXPECTED_MESSAGE = "unexpected-message"
    TIMED_OUT = "timed-out"
    FRAME_TIMED_OUT = "frame-timed-out"
    SLOW_SENDER = "slow-sender"
    IDLE = "idle"
    # the client: these are never sent, they appear in its output
    UNREADABLE = "unreadable"
    SERVER_LOST = "server-lost"

    @property
    def elsewhere(self) -> bool:
        """Whether another server may succeed."""
        return self in _ELSEWHERE

    @property
    def retried(self) -> bool:
        """Whether a resumed run tries the image again: the server failed, and the image may be sound."""
        return self in _ELSEWHERE and self not in REFUSALS


_ELSEWHERE = frozenset(
    {
        ErrorCode.FORMAT_NOT_READ,
        ErrorCode.TOO_SLOW,
        ErrorCode.EXECUTOR_LOST,
        ErrorCode.ENGINE_FAILED,
        ErrorCode.OUT_OF_MEMORY,
        ErrorCode.BUSY,
        ErrorCode.DRAINING,
        ErrorCode.SEARCH_UNAVAILABLE,
        ErrorCode.TOO_MANY_CONNECTIONS,
        ErrorCode.TOO_MANY_FROM_ADDRESS,
        ErrorCode.OVERLOADED,
        ErrorCode.WRONG_KEY,
        ErrorCode.IMAGE_TOO_LARGE,
        ErrorCode.FRAME_TOO_LARGE,
        ErrorCode.SERVER_LOST,
    }
)

REFUSALS = frozenset({ErrorCode.FORMAT_NOT_READ, ErrorCode.IMAGE_TOO_LARGE, ErrorCode.FRAME_TOO_LARGE})
"""Errors with which a server refuses an image because of its limits or its packages: the server has not failed."""


_OF_MEMORY = re.compile(
    "bad[_ ]alloc|out of memory|failed to allocate|cannot allocate memory|memoryerror|available memory of",
    re.IGNORECASE,
)
"""From messages of the C++ library, CUDA, ONNX Runtime and its arena, GLib, the C library and Python."""


def tells_of_memory(text: str) -> bool:
    """Returns whether a library's message says that there was too little memory."""
    return _OF_MEMORY.search(text) is not None


class PyrafaceError(Exception):
    """The root of the tree: an except clause with it catches everything that pyraface raises on purpose."""


class ParametersError(PyrafaceError):
    """The message names the file, the element, the value and what is allowed."""


class KeyFileError(PyrafaceError):
    """The message names the file, the problem and the remedy."""


class EngineError(PyrafaceError):
    """An engine cannot be started (its library or its weights are missing), or failed on an image."""

    code = ErrorCode.ENGINE_FAILED


class EngineMemoryError(EngineError):
    """An engine cannot be started, or failed on an image, for want of memory: of the machine, or of its GPU."""

    code = ErrorCode.OUT_OF_MEMORY


class ImageError(PyrafaceError):
    """The image cannot be searched for faces."""

    code = ErrorCode.NOT_AN_IMAGE

    @property
    def elsewhere(self) -> bool:
        """Whether another server may succeed."""
        return self.code.elsewhere


class NotAnImageError(ImageError):
    """No picture: a document, a film, any other bytes, or an image without pixels."""


class FormatNotReadError(ImageError):
    """A picture in a format, or in a variant of one, that this process does not read. The message names the remedy.

    Attributes:
        package: the package with which the format is read; "" where pyraface never reads it.
    """

    code = ErrorCode.FORMAT_NOT_READ

    def __init__(self, message: str, *, package: str = "") -> None:
        super().__init__(message)
        self.package = package

    @property
    def elsewhere(self) -> bool:
        """Whether another server may succeed: the package may be installed there."""
        return bool(self.package)


class TruncatedImageError(ImageError):
    """An image that is cut off or damaged."""

    code = ErrorCode.IMAGE_TRUNCATED


class BadBoxError(ImageError):
    """A box that is to be encoded shows nothing of the picture; the message names the box and the picture's size."""

    code = ErrorCode.BAD_BOX


class ImageTooLargeError(ImageError):
    """More pixels, or a longer side, than the limits in parameters.xml allow."""

    code = ErrorCode.IMAGE_TOO_LARGE


class ImageMemoryError(ImageTooLargeError):
    """More pixels than this process has memory for; the limits in parameters.xml would allow them."""

    code = ErrorCode.OUT_OF_MEMORY


class ProtocolError(PyrafaceError):
    """A breach of the wire protocol."""

    def __init__(self, message: str, code: ErrorCode = ErrorCode.MALFORMED_FRAME) -> None:
        super().__init__(message)
        self.code = code


class LocalProtocolError(ProtocolError):
    """This side tried to send what the protocol forbids."""


class RemoteProtocolError(ProtocolError):
    """The peer sent what the protocol forbids. The connection ends; `code` and the message say why."""


class LimitError(PyrafaceError):
    """A limit of this side was reached: of connections, of memory, of time. The connection ends; `code` says which."""

    def __init__(self, message: str, code: ErrorCode) -> None:
        super().__init__(message)
        self.code = code


class DetectionError(PyrafaceError):
    """The faces of a failed image were asked for; `code` says why it failed."""

    def __init__(self, message: str, code: ErrorCode) -> None:
        super().__init__(message)
        self.code = code


class ServerError(PyrafaceError):
    """No server can be reached, or one cannot be started; the message names it and the remedy."""


class WrongKeyError(ServerError):
    """The server has none of this user's keys: it belongs to another user, or is not paired yet."""


class SearchUnavailableError(ServerError):
    """The server cannot do the search that was asked for; the message names it, and the searches that it can do."""


class RefusedError(ServerError):
    """The server ended the connection instead of a welcome; `code` and the message say why."""

    def __init__(self, message: str, code: ErrorCode) -> None:
        super().__init__(message)
        self.code = code


class ServerLostError(ServerError):
    """The connection ended before the answer came: another server may answer.

    `silent`: nothing arrived any more, because of the server or the network; otherwise the connection broke.
    """

    def __init__(self, message: str, *, silent: bool = False) -> None:
        super().__init__(message)
        self.silent = silent


class ServerMemoryError(ServerError):
    """No server has the memory for one image after another; the message has the remedy."""


class PairingError(PyrafaceError):
    """No key was transferred; the message says why, and names the remedy."""


class UnreadableError(PyrafaceError):
    """A file has no bytes to send; its result has `code` and the message."""

    def __init__(self, message: str, code: ErrorCode) -> None:
        super().__init__(message)
        self.code = code


class DamagedFrameError(ValueError):
    """Bytes of a compressed output that are not those of a frame."""


class OutputError(PyrafaceError):
    """The output cannot be written; the message says where and why."""


class ReaderGoneError(OutputError):
    """The reader of a pipe has ended: it has read what it wanted."""

    EXIT_STATUS = 141
    """128 and the number of SIGPIPE, as a shell reports a program that `| head` ended: with pipefail no error is missed."""


class PeopleFileError(PyrafaceError):
    """A people file is wrong, or cannot be read or written; the message names the file, the field and what must be there."""


class NoImagesError(PyrafaceError):
    """The paths hold no image."""


class NoServersError(PyrafaceError):
    """No server reports its status."""
