"""Parameters: the settings in parameters.xml, checked, as frozen values."""

from __future__ import annotations

from .differences import declaration, differences
from .listing import DEFAULT, Listing
from .reader import load, parse
from .schema import (
    AUTOMATIC,
    SEARCHES,
    BeaconParameters,
    DaemonParameters,
    DetectionParameters,
    EncodingParameters,
    FusionParameters,
    ImageLimits,
    Parameters,
    Ports,
    SearchName,
    SecurityParameters,
    Timeouts,
    search_named,
)
from .writer import as_xml

__all__ = [
    "AUTOMATIC",
    "DEFAULT",
    "SEARCHES",
    "BeaconParameters",
    "DaemonParameters",
    "DetectionParameters",
    "EncodingParameters",
    "FusionParameters",
    "ImageLimits",
    "Listing",
    "Parameters",
    "Ports",
    "SearchName",
    "SecurityParameters",
    "Timeouts",
    "as_xml",
    "declaration",
    "differences",
    "load",
    "parse",
    "search_named",
]
