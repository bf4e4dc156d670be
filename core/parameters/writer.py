"""Writer: parameters as the text of a parameters.xml, from which another process reads the same parameters."""

from __future__ import annotations

import html
from collections.abc import Iterator

from ..errors import ParametersError
from ..text import one_line
from .reader import ROOT
from .schema import Parameters, described
from .values import Value


def as_xml(parameters: Parameters) -> bytes:
    """Returns the text of a parameters.xml that states every parameter: `parse` returns equal parameters.

    Raises:
        ParametersError: a program has set a value that is not allowed; one line naming the element, its value and the values
            that are.
    """
    return "\n".join([f"<{ROOT}>", *_sections(parameters), f"</{ROOT}>", ""]).encode()


def text_of(path: str, element: Value, value: object) -> str:
    """Returns the text of a value, as the element at `path`, SECTION/ELEMENT, has it.

    Raises:
        ParametersError: as `as_xml`.
    """
    try:
        return element.write(value)
    except (TypeError, ValueError) as error:
        shown = one_line(repr(value), 40)
        raise ParametersError(
            f"parameters: {ROOT}/{path} is {shown}; it must be {element.allowed}"
        ) from error


def _sections(parameters: Parameters) -> Iterator[str]:
    for section_name, item in described(Parameters):
        section = getattr(parameters, section_name)
        yield f"  <{item.name}>"
        for name, element in described(item.kind):
            text = text_of(f"{item.name}/{element.name}", element, getattr(section, name))
            yield f"    <{element.name}>{html.escape(text, quote=False)}</{element.name}>"
        problem = section.problem()
        if problem:
            raise ParametersError(f"parameters: {ROOT}/{item.name} {problem}")
        yield f"  </{item.name}>"
