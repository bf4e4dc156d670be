"""Compressed lines: the lines of an output that is compressed, in frames of some hundred lines each.

Every line can be decompressed as soon as it is written, because its frame is flushed behind it. A frame that was not ended,
because the program was killed, is read as far as it goes. It is written anew before the file is continued, and so are the
frames of other programs that hold a whole file, or end within a line.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ...core.errors import DamagedFrameError, OutputError
from .compression import PIECE, Compression, Compressor, FrameReader
from .lines import BROKEN, PROBE_BYTES, Change, changed, in_lines
from .output_file import OutputFile

FRAME_BYTES = 1 << 18
"""Least content of a frame, but the last. A larger one is hardly smaller compressed, and its lines take longer to reach."""

MOST_FRAME_BYTES = 1 << 24
"""Most content of a frame that is left as it is, and is checked before it is used. In a larger one, a line would take too
long to reach."""

BLANK = bytes(64)
"""Zeros that no compressed data contains, unlike blocks that were not written before a power cut."""


@dataclass(frozen=True)
class Frame:
    """Frame of a file.

    Attributes:
        start, size: the place of its content, and how many bytes of that can be read.
        raw, raw_end: the bytes of the file in which it stands: the first, and the one after the last.
        stop: the byte of the file before which reading its content ends: the zeros of a power cut, or its end.
        good: whether it is whole, and holds whole lines, and not too many.
        damaged: whether its checksum or its structure shows a change since it was compressed.
    """

    start: int
    size: int
    raw: int
    raw_end: int
    stop: int
    good: bool = True
    damaged: bool = False

    @property
    def end(self) -> int:
        """The place after its content."""
        return self.start + self.size


class CompressedLines:
    """Lines of a compressed file, pipe or device: see `Lines`."""

    def __init__(self, output: OutputFile, compression: Compression) -> None:
        self._output = output
        self._compression = compression
        self._frames: list[Frame] = []
        self._framer = _Framer(compression, self._frames)
        self._cursor: _Cursor | None = None

    def lines(self, longest: int, *, tolerant: bool = False) -> Iterator[bytes]:
        """Yields the lines, as far as they can be read.

        Raises:
            OutputError: a frame is damaged, and not by a power cut.
        """
        return in_lines(self._scan(tolerant=tolerant), longest)

    def damage(self) -> list[tuple[int, int]]:
        """Returns the frames that are damaged."""
        return [(frame.raw, frame.raw_end) for frame in self._frames if frame.damaged]

    def line_at(self, start: int) -> bytes:
        """Returns the line that begins at a place, without its end. Ascending places in a frame are reached in one go."""
        number = bisect_right(self._frames, start, key=lambda frame: frame.start) - 1
        first, cursor = self._frames[number].start, self._cursor
        if cursor is None or not first <= cursor.position <= start:
            self._cursor = cursor = _Cursor(self._content(number), first)
        line = cursor.line_at(start)
        if line is None:
            raise OutputError(f"{self._output.name} was changed by another program while it was written")
        return line

    def cut(self, size: int) -> None:
        """Removes what is behind a place, and brings the frames into order."""
        if size == 0:
            self._frames.clear()
            self._output.cut(0)
        else:
            while not self._frames[-1].size:
                self._frames.pop()
            if self._frames[-1].end == size and all(frame.good for frame in self._frames):
                self._output.cut(self._frames[-1].raw_end)
            elif not self._output.unchanged:
                self._rewrite((), size)
        self._framer = _Framer(self._compression, self._frames)

    def check_room(self, beginning: bytes) -> None:
        """Writes zeros, which a power cut may leave as well, and removes them again."""
        del beginning
        self._output.check_room(bytes(PROBE_BYTES))

    def append(self, line: bytes) -> None:
        """Writes a line."""
        try:
            self._output.append(self._framer.add(line, flush=True))
        except OutputError:
            self._framer.abandon()  # what follows would refer to the line that is missing
            raise
        if self._framer.size >= FRAME_BYTES:
            self.end()

    def end(self) -> None:
        """Ends the frame."""
        if last := self._framer.end():
            self._output.append(last)

    def rewrite(self, changes: Iterable[Change]) -> None:
        """Replaces the file with a changed copy. Frames without a change are copied as they are."""
        self.end()
        self._rewrite(changes, self._frames[-1].end if self._frames else 0)

    def _rewrite(self, changes: Iterable[Change], size: int) -> None:
        frames: list[Frame] = []
        self._output.rewrite(self._pieces(iter(changes), size, frames))
        self._frames, self._cursor = frames, None
        self._framer = _Framer(self._compression, frames)

    def _pieces(
        self, changes: Iterator[Change], size: int, frames: list[Frame]
    ) -> Iterator[bytes | tuple[int, int]]:
        """Yields what a changed copy consists of: bytes, and ranges of bytes of this file. Adds its frames to `frames`."""
        framer = _Framer(self._compression, frames)
        change = next(changes, None)
        for number, frame in enumerate(self._frames):
            if frame.good and frame.end <= size and (change is None or change.start >= frame.end):
                yield framer.end()
                yield frame.raw, frame.raw_end
                framer.copy(frame)
                continue
            position = frame.start
            for piece in self._content(number, number + 1):
                kept = piece[: max(0, size - position)]
                content, change = changed(kept, position, change, changes)
                position += len(kept)
                yield from framer.lines(content)
        yield framer.end()

    def _content(self, first: int, after: int | None = None) -> Iterator[bytes]:
        """Yields the content of frames, as far as it can be read."""
        for frame in self._frames[first:after]:
            left = frame.size
            reader = iter(FrameReader(self._compression, self._output.read, frame.raw, frame.stop))
            while left and (piece := next(reader, b"")):
                yield piece[:left]
                left -= len(piece[:left])

    def _scan(self, *, tolerant: bool) -> Iterator[bytes]:
        """Yields the content of the file, and notes its frames.

        The content of a frame is yielded when all of it agrees with its checksum, unless that takes too much memory. Of a
        frame with zeros that a power cut left, the lines before them are yielded; of one that is damaged otherwise, none.
        """
        self._frames.clear()
        raw = start = lines = 0
        ended = True
        while raw < self._output.size:
            reader, size, content = FrameReader(self._compression, self._output.read, raw), 0, bytearray()
            begun, whole, damaged, stop = ended, False, False, None
            try:
                for piece in reader:
                    if len(content) > MOST_FRAME_BYTES:
                        lines, size = lines + content.count(b"\n"), size + len(content)
                        yield bytes(content)
                        content.clear()
                    content += piece
                end = self._output.size if reader.end is None else reader.end
                whole = reader.end is not None
            except DamagedFrameError as error:
                end = self._next_frame(raw + 1)
                blank = self._blank(raw, end)
                damaged = blank is None
                if damaged and not tolerant:
                    raise self._damage(lines, error) from error
                stop = raw if blank is None else blank
                content = self._before(stop, raw)[size:]
            lines += content.count(b"\n")
            size += len(content)
            if content:
                ended = content.endswith(b"\n")
                yield bytes(content)
            good = whole and begun and ended and size <= MOST_FRAME_BYTES
            # of a long frame, what was yielded before the damage stays
            stop = end if stop is None or damaged else stop
            self._frames.append(Frame(start, size, raw, end, stop, good, damaged))
            raw, start = end, start + size

    def _before(self, stop: int, raw: int) -> bytearray:
        """Returns the whole lines of the frame at `raw` that stand before a byte of the file."""
        content = bytearray()
        try:
            for piece in FrameReader(self._compression, self._output.read, raw, stop):
                content += piece
        except DamagedFrameError:
            content.clear()
        return content[: content.rfind(b"\n") + 1]

    def _damage(self, lines: int, error: DamagedFrameError) -> OutputError:
        name = self._output.name
        if not self._output.read(0, len(self._compression.magic)).startswith(self._compression.magic):
            return OutputError(
                f"{name}: line 1 was not written by pyraface (the file is not compressed): choose another name, or "
                "replace the file with --overwrite"
            )
        return OutputError(
            f"{name} is damaged behind line {lines} ({error}): move the damaged part to {name}{BROKEN} with --repair, or "
            "replace the file with --overwrite"
        )

    def _next_frame(self, raw: int) -> int:
        """Returns the first byte of the next frame with a line, from a byte on; the end of the file if there is none."""
        for position in self._found(self._compression.magic, raw, self._output.size):
            try:
                if next(iter(FrameReader(self._compression, self._output.read, position)), b"").startswith(
                    b"{"
                ):
                    return position
            except DamagedFrameError:  # these bytes may stand anywhere
                continue
        return self._output.size

    def _blank(self, raw: int, end: int) -> int | None:
        """Returns where zeros begin in a part of the file: those of a power cut, or fewer at the end of the file."""
        if not self._output.read(raw, len(BLANK)).strip(b"\0"):
            return raw
        return next(self._found(BLANK, raw, end), None)

    def _found(self, wanted: bytes, raw: int, end: int) -> Iterator[int]:
        """Yields where some bytes stand in a part of the file."""
        while raw < end:
            data = self._output.read(raw, min(PIECE + len(wanted) - 1, end - raw))
            at = data.find(wanted)
            while at >= 0:
                yield raw + at
                at = data.find(wanted, at + 1)
            raw += PIECE


class _Framer:
    """Writer of frames behind others: lines in, the bytes of the file out.

    Attributes:
        size: bytes of content in the frame that is open.
    """

    def __init__(self, compression: Compression, frames: list[Frame]) -> None:
        self._compression, self._frames = compression, frames
        self._frame: Compressor | None = None
        self._raw = 0
        self.size = 0

    def add(self, data: bytes, *, flush: bool) -> bytes:
        """Returns the next bytes of the file."""
        if self._frame is None:
            self._frame, self._raw, self.size = self._compression.compressor(), 0, 0
        compressed = self._frame.add(data, flush=flush)
        self.size += len(data)
        self._raw += len(compressed)
        return compressed

    def lines(self, data: bytes) -> Iterator[bytes]:
        """Yields the next bytes of the file, with frames that end with a line."""
        cut = data.rfind(b"\n") + 1
        if cut and self.size + cut >= FRAME_BYTES:
            yield self.add(data[:cut], flush=False)
            yield self.end()
            data = data[cut:]
        if data:
            yield self.add(data, flush=False)

    def end(self) -> bytes:
        """Returns the last bytes of the frame that is open, b"" if none is."""
        if self._frame is None:
            return b""
        last = self._frame.end()
        self._append(self.size, self._raw + len(last))
        self._frame, self.size = None, 0
        return last

    def abandon(self) -> None:
        """Leaves the frame without an end: it can be read as far as it was written."""
        self._frame, self.size = None, 0

    def copy(self, frame: Frame) -> None:
        """Notes that a frame was copied."""
        self._append(frame.size, frame.raw_end - frame.raw)

    def _append(self, size: int, raw: int) -> None:
        start, at = (self._frames[-1].end, self._frames[-1].raw_end) if self._frames else (0, 0)
        self._frames.append(Frame(start, size, at, at + raw, at + raw))


class _Cursor:
    """Place in the content up to which it was read."""

    def __init__(self, pieces: Iterator[bytes], position: int) -> None:
        self.position = position
        self._pieces, self._ahead = pieces, b""

    def line_at(self, start: int) -> bytes | None:
        """Returns the line at a place that is not before the cursor; None if there is none."""
        while start >= self.position + len(self._ahead):
            self.position += len(self._ahead)
            self._ahead = next(self._pieces, b"")
            if not self._ahead:
                return None
        self._ahead = self._ahead[start - self.position :]
        self.position = start
        while b"\n" not in self._ahead:
            piece = next(self._pieces, b"")
            if not piece:
                return None
            self._ahead += piece
        return self._ahead.partition(b"\n")[0]
