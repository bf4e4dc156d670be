from __future__ import annotations

import dataclasses
import gc
import random
import re
import tracemalloc
from itertools import pairwise
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pyraface.core.computed_by import ComputedBy
from pyraface.core.errors import ErrorCode, LocalProtocolError, RemoteProtocolError
from pyraface.core.faces import DETECTORS, TURNS, Faces
from pyraface.core.given_boxes import MOST_BOXES, GivenBoxes
from pyraface.core.pages import MAX_PAGES, Page
from pyraface.core.protocol import messages, wire
from pyraface.core.protocol.messages import (
    MAX_TEXT,
    Cancel,
    Challenge,
    Closing,
    Detect,
    Draining,
    Encode,
    Failed,
    Found,
    Hello,
    Inquire,
    Message,
    Pair,
    Paired,
    Ping,
    Pong,
    Proof,
    Status,
    Welcome,
)
from tests.core.protocol import vectors

LIMIT = 1 << 20
NONCE = bytes(32)

EXAMPLES = vectors.examples("frame")
INVALID = vectors.invalid_frames()


def name(value: object) -> str:
    return getattr(value, "type", "") if dataclasses.is_dataclass(value) else ""


def framed(payload: bytes) -> bytes:
    return len(payload).to_bytes(4, "big") + payload


def packed(**fields: Any) -> bytes:
    return framed(msgpack.packb(fields))


def received(codec: wire.Codec) -> list[Message]:
    found = []
    while (message := codec.next_message()) is not None:
        found.append(message)
    return found


def codec_fed(*chunks: bytes, limit: int = LIMIT) -> tuple[wire.Codec, list[Message]]:
    codec = wire.Codec(max_frame_bytes=limit)
    found = []
    for chunk in chunks:
        codec.receive_data(chunk)
        found += received(codec)
    return codec, found


def code_of(codec: wire.Codec) -> ErrorCode | None:
    return None if codec.error is None else codec.error.code


def array(dtype: str, shape: object, data: object = b"") -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data": data}


def packed_found(**changed: Any) -> bytes:
    """A found without faces; keywords replace arrays of the faces."""
    faces = {
        "boxes": array("<f4", [0, 4]),
        "confidences": array("<f4", [0]),
        "levels": array("<i4", [0]),
        "detectors": array("|u1", [0]),
        "turned": array("<i4", [0]),
        "encodings": array("<f4", [0, 128]),
        "sharpness": array("<f4", [0]),
        "inside": array("<f4", [0]),
        "comparable": array("|b1", [0]),
        "pages": array("<i4", [0]),
    } | changed
    return packed_about(faces=faces)


def packed_about(**changed: Any) -> bytes:
    """A found with one face on page 0 of two; keywords replace its fields."""
    found = msgpack.unpackb(wire.encode(found_with(some_faces()))[4:])
    return packed(**{**found, **changed})


def rows(*pages: tuple[int, int, int, int]) -> dict[str, object]:
    """The packed array of pages."""
    return array("<i4", [len(pages), 4], np.array(pages, "<i4").tobytes())


def given_rows(*boxes: tuple[float, float, float, float], turned: int = 0) -> dict[str, object]:
    """The packed map of given boxes."""
    data = np.array(boxes, "<f4").tobytes()
    turns = np.full(len(boxes), turned, "<i4").tobytes()
    return {
        "boxes": array("<f4", [len(boxes), 4], data),
        "turned": array("<i4", [len(boxes)], turns),
        "page": 0,
    }


def some_faces(n: int = 1) -> Faces:
    return Faces(
        np.tile(np.array([1, 2, 3, 4], np.float32), (n, 1)),
        np.ones(n, np.float32),
        np.zeros(n, np.int32),
        np.full(n, "cnn", "U5"),
        np.zeros(n, np.int32),
        np.zeros((n, 128), np.float32),
        np.full(n, 0.5, np.float32),
        np.ones(n, np.float32),
        np.ones(n, np.bool_),
        np.zeros(n, np.int32),
    )


def one_face(name: str, data: bytes) -> dict[str, object]:
    """The packed arrays of one face, one of them with other data."""
    faces = msgpack.unpackb(wire.encode(found_with(some_faces()))[4:])["faces"]
    return faces | {name: faces[name] | {"data": data}}


ONE_PAGE = (Page(0, 640, 480, 1),)


def found_with(faces: Faces) -> Found:
    return Found(1, faces, ONE_PAGE, (), (), 2, 0.5)


# the examples of the specification


def test_the_specification_has_an_example_of_every_message() -> None:
    assert {type(message) for message, _ in EXAMPLES} == set(messages.MESSAGES)


@pytest.mark.parametrize(("message", "frame"), EXAMPLES, ids=name)
def test_a_message_is_encoded_as_specified_to_the_byte(message: Message, frame: bytes) -> None:
    assert wire.encode(message).hex(" ") == frame.hex(" ")


@pytest.mark.parametrize(("message", "frame"), EXAMPLES, ids=name)
def test_a_frame_is_decoded_to_the_specified_message(message: Message, frame: bytes) -> None:
    codec, found = codec_fed(frame)
    assert [vectors.plain(one) for one in found] == [vectors.plain(message)]
    assert codec.error is None
    assert not codec.mid_frame


@pytest.mark.parametrize(("message", "frame"), EXAMPLES, ids=name)
def test_the_order_of_keys_has_no_meaning(message: Message, frame: bytes) -> None:
    content = msgpack.unpackb(frame[4:])
    backwards = msgpack.packb(dict(reversed(content.items())))
    assert vectors.plain(wire.decode(backwards)) == vectors.plain(message)


def test_the_specification_has_invalid_frames_for_every_code_of_the_codec() -> None:
    assert {code for code, _, _ in INVALID} == {
        ErrorCode.FRAME_TOO_LARGE,
        ErrorCode.MALFORMED_FRAME,
        ErrorCode.UNKNOWN_MESSAGE,
        ErrorCode.BAD_FIELD,
    }


@pytest.mark.parametrize(("code", "frame", "why"), INVALID, ids=lambda value: str(value)[:40])
def test_an_invalid_frame_of_the_specification_ends_the_connection_with_its_code(
    code: ErrorCode, frame: bytes, why: str
) -> None:
    codec, found = codec_fed(frame, limit=1024)
    assert (code_of(codec), found) == (code, []), why


# frames in pieces


def test_nothing_is_not_a_message() -> None:
    codec, found = codec_fed(b"")
    codec.receive_eof()
    assert (found, codec.error, codec.mid_frame) == ([], None, False)


def conversation() -> tuple[bytes, list[Any]]:
    return (
        b"".join(frame for _, frame in EXAMPLES),
        [vectors.plain(message) for message, _ in EXAMPLES],
    )


def test_frames_may_come_all_at_once() -> None:
    stream, expected = conversation()
    codec, found = codec_fed(stream)
    assert [vectors.plain(message) for message in found] == expected
    assert not codec.mid_frame


