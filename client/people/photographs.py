"""Photographs: the regions in photographs' files, in the sidecars beside them and in Picasa's file of their folder.

No photograph is decoded. Where the same region stands in several places, that of the sidecar is taken first, because
programs that write sidecars leave the photograph as it was; then that inside the photograph, then Picasa's.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator

from ...core.errors import ImageError
from ...core.host import file_leases
from ...core.images.packets import MOST_BYTES, Metadata, metadata_of
from ...core.text import one_line
from . import picasa, xmp
from .frames import placed
from .regions import Areas, PhotographSize, Region, Regions, merged, shortened

_SIDECAR = ".xmp"


class RegionReader:
    """Reads the regions of photographs, one after the other. A folder is listed once while its photographs follow.

    Args:
        contacts: names of Picasa's contacts, of `picasa.contacts_of`, which its files in the folders may lack.
    """

    def __init__(self, contacts: picasa.Contacts | None = None) -> None:
        self._contacts = contacts
        self._folder: str | None = None
        self._names: dict[str, list[str]] = {}
        self._picasa: picasa.Folder | None = None
        self._picasa_problems: list[str] = []

    def read(self, path: str | os.PathLike[str], picture: PhotographSize | None = None) -> Regions:
        """Returns what a photograph says of the people in it. Whatever cannot be read is among the problems.

        Args:
            path: of the photograph.
            picture: its size and orientation, as `faces.jsonl` has them; by default, those in the header of the file.
        """
        path = os.fspath(path)
        folder, name = os.path.split(path)
        problems: list[str] = []
        metadata = _read_metadata(path, problems)
        if picture is None:
            size = metadata.upright if metadata is not None else None
            if metadata is None or size is None:
                return Regions(
                    problems=shortened(problems or [f"{_shown(name)}: its size is not in its header"])
                )
            picture = PhotographSize(*size, metadata.orientation)
        self._enter(folder)
        packets: list[tuple[Region, ...]] = []
        unplaced: list[str] = []
        for source, areas in self._areas(folder, name, metadata, problems):
            found = placed(areas, picture)
            packets.append(found.regions)
            unplaced += found.unplaced
            problems += [f"{_shown(source)}: {problem}" for problem in found.problems]
        return Regions(merged(packets), shortened(problems), tuple(dict.fromkeys(unplaced)))

    def _areas(
        self, folder: str, name: str, metadata: Metadata | None, problems: list[str]
    ) -> Iterator[tuple[str, Areas]]:
        """Yields each packet, with the name of its file."""
        for sidecar in self._sidecars(name):
            data = _read_whole(os.path.join(folder, sidecar), problems)
            if data is not None:
                yield sidecar, xmp.areas_of(data)
        if metadata is not None:
            problems += [f"{_shown(name)}: {problem}" for problem in metadata.problems]
            for packet in metadata.xmp:
                yield name, xmp.areas_of(packet)
        if self._picasa is not None:
            yield picasa.FILE_NAMES[0], self._picasa.areas_of(name)
        problems += self._picasa_problems
        self._picasa_problems = []  # once a folder

    def _sidecars(self, name: str) -> list[str]:
        """Returns the names of a photograph's sidecars: that of this file first, then that of all files of its stem."""
        wanted = [name + _SIDECAR, os.path.splitext(name)[0] + _SIDECAR]
        found: list[str] = []
        for each in wanted:
            variants = self._names.get(each.casefold(), [])
            # of two files whose names differ in case alone, each has its own
            exact = [variant for variant in variants if variant[: -len(_SIDECAR)] == each[: -len(_SIDECAR)]]
            found += exact or variants
        return list(dict.fromkeys(found))

    def _enter(self, folder: str) -> None:
        if folder == self._folder:
            return
        self._folder, self._names, self._picasa, self._picasa_problems = folder, {}, None, []
        with contextlib.suppress(
            OSError
        ):  # a folder that may be entered, but not listed: no sidecar is found
            for name in os.listdir(folder or "."):
                if name.casefold().endswith((_SIDECAR, *picasa.FILE_NAMES)):
                    self._names.setdefault(name.casefold(), []).append(name)
        for name in (each for wanted in picasa.FILE_NAMES for each in self._names.get(wanted, [])):
            data = _read_whole(os.path.join(folder, name), self._picasa_problems)
            if data is not None:
                self._picasa = picasa.Folder(data, self._contacts)
                self._picasa_problems += [f"{_shown(name)}: {problem}" for problem in self._picasa.problems]
                return


def _read_metadata(path: str, problems: list[str]) -> Metadata | None:
    name = os.path.basename(path)
    try:
        file = _open(path)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        problems.append(f"{_shown(name)}: cannot be read: {_reason(error)}")
        return None
    try:
        return metadata_of(lambda at, length: os.pread(file, length, at))
    except ImageError as error:
        problems.append(f"{_shown(name)}: {str(error).partition(';')[0]}")
    except OSError as error:
        problems.append(f"{_shown(name)}: cannot be read: {_reason(error)}")
    finally:
        os.close(file)
    return None


def _read_whole(path: str, problems: list[str]) -> bytes | None:
    name = os.path.basename(path)
    try:
        file = _open(path)
        with open(file, "rb") as stream:
            data = stream.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        problems.append(f"{_shown(name)}: cannot be read: {_reason(error)}")
        return None
    if len(data) > MOST_BYTES:
        problems.append(f"{_shown(name)}: metadata of more than {MOST_BYTES >> 20} MiB is not read")
        return None
    return data


def _open(path: str) -> int:
    """Opens a regular file. Nothing is waited for: a pipe may have no writer, for ever."""
    file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise ValueError("it is no regular file")
    return file


def _reason(error: OSError | ValueError) -> str:
    return file_leases.reason(error) if isinstance(error, OSError) else str(error)


def _shown(name: str) -> str:
    return one_line(name, 200)
