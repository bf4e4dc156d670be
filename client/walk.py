"""Which files a person means by the paths on the command line."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

EXTENSIONS = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".webp", ".gif"}
    | {".tif", ".tiff", ".bmp", ".dib", ".heic", ".heif", ".hif", ".avif"}
)
"""Names that a directory's images end in, lower case."""


class Walk:
    """Iterates over image files: files as named, directories with all that is below them, sorted by name.

    In a directory only files with an image's extension count, and nothing whose name begins with a dot; a file that is
    named itself always counts. Links to files are followed, links to directories are not: they may lead in circles.

    Attributes:
        skipped: files passed over so far, because they are no images by their names.
        unreadable: (path, reason) of directories that could not be read so far.
    """

    def __init__(self, paths: Iterable[str]) -> None:
        self._paths = paths
        self.skipped = 0
        self._stopped = False
        self.unreadable: list[tuple[str, str]] = []

    def stop(self) -> None:
        """Ends the iteration, wherever another thread is with it."""
        self._stopped = True

    def __iter__(self) -> Iterator[str]:
        for path in self._paths:
            if os.path.isdir(path):
                yield from self._below(path)
            else:
                yield path

    def _below(self, directory: str) -> Iterator[str]:
        if self._stopped:
            return
        try:
            with os.scandir(directory) as entries:
                found = sorted(entries, key=lambda entry: os.fsencode(entry.name))
        except OSError as error:
            self.unreadable.append((directory, error.strerror or str(error)))
            return
        for entry in found:
            if entry.name.startswith("."):
                self.skipped += 1
            elif _is_directory(entry, follow_symlinks=False):
                yield from self._below(entry.path)
            elif os.path.splitext(entry.name)[1].lower() in EXTENSIONS and not _is_directory(
                entry, follow_symlinks=True
            ):
                yield entry.path
            else:
                self.skipped += 1


def _is_directory(entry: os.DirEntry[str], *, follow_symlinks: bool) -> bool:
    try:
        return entry.is_dir(follow_symlinks=follow_symlinks)
    except OSError:  # a link to itself, or to where nobody may look: whoever reads it is told
        return False
