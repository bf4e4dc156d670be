"""Codec: bytes to messages and back, without I/O. docs/protocol.md is its specification.

A frame is a 4-byte big-endian length and one msgpack map. `Codec` takes the bytes of a connection, in pieces of any size:

    codec.receive_data(data)
    while (message := codec.next_message()) is not None:
        ...
    if codec.error is not None:     # send the reason (messages.Closing), then close the connection
        ...

It never raises: the peer's error is kept in `error`, and all later bytes are ignored. A length beyond the limit is refused
on its 4 bytes, before a byte of the payload is stored.
"""

from __future__ import annotations

import dataclasses
import math
import struct
import sys
from collections.abc import Hashable
from functools import cache
from typing import Annotated, Any, NoReturn, TypeVar, get_args, get_origin, get_type_hints

import msgpack
import numpy as np
from numpy.typing import NDArray

from ..boxes import as_boxes
from ..errors import ErrorCode, LocalProtocolError, RemoteProtocolError
from ..faces import DETECTORS, TURNS, Faces
from ..given_boxes import GivenBoxes
from ..pages import MAX_PAGES, Page
from ..text import plural
from . import messages
from .messages import Bytes32, Detect, Encode, ImageBytes, Message, Request

PREFIX = struct.Struct(">I")

CHUNK = 1 << 18
"""Bytes that a receiver reads at a time, and feeds to its codec."""

_BIN = struct.Struct(">BI")
_BIN_32 = 0xC6
"""msgpack's header of bytes: "bin 32" and their number."""

OWN_PART = 1 << 16
"""Bytes from which an image is sent as a separate part of its frame, because copying it takes longer than sending two parts.
From this size on msgpack's header of bytes is always "bin 32". A received image of this size stays in its frame's buffer."""

_IMAGE = b"\xa5image" + bytes([_BIN_32])
"""The key of the last field of a request, and the beginning of its value."""

_MAX_HEAD = 32768
"""Bytes of a request before its image; its texts and MOST_BOXES boxes take less."""

MAX_CONTAINERS = 64
"""Maps and lists in a frame. The largest message (Found) has 26. Without a limit, a frame of one-byte empty lists would take
60 times its length in memory before any check could refuse it."""

MAX_ITEMS = 100
"""Entries of one map or list. The longest list names the pages of a file that cannot be read, up to MAX_PAGES; the largest
map, Welcome, has 16."""

_ARRAYS: dict[str, type[Any]] = {
    "boxes": np.float32,
    "confidences": np.float32,
    "levels": np.int32,
    "detectors": np.uint8,
    "turned": np.int32,
    "encodings": np.float32,
    "sharpness": np.float32,
    "inside": np.float32,
    "comparable": np.bool_,
    "pages": np.int32,
}

_GIVEN_ARRAYS: dict[str, type[Any]] = {"boxes": np.float32, "turned": np.int32}
"""Those of GivenBoxes."""

_DETECTOR_NAMES = np.array(DETECTORS, "U5")
"""A detector's number in a message is its index here."""

_PAGE_RANGES = (range(2**31), range(1, 2**31), range(1, 2**31), range(1, 9))
"""The ranges of the numbers of a Page."""

_WHOLE = range(2**63)
"""The range of a plain int: the nonnegative half of a signed 64-bit integer, which every language has."""

_PAGES = tuple[Page, ...]

_T = TypeVar("_T")


