# ruff: noqa: PT017  these are no tests: what they raise is for a fuzzer to see
"""What a fuzzer throws bytes at. A target returns for every input; whatever it raises is a bug that was found."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from pyraface.client.outputs.formats.json_lines import JsonLines
from pyraface.client.outputs.journal import Journal
from pyraface.client.people.frames import placed
from pyraface.client.people.people_json import dumped, parsed
from pyraface.client.people.picasa import Folder, contacts_of
from pyraface.client.people.regions import LONGEST_NAME, MOST_PROBLEMS, MOST_REGIONS, Areas, PhotographSize
from pyraface.client.people.xmp import areas_of
from pyraface.core import boxes as geometry
from pyraface.core import parameters
from pyraface.core.engines.network import yunet
from pyraface.core.errors import (
    EngineError,
    ErrorCode,
    ImageError,
    OutputError,
    ParametersError,
    PeopleFileError,
    RemoteProtocolError,
)
from pyraface.core.images import packets, signatures, sizes
from pyraface.core.images.decode import Picture, pictures
from pyraface.core.pages import MAX_PAGES
from pyraface.core.parameters import ImageLimits
from pyraface.core.protocol import announcement, wire
from pyraface.core.protocol.messages import Message
from pyraface.core.protocol.pairing import SHARE_BYTES, Exchange, Secret
from tests.output_lines import content_of

FRAME_LIMIT = 1 << 16

IMAGE_LIMITS = ImageLimits(max_pixels=1 << 20, max_side=1 << 12)
"""Small, so that an input takes milliseconds; the checks are the same."""


def codec(data: bytes) -> None:
    """A stream of frames: whole, and in pieces as long as the bytes say, it gives the same messages and the same error."""
    whole = _received([data])
    pieces = []
    at = 0
    while at < len(data):
        length = 1 + data[at] % 7
        pieces.append(data[at : at + length])
        at += length
    split = _received(pieces)
    assert split[1] == whole[1], (split, whole)
    assert [wire.encode(message) for message in split[0]] == [wire.encode(message) for message in whole[0]]


def _received(pieces: list[bytes]) -> tuple[list[Message], tuple[object, str] | None]:
    receiver = wire.Codec(max_frame_bytes=FRAME_LIMIT)
    messages = []
    for piece in pieces:
        receiver.receive_data(piece)
        while (message := receiver.next_message()) is not None:
            messages.append(message)
    receiver.receive_eof()
    error = receiver.error
    return messages, None if error is None else (error.code, str(error))


def payload(data: bytes) -> None:
    """One frame's payload: a message that is the same after another turn, or RemoteProtocolError."""
    try:
        message = wire.decode(data)
    except RemoteProtocolError as error:
        assert "\n" not in str(error)
        assert len(str(error)) < 1000
        return
    frame = wire.encode(message)
    assert wire.encode(wire.decode(frame[wire.PREFIX.size :])) == frame


def datagram(data: bytes) -> None:
    """A datagram: words that are the same after another turn, with a seal and without, or None."""
    received = announcement.decode(data)
    if received is None:
        return
    for key in (None, bytes(32)):
        again = announcement.decode(announcement.encode(received.words, key))
        assert again is not None
        assert again.words == received.words
        assert again.sealed([bytes(32)]) is (key is not None)


def xml(data: bytes) -> None:
    """A parameters.xml: parameters, or ParametersError of one line."""
    try:
        found = parameters.parse(data)
    except ParametersError as error:
        assert str(error).startswith("parameters.xml: ")
        assert str(error).isprintable()
        return
    assert parameters.parse(parameters.as_xml(found)) == found


def image(data: bytes) -> None:
    """An image file: pictures with pixels within the limits, and others that cannot be read, or ImageError."""
    numbers = []
    found: Picture | None = None
    try:
        for picture in pictures(data, IMAGE_LIMITS):
            numbers.append(picture.page)
            if not isinstance(picture, Picture):
                assert "\n" not in picture.reason
                continue
            found = picture
            assert picture.pixels.shape == (picture.height, picture.width, 3)
            assert picture.width * picture.height <= IMAGE_LIMITS.max_pixels
            assert max(picture.width, picture.height) <= IMAGE_LIMITS.max_side
            assert 1 <= picture.orientation <= 8
    except ImageError as error:
        assert not numbers
        assert "\n" not in str(error)
        return
    assert found is not None
    assert len(set(numbers)) == len(numbers) <= MAX_PAGES
    assert max(numbers) < found.pictures


def size(data: bytes) -> None:
    """A file whose size is asked for, of any format: a size or none, after few reads, and no exception."""
    reads = []

    def read(at: int, length: int) -> bytes:
        reads.append(length)
        return data[at : at + length]

    for format in signatures.READ:
        reads.clear()
        found = sizes.size_of(format, read)
        assert found is None or min(found) > 0
        assert len(reads) <= sizes.MOST_READS
        assert all(length <= sizes.WINDOW for length in reads)


def metadata(data: bytes) -> None:
    """An image file whose metadata are asked for: packets within the limits, after few reads, or ImageError."""
    reads = []

    def read(at: int, length: int) -> bytes:
        reads.append(length)
        return data[at : at + length]

    try:
        found = packets.metadata_of(read)
    except ImageError as error:
        assert "\n" not in str(error)
        return
    assert len(reads) <= packets.MOST_READS + sizes.MOST_READS + 1
    assert 1 <= found.orientation <= 8
    assert found.upright is None or min(found.upright) > 0
    assert all(problem.isprintable() for problem in found.problems)


