"""Writer: parameters as the text of a parameters.xml, from which another process reads the same parameters."""

from __future__ import annotations

import html
from collections.abc import Iterator

from ..errors import ParametersError
from ..text import one_line
from .reader import ROOT
from .schema import Parameters, described


def as_xml(parameters: Parameters) -> bytes:
    """Returns the text of a parameters.xml that states every parameter: `parse` returns equal parameters.

    Raises:
        ParametersError: a program has set a value that is not allowed; one line naming the element, its value and the values
            that are.
    """
    return "\n".join([f"<{ROOT}>", *_sections(parameters), f"</{ROOT}>", ""]).encode()


def _sections(parameters: Parameters) -> Iterator[str]:
    for section_name, item in described(Parameters):
        section = getattr(parameters, section_name)
        yield f"  <{item.name}>"
        for name, value in described(item.kind):
            content = getattr(section, name)
            try:
                text = html.escape(value.write(content), quote=False)
            except (TypeError, ValueError) as error:
                raise ParametersError(
                    f"parameters: {ROOT}/{item.name}/{value.name} is {one_line(repr(content), 40)}; "
                    f"it must be {value.allowed}"
                ) from error
            yield f"    <{value.name}>{text}</{value.name}>"
        problem = section.problem()
        if problem:
            raise ParametersError(f"parameters: {ROOT}/{item.name} {problem}")
        yield f"  </{item.name}>"
