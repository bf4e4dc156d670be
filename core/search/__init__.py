"""Search: where in an image the detector looks for faces; the registry of the searches that a proposer guides.

A new search is a module with a class that keeps the `Search` Protocol, its name in `SearchName`, and a line in `_GUIDED`.
"""

from __future__ import annotations

from collections.abc import Callable

from ..engines import Engine, Proposer
from ..parameters import DetectionParameters, SearchName
from .base import Search
from .everywhere import Everywhere
from .guided import Guided
from .most import Most

__all__ = ["AUTOMATIC", "Everywhere", "Guided", "Most", "Search", "start"]

AUTOMATIC: SearchName = "everywhere"
"""The search that `auto` in parameters.xml stands for, where it can run; elsewhere, everywhere is searched."""

_GUIDED: dict[SearchName, Callable[[Engine, Proposer, DetectionParameters], Search]] = {
    "guided": Guided,
    "most": Most,
}


def start(
    name: SearchName, engine: Engine, proposer: Callable[[], Proposer], detection: DetectionParameters
) -> Search:
    """Returns a search that is ready.

    Args:
        engine: its threshold is that of the search everywhere.
        proposer: called if the search needs one.

    Raises:
        EngineError: the search cannot run; the message says what is missing.
    """
    if name == "everywhere":
        return Everywhere(engine, detection)
    return _GUIDED[name](engine.with_threshold(detection.guided_threshold), proposer(), detection)