class Codec:
    """Decoder of the bytes that arrive on one connection."""

    def __init__(self, *, max_frame_bytes: int) -> None:
        self.max_frame_bytes = max_frame_bytes
        self.error: RemoteProtocolError | None = None
        self._buffer = bytearray()
        self._length: int | None = None
        self._ended = False

    @property
    def mid_frame(self) -> bool:
        """Whether a frame has begun and is incomplete, so that the time limit for its rest applies.

        Valid after next_message() has returned None: before that, a complete frame counts as begun.
        """
        return self.error is None and (self._length is not None or bool(self._buffer))

    @property
    def frame_bytes(self) -> int | None:
        """The payload length of the frame that has begun; None until its prefix is complete.

        For a receiver that has to make room for the frame before it reads on.
        """
        return self._length

    def receive_data(self, data: bytes | bytearray | memoryview) -> None:
        """Takes bytes that arrived. Afterwards, call next_message() until it returns None."""
        if self.error is None:
            self._buffer += data
            self._read_prefix()

    def receive_eof(self) -> RemoteProtocolError | None:
        """Takes note that the peer sends nothing more: an error in the middle of a frame, correct between two.

        Returns `error`.

        next_message() still returns complete messages; the error is set after the last of them.
        """
        self._ended = True
        if not self._complete:
            self._check_end()
        return self.error

    def next_message(self) -> Message | None:
        """Returns the next message, or None if more data is needed or `error` is set."""
        if self._length is None or not self._complete:
            self._check_end()
            return None
        end = PREFIX.size + self._length
        message: Message | None = None
        if self._length >= OWN_PART:
            # what follows is short: a receiver stops reading at a complete frame
            rest = self._buffer[end:]
            del self._buffer[end:]
            message = _with_own_image(self._buffer)
            if message is None:
                self._buffer += rest
            else:
                self._buffer = rest
        if message is None:
            try:
                with memoryview(self._buffer) as view, view[PREFIX.size : end] as payload:
                    message = decode(payload)
            except RemoteProtocolError as error:
                # not the exception itself: its traceback would keep everything unpacked from the frame in memory
                self._fail(error.code, str(error))
                return None
            del self._buffer[:end]
        self._length = None
        self._read_prefix()
        return message

    @property
    def _complete(self) -> bool:
        return self._length is not None and len(self._buffer) >= PREFIX.size + self._length

    def _check_end(self) -> None:
        if self._ended and self.mid_frame:
            self._fail(ErrorCode.MALFORMED_FRAME, "the connection ended in the middle of a frame")

    def _read_prefix(self) -> None:
        if self._length is None and len(self._buffer) >= PREFIX.size:
            (length,) = PREFIX.unpack_from(self._buffer)
            if length > self.max_frame_bytes:
                self._fail(
                    ErrorCode.FRAME_TOO_LARGE,
                    f"a frame of {plural(length, 'byte')}; the limit is {self.max_frame_bytes} "
                    "(params/daemon/max_frame_bytes)",
                )
            else:
                self._length = length

    def _fail(self, code: ErrorCode, text: str) -> None:
        self.error = RemoteProtocolError(text, code)
        self._buffer.clear()
        self._length = None


def encode(message: Message, *, max_frame_bytes: int = 2**32 - 1) -> bytes:
    """Returns the frame for a message: length and payload.

    Raises:
        LocalProtocolError: a field has a wrong type or is out of range, or the frame exceeds the peer's limit.
    """
    return b"".join(encode_parts(message, max_frame_bytes=max_frame_bytes))


def encode_parts(message: Message, *, max_frame_bytes: int = 2**32 - 1) -> list[ImageBytes]:
    """Returns the frame for a message in parts, to be sent in order: a large image is a part of its own and is not copied.

    Raises:
        LocalProtocolError: a field has a wrong type or is out of range, or the frame exceeds the peer's limit.
    """
    if (
        isinstance(message, (Detect, Encode))
        and type(message.image) in (bytes, bytearray)
        and OWN_PART <= len(message.image) < 2**32
    ):
        # empty bytes are packed as two bytes, and image is the last field: these two are replaced
        head = pack(dataclasses.replace(message, image=b""))[:-2] + _BIN.pack(_BIN_32, len(message.image))
        payload: list[ImageBytes] = [head, message.image]
    else:
        payload = [pack(message)]
    length = sum(len(part) for part in payload)
    if length > max_frame_bytes:
        raise LocalProtocolError(
            f"{message.type} makes a frame of {plural(length, 'byte')}; the peer's limit is {max_frame_bytes}",
            ErrorCode.FRAME_TOO_LARGE,
        )
    return [PREFIX.pack(length) + payload[0], *payload[1:]]


def _with_own_image(frame: bytearray) -> Request | None:
    """Returns the request in a frame that ends with its image, which is the rest of `frame` from then on: it is not copied.

    None for any other frame, which is left as it was.
    """
    at = frame.find(_IMAGE, PREFIX.size, PREFIX.size + _MAX_HEAD)
    start = at + len(_IMAGE) + 4
    if at < 0 or int.from_bytes(frame[start - 4 : start], "big") != len(frame) - start:
        return None
    try:
        # with empty bytes in its place
        message = decode(frame[PREFIX.size : start - 5] + b"\xc4\0")
    except RemoteProtocolError:
        return None  # the frame as a whole shows what is wrong
    if not isinstance(message, (Detect, Encode)):
        return None
    del frame[:start]
    return dataclasses.replace(message, image=frame)


