"""Scan: the image files at and below the paths on a command line."""

from __future__ import annotations

import itertools
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from ...core.errors import NoImagesError
from .file_kinds import Skipped, kind_of_file

SYSTEM_FOLDERS = frozenset(
    name.casefold()
    for name in (
        # Synology, QNAP: thumbnails, snapshots, deleted files
        *(
            "@eaDir",
            "@tmp",
            "@sharebin",
            "#recycle",
            "#snapshot",
            "@Recycle",
            "@Recently-Snapshot",
            ".@__thumb",
        ),
        # Windows
        *("$RECYCLE.BIN", "RECYCLER", "System Volume Information"),
        # macOS
        *("__MACOSX", ".AppleDouble", ".AppleDB", ".DocumentRevisions-V100", ".fseventsd", ".Spotlight-V100"),
        *(".TemporaryItems", ".Trashes"),
        # Linux, Syncthing, ownCloud and Nextcloud, digiKam
        *("lost+found", ".thumbnails", ".Trash", ".snapshots", ".zfs", ".stfolder", ".stversions", ".dtrash"),
        *("files_trashbin", "files_versions"),
    )
)
"""Folders that systems make, in lower case: copies, thumbnails and deleted files of photographs that are elsewhere."""

SORTED = 10_000
"""Entries of a directory that are sorted at a time, some 3 MB. A directory of a million files would take 300 MB, and all of
it would have to be listed before the first image could be sent."""


class Patterns(Protocol):
    """Patterns of gitignore, as pathspec reads them."""

    def match_file(self, file: str) -> bool: ...


@dataclass(frozen=True)
class Selection:
    """Which entries of directories are taken.

    Attributes:
        exclude: files and folders that match are not taken.
        include: if there is any, only files that match are taken.
        follow_links: whether links to folders are followed; each folder is walked once, so that circles end.
    """

    exclude: Patterns | None = None
    include: Patterns | None = None
    follow_links: bool = False

    @classmethod
    def of(cls, exclude: Iterable[str], include: Iterable[str], *, follow_links: bool) -> Selection:
        """Returns the selection by patterns in the syntax of gitignore, relative to the directory that is named.

        Raises:
            NoImagesError: a pattern is invalid.
        """
        return cls(
            _patterns("--exclude", list(exclude)),
            _patterns("--include", list(include)),
            follow_links,
        )


def _patterns(option: str, lines: list[str]) -> Patterns | None:
    if not lines:
        return None
    import pathspec  # 25 ms, of which only runs with patterns have use

    found = []
    for line in lines:
        try:
            found.append(pathspec.GitIgnoreSpec.from_lines([line]))
        except ValueError as error:
            raise NoImagesError(f"{option} {line}: not a pattern of gitignore: {error}") from error
    return pathspec.GitIgnoreSpec([pattern for spec in found for pattern in spec.patterns])


class Scan:
    """Iterates over image files: the files named, and the images at any depth below the directories named, each once.

    In a directory, a file counts by its suffix, or else by its first bytes (`file_kinds`), if its name does not begin with
    a dot; a file that is named itself always counts. Links to files are followed. Folders that systems make, hidden folders
    and links to folders are not entered, unless they are named themselves.

    The entries of a directory are sorted by name, if there are at most `SORTED` of them. A larger directory is processed in
    batches of `SORTED` entries in the order of the file system, each batch sorted: only one batch is in memory at a time.

    Args:
        paths: files and directories, which may overlap.
        read: called with each directory whose entries could be read.
        skip: called with each entry that is not taken, and its kind.

    Attributes:
        skipped: numbers of the entries skipped so far.
        unreadable: (path, reason) of each directory so far that could not be read.
    """

    def __init__(
        self,
        paths: Iterable[str],
        selection: Selection = Selection(),
        *,
        read: Callable[[str], None] = lambda _: None,
        skip: Callable[[str, Skipped], None] = lambda *_: None,
    ) -> None:
        # by absolute path, because one file can be named in several ways: `a`, `./a`, `/home/me/a`
        self._named = {os.path.abspath(path): path for path in reversed(list(paths))}
        self._names = {os.path.basename(path) for path in self._named}
        self._selection = selection
        self._read = read
        self._skip = skip
        self._walked: set[tuple[int, int]] = set()
        """Device and inode of the folders walked, where links are followed."""
        self._stopped = False
        self.skipped: Counter[Skipped] = Counter()
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

    def _below(self, root: str) -> Iterator[str]:
        open_directories = [self._entries(root)]
        while open_directories and not self._stopped:
            entry = next(open_directories[-1], None)
            if entry is None:
                open_directories.pop()
            elif entry.name in self._names and os.path.abspath(entry.path) in self._named:
                continue  # it is named itself, and is scanned separately
            elif (kind := self._kind(entry, root)) is not None:
                self.skipped[kind] += 1
                self._skip(entry.path, kind)
            elif _is_directory(entry, follow_symlinks=True):
                open_directories.append(self._entries(entry.path))
            else:
                yield entry.path

    def _kind(self, entry: os.DirEntry[str], root: str) -> Skipped | None:
        """Returns the kind of an entry below a root that is skipped, None for one that is taken."""
        select = self._selection
        directory = _is_directory(entry, follow_symlinks=True)
        if directory and is_system_folder(entry.name):
            return Skipped.SYSTEM_FOLDER
        if entry.name.startswith("."):
            return Skipped.HIDDEN
        if select.exclude is not None and select.exclude.match_file(
            os.path.relpath(entry.path, root) + "/" * directory
        ):
            return Skipped.EXCLUDED
        if directory:
            linked = not _is_directory(entry, follow_symlinks=False)
            return Skipped.LINKED_FOLDER if linked and not select.follow_links else None
        kind = kind_of_file(entry.name, entry.path)
        if (
            kind is None
            and select.include is not None
            and not select.include.match_file(os.path.relpath(entry.path, root))
        ):
            return Skipped.EXCLUDED
        return kind

    def _entries(self, directory: str) -> Iterator[os.DirEntry[str]]:
        try:
            if self._selection.follow_links:
                found = os.stat(directory)
                if (found.st_dev, found.st_ino) in self._walked:
                    return
                self._walked.add((found.st_dev, found.st_ino))
            with os.scandir(directory) as entries:
                while stretch := list(itertools.islice(entries, SORTED)):
                    yield from sorted(stretch, key=lambda entry: os.fsencode(entry.name))
        except OSError as error:
            self.unreadable.append((directory, error.strerror or str(error)))
        else:
            self._read(directory)


def is_system_folder(name: str) -> bool:
    """Returns whether a folder of this name is made by a system."""
    return name.casefold() in SYSTEM_FOLDERS or name.startswith(".Trash-")


def _is_directory(entry: os.DirEntry[str], *, follow_symlinks: bool) -> bool:
    try:
        return entry.is_dir(follow_symlinks=follow_symlinks)
    except OSError:  # a link to itself, or into a forbidden directory: reading it reports the error
        return False
