"""Every exception pyraface raises on purpose, and the code each failure of an image carries over the network.

    PyrafaceError
    |-- ParametersError          parameters.xml is wrong: says which file, which element, which value, what is allowed
    |-- KeyFileError             the file with this user's keys is wrong, or cannot be had: says what to do
    |-- ImageError               these bytes cannot be answered with faces; .code says why
    |   |-- NotAnImage           no format we read
    |   |-- TruncatedImage       an image that is cut off or damaged
    |   `-- ImageTooLarge        more pixels or a longer side than the limits allow
    |-- EngineError              an engine cannot be started, or failed on an image
    |-- ProtocolError
    |   |-- LocalProtocolError   we broke the protocol: a bug on this side
    |   `-- RemoteProtocolError  the peer broke it; .code says how
    |-- DetectionFailed          an image has no faces to show, because something failed; .code says what
    `-- ServerError              no server could be reached, or one could not be started

The layers keep to themselves: core.images raises ImageError, core.wire raises ProtocolError, and so on. A failure of
one image never travels as an exception between processes: it is a `messages.Failed` with a code of `ErrorCode`.
"""

from __future__ import annotations

from enum import Enum


class ErrorCode(str, Enum):
    """Why a request was not answered with faces, or why a connection ends. The value is what travels.

    `elsewhere` tells whether the same request may succeed at another server. Where it is False, another would say the
    same, or nobody waits for the answer.
    """

    # the image
    NOT_AN_IMAGE = "not-an-image"
    IMAGE_TRUNCATED = "image-truncated"
    IMAGE_TOO_LARGE = "image-too-large"
    # the server
    TOO_SLOW = "too-slow"
    EXECUTOR_LOST = "executor-lost"
    ENGINE_FAILED = "engine-failed"
    BUSY = "busy"
    DRAINING = "draining"
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
    # the client's own side: these never travel, they stand in its output
    UNREADABLE = "unreadable"
    SERVER_LOST = "server-lost"

    @property
    def elsewhere(self) -> bool:
        """Whether another server may do better."""
        return self in _ELSEWHERE


_ELSEWHERE = frozenset(
    {
        ErrorCode.TOO_SLOW,
        ErrorCode.EXECUTOR_LOST,
        ErrorCode.ENGINE_FAILED,
        ErrorCode.BUSY,
        ErrorCode.DRAINING,
        ErrorCode.TOO_MANY_CONNECTIONS,
        ErrorCode.TOO_MANY_FROM_ADDRESS,
        ErrorCode.OVERLOADED,
        ErrorCode.WRONG_KEY,
        ErrorCode.IMAGE_TOO_LARGE,
        ErrorCode.FRAME_TOO_LARGE,
        ErrorCode.SERVER_LOST,
    }
)


class PyrafaceError(Exception):
    """The root of the tree: catch it to catch everything pyraface raises on purpose."""


class ParametersError(PyrafaceError):
    """The message names the file, the element, the value and what is allowed."""


class KeyFileError(PyrafaceError):
    """The message names the file, what is wrong with it and what to do."""


class ImageError(PyrafaceError):
    """These bytes cannot be answered with faces."""

    code = ErrorCode.NOT_AN_IMAGE


class NotAnImage(ImageError):
    """No image format that can be read here."""


class TruncatedImage(ImageError):
    """An image that is cut off or damaged."""

    code = ErrorCode.IMAGE_TRUNCATED


class ImageTooLarge(ImageError):
    """More pixels, or a longer side, than the limits in parameters.xml allow."""

    code = ErrorCode.IMAGE_TOO_LARGE


class EngineError(PyrafaceError):
    """An engine cannot be started (its library or its weights are missing), or failed on an image."""


class ProtocolError(PyrafaceError):
    """Something that the wire protocol forbids."""

    def __init__(self, message: str, code: ErrorCode = ErrorCode.MALFORMED_FRAME) -> None:
        super().__init__(message)
        self.code = code


class LocalProtocolError(ProtocolError):
    """This side tried to send what the protocol forbids."""


class RemoteProtocolError(ProtocolError):
    """The peer sent what the protocol forbids. The connection ends; `code` and the message say why."""


class DetectionFailed(PyrafaceError):
    """The faces of an image were asked for, and it has none because something failed; `code` says what."""

    def __init__(self, message: str, code: ErrorCode) -> None:
        super().__init__(message)
        self.code = code


class ServerError(PyrafaceError):
    """No server could be reached, or one could not be started; the message says which and what to do."""