def test_frames_may_come_byte_by_byte() -> None:
    stream, expected = conversation()
    codec, found = codec_fed(*(stream[i : i + 1] for i in range(len(stream))))
    assert [vectors.plain(message) for message in found] == expected
    assert not codec.mid_frame


def test_frames_may_be_cut_anywhere() -> None:
    for (one, first), (other, second) in pairwise(EXAMPLES):
        stream, expected = first + second, [vectors.plain(one), vectors.plain(other)]
        for cut in range(len(stream) + 1):
            _, found = codec_fed(stream[:cut], stream[cut:])
            assert [vectors.plain(message) for message in found] == expected


def test_a_large_image_stays_in_the_buffer_in_which_it_was_received() -> None:
    """The receiver holds it once. What follows it is not lost, and it can be sent on as it is."""
    image = bytes(range(256)) * 1024
    frame = wire.encode(Detect(7, image, search="guided", faces_from=20))
    codec = wire.Codec(max_frame_bytes=LIMIT)
    codec.receive_data(frame + wire.encode(Cancel(7)) + frame[:1000])
    found = codec.next_message()
    assert isinstance(found, Detect)
    assert isinstance(found.image, bytearray)
    assert (found.id, found.search, found.faces_from, found.image) == (7, "guided", 20, image)
    assert codec.next_message() == Cancel(7)
    assert codec.next_message() is None
    assert codec.mid_frame
    assert b"".join(wire.encode_parts(found)) == frame
    assert wire.encode_parts(found)[1] is found.image


def test_so_does_a_large_image_behind_as_many_boxes_as_are_allowed() -> None:
    image = bytes(range(256)) * 1024
    boxes = GivenBoxes.of([[1, 2, 3, 4]] * MOST_BOXES)
    codec, [found] = codec_fed(wire.encode(Encode(7, boxes, image, search="\u00e5" * MAX_TEXT)))
    assert codec.error is None
    assert isinstance(found, Encode)
    assert isinstance(found.image, bytearray)
    assert found.image == image
    assert len(found.boxes.boxes) == MOST_BOXES


@pytest.mark.parametrize(
    "frame",
    [
        msgpack.packb({"type": "detect", "id": 1, "image": bytes(70_000), "faces_from": 0, "search": ""}),
        msgpack.packb({"image": bytes(70_000), "type": "detect", "search": "", "id": 1, "faces_from": 0}),
        msgpack.packb(
            {"type": "detect", "id": 1, "faces_from": 0, "search": "\xe5image", "image": bytes(70_000)}
        ),
    ],
    ids=["image in the middle", "image first", "its name in a text"],
)
def test_a_large_image_may_stand_anywhere(frame: bytes) -> None:
    codec = wire.Codec(max_frame_bytes=LIMIT)
    codec.receive_data(wire.PREFIX.pack(len(frame)) + frame)
    found = codec.next_message()
    assert isinstance(found, Detect), codec.error
    assert found.image == bytes(70_000)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"id": -1}, ErrorCode.BAD_FIELD),
        ({"search": 5}, ErrorCode.BAD_FIELD),
        ({"type": "welcome"}, ErrorCode.BAD_FIELD),
        ({"type": "nothing"}, ErrorCode.UNKNOWN_MESSAGE),
    ],
)
def test_what_is_wrong_before_a_large_image_is_found(changes: dict[str, object], code: ErrorCode) -> None:
    fields = {"type": "detect", "id": 1, "faces_from": 0, "search": "", "image": bytes(70_000)}
    frame = msgpack.packb({**fields, **changes})
    codec = wire.Codec(max_frame_bytes=LIMIT)
    codec.receive_data(wire.PREFIX.pack(len(frame)) + frame)
    assert codec.next_message() is None
    assert code_of(codec) == code


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_data_may_be_any_kind_of_bytes_and_is_copied(kind: Any) -> None:
    source = bytearray(wire.encode(Detect(1, b"picture")))
    codec = wire.Codec(max_frame_bytes=LIMIT)
    codec.receive_data(kind(source))
    source[:] = bytes(len(source))
    message = codec.next_message()
    assert isinstance(message, Detect)
    assert message.image == b"picture"


def test_a_truncated_frame_asks_for_more() -> None:
    frame = wire.encode(Ping(7))
    for cut in range(1, len(frame)):
        codec, found = codec_fed(frame[:cut])
        assert (found, codec.error, codec.mid_frame) == ([], None, True)


def test_an_end_in_the_middle_of_a_frame_is_an_error() -> None:
    frame = wire.encode(Ping(7))
    for cut in range(1, len(frame)):
        codec, found = codec_fed(frame[:cut])
        codec.receive_eof()
        assert (found, code_of(codec), codec.mid_frame) == ([], ErrorCode.MALFORMED_FRAME, False)


def test_an_end_between_two_frames_is_none() -> None:
    codec, found = codec_fed(wire.encode(Ping(7)))
    codec.receive_eof()
    assert (found, codec.error) == ([Ping(7)], None)


def test_messages_that_were_complete_at_the_end_still_come() -> None:
    codec = wire.Codec(max_frame_bytes=LIMIT)
    codec.receive_data(wire.encode(Ping(1)) + wire.encode(Ping(2)) + b"\0\0")
    codec.receive_eof()
    assert codec.error is None
    assert received(codec) == [Ping(1), Ping(2)]
    assert code_of(codec) == ErrorCode.MALFORMED_FRAME


def test_a_message_before_a_broken_frame_still_comes() -> None:
    codec, found = codec_fed(wire.encode(Ping(1)) + framed(b"\xc1") + wire.encode(Ping(2)))
    assert (found, code_of(codec)) == ([Ping(1)], ErrorCode.MALFORMED_FRAME)


@pytest.mark.parametrize(
    ("code", "frame", "why"), INVALID[:4] + INVALID[-4:], ids=lambda value: str(value)[:40]
)
def test_after_an_error_everything_is_ignored(code: ErrorCode, frame: bytes, why: str) -> None:
    codec, _ = codec_fed(frame, limit=1024)
    error = codec.error
    for data in (wire.encode(Ping(1)), framed(b"\xc0"), b"\xff" * 100):
        codec.receive_data(data)
        assert codec.next_message() is None
    codec.receive_eof()
    assert codec.error is error, why
    assert (code_of(codec), codec.mid_frame) == (code, False)


# bounds


def test_a_frame_at_the_limit_is_taken_and_one_above_it_refused() -> None:
    frame = wire.encode(Detect(1, bytes(1000)))
    limit = len(frame) - 4
    assert len(codec_fed(frame, limit=limit)[1]) == 1
    codec, found = codec_fed(frame, limit=limit - 1)
    assert (found, code_of(codec)) == ([], ErrorCode.FRAME_TOO_LARGE)
    assert str(limit) in str(codec.error)
    assert str(limit - 1) in str(codec.error)


def traced() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


