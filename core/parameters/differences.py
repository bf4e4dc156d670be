"""Differences: the parameters by which one server finds other faces than another, or than this program's parameters."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from .schema import AUTOMATIC, Parameters, described
from .values import Value
from .writer import text_of

FINDING = ("detection", "fusion", "encoding")
"""The sections that decide which faces are found, and as what. The others decide whether and when there is an answer."""

_SEARCH, _SCREENING, _LEVELS, _MOST_TILES, _GUIDED_THRESHOLD, *_TILE = (
    f"tiled_detect_params/{name}"
    for name in (
        "search",
        "screening",
        "levels",
        "most_tiles",
        "guided_threshold",
        "height",
        "width",
        "upsample",
    )
)


class Difference(NamedTuple):
    """An element with two values, each as the file has it."""

    element: str
    there: str
    here: str


def declaration(parameters: Parameters, *, automatic: str = AUTOMATIC) -> tuple[str, ...]:
    """Returns SECTION/ELEMENT=VALUE of every parameter that has a part in which faces are found, as a server declares them.

    Args:
        automatic: the search for which `auto` stands.

    Raises:
        ParametersError: a program has set a value that is not allowed.
    """
    if parameters.detection.search == "auto":
        parameters = replace(parameters, detection=replace(parameters.detection, search=automatic))
    return tuple(
        f"{path}={text_of(path, element, getattr(getattr(parameters, section), name))}"
        for path, section, name, element in _elements()
    )


def differences(
    there: Sequence[str], here: Sequence[str], *, search: str = "", faces_from: int = 0
) -> list[Difference]:
    """Returns the elements of two declarations that differ, of those by which other faces are found.

    Args:
        there, here: may come from other machines: an entry that states no allowed value of an element is left out.
        search: the search that both are asked for; "": each does its own.
        faces_from: the smallest face that both are asked for; 0: their parameters decide.
    """
    elements = {path: element for path, _, _, element in _elements()}
    theirs, ours = _values(there, elements), _values(here, elements)
    unequal = {path for path in ours if path in theirs and theirs[path] != ours[path]}
    unequal.discard(_SCREENING)  # it changes the time alone
    unequal.discard(_LEVELS if faces_from else _MOST_TILES)
    if search:
        unequal.discard(_SEARCH)
    if "everywhere" in (search or ours.get(_SEARCH), search or theirs.get(_SEARCH)):
        unequal.discard(_GUIDED_THRESHOLD)
    if _zoom(theirs, faces_from) == _zoom(ours, faces_from):
        unequal.difference_update(_TILE)
    return [
        Difference(element.name, element.write(theirs[path]), element.write(ours[path]))
        for path, element in elements.items()
        if path in unequal
    ]


def _elements() -> Iterator[tuple[str, str, str, Value]]:
    """Yields SECTION/ELEMENT, the Python names of the section and of the value, and the element."""
    for section, item in described(Parameters):
        if section in FINDING:
            for name, element in described(item.kind):
                yield f"{item.name}/{element.name}", section, name, element


def _values(declared: Sequence[str], elements: dict[str, Value]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for entry in declared:
        path, _, text = entry.partition("=")
        if path in elements:
            with contextlib.suppress(ValueError):
                found[path] = elements[path].read(text)
    return found


def _zoom(values: dict[str, Any], faces_from: int) -> tuple[int, int] | None:
    """Returns the part that height, width and upsample have: with `faces_from`, only the pixels of a tile after zooming."""
    try:
        height, width, upsample = (values[path] for path in _TILE)
    except KeyError:
        return None
    return (height * width * 4**upsample, 0) if faces_from else (height * width, upsample)
