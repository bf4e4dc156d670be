"""Compression of an output: gzip and Zstandard, as files of frames that are decompressed one by one.

A frame is what gzip calls a member. Both formats allow any number of them one after the other, and every program that reads
such files reads them as one.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from ...core.errors import DamagedFrameError

PIECE = 1 << 18
"""Bytes that are read, or decompressed, at a time."""


class Compressor(Protocol):
    """Compressor of one frame."""

    def add(self, data: bytes, *, flush: bool) -> bytes:
        """Returns the next bytes of the frame; with `flush`, all data until here can be read from these and those before."""

    def end(self) -> bytes:
        """Returns the last bytes of the frame."""


class Decompressor(Protocol):
    """Decompressor of one frame.

    Attributes:
        eof: whether the end of the frame was reached.
        unused_data: the bytes behind it.
        needs_input: whether `decompress` has nothing more to return without further bytes.
    """

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    @property
    def needs_input(self) -> bool: ...

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """Returns at most `max_length` bytes of the content."""


class Compression(Protocol):
    """Compression of a file.

    Attributes:
        magic: the first bytes of every frame.
        errors: what a decompressor raises for bytes that are not those of a frame.
    """

    magic: bytes
    errors: type[Exception]

    def compressor(self) -> Compressor:
        """Returns a compressor for a new frame."""

    def decompressor(self) -> Decompressor:
        """Returns a decompressor for a frame."""


class Gzip:
    """gzip, with zlib's usual level: three times smaller, for 0.1 ms of CPU a line."""

    magic = b"\x1f\x8b\x08"
    errors: type[Exception] = zlib.error

    def compressor(self) -> Compressor:
        """Returns a compressor for a new member."""
        return _Deflate()

    def decompressor(self) -> Decompressor:
        """Returns a decompressor for a member."""
        return _Inflate()


_GZIP = 16 + zlib.MAX_WBITS
"""zlib's parameter for the format of gzip."""


class _Deflate:
    def __init__(self) -> None:
        self._deflate = zlib.compressobj(wbits=_GZIP)

    def add(self, data: bytes, *, flush: bool) -> bytes:
        compressed = self._deflate.compress(data)
        return compressed + self._deflate.flush(zlib.Z_SYNC_FLUSH) if flush else compressed

    def end(self) -> bytes:
        return self._deflate.flush()


class _Inflate:
    """zlib's decompressor with the members of those of Python's other compressions."""

    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(wbits=_GZIP)
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return self._inflate.eof

    @property
    def unused_data(self) -> bytes:
        return self._inflate.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        content = self._inflate.decompress(self._inflate.unconsumed_tail + data, max_length)
        # with exactly so many bytes, zlib may hold more of which it says nothing
        self.needs_input = len(content) < max_length and not self._inflate.unconsumed_tail
        return content


class Zstandard:
    """Zstandard, at its usual level and with checksums: as small as gzip, in a sixth of the time."""

    magic = b"\x28\xb5\x2f\xfd"

    def __init__(self) -> None:
        # at the first output of this kind, not at the start of every command
        if sys.version_info >= (3, 14):
            from compression import zstd
        else:
            from backports import zstd
        self._zstd: Any = zstd
        self.errors: type[Exception] = zstd.ZstdError

    def compressor(self) -> Compressor:
        """Returns a compressor for a new frame."""
        return _Zstd(self._zstd)

    def decompressor(self) -> Decompressor:
        """Returns a decompressor for a frame."""
        decompressor: Decompressor = self._zstd.ZstdDecompressor()
        return decompressor


class _Zstd:
    def __init__(self, zstd: Any) -> None:
        self._zstd = zstd.ZstdCompressor(options={zstd.CompressionParameter.checksum_flag: 1})

    def add(self, data: bytes, *, flush: bool) -> bytes:
        mode = self._zstd.FLUSH_BLOCK if flush else self._zstd.CONTINUE
        compressed: bytes = self._zstd.compress(data, mode)
        return compressed

    def end(self) -> bytes:
        compressed: bytes = self._zstd.flush()
        return compressed


COMPRESSIONS: dict[str, Callable[[], Compression]] = {".gz": Gzip, ".zst": Zstandard}
"""The compressions, by the last suffix of a file name."""


class FrameReader:
    """Reader of one frame. Iterate over it once; it yields the content in pieces of at most PIECE bytes.

    Args:
        read: returns at most so many bytes of the file (second argument) from a byte on (first argument).
        start: the first byte of the frame.
        stop: the byte before which reading ends, if the frame does not end before.

    Attributes:
        end: the byte after the frame, once it has been read; None for a frame that is cut off.
    """

    def __init__(
        self,
        compression: Compression,
        read: Callable[[int, int], bytes],
        start: int,
        stop: int = sys.maxsize,
    ) -> None:
        self.end: int | None = None
        self._compression, self._read = compression, read
        self._position, self._stop = start, stop

    def __iter__(self) -> Iterator[bytes]:
        """Yields the content.

        Raises:
            DamagedFrameError: the bytes are no frame, or were changed since they were compressed.
        """
        frame, data = self._compression.decompressor(), b""
        while not frame.eof:
            if frame.needs_input:
                left = self._stop - self._position
                data = self._read(self._position, min(PIECE, left)) if left > 0 else b""
                if not data:
                    return
                self._position += len(data)
            try:
                content = frame.decompress(data, PIECE)
            except (self._compression.errors, EOFError) as error:
                raise DamagedFrameError(str(error)) from error
            data = b""
            if content:
                yield content
        self.end = self._position - len(frame.unused_data)
