"""Scan: the image files at and below the paths on a command line."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Iterator

EXTENSIONS = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".webp", ".gif"}
    | {".tif", ".tiff", ".bmp", ".dib", ".heic", ".heif", ".hif", ".avif"}
)
"""Suffixes of image files in a directory, in lower case."""

SORTED = 10_000
"""Entries of a directory that are sorted at a time, some 3 MB. A directory of a million files would take 300 MB, and all of
it would have to be listed before the first image could be sent."""


class Scan:
    """Iterates over image files: the files named, and the images at any depth below the directories named, each once.

    In a directory, a file counts if it has an image's extension and its name does not begin with a dot; a file that is
    named itself always counts. Links to files are followed; links to directories are not, because they may be circular.

    The entries of a directory are sorted by name, if there are at most `SORTED` of them. A larger directory is processed in
    batches of `SORTED` entries in the order of the file system, each batch sorted: only one batch is in memory at a time.

    Args:
        paths: files and directories, which may overlap.
        read: called with each directory whose entries could be read.

    Attributes:
        skipped: number of files skipped so far, because their names are not names of images.
        unreadable: (path, reason) of each directory so far that could not be read.
    """

    def __init__(self, paths: Iterable[str], *, read: Callable[[str], None] = lambda _: None) -> None:
        # by absolute path, because one file can be named in several ways: `a`, `./a`, `/home/me/a`
        self._named = {os.path.abspath(path): path for path in reversed(list(paths))}
        self._names = {os.path.basename(path) for path in self._named}
        self._read = read
        self._stopped = False
        self.skipped = 0
        self.unreadable: list[tuple[str, str]] = []

    def stop(self) -> None:
        """Ends the iteration; may be called from any thread."""
        self._stopped = True

    def __iter__(self) -> Iterator[str]:
        for path in reversed(self._named.values()):
            if os.path.isdir(path):
                yield from self._below(path)
            else:
                yield path

    def _below(self, directory: str) -> Iterator[str]:
        open_directories = [self._entries(directory)]
        while open_directories and not self._stopped:
            entry = next(open_directories[-1], None)
            if entry is None:
                open_directories.pop()
            elif entry.name in self._names and os.path.abspath(entry.path) in self._named:
                continue  # it is named itself, and is scanned separately
            elif entry.name.startswith("."):
                self.skipped += 1
            elif _is_directory(entry, follow_symlinks=False):
                open_directories.append(self._entries(entry.path))
            elif os.path.splitext(entry.name)[1].lower() in EXTENSIONS and not _is_directory(
                entry, follow_symlinks=True
            ):
                yield entry.path
            else:
                self.skipped += 1

    def _entries(self, directory: str) -> Iterator[os.DirEntry[str]]:
        try:
            with os.scandir(directory) as entries:
                while stretch := list(itertools.islice(entries, SORTED)):
                    yield from sorted(stretch, key=lambda entry: os.fsencode(entry.name))
        except OSError as error:
            self.unreadable.append((directory, error.strerror or str(error)))
        else:
            self._read(directory)


def _is_directory(entry: os.DirEntry[str], *, follow_symlinks: bool) -> bool:
    try:
        return entry.is_dir(follow_symlinks=follow_symlinks)
    except OSError:  # a link to itself, or into a forbidden directory: reading it reports the error
        return False