def test_a_length_of_4_gib_is_refused_on_its_prefix_and_what_follows_is_not_kept() -> None:
    chunk = bytes(1 << 20)
    codec = wire.Codec(max_frame_bytes=(1 << 31) - 1)
    tracemalloc.start()
    try:
        before = traced()
        for byte in b"\xff\xff\xff\xff":
            assert codec.error is None
            codec.receive_data(bytes([byte]))
        assert code_of(codec) == ErrorCode.FRAME_TOO_LARGE
        for _ in range(8):
            codec.receive_data(chunk)
            assert codec.next_message() is None
        assert tracemalloc.get_traced_memory()[1] - before < 200_000
    finally:
        tracemalloc.stop()


def test_a_refused_message_is_not_kept_in_its_error() -> None:
    frame = packed(type="detect", id=-1, image=bytes(8 << 20))
    codec = wire.Codec(max_frame_bytes=16 << 20)
    tracemalloc.start()
    try:
        before = traced()
        codec.receive_data(frame)
        assert codec.next_message() is None
        assert code_of(codec) == ErrorCode.BAD_FIELD
        assert traced() - before < 100_000
    finally:
        tracemalloc.stop()


def test_a_list_has_at_most_as_many_entries_as_the_specification_says() -> None:
    longest = Hello(tuple(range(wire.MAX_ITEMS)), "", NONCE)
    assert codec_fed(wire.encode(longest))[1] == [longest]
    codec, _ = codec_fed(
        packed(type="hello", client="", nonce=NONCE, versions=list(range(wire.MAX_ITEMS + 1)))
    )
    assert code_of(codec) == ErrorCode.MALFORMED_FRAME
    assert str(wire.MAX_ITEMS) in str(codec.error)


def test_what_was_read_is_not_kept() -> None:
    frame = wire.encode(Detect(1, bytes(4 << 20)))
    codec = wire.Codec(max_frame_bytes=16 << 20)
    tracemalloc.start()
    try:
        before = traced()
        codec.receive_data(frame)
        assert codec.next_message() is not None
        assert traced() - before < 100_000
    finally:
        tracemalloc.stop()


BOMBS = {
    "empty lists": b"\xdd\x00\x40\x00\x00" + b"\x90" * (4 << 20),
    "empty lists, 32 at a time": (b"\xdc\x00\x20" + b"\x90" * 32) * (1 << 17),
    "nothings": b"\xdd\x00\x40\x00\x00" + b"\xc0" * (4 << 20),
    "nothings in a map": b"\xdf\x00\x10\x00\x00" + b"\xa1a\xc0" * (1 << 20),
    "long lists in long lists": b"\xdd\x00\x07\x00\x00" * 100_000 + bytes(1 << 19),
    "empty maps in a map": b"\xdf\x00\x10\x00\x00" + b"\xa1a\x80" * (1 << 20),
    "lists in lists": b"\x91" * (4 << 20) + b"\xc0",
    "lists of 32 in lists": (b"\xdc\x00\x20" * (1 << 20)) + b"\xc0",
    "maps in maps": b"\x81\xa1a" * (1 << 20) + b"\xc0",
    "a list said to be long": b"\xdd\xff\xff\xff\xff",
    "a map said to be long": b"\xdf\xff\xff\xff\xff",
    "a text said to be long": b"\xdb\xff\xff\xff\xff",
    "bytes said to be long": b"\xc6\xff\xff\xff\xff",
    "an extension said to be long": b"\xc9\xff\xff\xff\xff\x05",
    "numbers": b"\xdd\x00\x40\x00\x00" + b"\xcb\x40\x09\x21\xfb\x54\x44\x2d\x18" * (1 << 18),
    "a long text": b"\xdb\x00\x40\x00\x00" + b"a" * (4 << 20),
    "a long key": b"\x81\xdb\x00\x40\x00\x00" + b"a" * (4 << 20) + b"\xc0",
}