def decode(payload: bytes | bytearray | memoryview) -> Message:
    """Returns the message of one frame's payload.

    Raises:
        RemoteProtocolError: with the code malformed-frame (not a msgpack map), unknown-message or bad-field.
    """
    return unpack(payload, messages.MESSAGES)


def pack(message: Any) -> bytes:
    """Returns a message (a dataclass with a `type`) as one msgpack map.

    Raises:
        LocalProtocolError: a field has a wrong type or is out of range.
    """
    kind: Any = type(message)
    packed: dict[str, object] = {"type": message.type}
    for name, hint in _fields(kind).items():
        value = getattr(message, name)
        try:
            _check(hint, value)
        except ValueError as error:
            raise LocalProtocolError(f"{message.type}.{name}: {error}", ErrorCode.BAD_FIELD) from None
        if hint is float:
            value = float(value)  # an int would be sent as an integer, and one beyond 64 bits cannot be sent
        if isinstance(value, Faces):
            packed[name] = _pack_faces(value)
        elif isinstance(value, GivenBoxes):
            packed[name] = _pack_given(value)
        elif hint == _PAGES:
            packed[name] = _pack_array(np.array(value, np.int32).reshape(-1, len(Page._fields)), np.int32)
        else:
            packed[name] = value
    payload: bytes = msgpack.packb(packed)
    return payload


def unpack(payload: bytes | bytearray | memoryview, kinds: tuple[type[_T], ...]) -> _T:
    """Returns the message of one of `kinds` that a msgpack map holds.

    Raises:
        RemoteProtocolError: with the code malformed-frame (not a msgpack map), unknown-message or bad-field.
    """
    content = _unpack_map(payload)
    name = content.pop("type", None)
    kind: Any = next((kind for kind in kinds if kind.type == name), None)  # type: ignore[attr-defined]
    if kind is None:
        known = ", ".join(kind.type for kind in kinds)  # type: ignore[attr-defined]
        raise RemoteProtocolError(
            f"unknown message type {_shown(name)}; known types: {known}", ErrorCode.UNKNOWN_MESSAGE
        )
    hints = _fields(kind)
    for odd in [*(content.keys() - hints.keys()), *(hints.keys() - content.keys())]:
        reason = "is missing" if odd in hints else "is unknown"
        raise RemoteProtocolError(f"{name}: the field {_shown(odd)} {reason}", ErrorCode.BAD_FIELD)
    values: dict[str, object] = {}
    for field, hint in hints.items():
        try:
            values[field] = _unpack_value(hint, content[field])
        except ValueError as error:
            raise RemoteProtocolError(f"{name}.{field}: {error}", ErrorCode.BAD_FIELD) from None
    try:
        message: _T = kind(**values)
    except ValueError as error:
        raise RemoteProtocolError(f"{name}: {error}", ErrorCode.BAD_FIELD) from None
    return message


@cache
def _fields(kind: Hashable) -> dict[str, object]:
    hints = get_type_hints(kind, include_extras=True)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}  # type: ignore[arg-type]


def _unpack_map(payload: bytes | bytearray | memoryview) -> dict[str, Any]:
    containers = 0

    def counted(container: Any) -> Any:
        nonlocal containers
        containers += 1
        if containers > MAX_CONTAINERS:
            raise ValueError(f"more than {MAX_CONTAINERS} maps and lists")
        return container

    def without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        content = dict(pairs)
        if any(type(key) is not str for key in content):  # strict_map_key lets bytes through
            raise ValueError("a key is not text")
        if len(content) != len(pairs):
            raise ValueError("a map has a key twice")
        return counted(content)  # type: ignore[no-any-return]

    try:
        content = msgpack.unpackb(
            payload,
            use_list=True,
            raw=False,
            strict_map_key=True,
            list_hook=counted,
            object_pairs_hook=without_doubles,
            max_array_len=MAX_ITEMS,
            max_map_len=MAX_ITEMS,
            max_str_len=4 * messages.MAX_TEXT,
            max_ext_len=0,
            ext_hook=_refuse_extension,  # the limit above lets empty extensions through
        )
    except (ValueError, msgpack.UnpackException, RecursionError) as error:
        # the base classes of msgpack's exceptions: truncated data, extra bytes, bad UTF-8, nesting, the limits above
        text = str(error) or type(error).__name__
        raise RemoteProtocolError(f"not a msgpack map: {text[:200]}", ErrorCode.MALFORMED_FRAME) from None
    if not isinstance(content, dict):
        raise RemoteProtocolError("the payload is not a map", ErrorCode.MALFORMED_FRAME)
    return content


