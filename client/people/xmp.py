"""XMP: the regions in an XMP packet, of the Metadata Working Group, of Apple and of Microsoft.

RDF has several ways to write one thing (ISO 16684-1, 7.9): a field is an element or an attribute, a structure is inside its
element or inside an rdf:Description in it. All are read. A packet comes from outside: it may have neither entities nor a
document type, and only its regions are kept in memory, up to limits.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from xml.etree.ElementTree import (  # nosec B405: what to catch and to build with; defusedxml parses
    Element,
    ParseError,
    TreeBuilder,
)

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser

from ...core.text import one_line, plural
from .regions import FACE, MOST_REGIONS, Area, Areas, Box, Scheme, clean_name, described, shortened

MOST_ELEMENTS = 200_000
"""Limit on the elements of a packet; Lightroom writes a few thousand into its longest histories."""

MOST_KEPT = 20 * MOST_REGIONS
"""Limit on the elements of a packet's regions, of which exiftool writes eight for each."""

MOST_DEPTH = 100
"""Limit on elements inside elements."""

LARGEST = 1e7
"""Limit on a number of a region: ten times the longest side of a picture that any format has."""

_RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
_MWG = "{http://www.metadataworkinggroup.com/schemas/regions/}"
_AREA = "{http://ns.adobe.com/xmp/sType/Area#}"
_DIMENSIONS = "{http://ns.adobe.com/xap/1.0/sType/Dimensions#}"
_MP = "{http://ns.microsoft.com/photo/1.2/}"
_MPRI = "{http://ns.microsoft.com/photo/1.2/t/RegionInfo#}"
_MPREG = "{http://ns.microsoft.com/photo/1.2/t/Region#}"
_APPLE = "{http://ns.apple.com/faceinfo/1.0/}"

_ROOTS = frozenset({f"{_MWG}Regions", f"{_MP}RegionInfo"})

_NAMESPACES = (b"http://www.metadataworkinggroup.com/schemas/regions/", b"http://ns.microsoft.com/photo/1.2/")
"""One of them is in every packet with regions, in any encoding that ASCII is a part of."""

_BYTE_ORDERS = (b"\xff\xfe", b"\xfe\xff", b"<\0", b"\0<")
"""The first bytes of UTF-16 and UTF-32."""

_NUMBER = re.compile(r"[-+]?(?:\d{1,20}(?:[.,]\d{0,40})?|[.,]\d{1,40})(?:[eE][-+]?\d{1,2})?", re.ASCII)
"""A decimal; some programs write the comma of their user's language. Neither NaN nor infinity."""


class _TooMuchError(Exception):
    """The packet reaches a limit; the message says which."""


class _EnoughError(Exception):
    """The packet has more elements in its regions than MOST_REGIONS have."""


def areas_of(packet: bytes) -> Areas:
    """Returns the regions in an XMP packet, at most MOST_REGIONS. Every fault of the packet is among the problems."""
    wide = packet.startswith(_BYTE_ORDERS)
    if not wide:
        if not any(namespace in packet for namespace in _NAMESPACES):
            return Areas()
        packet = packet.strip(b"\0\t\r\n ")  # room that is left for longer packets
    try:
        roots = _roots(packet)
    except ParseError as error:
        return Areas(problems=(f"the XMP is no XML: {one_line(str(error), 100)}",))
    except DefusedXmlException:
        return Areas(problems=("the XMP has a document type or entities, which are not read",))
    except (_TooMuchError, ValueError, LookupError) as error:  # of encodings
        return Areas(problems=(f"the XMP is not read: {one_line(str(error), 100)}",))
    read = _Read()
    for root in roots:
        read.root(root)
    return Areas(tuple(read.areas), shortened(read.problems), tuple(dict.fromkeys(read.unplaced)))


def _roots(packet: bytes) -> list[Element]:
    """Returns the elements that hold regions."""
    target = _Regions()
    parser = DefusedXMLParser(target=target, forbid_dtd=True)
    try:
        parser.feed(packet)
        parser.close()
    except _EnoughError:
        target.finish()
    return target.roots


class _Regions:
    """Builds the elements that hold regions, and counts all others."""

    def __init__(self) -> None:
        self.roots: list[Element] = []
        self._builder: TreeBuilder | None = None
        self._open: list[str] = []
        self._depth = self._elements = self._kept = 0

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        self._elements += 1
        if self._elements > MOST_ELEMENTS:
            raise _TooMuchError(f"it has more than {plural(MOST_ELEMENTS, 'element')}")
        if self._depth > MOST_DEPTH:
            raise _TooMuchError(f"it has elements inside more than {plural(MOST_DEPTH, 'other')}")
        if self._builder is None and tag in _ROOTS:
            self._builder = TreeBuilder()
        if self._builder is not None:
            self._kept += 1
            if self._kept > MOST_KEPT:
                raise _EnoughError
            self._builder.start(tag, attributes)
            self._open.append(tag)

    def data(self, text: str) -> None:
        if self._builder is not None:
            self._builder.data(text)

    def end(self, tag: str) -> None:
        if self._builder is not None:
            self._builder.end(tag)
            self._open.pop()
            if not self._open:
                self.roots.append(self._builder.close())
                self._builder = None
        self._depth -= 1

    def finish(self) -> None:
        """Ends the elements that are open, after the last one that is read."""
        while self._open:
            self.end(self._open[-1])

    def close(self) -> None:
        """Called at the end of the packet."""