@pytest.mark.parametrize("payload", BOMBS.values(), ids=BOMBS)
def test_a_small_frame_does_not_become_large_in_memory(payload: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(RemoteProtocolError) as caught:
            wire.decode(payload)
        # twice the frame: msgpack keeps what follows the first value in its exception for a moment
        assert tracemalloc.get_traced_memory()[1] < 2 * len(payload) + 1_000_000
        assert caught.value.code == ErrorCode.MALFORMED_FRAME
    finally:
        tracemalloc.stop()


def test_the_most_lists_a_frame_may_hold_is_not_exceeded() -> None:
    most = wire.MAX_CONTAINERS - 1
    nested: object = 1
    for _ in range(most):
        nested = [nested]
    assert code_of(codec_fed(packed(type="ping", id=nested))[0]) == ErrorCode.BAD_FIELD
    assert code_of(codec_fed(packed(type="ping", id=[nested]))[0]) == ErrorCode.MALFORMED_FRAME


# what fields may hold

NO_WHOLE_NUMBER = [
    True,
    False,
    None,
    -1,
    2**63,
    2**64 - 1,
    -(2**63),
    1.0,
    float("nan"),
    "1",
    b"1",
    [],
    [1],
    {},
]


@pytest.mark.parametrize("value", NO_WHOLE_NUMBER, ids=repr)
def test_an_id_is_a_whole_number_from_0_to_2_to_the_63(value: object) -> None:
    codec, found = codec_fed(packed(type="ping", id=value))
    assert (found, code_of(codec)) == ([], ErrorCode.BAD_FIELD)


@pytest.mark.parametrize("value", [0, 1, 127, 128, 2**31, 2**32, 2**63 - 1])
def test_every_id_up_to_there_arrives(value: int) -> None:
    assert codec_fed(wire.encode(Ping(value)))[1] == [Ping(value)]


@pytest.mark.parametrize(
    "encoded", ["d0 05", "d1 00 05", "d2 00 00 00 05", "cc 05", "cf 00 00 00 00 00 00 00 05"]
)
def test_a_number_may_be_encoded_wider_than_needed(encoded: str) -> None:
    payload = b"\x82\xa4type\xa4ping\xa2id" + bytes.fromhex(encoded)
    assert wire.decode(payload) == Ping(5)


BAD_FIELDS = {
    "seconds: NaN": ("found", {"seconds": float("nan")}),
    "seconds: infinite": ("found", {"seconds": float("inf")}),
    "seconds: negative": ("found", {"seconds": -0.5}),
    "seconds: bool": ("found", {"seconds": True}),
    "seconds: text": ("found", {"seconds": "1"}),
    "pages: a width of 0": ("found", {"pages": rows((0, 0, 480, 1))}),
    "pages: a height of 0": ("found", {"pages": rows((0, 640, 0, 1))}),
    "pages: a negative width": ("found", {"pages": rows((0, -640, 480, 1))}),
    "pages: an orientation of 0": ("found", {"pages": rows((0, 640, 480, 0))}),
    "pages: an orientation of 9": ("found", {"pages": rows((0, 640, 480, 9))}),
    "pages: a negative number": ("found", {"pages": rows((-1, 640, 480, 1))}),
    "pages: more than allowed": (
        "found",
        {"pages": rows(*((number, 1, 1, 1) for number in range(MAX_PAGES + 1)))},
    ),
    "pages: of three columns": ("found", {"pages": array("<i4", [1, 3])}),
    "pages: in one row": ("found", {"pages": array("<i4", [4])}),
    "pages: of 8 bytes": ("found", {"pages": array("<i8", [1, 4])}),
    "pages: a list": ("found", {"pages": [[0, 640, 480, 1]]}),
    "pages: nil": ("found", {"pages": None}),
    "unread: negative": ("found", {"unread": [-1], "reasons": [""]}),
    "pictures: 0": ("found", {"pictures": 0}),
    "pictures: nil": ("found", {"pictures": None}),
    "faces: nil": ("found", {"faces": None}),
    "faces: list": ("found", {"faces": []}),
    "faces: empty map": ("found", {"faces": {}}),
    "version: 0": ("welcome", {"version": 0}),
    "credits: 0": ("welcome", {"credits": 0}),
    "max_pixels: 0": ("welcome", {"max_pixels": 0}),
    "max_frame_bytes: 0": ("welcome", {"max_frame_bytes": 0}),
    "name: too long": ("welcome", {"name": "x" * (MAX_TEXT + 1)}),
    "name: bytes": ("welcome", {"name": b"attic"}),
    "name: nil": ("welcome", {"name": None}),
    "elsewhere: 1": ("failed", {"elsewhere": 1}),
    "elsewhere: nil": ("failed", {"elsewhere": None}),
    "code: unknown": ("failed", {"code": "no-such-code"}),
    "code: number": ("failed", {"code": 3}),
    "code: list": ("failed", {"code": []}),
    "image: text": ("detect", {"image": "x"}),
    "image: list": ("detect", {"image": [1, 2]}),
    "boxes: nil": ("encode", {"boxes": None}),
    "boxes: list": ("encode", {"boxes": [[1, 2, 3, 4]]}),
    "boxes: faces": ("encode", {"boxes": {"boxes": array("<f4", [0, 4])}}),
    "boxes: not a number": ("encode", {"boxes": given_rows((1, 2, float("nan"), 4))}),
    "boxes: empty": ("encode", {"boxes": given_rows((1, 2, 3, 4), (1, 2, 1, 4))}),
    "boxes: too far away": ("encode", {"boxes": given_rows((1, 2, 3e38, 4))}),
    "boxes: too many": ("encode", {"boxes": given_rows(*[(1, 2, 3, 4)] * (MOST_BOXES + 1))}),
    "boxes: of three columns": (
        "encode",
        {"boxes": {**given_rows((1, 2, 3, 4)), "boxes": array("<f4", [1, 3])}},
    ),
    "boxes: in one row": ("encode", {"boxes": {**given_rows(), "boxes": array("<f4", [0])}}),
    "boxes: turned by 45": ("encode", {"boxes": given_rows((1, 2, 3, 4), turned=45)}),
    "boxes: turned by -2": ("encode", {"boxes": given_rows((1, 2, 3, 4), turned=-2)}),
    "boxes: one turn too many": (
        "encode",
        {"boxes": {**given_rows((1, 2, 3, 4)), "turned": array("<i4", [2], bytes(8))}},
    ),
    "boxes: page -1": ("encode", {"boxes": {**given_rows((1, 2, 3, 4)), "page": -1}}),
    "boxes: page 2^31": ("encode", {"boxes": {**given_rows((1, 2, 3, 4)), "page": 2**31}}),
    "boxes: page true": ("encode", {"boxes": {**given_rows((1, 2, 3, 4)), "page": True}}),
    "boxes: page nil": ("encode", {"boxes": {**given_rows((1, 2, 3, 4)), "page": None}}),
    "versions: number": ("hello", {"versions": 1}),
    "versions: of bool": ("hello", {"versions": [True]}),
    "versions: of lists": ("hello", {"versions": [[1]]}),
    "versions: negative": ("hello", {"versions": [1, -1]}),
    "versions: text": ("hello", {"versions": "1"}),
    "versions: bytes": ("hello", {"versions": b"1"}),
    "versions: map": ("hello", {"versions": {}}),
    "nonce: empty": ("hello", {"nonce": b""}),
    "nonce: 31 bytes": ("hello", {"nonce": bytes(31)}),
    "searches: text": ("welcome", {"searches": "everywhere"}),
    "searches: a list with a number": ("welcome", {"searches": ["everywhere", 1]}),
    "fingerprints: a list of bytes": ("welcome", {"fingerprints": [b"5e884898da280471", b""]}),
    "search: a list": ("detect", {"search": ["guided"]}),
    "nonce: 33 bytes": ("challenge", {"nonce": bytes(33)}),
    "proof: text": ("proof", {"proof": "x" * 32}),
    "proof: nil": ("challenge", {"proof": None}),
}


@pytest.mark.parametrize(("kind", "changed"), BAD_FIELDS.values(), ids=BAD_FIELDS)
def test_a_field_that_does_not_hold_what_it_must_is_named(kind: str, changed: dict[str, object]) -> None:
    frame = next(frame for message, frame in EXAMPLES if message.type == kind)
    codec, found = codec_fed(packed(**(msgpack.unpackb(frame[4:]) | changed)))
    assert (found, code_of(codec)) == ([], ErrorCode.BAD_FIELD)
    field = next(iter(changed))
    assert f"{kind}.{field}: " in str(codec.error)


INCONSISTENT = {
    "no page": {"pages": rows()},
    "a page beyond the pictures of the file": {"pages": rows((0, 640, 480, 1), (2, 640, 480, 1))},
    "a page twice": {"pages": rows((0, 640, 480, 1), (0, 640, 480, 1))},
    "pages in another order": {"pages": rows((1, 640, 480, 1), (0, 640, 480, 1))},
    "a page both read and unread": {"unread": [0], "reasons": ["damaged"]},
    "an unread page twice": {"unread": [1, 1], "reasons": ["damaged", "damaged"]},
    "an unread page beyond the pictures of the file": {"unread": [2], "reasons": ["damaged"]},
    "an unread page without a reason": {"unread": [1]},
    "a reason without an unread page": {"reasons": ["damaged"]},
    "more pages, read or not, than are decoded": {
        "pictures": 2 * MAX_PAGES,
        "unread": [*range(1, MAX_PAGES + 1)],
        "reasons": [""] * MAX_PAGES,
    },
    "a face on a page that was not searched": {"pages": rows((1, 640, 480, 1))},
    "a face on a page that could not be read": {
        "pages": rows((1, 640, 480, 1)),
        "unread": [0],
        "reasons": ["damaged"],
    },
}


@pytest.mark.parametrize("changed", INCONSISTENT.values(), ids=INCONSISTENT)
def test_a_found_whose_pages_do_not_go_together_is_refused(changed: dict[str, object]) -> None:
    assert code_of(codec_fed(packed_about())[0]) is None
    codec, found = codec_fed(packed_about(**changed))
    assert (found, code_of(codec)) == ([], ErrorCode.BAD_FIELD)
    assert str(codec.error).startswith("found: ")


def test_as_many_pages_as_are_decoded_arrive() -> None:
    pages = tuple(Page(2 * number, 1 + number, 7, 1 + number % 8) for number in range(MAX_PAGES))
    message = Found(1, some_faces(2), pages, (), (), 2 * MAX_PAGES, 0.5)
    assert vectors.plain(codec_fed(wire.encode(message))[1][0]) == vectors.plain(message)
    unread = tuple(range(1, MAX_PAGES))
    message = Found(1, some_faces(2), pages[:1], unread, ("x" * MAX_TEXT,) * len(unread), MAX_PAGES, 0.5)
    assert vectors.plain(codec_fed(wire.encode(message))[1][0]) == vectors.plain(message)


@pytest.mark.parametrize(
    "changed",
    [
        {"searches": []},
        {"searches": ["everywhere"]},
        {"searches": ["guided", "guided"]},
        {"fingerprints": ["5e884898da280471"]},
        {"fingerprints": ["0a3f6b1d52c7e894", "5e884898da280471"]},
        {"searches": [], "fingerprints": []},
    ],
    ids=str,
)
def test_a_welcome_whose_searches_and_fingerprints_do_not_go_together_is_refused(
    changed: dict[str, object],
) -> None:
    frame = next(frame for message, frame in EXAMPLES if message.type == "welcome")
    codec, found = codec_fed(packed(**(msgpack.unpackb(frame[4:]) | changed)))
    assert (found, code_of(codec)) == ([], ErrorCode.BAD_FIELD)
    assert str(codec.error).startswith("welcome: ")


def test_a_welcome_tells_the_fingerprint_of_each_search() -> None:
    (welcome,) = (message for message, _ in EXAMPLES if isinstance(message, Welcome))
    assert welcome.fingerprint_of("") == welcome.fingerprint_of("everywhere") == welcome.fingerprint
    assert welcome.fingerprint_of("guided") == "0a3f6b1d52c7e894"


def test_a_welcome_tells_what_computes_the_faces() -> None:
    (welcome,) = (message for message, _ in EXAMPLES if isinstance(message, Welcome))
    assert welcome.computed_by == ComputedBy("onnx", "cpu, int8", "0.1.0, onnxruntime 1.32.0, dlib 20.0.1")


@pytest.mark.parametrize(("message", "frame"), EXAMPLES, ids=name)
def test_every_field_must_be_there_and_no_other(message: Message, frame: bytes) -> None:
    content = msgpack.unpackb(frame[4:])
    for field in content.keys() - {"type"}:
        codec, _ = codec_fed(packed(**{key: value for key, value in content.items() if key != field}))
        assert code_of(codec) == ErrorCode.BAD_FIELD
        assert f"{message.type}: the field '{field}' is missing" in str(codec.error)
    codec, _ = codec_fed(packed(**content, odd=1))
    assert code_of(codec) == ErrorCode.BAD_FIELD
    assert f"{message.type}: the field 'odd' is unknown" in str(codec.error)


def test_a_key_twice_is_refused_in_every_map() -> None:
    shape_twice = b"\x84\xa5shape\x91\x00\xa5shape\x91\x00\xa5dtype\xa3<f4\xa4data\xc4\x00"
    frame = packed_found().replace(b"\x83\xa5dtype\xa3<f4\xa5shape\x91\x00\xa4data\xc4\x00", shape_twice)
    codec, _ = codec_fed(framed(frame[4:]))
    assert code_of(codec) == ErrorCode.MALFORMED_FRAME
    assert "twice" in str(codec.error)


EXTENSIONS = [
    "c7 00 05",
    "d4 05 00",
    "d6 ff 00 00 00 00",
    "c7 00 ff",
    "d8 01" + " 00" * 16,
    "c7 03 05 01 02 03",
]


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_extension_types_are_refused(extension: str) -> None:
    for payload in (
        b"\x82\xa4type\xa4ping\xa2id" + bytes.fromhex(extension),
        b"\x82\xa4type" + bytes.fromhex(extension) + b"\xa2id\x07",
        bytes.fromhex(extension),
    ):
        assert code_of(codec_fed(framed(payload))[0]) == ErrorCode.MALFORMED_FRAME


def test_keys_are_text() -> None:
    assert (
        code_of(codec_fed(framed(msgpack.packb({"type": "ping", b"id": 7})))[0]) == ErrorCode.MALFORMED_FRAME
    )


def test_text_may_have_any_1000_characters() -> None:
    message = Closing(ErrorCode.BUSY, "\U0001f600" * MAX_TEXT)
    assert codec_fed(wire.encode(message))[1] == [message]


BAD_ARRAYS = {
    "no map": {"boxes": []},
    "dtype of another size": {"boxes": array("<f8", [0, 4])},
    "dtype big-endian": {"boxes": array(">f4", [0, 4])},
    "dtype of objects": {"boxes": array("|O", [0, 4])},
    "dtype not text": {"boxes": array(None, [0, 4])},  # type: ignore[arg-type]
    "levels unsigned": {"levels": array("<u4", [0])},
    "shape no list": {"boxes": array("<f4", 0)},
    "shape of no dimension": {"boxes": array("<f4", [])},
    "shape of one dimension": {"boxes": array("<f4", [0])},
    "shape of three dimensions": {"boxes": array("<f4", [0, 4, 1])},
    "shape of five columns": {"boxes": array("<f4", [0, 5])},
    "shape of bool": {"boxes": array("<f4", [False, 4])},
    "shape negative": {"boxes": array("<f4", [-1, 4])},
    "shape that overflows": {"boxes": array("<f4", [2**62, 4])},
    "shape of nothing that overflows": {"boxes": array("<f4", [0, 2**62])},
    "shape without a face that overflows": {"boxes": array("<f4", [2**63 - 1, 0])},
    "data too short": {"boxes": array("<f4", [1, 4], bytes(15))},
    "data too long": {"boxes": array("<f4", [0, 4], bytes(16))},
    "data no bytes": {"boxes": array("<f4", [0, 4], "")},
    "data nil": {"boxes": array("<f4", [0, 4], None)},
    "another number of faces": {"confidences": array("<f4", [1], bytes(4))},
    "a key too many": {"boxes": array("<f4", [0, 4]) | {"order": "C"}},
    "a key too few": {"boxes": {"dtype": "<f4", "shape": [0, 4]}},
    "truth of another dtype": {"comparable": array("|u1", [0])},
    "a detector of an unknown number": one_face("detectors", b"\3"),
    "a detector of the highest number": one_face("detectors", b"\xff"),
    "detectors in text": {"detectors": array("<U5", [0])},
    "detectors in a column": {"detectors": array("|u1", [0, 1])},
    "turned unsigned": {"turned": array("<u4", [0])},
    "a turn of 45 degrees": one_face("turned", (45).to_bytes(4, "little")),
    "a negative page": one_face("pages", (-1).to_bytes(4, "little", signed=True)),
    "an array too many": {"ages": array("<f4", [0])},
}


@pytest.mark.parametrize("changed", BAD_ARRAYS.values(), ids=BAD_ARRAYS)
def test_arrays_that_are_not_as_specified_are_refused(changed: dict[str, object]) -> None:
    assert code_of(codec_fed(packed_found())[0]) is None
    codec, found = codec_fed(packed_found(**changed))
    assert (found, code_of(codec)) == ([], ErrorCode.BAD_FIELD)
    assert "found.faces: " in str(codec.error)


NO_FACES = {
    "a box of NaN": ("boxes", [[np.nan, 0, 1, 1]]),
    "an infinite box": ("boxes", [[0, 0, np.inf, 1]]),
    "right before left": ("boxes", [[2, 0, 1, 1]]),
    "bottom before top": ("boxes", [[0, 2, 1, 1]]),
    "a confidence of NaN": ("confidences", [np.nan]),
    "an infinite confidence": ("confidences", [-np.inf]),
    "a negative level": ("levels", [-1]),
    "a turn of a right angle, anticlockwise": ("turned", [-90]),
    "a turn of 45 degrees": ("turned", [45]),
    "a full turn": ("turned", [360]),
    "an encoding of NaN": ("encodings", [[np.nan] * 128]),
    "an encoding with one infinite number": ("encodings", [[0.0] * 127 + [np.inf]]),
    "a sharpness of NaN": ("sharpness", [np.nan]),
    "a sharpness above 1": ("sharpness", [1.01]),
    "a sharpness below 0": ("sharpness", [-0.01]),
    "an infinite sharpness": ("sharpness", [np.inf]),
    "a share of NaN inside": ("inside", [np.nan]),
    "more than all of it inside": ("inside", [1.01]),
    "less than nothing inside": ("inside", [-0.01]),
}


@pytest.mark.parametrize(("field", "values"), NO_FACES.values(), ids=NO_FACES)
def test_numbers_that_no_face_has_are_neither_sent_nor_taken(field: str, values: list[Any]) -> None:
    arrays = {one.name: getattr(some_faces(), one.name) for one in dataclasses.fields(Faces)}
    arrays[field] = np.array(values, arrays[field].dtype)
    with pytest.raises(LocalProtocolError, match=r"^found\.faces: "):
        wire.encode(found_with(Faces(**arrays)))
    arrays["detectors"] = np.zeros(1, np.uint8)
    codec, found = codec_fed(
        packed_found(**{one: array(a.dtype.str, list(a.shape), a.tobytes()) for one, a in arrays.items()})
    )
    assert (found, code_of(codec)) == ([], ErrorCode.BAD_FIELD)


def test_arrays_arrive_in_the_order_of_this_machine_and_may_be_written_to() -> None:
    (message,) = codec_fed(wire.encode(found_with(some_faces(3))))[1]
    assert isinstance(message, Found)
    for one in (getattr(message.faces, field.name) for field in dataclasses.fields(Faces)):
        assert one.dtype.isnative
        assert one.flags.writeable
        assert one.flags.c_contiguous


def without(frame: bytes, *names: str) -> bytes:
    """The frame of a found without these arrays of its faces."""
    content = msgpack.unpackb(frame[4:])
    for name in names:
        del content["faces"][name]
    return framed(msgpack.packb(content))


@pytest.mark.parametrize(
    "names", [["sharpness"], ["inside"], ["sharpness", "comparable"], ["encodings"], ["pages"]]
)
def test_faces_without_one_of_their_arrays_are_refused(names: list[str]) -> None:
    codec, found = codec_fed(without(wire.encode(found_with(some_faces())), *names))
    assert (found, code_of(codec)) == ([], ErrorCode.BAD_FIELD)
    assert "must be a map of boxes, confidences, levels, detectors, turned, encodings" in str(codec.error)


@pytest.mark.parametrize(
    ("sharpness", "comparable", "problem"),
    [
        (np.nan, b"\0", "sharpness must be 0 to 1"),
        (0.5, b"\2", "comparable: data must be bytes of 0 and 1"),
        (0.5, b"\xff", "comparable: data must be bytes of 0 and 1"),
    ],
)
def test_measures_that_are_none_are_refused(sharpness: float, comparable: bytes, problem: str) -> None:
    content = msgpack.unpackb(wire.encode(found_with(some_faces()))[4:])
    content["faces"]["sharpness"]["data"] = np.array([sharpness], "<f4").tobytes()
    content["faces"]["comparable"]["data"] = comparable
    codec, found = codec_fed(framed(msgpack.packb(content)))
    assert (found, code_of(codec)) == ([], ErrorCode.BAD_FIELD)
    assert str(codec.error) == f"found.faces: {problem}"


@pytest.mark.parametrize("sharpness", [[0.5, np.nan], [np.nan, np.nan]])
def test_faces_that_were_not_measured_cannot_be_sent(sharpness: list[float]) -> None:
    faces = some_faces(2)
    with pytest.raises(LocalProtocolError, match="sharpness must be 0 to 1"):
        wire.encode(found_with(faces.with_quality(np.array(sharpness, np.float32), faces.comparable)))


@pytest.mark.parametrize("name", ["", "CNN", "dlib", "cnn\0x"])
def test_a_detector_of_another_name_cannot_be_sent(name: str) -> None:
    faces = dataclasses.replace(some_faces(2), detectors=np.array(["cnn", name], "U5"))
    with pytest.raises(LocalProtocolError, match=r"^found\.faces: detectors must be of cnn, yunet, given$"):
        wire.encode(found_with(faces))


def test_a_detector_travels_as_its_number() -> None:
    faces = dataclasses.replace(some_faces(3), detectors=np.array(["yunet", "cnn", "given"], "U5"))
    frame = wire.encode(found_with(faces))
    assert msgpack.unpackb(frame[4:])["faces"]["detectors"]["data"] == bytes([1, 0, 2])
    (message,) = codec_fed(frame)[1]
    assert isinstance(message, Found)
    assert message.faces.detectors.tolist() == ["yunet", "cnn", "given"]
    assert message.faces.detectors.dtype == np.dtype("U5")


def test_arrays_that_are_views_arrive_whole() -> None:
    wide = np.arange(24, dtype=np.float32).reshape(3, 8)
    faces = dataclasses.replace(some_faces(3), boxes=wide[:, 2:6], levels=np.arange(6, dtype=np.int32)[::2])
    (message,) = codec_fed(wire.encode(found_with(faces)))[1]
    assert isinstance(message, Found)
    np.testing.assert_array_equal(message.faces.boxes, wide[:, 2:6])
    np.testing.assert_array_equal(message.faces.levels, [0, 2, 4])


# what this side may not send

NOT_TO_BE_SENT: dict[str, Any] = {
    "id negative": Ping(-1),
    "id too large": Ping(2**63),
    "id bool": Ping(True),
    "id float": Ping(1.0),  # type: ignore[arg-type]
    "id of numpy": Ping(np.int64(1)),  # type: ignore[arg-type]
    "text too long": Closing(ErrorCode.BUSY, "x" * (MAX_TEXT + 1)),
    "text that UTF-8 cannot hold": Closing(ErrorCode.BUSY, "\udcff"),
    "text none": Closing(ErrorCode.BUSY, None),  # type: ignore[arg-type]
    "code as text": Closing("busy", ""),  # type: ignore[arg-type]
    "flag as number": Failed(1, ErrorCode.BUSY, "", 1),  # type: ignore[arg-type]
    "boxes as a list": Encode(1, [[1, 2, 3, 4]], b"x"),  # type: ignore[arg-type]
    "image as memoryview": Detect(1, memoryview(b"x")),  # type: ignore[arg-type]
    "versions as list": Hello([1], "", NONCE),  # type: ignore[arg-type]
    "versions of text": Hello(("1",), "", NONCE),  # type: ignore[arg-type]
    "more versions than a list may have": Hello(tuple(range(wire.MAX_ITEMS + 1)), "", NONCE),
    "nonce too short": Hello((1,), "", NONCE[1:]),
    "nonce too long": Hello((1,), "", NONCE + b"x"),
    "nonce of text": Hello((1,), "", "x" * 32),  # type: ignore[arg-type]
    "proof none": Proof(None),  # type: ignore[arg-type]
    "width 0": Found(1, Faces.empty(), (Page(0, 0, 1, 1),), (), (), 1, 0.5),
    "height beyond 32 bits": Found(1, Faces.empty(), (Page(0, 1, 2**31, 1),), (), (), 1, 0.5),
    "orientation 9": Found(1, Faces.empty(), (Page(0, 1, 1, 9),), (), (), 1, 0.5),
    "seconds NaN": Found(1, Faces.empty(), ONE_PAGE, (), (), 1, float("nan")),
    "seconds infinite": Found(1, Faces.empty(), ONE_PAGE, (), (), 1, float("inf")),
    "seconds beyond any float": Found(1, Faces.empty(), ONE_PAGE, (), (), 1, 10**400),
    "seconds negative": Found(1, Faces.empty(), ONE_PAGE, (), (), 1, -0.1),
    "faces without encodings": found_with(
        dataclasses.replace(some_faces(), encodings=np.full((1, 128), np.nan, np.float32))
    ),
}


@pytest.mark.parametrize("message", NOT_TO_BE_SENT.values(), ids=NOT_TO_BE_SENT)
def test_encode_refuses_what_the_peer_would_refuse(message: Message) -> None:
    with pytest.raises(LocalProtocolError, match=rf"^{message.type}\.\w+: ") as caught:
        wire.encode(message)
    assert caught.value.code == ErrorCode.BAD_FIELD


def test_encode_refuses_more_bytes_than_a_length_can_say() -> None:
    try:
        image = bytes(2**32)  # zeros that nobody touches take no memory, where the system lends it freely
    except MemoryError:
        pytest.skip("4 GiB of address space are not to be had here")
    with pytest.raises(LocalProtocolError, match=r"^detect\.image: ") as caught:
        wire.encode(Detect(1, image))
    assert caught.value.code == ErrorCode.BAD_FIELD


def test_encode_refuses_a_frame_beyond_the_limit_of_the_peer() -> None:
    length = len(wire.encode(Detect(1, bytes(100)))) - 4
    assert len(wire.encode(Detect(1, bytes(100)), max_frame_bytes=length)) == length + 4
    with pytest.raises(LocalProtocolError, match=rf"{length} bytes.*{length - 1}") as caught:
        wire.encode(Detect(1, bytes(100)), max_frame_bytes=length - 1)
    assert caught.value.code == ErrorCode.FRAME_TOO_LARGE


@pytest.mark.parametrize(
    "length", [0, 255, 256, wire.OWN_PART - 1, wire.OWN_PART, wire.OWN_PART + 1, 1 << 20]
)
def test_the_parts_of_a_frame_are_the_frame_and_a_large_image_is_one_of_them(length: int) -> None:
    image = bytes(length)
    message = Detect(7, image, faces_from=20, search="guided")
    parts = wire.encode_parts(message)
    content = {"type": "detect", "id": 7, "faces_from": 20, "search": "guided", "image": image}
    payload: bytes = msgpack.packb(content)
    assert b"".join(parts) == wire.PREFIX.pack(len(payload)) + payload == wire.encode(message)
    assert any(part is image for part in parts) == (length >= wire.OWN_PART)


def test_a_large_image_is_checked_like_a_small_one() -> None:
    image = bytes(wire.OWN_PART)
    with pytest.raises(LocalProtocolError, match=r"^detect\.id: "):
        wire.encode_parts(Detect(-1, image))
    length = len(wire.encode(Detect(1, image))) - 4
    assert wire.encode_parts(Detect(1, image), max_frame_bytes=length)
    with pytest.raises(LocalProtocolError, match=rf"{length} bytes.*{length - 1}"):
        wire.encode_parts(Detect(1, image), max_frame_bytes=length - 1)


def test_whole_seconds_are_sent_as_the_number_they_are() -> None:
    for seconds in (0, 3, 10**30):
        (message,) = codec_fed(wire.encode(Found(1, Faces.empty(), ONE_PAGE, (), (), 1, seconds)))[1]
        assert isinstance(message, Found)
        assert type(message.seconds) is float
        assert message.seconds == float(seconds)


# every message there is

ids = st.integers(0, 2**63 - 1)
positive = st.integers(1, 2**63 - 1)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=60) | st.just("\0" * MAX_TEXT)
codes = st.sampled_from(ErrorCode)
numbers = st.floats(0, allow_infinity=False, allow_nan=False)
floats = st.floats(-1e6, 1e6, width=32)
shares = st.floats(0, 1, width=32)