def _refuse_extension(code: int, _: bytes) -> NoReturn:
    raise ValueError(f"the msgpack extension {code}")


def _check(hint: object, value: object) -> None:
    """Raises ValueError if a field of this type must not hold this value."""
    if hint == Bytes32:
        if not isinstance(value, bytes) or len(value) != get_args(hint)[1]:
            raise ValueError(f"must be bytes, exactly {get_args(hint)[1]} of them")
    elif hint is int or get_origin(hint) is Annotated:
        allowed = _WHOLE if hint is int else get_args(hint)[1]
        if type(value) is not int or value not in allowed:
            high = "2^63 - 1" if allowed.stop == _WHOLE.stop else allowed.stop - 1
            raise ValueError(f"must be a whole number from {allowed.start} to {high}, not {_shown(value)}")
    elif hint is float:
        # the comparison is false for NaN and infinity, and never overflows, as conversion of a long int does
        if type(value) not in (int, float) or not 0 <= value <= sys.float_info.max:  # type: ignore[operator]
            raise ValueError(f"must be a finite number of at least 0, not {_shown(value)}")
    elif hint is bool:
        if type(value) is not bool:
            raise ValueError(f"must be true or false, not {_shown(value)}")
    elif hint is str:
        if not isinstance(value, str) or len(value) > messages.MAX_TEXT:
            raise ValueError(f"must be text of at most {messages.MAX_TEXT} characters, not {_shown(value)}")
        value.encode("utf-8")  # a lone surrogate: UnicodeEncodeError is a ValueError
    elif hint is bytes or hint == ImageBytes:
        if not isinstance(value, (bytes, bytearray) if hint == ImageBytes else bytes) or len(value) >= 2**32:
            # the type alone: this may be an image that was sent as text, and the error may be logged
            raise ValueError(f"must be bytes, less than 2^32 of them, not a {type(value).__name__}")
    elif hint is ErrorCode:
        if not isinstance(value, ErrorCode):
            raise ValueError(f"must be one of the error codes, not {_shown(value)}")
    elif hint is Faces:
        if not isinstance(value, Faces):
            raise ValueError(f"must be faces, not {_shown(value)}")
        _check_faces(value)
    elif hint is GivenBoxes:
        if not isinstance(value, GivenBoxes):  # which checks itself
            raise ValueError(f"must be given boxes, not {_shown(value)}")
    elif hint == _PAGES:
        _check_pages(value)
    else:
        kind = get_args(hint)[0]
        if not isinstance(value, tuple) or len(value) > MAX_ITEMS:
            entries = "texts" if kind is str else "whole numbers"
            raise ValueError(f"must be a list of at most {MAX_ITEMS} {entries}, not {_shown(value)}")
        for entry in value:
            _check(kind, entry)


def _check_pages(pages: object) -> None:
    if not isinstance(pages, tuple) or len(pages) > MAX_PAGES:
        raise ValueError(f"must be at most {MAX_PAGES} pages, not {_shown(pages)}")
    for page in pages:
        for name, value, allowed in zip(Page._fields, page, _PAGE_RANGES, strict=True):
            try:
                _check(Annotated[int, allowed], value)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None


def _check_faces(faces: Faces) -> None:
    """Raises ValueError if a number is out of range: receivers write these numbers to files and compare them."""
    as_boxes(faces.boxes)
    for name in ("confidences", "encodings"):
        if not np.isfinite(getattr(faces, name)).all():
            raise ValueError(f"{name} must be finite")
    for name in ("levels", "pages"):
        if (getattr(faces, name) < 0).any():
            raise ValueError(f"{name} must not be negative")
    if not _among(faces.detectors, _DETECTOR_NAMES):
        raise ValueError(f"detectors must be of {', '.join(DETECTORS)}")
    if not _among(faces.turned, np.array(TURNS, np.int32)):
        raise ValueError(f"turned must be of {', '.join(map(str, TURNS))}")
    for name in ("sharpness", "inside"):
        share = getattr(faces, name)
        if not ((share >= 0) & (share <= 1)).all():  # false for NaN
            raise ValueError(f"{name} must be 0 to 1")


def _among(values: NDArray[Any], allowed: NDArray[Any]) -> bool:
    """Whether each value is allowed. np.isin loads modules, which the worker's sandbox does not let it do."""
    return bool((values[:, None] == allowed).any(axis=1).all())


