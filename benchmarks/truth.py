"""Truth: true faces from files, WIDER FACE's text, dlib's imglab XML, and CSV with the columns file, x, y, w, h.

Boxes are in pixels of the upright image, x, y the top left corner. A folder is searched for its truth: truth*.csv,
else wider_face*_bbx_gt.txt, else *.xml. Pictures are looked up beside that file and in its folder images/.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import parse as parse_xml

from .common import photos_folder
from .metrics import Truth

Row = tuple[float, float, float, float, bool]
"""x, y, width, height; whether to ignore it."""

NAMES = ("truth*.csv", "wider_face*_bbx_gt.txt", "*.xml")


class TruthError(ValueError):
    """A file does not define the true faces; the message names the file and the missing part."""


@dataclass(frozen=True)
class Picture:
    """One image: its name in the truth, its file and its faces."""

    name: str
    path: Path
    truth: Truth


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments that select pictures to a command: TRUTH and --every, for `chosen`."""
    default = photos_folder() / "wider_face_val_subset"
    parser.add_argument("truth", nargs="?", type=Path, default=default, help="file or folder")
    parser.add_argument("--every", type=_count, default=1, metavar="N", help="take every Nth picture only")


def chosen(options: argparse.Namespace) -> list[Picture]:
    """Returns the pictures that the arguments name.

    Raises:
        TruthError: as `read`.
    """
    return read(options.truth)[:: options.every]


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 on")
    return int(text)


def read(place: Path) -> list[Picture]:
    """Returns the pictures that a truth file, or a folder with one, describes, by name.

    A picture that two files of the folder name counts once, as the first of them says.

    Raises:
        TruthError: there is no truth, it cannot be read, or it names a picture that is not there.
    """
    rows: dict[str, list[Row]] = {}
    files = _files(place)
    for file in files:
        for name, found in _READERS[file.suffix.lower()](file):
            rows.setdefault(name, found)
    return [Picture(name, _path(files[0], name), _truth(rows[name])) for name in sorted(rows)]


def _files(place: Path) -> list[Path]:
    if place.is_file():
        if place.suffix.lower() not in _READERS:
            raise TruthError(f"{place} is no truth: a {', '.join(_READERS)} file is one")
        return [place]
    for pattern in NAMES:
        if found := sorted(place.glob(pattern)):
            return found
    raise TruthError(f"{place} has no truth beside its pictures: {', '.join(NAMES)}")


def _path(file: Path, name: str) -> Path:
    for folder in (file.parent, file.parent / "images"):
        if (folder / name).is_file():
            return folder / name
    raise TruthError(f"{file} names {name}, which is neither beside it nor in images/")


def _truth(rows: list[Row]) -> Truth:
    table = np.array(rows, np.float32).reshape(-1, 5)
    corners = np.concatenate([table[:, :2], table[:, :2] + table[:, 2:4]], axis=1)
    return Truth(corners, table[:, 4] > 0)


def _csv(file: Path) -> Iterator[tuple[str, list[Row]]]:
    """A row a box; a picture whose row has no numbers has no face. `invalid` is optional."""
    rows: dict[str, list[Row]] = {}
    with file.open(newline="", encoding="utf-8-sig") as lines:
        reader = csv.DictReader(lines)
        if missing := {"file", "x", "y", "w", "h"} - set(reader.fieldnames or ()):
            raise TruthError(
                f"{file} has no column {', '.join(sorted(missing))}: file, x, y, w, h are needed"
            )
        for record in reader:
            found = rows.setdefault(record["file"], [])
            values = [record[key] for key in "xywh"]
            if any(values):
                ignored = (record.get("invalid") or "0") != "0"
                found.append(_row(file, reader.line_num, values, ignored))
    yield from rows.items()


def _wider(file: Path) -> Iterator[tuple[str, list[Row]]]:
    """A picture's name, its count of boxes, and a line a box: x y w h blur expression illumination invalid occlusion pose.

    A picture without a face has one line all the same, of zeros.
    """
    lines = enumerate(file.read_text(encoding="utf-8").splitlines(), 1)
    for _, name in lines:
        number, count = next(lines, (0, ""))
        if not count.strip().isdigit():
            raise TruthError(f"{file}, line {number}: not {count!r} but a count of boxes is to follow {name}")
        found = []
        for _ in range(max(1, int(count))):
            number, line = next(lines, (0, ""))
            values = line.split()
            if len(values) < 8:
                raise TruthError(
                    f"{file}, line {number}: {line!r} has no 8 numbers; {name} has {count} boxes"
                )
            row = _row(file, number, values[:4], values[7] != "0")
            if row[2] > 0 and row[3] > 0:
                found.append(row)
        yield name.strip(), found


def _imglab(file: Path) -> Iterator[tuple[str, list[Row]]]:
    """images/image[file]/box[left, top, width, height, ignore]."""
    try:
        root = parse_xml(file).getroot()
    except (SyntaxError, DefusedXmlException) as error:  # ParseError is a SyntaxError
        raise TruthError(f"{file} cannot be read: {error}") from error
    for image in root.iterfind("images/image"):
        boxes = [
            _row(
                file,
                0,
                [box.get(key, "") for key in ("left", "top", "width", "height")],
                box.get("ignore", "0") != "0",
            )
            for box in image.iterfind("box")
        ]
        yield image.get("file", ""), boxes


_READERS = {".csv": _csv, ".txt": _wider, ".xml": _imglab}


def _row(file: Path, line: int, values: list[str], ignored: bool) -> Row:
    try:
        x, y, width, height = (float(value) for value in values)
    except ValueError as error:
        where = f"{file}, line {line}" if line else str(file)
        raise TruthError(f"{where}: {', '.join(values)} are no x, y, width, height") from error
    return x, y, width, height, ignored
