"""Automatic values: chosen on this machine in place of `auto`, 0 or nothing, where no engine is needed for the choice."""

from __future__ import annotations

from ..engines.devices import cores
from ..engines.network import yunet
from ..errors import EngineError
from ..parameters import AUTOMATIC, Parameters
from . import interfaces

MOST_NAMED = 3
"""Network interfaces that are named; a machine with containers has dozens."""


def chosen(parameters: Parameters) -> dict[str, str]:
    """Returns, by SECTION/ELEMENT, the value for which each automatic one stands, as text for people."""
    found: dict[str, str] = {}
    if parameters.detection.search == "auto":
        found["tiled_detect_params/search"] = _search()
    if not parameters.daemon.engine_threads:
        found["daemon/engine_threads"] = f"{cores()}: one for each core"
    if not parameters.beacon.interfaces:
        found["beacon/interfaces"] = _interfaces()
    if not parameters.beacon.name:
        found["beacon/name"] = interfaces.machine_name()
    return found


def _search() -> str:
    try:
        yunet.load_weights()
    except EngineError:
        return "everywhere: no YuNet weights"
    return f"{AUTOMATIC}, where it can run"


def _interfaces() -> str:
    names = list(interfaces.broadcast_addresses())
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more if names else "none is up"
