"""XMP for tests: regions as several programs write them."""

from __future__ import annotations

from collections.abc import Sequence
from xml.sax.saxutils import quoteattr

NAMESPACES = (
    'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" '
    'xmlns:mwg-rs="http://www.metadataworkinggroup.com/schemas/regions/" '
    'xmlns:stArea="http://ns.adobe.com/xmp/sType/Area#" '
    'xmlns:stDim="http://ns.adobe.com/xap/1.0/sType/Dimensions#" '
    'xmlns:MP="http://ns.microsoft.com/photo/1.2/" '
    'xmlns:MPRI="http://ns.microsoft.com/photo/1.2/t/RegionInfo#" '
    'xmlns:MPReg="http://ns.microsoft.com/photo/1.2/t/Region#" '
    'xmlns:apple-fi="http://ns.apple.com/faceinfo/1.0/"'
)

Shares = tuple[float, float, float, float]
"""Left, top, right, bottom, in shares of a frame."""


def packet(*contents: str) -> bytes:
    """Returns an XMP packet around RDF, as Lightroom and exiftool write it."""
    return (
        "<?xpacket begin='\ufeff' id='W5M0MpCehiHzreSzNTczkc9d'?>"
        f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF {NAMESPACES}><rdf:Description rdf:about="">{"".join(contents)}'
        "</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end='w'?>"
    ).encode()


def area(box: Shares, unit: str | None = "normalized") -> str:
    """Returns the area of an MWG region: its middle and its sides."""
    left, top, right, bottom = box
    values = {"x": (left + right) / 2, "y": (top + bottom) / 2, "w": right - left, "h": bottom - top}
    unit_text = "" if unit is None else f' stArea:unit="{unit}"'
    return f"<mwg-rs:Area {' '.join(f'stArea:{key}=' + repr(str(value)) for key, value in values.items())}{unit_text}/>"


def mwg(
    regions: Sequence[tuple[str | None, Shares]],
    *,
    size: tuple[float, float] | None = None,
    unit: str | None = "normalized",
    kind: str | None = "Face",
    inside: str = "",
) -> str:
    """Returns MWG regions, in shares of the stored frame. size: of AppliedToDimensions."""
    dimensions = (
        ""
        if size is None
        else f'<mwg-rs:AppliedToDimensions stDim:w="{size[0]}" stDim:h="{size[1]}" stDim:unit="pixel"/>'
    )
    items = "".join(
        "<rdf:li><rdf:Description"
        + ("" if name is None else f" mwg-rs:Name={quoteattr(name)}")
        + ("" if kind is None else f" mwg-rs:Type={quoteattr(kind)}")
        + f">{area(box, unit)}{inside}</rdf:Description></rdf:li>"
        for name, box in regions
    )
    return (
        f'<mwg-rs:Regions rdf:parseType="Resource">{dimensions}<mwg-rs:RegionList><rdf:Bag>{items}</rdf:Bag>'
        "</mwg-rs:RegionList></mwg-rs:Regions>"
    )


def microsoft(regions: Sequence[tuple[str | None, Shares | None]]) -> str:
    """Returns Microsoft's regions: left, top, width, height."""
    items = "".join(
        "<rdf:li"
        + ("" if name is None else f" MPReg:PersonDisplayName={quoteattr(name)}")
        + (
            ""
            if box is None
            else f' MPReg:Rectangle="{box[0]}, {box[1]}, {box[2] - box[0]}, {box[3] - box[1]}"'
        )
        + "/>"
        for name, box in regions
    )
    return (
        '<MP:RegionInfo rdf:parseType="Resource"><MPRI:Regions><rdf:Bag>'
        f"{items}</rdf:Bag></MPRI:Regions></MP:RegionInfo>"
    )
