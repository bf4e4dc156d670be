"""Reader: parameters.xml found, parsed and checked, element by element.

`parse` is pure; `load` reads a file.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib import resources
from typing import TYPE_CHECKING, Any
from xml.etree.ElementTree import ParseError  # nosec B405: a class to catch; defusedxml parses

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring

from ..errors import ParametersError
from ..text import one_line
from ..user_folders import user_folder
from .schema import REMOVED, Parameters, SectionOf, described
from .values import Value

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element  # nosec B405: a name for the type checker; defusedxml parses

FILE_NAME = "parameters.xml"
ENVIRONMENT = "PYRAFACE_PARAMETERS"
MAX_FILE_BYTES = 1 << 20
"""A hundred times the packaged file with its comments; a larger one is some other file."""

ROOT = "params"
"""The element that holds all others."""


def parse(xml: bytes, *, source: str = FILE_NAME) -> Parameters:
    """Returns the parameters in the text of a parameters.xml; an optional element that is absent has its default.

    Args:
        xml: the file's bytes, UTF-8.
        source: its name in error messages.

    Raises:
        ParametersError: one line naming the file, the element, its value and what is allowed.
    """
    reader = _Reader(source)
    root = reader.tree(xml)
    found = reader.children(root, ROOT, [item for _, item in described(Parameters)])
    sections = {name: reader.section(found.get(item.name), item) for name, item in described(Parameters)}
    stated = frozenset(f"{section}/{child.tag}" for section, element in found.items() for child in element)
    return Parameters(source=source, stated=stated, **sections)


def load(path: str | os.PathLike[str] | None = None) -> Parameters:
    """Returns the parameters of the first of these files that exists.

    1. `path`, or else the file that $PYRAFACE_PARAMETERS names: a file that is named must exist.
    2. pyraface/parameters.xml in $XDG_CONFIG_HOME, or in ~/.config.
    3. /etc/pyraface/parameters.xml.
    4. The packaged file.

    Raises:
        ParametersError: a file that is named is missing, or the first one that exists cannot be read or is wrong.
    """
    named = os.fspath(path) if path is not None else os.environ.get(ENVIRONMENT)
    if named:
        return parse(_read(named), source=named)
    if path is not None:
        raise ParametersError("the name of the parameters file is empty")
    for place in _usual_places():
        # a broken link counts as a file that exists: its owner gets an error
        if os.path.lexists(place):
            return parse(_read(place), source=place)
    packaged = resources.files("pyraface").joinpath(FILE_NAME)
    try:
        return replace(parse(packaged.read_bytes(), source=str(packaged)), stated=frozenset())
    except OSError as error:
        raise ParametersError(f"{packaged}: the packaged file cannot be read: {_reason(error)}") from error


def _usual_places() -> Iterator[str]:
    folder = user_folder()
    if folder is not None:
        yield os.path.join(folder, FILE_NAME)
    yield f"/etc/pyraface/{FILE_NAME}"


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as stream:
            return stream.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise ParametersError(f"{one_line(path, 4096)}: cannot be read: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _quoted(text: str) -> str:
    """Returns text of the file as an error message quotes it."""
    return one_line(text, 40)


class _Reader:
    """Turns elements into values. Every error names `source`, the file."""

    def __init__(self, source: str) -> None:
        self.source = one_line(source, 4096)

    def error(self, path: str, problem: str) -> ParametersError:
        return ParametersError(f"{self.source}: {path} {problem}" if path else f"{self.source}: {problem}")

    def tree(self, xml: bytes) -> Element:
        if len(xml) > MAX_FILE_BYTES:
            raise self.error("", f"is larger than {MAX_FILE_BYTES} bytes: this is no parameters file")
        if not xml.strip():
            raise self.error("", f"is empty; it must hold <{ROOT}>")
        try:
            # given text, the parser ignores the encoding that the file declares
            root: Element = fromstring(xml.decode("utf-8"), forbid_dtd=True)
        except UnicodeDecodeError as error:
            raise self.error("", f"is not UTF-8: byte {xml[error.start]:#04x} at {error.start}") from error
        except DefusedXmlException as error:
            raise self.error("", "holds a document type or entities (<!DOCTYPE>): not allowed") from error
        except ParseError as error:
            raise self.error("", f"is not XML: {one_line(str(error), 100)}") from error
        if root.tag != ROOT:
            raise self.error("", f"begins with <{_quoted(root.tag)}>; it must be <{ROOT}>")
        return root

    def children(self, parent: Element, path: str, known: Sequence[Value | SectionOf]) -> dict[str, Element]:
        """Returns the elements in `parent` by name: each known, each there once, nothing else and no text beside them."""
        names = {item.name for item in known}
        found: dict[str, Element] = {}
        for child in parent:
            if child.tag not in names:
                raise self.error(path, f"holds <{_quoted(child.tag)}>, {_hint(child.tag, names)}")
            if child.tag in found:
                raise self.error(f"{path}/{child.tag}", "is there twice; once is allowed")
            found[child.tag] = child
        stray = "".join([parent.text or "", *(child.tail or "" for child in parent)]).strip()
        if stray:
            raise self.error(path, f"holds the text '{_quoted(stray)}' outside of its elements")
        for item in known:
            if item.required and item.name not in found:
                rule = f": {item.meaning}, {item.allowed}" if isinstance(item, Value) else ""
                raise self.error(f"{path}/{item.name}", f"is missing{rule}")
        return found

    def section(self, element: Element | None, item: SectionOf) -> Any:
        if element is None:
            return item.kind()
        path = f"{ROOT}/{item.name}"
        elements = described(item.kind)
        found = self.children(element, path, [value for _, value in elements])
        values = {
            name: self.value(found[value.name], f"{path}/{value.name}", value)
            for name, value in elements
            if value.name in found
        }
        section = item.kind(**values)
        problem = section.problem()
        if problem:
            raise self.error(path, problem)
        return section

    def value(self, element: Element, path: str, value: Value) -> Any:
        if len(element):
            raise self.error(path, f"holds <{_quoted(element[0].tag)}>; it must be {value.allowed}")
        text = (element.text or "").strip()
        try:
            return value.read(text)
        except ValueError as error:
            raise self.error(path, f"is '{_quoted(text)}'; it must be {value.allowed}") from error


def _hint(unknown: str, names: set[str]) -> str:
    """Returns why an element is not allowed: it was removed, it belongs elsewhere, or its name is perhaps misspelt."""
    if unknown in REMOVED:
        return f"which was removed: delete it; {REMOVED[unknown]}"
    for _, section in described(Parameters):
        if unknown in {value.name for _, value in described(section.kind)}:
            return f"which is unknown here: it belongs in {ROOT}/{section.name}"
    near = difflib.get_close_matches(unknown[:100].lower(), sorted(names), 1)
    return "which is unknown" + (
        f": did you mean <{near[0]}>?" if near else f"; allowed are {', '.join(sorted(names))}"
    )