@st.composite
def faces(draw: st.DrawFn, page: int) -> Faces:
    n = draw(st.integers(0, 5))
    lefts_and_tops = np.array(draw(st.lists(floats, min_size=2 * n, max_size=2 * n)), np.float32).reshape(
        n, 2
    )
    sides = np.array(draw(st.lists(st.floats(0, 1e5, width=32), min_size=2 * n, max_size=2 * n)), np.float32)
    encoding = draw(st.lists(floats, min_size=n, max_size=n))
    return Faces(
        np.hstack([lefts_and_tops, lefts_and_tops + sides.reshape(n, 2)]),
        np.array(draw(st.lists(floats, min_size=n, max_size=n)), np.float32),
        np.array(draw(st.lists(st.integers(0, 2**31 - 1), min_size=n, max_size=n)), np.int32),
        np.array(draw(st.lists(st.sampled_from(DETECTORS), min_size=n, max_size=n)), "U5"),
        np.array(draw(st.lists(st.sampled_from(TURNS), min_size=n, max_size=n)), np.int32),
        np.repeat(np.array(encoding, np.float32), 128).reshape(n, 128) + np.arange(128, dtype=np.float32),
        np.array(draw(st.lists(shares, min_size=n, max_size=n)), np.float32),
        np.array(draw(st.lists(shares, min_size=n, max_size=n)), np.float32),
        np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n)), np.bool_),
        np.full(n, page, np.int32),
    )


