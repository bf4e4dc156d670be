"""Search: where in an image the detector looks for faces; the registry of the searches that a proposer guides.

A new search is a module with a class that keeps the `Search` Protocol, its name in `SearchName`, and a line in `_GUIDED`.
"""

from __future__ import annotations

from collections.abc import Callable

from .. import pyramid
from ..engines import Engine, Proposer
from ..parameters import DetectionParameters, SearchName
from ..pyramid import Work
from . import most, proposals
from .base import Search
from .everywhere import Everywhere
from .guided import Guided
from .most import Most

__all__ = ["Everywhere", "Guided", "Most", "Search", "start", "work"]

_GUIDED: dict[SearchName, Callable[..., Search]] = {
    "guided": Guided,
    "most": Most,
}


def work(
    name: SearchName, size: tuple[int, int], detection: DetectionParameters, *, faces_from: float = 0
) -> Work:
    """Returns the tiles that a search looks at in an image of this size, (width, height); crops of proposals come on top.

    Args:
        faces_from: the side of the smallest face wanted, in pixels of the image; 0: the parameters decide.
    """
    if name == "everywhere":
        return pyramid.work(pyramid.levels(*size, detection, faces_from=faces_from))
    if name == "most":
        zooms = most.zooms(*size, detection, faces_from=faces_from)
    else:
        zooms = proposals.zooms(*size, proposals.finest_zoom(*size, detection, faces_from=faces_from))
    return pyramid.work(proposals.levels(*size, zooms))


def start(
    name: SearchName,
    engine: Engine,
    proposer: Callable[[], Proposer],
    detection: DetectionParameters,
    *,
    frugal: bool = False,
) -> Search:
    """Returns a search that is ready.

    Args:
        engine: its threshold is that of the search everywhere.
        proposer: called if the search needs one.
        frugal: whether it takes less memory, and more time, for the same faces.

    Raises:
        EngineError: the search cannot run; the message says what is missing.
    """
    if name == "everywhere":
        return Everywhere(engine, detection, frugal=frugal)
    return _GUIDED[name](
        engine.with_threshold(detection.guided_threshold), proposer(), detection, frugal=frugal
    )
