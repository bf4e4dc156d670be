"""Picasa: the faces in the .picasa.ini (in old versions Picasa.ini) of a folder, and the people in contacts.xml.

A section has the name of a photograph. Its `faces` are `rect64(...)`, four shares of the picture as 16-bit numbers without
leading zeros, each with the id of a contact, whose name stands in [Contacts2], or in the contacts.xml of the program.
Lines are split here and not by configparser, which refuses a whole file for one line that it does not know.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from xml.etree.ElementTree import ParseError  # nosec B405: a class to catch; defusedxml parses

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring

from ...core.text import one_line, plural
from .regions import FACE, MOST_REGIONS, Area, Areas, clean_name, described, shortened

FILE_NAMES = (".picasa.ini", "picasa.ini")
"""In any case: Windows has no other."""

MOST_BYTES = 16 << 20
"""Limit on either file: a folder of 100,000 photographs with a face each has 10 MB."""

_FACE = re.compile(r"rect64\(([0-9a-fA-F]{1,16})\),([0-9a-fA-F]{1,16})")
_UNKNOWN = "ffffffffffffffff"
"""The contact of a face that has no name yet."""

Contacts = Mapping[str, str]
"""Name by id, in lower case without leading zeros."""


class Folder:
    """What the .picasa.ini of a folder says of the photographs in it. The names in it are looked up, never opened.

    Args:
        data: bytes of the file, at most MOST_BYTES.
        contacts: further names, of `contacts_of`; those in the file come first.

    Attributes:
        problems: one line for each thing that is not read, of no photograph alone.
    """

    def __init__(self, data: bytes, contacts: Contacts | None = None) -> None:
        self._faces: dict[str, str] = {}
        self._contacts = dict(contacts or {})
        problems: list[str] = []
        for section, key, value in _entries(data):
            if key == "faces":
                self._faces[section] = value
            elif section in ("contacts", "contacts2"):
                try:
                    # the name, then an address and more, which may be empty
                    name = (
                        clean_name(re.split("[;,]", value, maxsplit=1)[0]) if section == "contacts2" else None
                    )
                except ValueError as error:
                    problems.append(str(error))
                else:
                    if name is not None:
                        self._contacts[_id(key)] = name
        self.problems = shortened(problems)

    def areas_of(self, name: str) -> Areas:
        """Returns the faces of a photograph, by its file's name in any case; none if the folder says nothing of it."""
        entries = self._faces.get(name.casefold(), "").rstrip("; ").split(";", MOST_REGIONS)
        areas: list[Area] = []
        problems: list[str] = []
        if len(entries) > MOST_REGIONS:
            problems.append(f"Picasa has more than {plural(MOST_REGIONS, 'face')}; the rest is not read")
        for entry in entries[:MOST_REGIONS]:
            found = _FACE.fullmatch(entry.strip())
            if not entry.strip():
                continue
            if found is None:
                problems.append(
                    f"the face '{one_line(entry, 60)}' of Picasa is not of the form rect64(...),id"
                )
                continue
            corners = found[1].zfill(16)
            left, top, right, bottom = (int(corners[at : at + 4], 16) / 0xFFFF for at in range(0, 16, 4))
            person = self._contacts.get(_id(found[2]))
            if person is None and found[2].lower() != _UNKNOWN:
                problems.append(f"the contact {found[2]} of Picasa has no name: it is not in [Contacts2]")
            if right > left and bottom > top:
                areas.append(Area(person, FACE, (left, top, right, bottom), "picasa"))
            else:
                problems.append(f"{described(person)} is not wider and higher than 0")
        return Areas(tuple(areas), shortened(problems))


def contacts_of(data: bytes) -> dict[str, str]:
    """Returns the names in a contacts.xml of Picasa, by id.

    Raises:
        ValueError: it is no such file, or too large; the message says so.
    """
    if len(data) > MOST_BYTES:
        raise ValueError(f"has more than {MOST_BYTES >> 20} MiB")
    try:
        root = fromstring(data, forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError, LookupError) as error:  # of encodings
        raise ValueError(f"is no contacts.xml of Picasa: {one_line(str(error), 100)}") from error
    found = {}
    for contact in root.iter("contact"):
        name = None
        with contextlib.suppress(ValueError):  # too long: the faces of this contact will be named
            name = clean_name(contact.get("name") or contact.get("display"))
        if name is not None and contact.get("id"):
            found[_id(contact.get("id", ""))] = name
    return found


def _entries(data: bytes) -> Iterator[tuple[str, str, str]]:
    """Yields (section, key, value); sections and keys in lower case."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("cp1252", "replace")  # before version 3
    section = ""
    for line in re.split(r"[\r\n]+", text):
        stripped = line.strip()
        if stripped.startswith("[") and stripped.endswith("]"):
            section = stripped[1:-1].casefold()
        elif "=" in stripped:
            key, _, value = stripped.partition("=")
            yield section, key.strip().casefold(), value.strip()


def _id(text: str) -> str:
    return text.strip().lower().lstrip("0")