@st.composite
def founds(draw: st.DrawFn) -> Found:
    numbered = sorted(draw(st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=8, unique=True)))
    sides = st.integers(1, 2**31 - 1)
    pages, unread = numbered[: draw(st.integers(1, len(numbered)))], numbered[1:]
    unread = [number for number in unread if number not in pages]
    return Found(
        draw(ids),
        draw(faces(draw(st.sampled_from(pages)))),
        tuple(Page(number, draw(sides), draw(sides), draw(st.integers(1, 8))) for number in pages),
        tuple(unread),
        tuple(draw(texts) for _ in unread),
        draw(st.integers(numbered[-1] + 1, 2**63 - 1)),
        draw(numbers),
    )


@st.composite
def welcomes(draw: st.DrawFn) -> Welcome:
    searches = draw(st.lists(texts, min_size=1, max_size=4, unique=True))
    fingerprints = draw(st.lists(texts, min_size=len(searches), max_size=len(searches)))
    return Welcome(
        draw(positive),
        draw(texts),
        draw(texts),
        draw(texts),
        draw(texts),
        draw(texts),
        draw(texts),
        fingerprints[0],
        tuple(searches),
        tuple(fingerprints),
        max_frame_bytes=draw(positive),
        max_pixels=draw(positive),
        credits=draw(positive),
        deviation=draw(numbers),
        parameters=tuple(draw(st.lists(texts, max_size=4))),
    )