def _unpack_value(hint: object, value: object) -> object:
    if hint is ErrorCode and isinstance(value, str):
        try:
            value = ErrorCode(value)
        except ValueError:
            raise ValueError(f"unknown error code {_shown(value)}") from None
    elif hint is Faces:
        value = _unpack_faces(value)
    elif hint is GivenBoxes:
        value = _unpack_given(value)
    elif hint == _PAGES:
        rows = _unpack_array(value, np.int32)
        if rows.shape != (len(rows), len(Page._fields)):
            raise ValueError(f"shape must be m, {len(Page._fields)}, not {_shown(list(rows.shape))}")
        if len(rows) > MAX_PAGES:
            raise ValueError(f"must be at most {MAX_PAGES} pages, not {len(rows)}")
        value = tuple(Page(*row) for row in rows.tolist())
    elif isinstance(value, list):
        value = tuple(value)
    _check(hint, value)
    return float(value) if hint is float else value  # type: ignore[arg-type]


def _pack_faces(faces: Faces) -> dict[str, object]:
    arrays = {one.name: getattr(faces, one.name) for one in dataclasses.fields(faces)}
    arrays["detectors"] = (faces.detectors[:, None] == _DETECTOR_NAMES).argmax(axis=1)
    return {name: _pack_array(arrays[name], dtype) for name, dtype in _ARRAYS.items()}


def _pack_array(array: NDArray[Any], dtype: type[Any]) -> dict[str, object]:
    little = np.ascontiguousarray(array, np.dtype(dtype).newbyteorder("<"))
    return {"dtype": little.dtype.str, "shape": list(little.shape), "data": little.tobytes()}


def _unpack_faces(value: object) -> Faces:
    if not isinstance(value, dict) or value.keys() != _ARRAYS.keys():
        raise ValueError(f"must be a map of {', '.join(_ARRAYS)}")
    arrays = {}
    for name, array in value.items():
        try:
            arrays[name] = _unpack_array(array, _ARRAYS[name])
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
    codes = arrays["detectors"]
    if codes.max(initial=0) >= len(DETECTORS):
        raise ValueError(f"detectors must be 0 to {len(DETECTORS) - 1}, not {codes.max()}")
    arrays["detectors"] = _DETECTOR_NAMES[codes]
    return Faces(**arrays)


def _pack_given(given: GivenBoxes) -> dict[str, object]:
    arrays = {name: _pack_array(getattr(given, name), dtype) for name, dtype in _GIVEN_ARRAYS.items()}
    return {**arrays, "page": given.page}


def _unpack_given(value: object) -> GivenBoxes:
    if not isinstance(value, dict) or value.keys() != {*_GIVEN_ARRAYS, "page"}:
        raise ValueError(f"must be a map of {', '.join(_GIVEN_ARRAYS)}, page")
    arrays = {}
    for name, dtype in _GIVEN_ARRAYS.items():
        try:
            arrays[name] = _unpack_array(value[name], dtype)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
    _check(int, value["page"])
    return GivenBoxes(**arrays, page=value["page"])


def _unpack_array(value: object, dtype: type[Any]) -> NDArray[Any]:
    if not isinstance(value, dict) or value.keys() != {"dtype", "shape", "data"}:
        raise ValueError("must be a map of dtype, shape and data")
    little = np.dtype(dtype).newbyteorder("<")
    shape, data = value["shape"], value["data"]
    if value["dtype"] != little.str:
        raise ValueError(f"dtype must be {little.str}, not {_shown(value['dtype'])}")
    if not isinstance(shape, list) or not 1 <= len(shape) <= 2:
        raise ValueError(f"shape must be a list of one or two whole numbers, not {_shown(shape)}")
    for length in shape:
        _check(int, length)
    if not isinstance(data, bytes) or len(data) != math.prod(shape) * little.itemsize:
        raise ValueError(
            f"data must be {plural(math.prod(shape) * little.itemsize, 'byte')}, according to shape and dtype"
        )
    if dtype is np.bool_ and np.frombuffer(data, np.uint8).max(initial=0) > 1:
        raise ValueError("data must be bytes of 0 and 1")
    # a copy in this machine's byte order, which the caller may keep and change
    return np.frombuffer(data, little).reshape(shape).astype(dtype)


def _shown(value: object) -> str:
    """Returns a short form of a value for an error message; of bytes and containers, the type alone."""
    if value is None or isinstance(value, (bool, int, float, str)):
        text = repr(value)
        return text if len(text) <= 60 else text[:60] + "..."
    return f"a {type(value).__name__}"
