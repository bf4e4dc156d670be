"""Parameters: the settings in parameters.xml, checked, as frozen values."""

from __future__ import annotations

from .reader import load, parse
from .schema import (
    BeaconParameters,
    DaemonParameters,
    DetectionParameters,
    EncodingParameters,
    FusionParameters,
    ImageLimits,
    Parameters,
    Ports,
    SecurityParameters,
    Timeouts,
)

__all__ = [
    "BeaconParameters",
    "DaemonParameters",
    "DetectionParameters",
    "EncodingParameters",
    "FusionParameters",
    "ImageLimits",
    "Parameters",
    "Ports",
    "SecurityParameters",
    "Timeouts",
    "load",
    "parse",
]