@st.composite
def given_boxes(draw: st.DrawFn) -> GivenBoxes:
    corners = st.tuples(*[st.floats(-1e6, 1e6, width=32)] * 2, *[st.floats(1, 1e6, width=32)] * 2)
    rows = draw(st.lists(corners, max_size=5))
    turned = draw(st.lists(st.sampled_from((-1, *TURNS)), min_size=len(rows), max_size=len(rows)))
    boxes = [(left, top, left + width, top + height) for left, top, width, height in rows]
    return GivenBoxes.of(boxes, turned, draw(st.integers(0, 2**31 - 1)))


exactly_32 = st.binary(min_size=32, max_size=32)

STRATEGIES: dict[type[Message], st.SearchStrategy[Any]] = {
    Hello: st.builds(Hello, st.lists(ids, max_size=wire.MAX_ITEMS).map(tuple), texts, exactly_32),
    Challenge: st.builds(Challenge, positive, exactly_32, exactly_32),
    Proof: st.builds(Proof, exactly_32),
    Welcome: welcomes(),
    Detect: st.builds(Detect, ids, st.binary(max_size=300), faces_from=st.integers(0, 1000), search=texts),
    Encode: st.builds(
        Encode, ids, given_boxes(), st.binary(max_size=300), faces_from=st.integers(0, 1000), search=texts
    ),
    Cancel: st.builds(Cancel, ids),
    Found: founds(),
    Failed: st.builds(Failed, ids, codes, texts, st.booleans()),
    Ping: st.builds(Ping, ids),
    Pong: st.builds(Pong, ids),
    Inquire: st.builds(Inquire, ids),
    Status: st.builds(Status, ids, texts, ids, ids, ids, ids, numbers, numbers, numbers),
    Draining: st.just(Draining()),
    Closing: st.builds(Closing, codes, texts),
    Pair: st.builds(Pair, texts, st.binary(max_size=300)),
    Paired: st.builds(Paired, st.binary(max_size=300)),
}


