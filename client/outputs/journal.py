"""Journal: the output of a run, with one line for each image. An existing output is resumed.

If two lines have the same path, the later one is valid; at the end of the run the earlier one is removed.
"""

from __future__ import annotations

import os
import threading
from collections import Counter, defaultdict
from collections.abc import Container, Sequence
from types import TracebackType

from ...core.errors import OutputError
from ...core.results import Result, path_as_json, path_from_json, time_as_json
from ...core.text import plural
from ..inputs.file_reader import File
from . import loading
from .compressed_lines import CompressedLines
from .formats import format_of
from .former_lines import completed
from .index import Entry, Index, LineState, Outdated, time_key
from .lines import BROKEN, Change, Lines, PlainLines
from .output_file import OutputFile
from .validity import Stale, Validity

LATEST = 100
"""Lines from which the speed of each server is computed."""


class Journal:
    """Journal of the images done: writes a line for each image, and reads the lines of earlier runs.

    Use as a context manager; first call `load` and `begin`, and call `finish` at the end of a run that was not interrupted.
    The methods may be called from any thread.

    A file without lines is deleted at the end.

    Args:
        path: None for standard output.
        overwrite: replace an existing file when the first line is written.
        retry_failed: process again the images in which a server found an error, too.
        redo_from: engines, devices and versions whose results are computed again.
        repair: move broken lines to FILE.broken; without it they are an error.
        unchanged: only read the lines: `write`, `repeat` and `finish` are not called.

    Raises:
        OutputError: the output cannot be written, another run writes to it, or standard output is closed.

    Attributes:
        waits: whether `write` may have to wait for a reader; if so, the event loop must call it in a thread.
        watched: whether the output is read while it is written, perhaps on the terminal that shows the progress.
        known: number of images of this run that have a line from an earlier run.
        known_failed: number of images, among `known` and `repeated`, that failed in the earlier run.
        repeated: number of images whose line was copied from the line of another file with the same bytes.
        redone: number of images with a line from an earlier run that were done again, by the reason.
        replaces: whether an existing file is still to be replaced, by the first line.
    """

    def __init__(
        self,
        path: str | None,
        *,
        overwrite: bool = False,
        retry_failed: bool = False,
        redo_from: Sequence[str] = (),
        repair: bool = False,
        unchanged: bool = False,
    ) -> None:
        self.known = self.known_failed = self.repeated = 0
        self.redone: Counter[Stale] = Counter()
        self._validity = Validity(redo_from=redo_from, retry_failed=retry_failed)
        self._index = Index()
        self._lock = threading.Lock()
        self._format, compression = format_of(path)
        self._output = OutputFile(path, unchanged=unchanged)
        self._lines: Lines = PlainLines(self._output)
        if compression is not None:
            self._lines = CompressedLines(self._output, compression())
        self._repair = repair
        self.waits = self._output.waits
        self.watched = self._output.watched
        self.replaces = overwrite and self._output.keeps

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._output.stop()  # first, because another thread may hold the lock until it is interrupted
        with self._lock:
            try:
                try:
                    self._lines.end()
                finally:
                    self._output.close()
            except OutputError:
                if error is None:
                    raise

    def stop(self) -> None:
        """Interrupts `load`, `finish`, and a `write` that waits for a reader; may be called from any thread.

        The file remains valid.
        """
        self._output.stop()

    def load(self) -> list[str]:
        """Reads the lines of earlier runs, and cuts off an incomplete last line.

        Returns:
            What was moved to another file, for the user.

        Raises:
            OutputError: the file was not written by pyraface, a line is broken, the disk has no room, or no line has an
                engine, device or version whose results are to be computed again.
        """
        moved = 0
        with self._lock:
            if self._output.keeps:
                if not self.replaces:
                    if self._repair:
                        moved = loading.repair(self._output, self._lines, self._format)
                    loading.load(self._output, self._lines, self._format, self._index)
                self._lines.check_room(self._format.beginning)
            self._index.sort()
            if not self._output.stopped:
                lines = (self._index.counts(state) for state in (LineState.DONE, LineState.FAILED))
                self._validity.check([origin for counts in lines for origin in counts], self._output.name)
        return [f"{plural(moved, 'broken line')} moved to {self._output.name}{BROKEN}"] if moved else []

    def begin(self, fingerprints: Container[str]) -> list[str]:
        """Returns the lines that summarise an existing output for the user.

        Args:
            fingerprints: of the servers of this run, now and later; images with other fingerprints are processed again.
        """
        self._validity.fingerprints = fingerprints
        if not len(self._index):
            return []
        standing: Counter[LineState] = Counter()
        stale: Counter[Stale] = Counter()
        for state in (LineState.DONE, LineState.FAILED, LineState.UNANSWERED):
            for origin, count in self._index.counts(state).items():
                reason = self._validity.problem(origin, state)
                if reason is None:
                    standing[state] += count
                else:
                    stale[reason] += count
        words = [f"{plural(standing[LineState.DONE], 'image')} done"]
        if standing[LineState.FAILED]:
            words.append(f"{standing[LineState.FAILED]} failed (--retry-failed retries them)")
        for reason in (Stale.RETRIED, Stale.UNANSWERED):
            if stale[reason]:
                words.append(f"{stale[reason]} {reason.value} (retried)")
        lines = [f"resuming {self._output.name}: {', '.join(words)}"]
        for reason in (Stale.PARAMETERS, Stale.REDO):
            if stale[reason]:
                lines.append(
                    f"{plural(stale[reason], 'image')} {self._validity.words(reason)}: processed again"
                )
        return lines

    def summary(self) -> str:
        """Returns how many images were done again and why; "" if none was."""
        if not self.redone:
            return ""
        reasons = (f"{count} {self._validity.words(reason)}" for reason, count in self.redone.items())
        return f"{self.redone.total()} done again: {', '.join(reasons)}"

    def speeds(self) -> dict[str, float]:
        """Returns the megapixels per second of each server in the last lines, by its name."""
        megapixels: defaultdict[str, float] = defaultdict(float)
        seconds: defaultdict[str, float] = defaultdict(float)
        with self._lock:
            for start in self._index.latest(LATEST):
                try:
                    record = self._format.decode(self._lines.line_at(start))
                    pixels = float(record["width"]) * float(record["height"])  # type: ignore[arg-type]
                    took = float(record["seconds"])  # type: ignore[arg-type]
                except (ValueError, RecursionError, KeyError, TypeError):  # only its head was checked
                    continue
                megapixels[str(record.get("server"))] += pixels / 1e6
                seconds[str(record.get("server"))] += took
        return {server: megapixels[server] / took for server, took in seconds.items() if took > 0}

    def has(self, path: str) -> bool:
        """Returns whether an image is skipped without being read: it has a valid line, and its file is unchanged."""
        with self._lock:
            entry = self._index.at(path)
        if entry is None or not self._valid(entry):
            return False
        try:
            status = os.stat(path)
        except (OSError, ValueError):
            return False
        if (entry.size, entry.modified) != (status.st_size, time_key(status.st_mtime_ns)):
            return False
        with self._lock:
            self._index.see(entry.number)
            self.known += 1
            self.known_failed += entry.state is LineState.FAILED
        return True

    def repeat(self, file: File) -> bool:
        """Copies the line of a file with the same bytes, if it is valid. Returns whether it did: then the image is not sent.

        Raises:
            OutputError: the line could not be written.
        """
        with self._lock:
            same = next((entry for entry in self._index.with_digest(file.digest) if self._valid(entry)), None)
            if same is None:
                return False
            try:
                record = completed(self._format.decode(self._lines.line_at(same.start)))
            except (ValueError, RecursionError):  # until now only the head of the line was read
                return False
            if record["digest"] != file.digest:
                return False
            touched = path_from_json(record) == file.path
            record.update(path_as_json(file.path), size=file.size, modified=time_as_json(file.modified))
            self._append(record, file.path)
            self._index.repeat(same.number)
            if touched:
                self.known += 1
            else:
                self.repeated += 1
            self.known_failed += same.state is LineState.FAILED
        return True

    def write(self, result: Result) -> None:
        """Writes the line of one image, whole or not at all.

        Only an error in the image replaces a line with faces: if a file cannot be read this time, for example, or the server
        fails, its line from an earlier run stays.

        Raises:
            OutputError: the disk is full, or the reader of a pipe has gone.
        """
        with self._lock:
            before = self._index.at(result.path)
            if (
                before is not None
                and before.state is LineState.DONE
                and result.error is not None
                and (not result.fingerprint or result.error[0].retried)
            ):
                self._index.see(before.number)
                return
            self._append(result.as_json(), result.path)
            if before is not None:
                reason = self._validity.problem(before.origin, before.state) or Stale.CHANGED
                if reason is not Stale.UNANSWERED:
                    self.redone[reason] += 1

    def forget(self, path: str) -> None:
        """Drops the error line of a directory that an earlier run could not read, now that it has been read."""
        with self._lock:
            entry = self._index.at(path)
            if entry is not None:
                self._index.drop(entry.number)

    def finish(self) -> None:
        """Removes superseded lines: lines of paths that have a later line, and of files that have moved.

        Former lines are completed.
        The line of a missing file stays, unless the same bytes were seen at another path: a night's work is not lost
        because a disk was unplugged in the morning.

        Raises:
            OutputError: the new file could not be written, or a former line is damaged; the old file is unchanged.
        """
        with self._lock:
            if not self._output.keeps:
                self._lines.end()
                return
            for entry in self._index.doubtful():
                if not os.path.lexists(self._format.head(self._lines.line_at(entry.start)).path):
                    self._index.drop(entry.number)
            if next(self._index.outdated(), None) is not None:
                self._lines.rewrite(map(self._brought_up_to_date, self._index.outdated()))

    def _brought_up_to_date(self, line: Outdated) -> Change:
        if line.dropped:
            return Change(line.start, line.end, b"")
        try:
            record = completed(self._format.decode(self._lines.line_at(line.start)))
        except (ValueError, RecursionError) as error:
            raise loading.foreign(self._output, line.number + 1, str(error)) from None
        return Change(line.start, line.end, self._format.encode(record))

    def _valid(self, entry: Entry) -> bool:
        """Returns whether a line is valid in this run, so that its image need not be sent."""
        return self._validity.problem(entry.origin, entry.state) is None

    def _append(self, record: dict[str, object], path: str) -> None:
        line = self._format.encode(record)
        before = self._index.at(path)
        if self.replaces:
            self._lines.cut(0)
            self.replaces = False
        self._lines.append(line)
        if before is not None:
            self._index.drop(before.number)
