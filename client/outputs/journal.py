"""The output: one JSON line an image. A file that is there already is gone on with.

While a run goes on, the later of two lines of one path counts; at its end the earlier is removed. What is written to, and
how, is `output`'s affair.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Container
from types import TracebackType

from ...core.errors import OutputError
from ...core.results import Result
from ..inputs.reader import File
from .file import Output
from .index import Entry, Head, Index, State

MAX_LINE_BYTES = 256 << 20
"""No line is as long: it would have a hundred thousand faces. A file without line ends is not read whole to see that."""

_BEGINNING = b'{"path":'

_PROBE = _BEGINNING.ljust(4096)
"""Written and cut off again to see whether there is room: what remains of it if the program ends there is a cut line."""


class Journal:
    """Writes results to a file, or to standard output; knows what earlier runs wrote to the file.

    Use as a context manager; then `load` and `begin` before anything else, and `finish` at the end of a run that was not
    interrupted. Its methods may be called from any thread.

    A file that no line was written to is not left behind.

    Args:
        path: None for standard output.
        overwrite: forget what a file holds, when the first line is written.
        retry_failed: images that failed at a server are to be done again.

    Raises:
        OutputError: it cannot be written, or another run writes to it; standard output is closed.

    Attributes:
        waits: whether `write` may have to wait until somebody reads: from the event loop, call it in a thread.
        known: images of this run that have their line from an earlier one.
        known_failed: those of them that failed.
        repeated: images of this run whose line is that of another file with the same bytes.
        replaces: whether what the file holds is still to be forgotten.
    """

    def __init__(self, path: str | None, *, overwrite: bool = False, retry_failed: bool = False) -> None:
        self.known = self.known_failed = self.repeated = 0
        self._retry_failed = retry_failed
        self._fingerprints: Container[str] = ()
        self._index = Index()
        self._lock = threading.Lock()
        self._output = Output(path)
        self.waits = self._output.waits
        self.replaces = overwrite and self._output.keeps

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._output.stop()  # first: another thread may have the lock until then
        with self._lock:
            try:
                self._output.close()
            except OutputError:
                if error is None:
                    raise

    def stop(self) -> None:
        """Ends `load` and `finish`, wherever another thread is with them, and the waiting of `write` for a reader.

        The file stays as it is.
        """
        self._output.stop()

    def load(self) -> None:
        """Reads what earlier runs wrote, line by line, and cuts off a last line that is not whole.

        Raises:
            OutputError: the file is not one that this program wrote, or there is no room for more.
        """
        with self._lock:
            if self._output.keeps:
                if not self.replaces:
                    self._read()
                self._output.check_room(_PROBE)
            self._index.sort()

    def _read(self) -> None:
        start = 0
        for number, line in enumerate(self._output.lines(MAX_LINE_BYTES), 1):
            if self._output.stopped:
                return
            if not line.endswith(b"\n"):
                if len(line) == MAX_LINE_BYTES or (number == 1 and not _may_be_cut(line)):
                    raise self._foreign(
                        number, "it is too long" if number > 1 else "it does not begin like one"
                    )
                break
            head: Head | None = None
            if number == 1 or b"\0" not in line:  # what a power cut leaves of a block that was never written
                try:
                    head = Head.parse(line)
                except (ValueError, RecursionError) as error:
                    raise self._foreign(number, str(error)) from None
            self._index.add(head, start, start + len(line))
            start += len(line)
        self._output.cut(start)

    def begin(self, fingerprints: Container[str]) -> list[str]:
        """Says what is there already, in lines for a person.

        Args:
            fingerprints: those of the servers of this run, now and later: what has another is done again.
        """
        self._fingerprints = fingerprints
        if not len(self._index):
            return []
        done, done_otherwise = self._index.count(State.DONE, fingerprints)
        failed, failed_otherwise = self._index.count(State.FAILED, fingerprints)
        _, unanswered = self._index.count(State.UNANSWERED, ())
        words = [f"{_images(done)} done"]
        if failed:
            hint = "tried again" if self._retry_failed else "--retry-failed tries them again"
            words.append(f"{failed} failed ({hint})")
        if unanswered:
            words.append(f"{unanswered} without an answer, tried again")
        lines = [f"going on with {self._output.name}: {', '.join(words)}"]
        if otherwise := done_otherwise + failed_otherwise:
            lines.append(f"{_images(otherwise)} to be done again: parameters or engines were others then")
        return lines

    def has(self, path: str) -> bool:
        """Returns whether an image needs not be read: its line is there, and the file has not changed since."""
        with self._lock:
            entry = self._index.at(path)
        if entry is None or not self._stands(entry):
            return False
        try:
            status = os.stat(path)
        except (OSError, ValueError):
            return False
        if (entry.size, entry.modified) != (status.st_size, status.st_mtime_ns):
            return False
        with self._lock:
            self._index.see(entry.number)
            self.known += 1
            self.known_failed += entry.state is State.FAILED
        return True

    def repeat(self, file: File) -> bool:
        """Returns whether an image needs not be sent: a file with the same bytes has a line, which was written for it.

        Raises:
            OutputError: the line could not be written.
        """
        with self._lock:
            same = next(
                (entry for entry in self._index.with_digest(file.digest) if self._stands(entry)), None
            )
            if same is None:
                return False
            try:
                content = json.loads(self._output.line_at(same.start))
            except (ValueError, RecursionError):  # only its beginning was read until now
                return False
            if content["digest"] != file.digest:
                return False
            content.update(path=file.path, size=file.size, modified=file.modified)
            self._append(content, file.path)
            self._index.repeat(same.number)
            self.repeated += 1
            self.known_failed += same.state is State.FAILED
        return True

    def write(self, result: Result) -> None:
        """Writes the line for one image; whoever reads the file sees whole lines only.

        Faces are not given up for a failure that no server has seen: of a file that cannot be read just now, say, the
        line from before stays.

        Raises:
            OutputError: the disk is full, or the reader of a pipe is gone.
        """
        with self._lock:
            before = self._index.at(result.path)
            if (
                before is not None
                and before.state is State.DONE
                and result.error is not None
                and not result.fingerprint
            ):
                self._index.see(before.number)
                return
            self._append(result.as_json(), result.path)

    def forget(self, path: str) -> None:
        """A directory could be read this time: its line, if it has one, says otherwise."""
        with self._lock:
            entry = self._index.at(path)
            if entry is not None:
                self._index.drop(entry.number)

    def finish(self) -> None:
        """Removes lines that count no more: of paths that have a later line, and of files that have moved.

        A line whose file is gone stays, unless the same bytes were seen at another path: nobody wants to lose a night's
        work because a disk was not there in the morning.

        Raises:
            OutputError: the file could not be written anew; it is as it was.
        """
        if not self._output.keeps:
            return
        with self._lock:
            for entry in self._index.doubtful():
                if not os.path.lexists(Head.parse(self._output.line_at(entry.start)).path):
                    self._index.drop(entry.number)
            if next(self._index.dropped(), None) is not None:
                self._output.write_anew(self._index.dropped())

    def _stands(self, entry: Entry) -> bool:
        """Whether an image with this line needs no server."""
        if entry.state is State.FAILED and self._retry_failed:
            return False
        return entry.state in (State.DONE, State.FAILED) and entry.fingerprint in self._fingerprints

    def _append(self, content: dict[str, object], path: str) -> None:
        # ascii: a file name that is no valid UTF-8 is kept as \udcXX, and read back as the very same name
        line = json.dumps(content, separators=(",", ":")).encode("ascii") + b"\n"
        before = self._index.at(path)
        if self.replaces:
            self._output.cut(0)
            self.replaces = False
        self._output.append(line)
        if before is not None:
            self._index.drop(before.number)

    def _foreign(self, number: int, reason: str) -> OutputError:
        return OutputError(
            f"{self._output.name}: line {number} is none of this program's ({reason}): choose another name, or "
            "replace the file with --overwrite"
        )


def _images(count: int) -> str:
    return "1 image" if count == 1 else f"{count} images"


def _may_be_cut(line: bytes) -> bool:
    """Whether these bytes can be what is left of the first line of an output."""
    return line.startswith(_BEGINNING) or _BEGINNING.startswith(line)