def test_every_message_has_a_strategy() -> None:
    assert STRATEGIES.keys() == set(messages.MESSAGES)


@given(st.lists(st.one_of(*STRATEGIES.values()), max_size=4), st.randoms(use_true_random=False))
def test_every_message_arrives_as_it_was_sent_however_it_is_cut(
    sent: list[Message], rng: random.Random
) -> None:
    stream = b"".join(wire.encode(message) for message in sent)
    cuts = sorted(rng.randrange(len(stream) + 1) for _ in range(rng.randrange(6)))
    chunks = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    codec, found = codec_fed(*chunks)
    assert [vectors.plain(message) for message in found] == [vectors.plain(message) for message in sent]
    assert codec.error is None
    assert not codec.mid_frame


# a hostile peer: the codec raises nothing, and says only what is documented

DOCUMENTED = {
    ErrorCode.FRAME_TOO_LARGE,
    ErrorCode.MALFORMED_FRAME,
    ErrorCode.UNKNOWN_MESSAGE,
    ErrorCode.BAD_FIELD,
}


def assert_only_what_is_documented(*chunks: bytes) -> None:
    codec, found = codec_fed(*chunks, limit=4096)
    codec.receive_eof()
    for message in found:
        wire.encode(message)  # what is taken could have been sent
    if codec.error is not None:
        assert type(codec.error) is RemoteProtocolError
        assert codec.error.code in DOCUMENTED
        assert len(str(codec.error)) < MAX_TEXT
    assert not codec.mid_frame


@given(st.lists(st.binary(max_size=100), max_size=5))
@example([b"\0\0\0\1\xc1"])
def test_garbage_raises_nothing(chunks: list[bytes]) -> None:
    assert_only_what_is_documented(*chunks)


@given(st.binary(max_size=200))
def test_a_frame_of_garbage_raises_nothing(payload: bytes) -> None:
    assert_only_what_is_documented(framed(payload))


packable = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
    | st.binary(max_size=8)
    | st.builds(msgpack.ExtType, st.integers(0, 127), st.binary(max_size=8)),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text("abc", max_size=2), inner, max_size=4)
    ),
    max_leaves=10,
)


@settings(max_examples=300)
@given(st.data())
def test_fields_of_any_kind_raise_nothing(data: st.DataObject) -> None:
    _, frame = data.draw(st.sampled_from(EXAMPLES))
    content = msgpack.unpackb(frame[4:])
    target = content
    while True:
        key = data.draw(st.sampled_from(sorted(target) if isinstance(target, dict) else range(len(target))))
        inner = target[key]
        if not isinstance(inner, (dict, list)) or not inner or data.draw(st.booleans()):
            break
        target = inner
    target[key] = data.draw(packable)
    assert_only_what_is_documented(packed(**content))


def mutated(rng: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.randrange(1, 5)):
        at = rng.randrange(len(changed) + 1)
        match rng.randrange(4):
            case 0:
                changed[at : at + 1] = bytes([rng.randrange(256)])
            case 1:
                changed[at:at] = rng.randbytes(rng.randrange(1, 5))
            case 2:
                del changed[at : at + rng.randrange(1, 9)]
            case _:
                start = rng.randrange(len(changed) + 1)
                changed[at:at] = changed[start : start + rng.randrange(1, 30)]
    return bytes(changed)


def test_valid_frames_with_random_damage_raise_nothing() -> None:
    rng = random.Random(1)
    for _ in range(4000):
        _, frame = rng.choice(EXAMPLES)
        assert_only_what_is_documented(framed(mutated(rng, frame[4:])))
        assert_only_what_is_documented(mutated(rng, frame))


def test_error_messages_are_short_whatever_the_peer_sent() -> None:
    long = "x" * 3000
    for frame in (packed(type=long), packed(type="ping", **{long: 1}), packed(type="ping", id=long)):
        codec, _ = codec_fed(frame)
        assert re.search(r"xxx\.\.\.", str(codec.error))
        assert len(str(codec.error)) < 300