class _Read:
    """The regions of a packet, read one after the other."""

    def __init__(self) -> None:
        self.areas: list[Area] = []
        self.problems: list[str] = []
        self.unplaced: list[str] = []

    def root(self, root: Element) -> None:
        """Reads the first MOST_REGIONS below an element that holds regions."""
        fields = _fields(root)
        mwg = root.tag == f"{_MWG}Regions"
        size = _size(fields.get(f"{_MWG}AppliedToDimensions"))
        listed = fields.get(f"{_MWG}RegionList" if mwg else f"{_MPRI}Regions")
        for number, item in enumerate(_items(listed)):
            if number == MOST_REGIONS:
                more = f"the XMP has more than {plural(MOST_REGIONS, 'region')}; the rest is not read"
                self.problems.insert(0, more)
                return
            self._item(_fields(item), mwg=mwg, size=size)

    def _item(self, fields: dict[str, Element | str], *, mwg: bool, size: tuple[float, float] | None) -> None:
        name = None
        try:
            name = clean_name(_text(fields.get(f"{_MWG}Name" if mwg else f"{_MPREG}PersonDisplayName")))
        except ValueError as error:
            self.problems.append(str(error))
        if not mwg and f"{_MPREG}Rectangle" not in fields:
            self.unplaced += filter(None, [name])
            return
        try:
            self.areas.append(_mwg(name, fields, size) if mwg else _microsoft(name, fields))
        except ValueError as error:
            self.problems.append(f"{described(name)} {error}")


def _mwg(name: str | None, fields: dict[str, Element | str], size: tuple[float, float] | None) -> Area:
    """Returns a region of the Metadata Working Group (MWG 2.0, 5.9).

    Raises:
        ValueError: it has no box; the message says why.
    """
    kind = (_text(fields.get(f"{_MWG}Type")) or "").strip() or FACE
    area = _structure(fields.get(f"{_MWG}Area"))
    x, y, width, height = (_number(_text(area.get(_AREA + key))) for key in ("x", "y", "w", "h"))
    unit = (_text(area.get(f"{_AREA}unit")) or "").strip().lower()
    # programs leave the unit out, or say pixel and write shares
    pixels = unit != "normalized" and max(x, y, width, height) > 1
    box = x - width / 2, y - height / 2, x + width / 2, y + height / 2
    scheme: Scheme = "mwg"
    if any(key.startswith(_APPLE) for key in _structure(fields.get(f"{_MWG}Extensions"))):
        scheme = "apple"
    return Area(name, one_line(kind, 40), _checked(box), scheme, pixels, size)


def _microsoft(name: str | None, fields: dict[str, Element | str]) -> Area:
    """Returns a region of Microsoft's.

    Raises:
        ValueError: it has no box; the message says why.
    """
    rectangle = (_text(fields.get(f"{_MPREG}Rectangle")) or "")[:200]
    values = rectangle.split(",")
    if len(values) != 4:
        raise ValueError(f"has '{one_line(rectangle, 40)}' where four numbers must be")
    left, top, width, height = map(_number, values)
    return Area(name, FACE, _checked((left, top, left + width, top + height)), "microsoft")


def _checked(box: Box) -> Box:
    if not (box[2] > box[0] and box[3] > box[1]):
        raise ValueError("is not wider and higher than 0")
    return box


def _size(element: Element | str | None) -> tuple[float, float] | None:
    """Returns the size of the picture in which regions were drawn, None where it is not stated."""
    fields = _structure(element)
    try:
        width, height = (_number(_text(fields.get(_DIMENSIONS + key))) for key in ("w", "h"))
    except ValueError:
        return None
    return (width, height) if min(width, height) >= 1 else None


def _number(text: str | None) -> float:
    if text is None:
        raise ValueError("has no place, or no width and height")
    text = text.strip()
    number = float(text.replace(",", ".")) if _NUMBER.fullmatch(text) else math.inf
    if abs(number) > LARGEST:
        raise ValueError(f"has '{one_line(text, 40)}' where a number of at most {LARGEST:.0f} must be")
    return number


def _structure(value: Element | str | None) -> dict[str, Element | str]:
    return _fields(value) if isinstance(value, Element) else {}


def _fields(element: Element) -> dict[str, Element | str]:
    """Returns the fields of a structure: of its attributes, of its elements, and of the rdf:Description inside it."""
    found: dict[str, Element | str] = dict(element.attrib)
    for child in element:
        if child.tag == f"{_RDF}Description":
            found |= child.attrib
            found |= {field.tag: field for field in child}
        else:
            found[child.tag] = child
    return found


def _items(value: Element | str | None) -> Iterator[Element]:
    """Yields the items of an array."""
    if isinstance(value, Element):
        for array in value:
            if array.tag in (f"{_RDF}Bag", f"{_RDF}Seq", f"{_RDF}Alt"):
                yield from (item for item in array if item.tag == f"{_RDF}li")


def _text(value: Element | str | None) -> str | None:
    """Returns the text of a field, of the first of its languages where it has several; None where there is none."""
    if isinstance(value, Element):
        for item in _items(value):
            return item.text
        return value.text
    return value
