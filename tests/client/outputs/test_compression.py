"""Compressions: frames that are read back in pieces, cut off and damaged, with the same result for each kind."""

from __future__ import annotations

import gzip

import pytest
import zstandard

from pyraface.client.outputs.compression import (
    PIECE,
    Compression,
    DamagedFrameError,
    FrameReader,
    Gzip,
    Zstandard,
)

CONTENT = b"".join(b"line %d of some text that compresses well\n" % number for number in range(30_000))


@pytest.fixture(params=[Gzip, Zstandard])
def compression(request: pytest.FixtureRequest) -> Compression:
    """Each of the two."""
    made: Compression = request.param()
    return made


def compressed(compression: Compression, content: bytes) -> bytes:
    frame = compression.compressor()
    return frame.add(content, flush=False) + frame.end()


def read(compression: Compression, data: bytes, start: int = 0) -> tuple[bytes, int | None]:
    """Returns the content of a frame, read a few bytes at a time, and where it ends."""
    reader = FrameReader(
        compression, lambda position, most: data[position : position + min(most, 1000)], start
    )
    pieces = list(reader)
    assert all(0 < len(piece) <= PIECE for piece in pieces)
    return b"".join(pieces), reader.end


def test_frames_follow_each_other(compression: Compression) -> None:
    first, second = compressed(compression, CONTENT), compressed(compression, b"second")
    assert first.startswith(compression.magic)
    assert read(compression, first + second) == (CONTENT, len(first))
    assert read(compression, first + second, len(first)) == (b"second", len(first + second))
    assert read(compression, compressed(compression, b""))[0] == b""


def test_other_programs_read_a_frame(compression: Compression) -> None:
    data = compressed(compression, CONTENT)
    if isinstance(compression, Gzip):
        assert gzip.decompress(data) == CONTENT
    else:
        assert zstandard.ZstdDecompressor().stream_reader(data).read() == CONTENT


def test_what_was_flushed_can_be_read_and_a_frame_that_is_cut_off_is_no_error(
    compression: Compression,
) -> None:
    frame = compression.compressor()
    data = b""
    for number in range(5):
        data += frame.add(b"line %d\n" % number, flush=True)
        content, end = read(compression, data)
        assert content.count(b"\n") == number + 1
        assert end is None
    whole = data + frame.end()
    for cut in range(len(whole)):
        content, end = read(compression, whole[:cut])
        assert b"".join(b"line %d\n" % number for number in range(5)).startswith(content)
        assert end is None
    assert read(compression, whole)[1] == len(whole)


def test_a_changed_byte_is_an_error(compression: Compression) -> None:
    data = bytearray(compressed(compression, CONTENT[:3000]))
    for at in (0, 2, len(data) // 2, len(data) - 2):
        changed = data.copy()
        changed[at] ^= 0x55
        with pytest.raises(DamagedFrameError):
            read(compression, bytes(changed))


def test_a_frame_that_inflates_a_thousandfold_is_read_in_pieces(compression: Compression) -> None:
    data = compressed(compression, bytes(50 << 20))
    assert len(data) < 100_000
    reader = FrameReader(compression, lambda position, most: data[position : position + most], 0)
    assert max(map(len, reader)) <= PIECE
