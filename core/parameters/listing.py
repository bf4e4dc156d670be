"""Listing: the effective parameters of a program, each with its value and where that comes from."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from ..text import one_line
from .reader import ENVIRONMENT
from .schema import Parameters, described

FILE, DEFAULT = "file", "default"
"""Where a value comes from, unless an option sets it: the file, or the default that is built in."""

OPTIONS = "options"
"""The section of the settings that only the command line has."""

NAME_WIDTH, VALUE_WIDTH, ORIGIN_WIDTH = 27, 10, 8
"""Cells of the longest element, of most values and of most options: of 80 columns, 27 are left for the value that an
automatic one stands for."""


class Setting(NamedTuple):
    """A value in force.

    Attributes:
        text: the value, as the file or the command line has it.
        origin: FILE, DEFAULT, or the option that sets it.
        chosen: the value for which an automatic one stands on this machine; "" for any other.
    """

    section: str
    name: str
    value: object
    text: str
    origin: str
    chosen: str


@dataclass(frozen=True, kw_only=True)
class Listing:
    """The effective parameters.

    Attributes:
        parameters: as the file has them.
        named: whether an option named the file.
        options: (option, value) of those that take the place of an element, by SECTION/ELEMENT.
        further: (name, value, where it comes from) of the settings that only the command line has.
        chosen: the values for which automatic ones stand on this machine, by SECTION/ELEMENT.
    """

    parameters: Parameters
    named: bool
    options: Mapping[str, tuple[str, object]] = field(default_factory=dict)
    further: Sequence[tuple[str, object, str]] = ()
    chosen: Mapping[str, str] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """Returns the lines for a person: the file, and a table for a terminal with 80 columns."""
        how = self._named_by or ("a usual place" if self.parameters.stated else "packaged, with the defaults")
        found = [f"file: {one_line(self.parameters.source)} ({how})", ""]
        found.append(_line("element", "value", "from", "automatic: on this machine"))
        section = ""
        for setting in self.settings():
            if setting.section != section:
                section = setting.section
                found += ["", section]
            found.append(_line(setting.name, setting.text, setting.origin, setting.chosen))
        return found

    def json_line(self) -> str:
        """Returns a JSON object on one line, for a program."""
        sections: dict[str, dict[str, object]] = {}
        for setting in self.settings():
            sections.setdefault(setting.section, {})[setting.name] = {
                "value": setting.value,
                "from": setting.origin,
                "automatic": setting.chosen or None,
            }
        about = {
            "file": self.parameters.source,
            "named_by": self._named_by or None,
            "packaged": not self.parameters.stated,
        }
        return json.dumps({**about, **sections})

    def settings(self) -> Iterator[Setting]:
        """Yields the settings, section by section."""
        for name, value, origin in self.further:
            yield self._setting(OPTIONS, name, value, str(value), origin)
        for section_name, item in described(Parameters):
            section = getattr(self.parameters, section_name)
            for field_name, element in described(item.kind):
                path = f"{item.name}/{element.name}"
                value = getattr(section, field_name)
                if path in self.options:
                    origin, value = self.options[path]
                    yield self._setting(item.name, element.name, value, str(value), origin)
                else:
                    origin = FILE if path in self.parameters.stated else DEFAULT
                    yield self._setting(item.name, element.name, value, element.write(value), origin)

    def _setting(self, section: str, name: str, value: object, text: str, origin: str) -> Setting:
        return Setting(section, name, value, text, origin, self.chosen.get(f"{section}/{name}", ""))

    @property
    def _named_by(self) -> str:
        """The option or the variable that names the file; "" where neither does."""
        if self.named:
            return "--parameters"
        return ENVIRONMENT if os.environ.get(ENVIRONMENT) else ""


def _line(name: str, text: str, origin: str, chosen: str) -> str:
    line = (
        f"  {name:{NAME_WIDTH}}  {one_line(text):{VALUE_WIDTH}}  {origin:{ORIGIN_WIDTH}}  {one_line(chosen)}"
    )
    return line.rstrip()