def xmp(data: bytes) -> None:
    """An XMP packet: regions inside the picture, and problems of one line each."""
    _checked(areas_of(data))


def picasa(data: bytes) -> None:
    """A .picasa.ini, and a contacts.xml: faces inside the picture, and problems of one line each."""
    try:
        contacts = contacts_of(data)
    except ValueError as error:
        assert str(error).isprintable()
        contacts = {}
    folder = Folder(data, contacts)
    assert all(problem.isprintable() for problem in folder.problems)
    _checked(folder.areas_of("a.jpg"))


def people(data: bytes) -> None:
    """A people file: people who are the same after another turn, or PeopleFileError of one line."""
    try:
        found = parsed(data, "faces.people.json")
    except PeopleFileError as error:
        assert str(error).startswith("faces.people.json: ")
        assert str(error).isprintable()
        return
    written = dumped(found)
    assert dumped(parsed(written, "faces.people.json")) == written


def _checked(areas: Areas) -> None:
    for orientation in range(1, 9):
        found = placed(areas, PhotographSize(640, 480, orientation))
        assert len(found.problems) <= MOST_PROBLEMS + 1
        assert all(problem.isprintable() and len(problem) < 300 for problem in found.problems)
        assert len(found.regions) <= MOST_REGIONS
        for region in found.regions:
            left, top, right, bottom = region.box
            assert 0 <= left < right <= 640
            assert 0 <= top < bottom <= 480
            assert region.name is None or 0 < len(region.name) <= LONGEST_NAME
            assert region.kind.isprintable()


_FOLDER = tempfile.TemporaryDirectory(
    prefix="pyraface-fuzz-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None
)


def journal(data: bytes) -> None:
    """An output to resume: its whole lines stay and are completed, or OutputError leaves it as it was."""
    path = Path(_FOLDER.name) / "faces.jsonl"
    path.write_bytes(data)
    try:
        with Journal(str(path)) as found:
            found.load()
    except OutputError as error:
        assert str(error).isprintable()
        assert path.read_bytes() == data
        return
    left = path.read_bytes() if path.exists() else b""  # one without a line is not left behind
    assert left == data[: data.rfind(b"\n") + 1]
    try:
        with Journal(str(path)) as found:
            found.load()
            found.begin(set())
            found.finish()
    except OutputError as error:  # a line of an earlier version whose faces are damaged
        assert str(error).isprintable()
        assert path.read_bytes() == left
        return
    # a line may hold "\r", where JSON allows a space
    for line in path.read_bytes().split(b"\n")[:-1] if path.exists() else ():
        assert not JsonLines().head(line).former


def compressed(data: bytes) -> None:
    """A compressed output to resume, .gz or .zst by the first byte: a file that other programs read, or OutputError."""
    path = Path(_FOLDER.name) / ("compressed.jsonl.gz" if data[:1] < b"\x80" else "compressed.jsonl.zst")
    path.write_bytes(data[1:])
    try:
        with Journal(str(path)) as found:
            found.load()
    except OutputError as error:
        assert str(error).isprintable()
        assert path.read_bytes() == data[1:]
        return
    if path.exists():
        lines = content_of(path)
        assert lines.endswith(b"\n")
        with Journal(str(path)) as found:
            found.load()
        assert content_of(path) == lines


def pairing(data: bytes) -> None:
    """The other side's share, and behind it a sealed key: a secret and a key, or RemoteProtocolError."""
    share, sealed = data[:SHARE_BYTES], data[SHARE_BYTES:]
    try:
        assert len(Exchange("1234-5678", asks=False).finish(share).value) == 32
    except RemoteProtocolError as error:
        assert error.code is ErrorCode.BAD_FIELD
    secret = Secret(bytes(32))
    assert not secret.confirms(data) or data == secret.confirmation
    try:
        assert secret.seal(secret.open(sealed)) == sealed
    except RemoteProtocolError as error:
        assert error.code is ErrorCode.WRONG_KEY


def outputs(data: bytes) -> None:
    """YuNet's outputs for an input of up to 256 x 256: finite boxes, each place once, or EngineError."""
    size = (32 * (1 + data[0] % 8), 32 * (1 + data[1] % 8)) if len(data) > 1 else (32, 32)
    numbers = np.frombuffer(data[2 : len(data) - (len(data) - 2) % 4], np.float32) if len(data) > 5 else _ZERO
    maps, at = [], 0
    for name in yunet.OUTPUTS:
        stride = int(name.rpartition("_")[2])
        shape = size[0] // stride * (size[1] // stride), 4 if name.startswith("bbox") else 1
        # the bytes over and over: a short input fills every map
        maps.append(np.resize(np.roll(numbers, -at), shape).astype(np.float32))
        at += shape[0] * shape[1]
    try:
        with np.errstate(all="raise", under="ignore", invalid="ignore"):
            boxes, scores = yunet.decoded(maps, size, 0.3)
            squares = yunet.as_dlib(boxes)
    except EngineError as error:
        assert "not numbers" in str(error)
        return
    assert np.isfinite(squares).all()
    assert (squares[:, 2:] > squares[:, :2]).all()
    assert ((scores >= np.float32(0.3)) & (scores <= 1)).all()
    assert (np.triu(geometry.iou(boxes, boxes), 1) <= yunet.OVERLAP).all()


_ZERO = np.zeros(1, np.float32)

TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__: target
    for target in (
        codec,
        payload,
        datagram,
        xml,
        image,
        size,
        metadata,
        xmp,
        picasa,
        people,
        journal,
        compressed,
        pairing,
        outputs,
    )
}
