"""Values: the kinds of values in parameters.xml, each with its bounds, the reading of its text and the writing of it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Value:
    """A value in the file.

    Attributes:
        name: of its element.
        meaning: for people: the setting and its unit.
        required: whether the file must hold it.
    """

    name: str
    meaning: str
    required: bool

    @property
    def allowed(self) -> str:
        """The values allowed, to end the sentence "it must be ..."."""
        raise NotImplementedError

    def read(self, text: str) -> Any:
        """Returns the value of `text`, which has no white space around it.

        Raises:
            ValueError: it is not allowed.
        """
        raise NotImplementedError

    def write(self, value: Any) -> str:
        """Returns the text of a value: `read` returns the value again.

        Raises:
            ValueError: it is not allowed.
        """
        text = self._text(value)
        if self.read(text.strip()) != value:
            raise ValueError(self.allowed)
        return text

    def _text(self, value: Any) -> str:
        return str(value)


@dataclass(frozen=True)
class Whole(Value):
    """A whole number."""

    low: int
    high: int

    @property
    def allowed(self) -> str:
        return f"a whole number from {self.low} to {self.high}"

    def read(self, text: str) -> int:
        # int() alone would also take 1_000, and digits of every script
        if not re.fullmatch(r"[+-]?[0-9]{1,20}", text) or not self.low <= int(text) <= self.high:
            raise ValueError(self.allowed)
        return int(text)


@dataclass(frozen=True)
class Flag(Value):
    """A boolean: 1 or 0 in the file."""

    @property
    def allowed(self) -> str:
        return "0 or 1"

    def read(self, text: str) -> bool:
        if text not in ("0", "1"):
            raise ValueError(self.allowed)
        return text == "1"

    def _text(self, value: Any) -> str:
        return str(int(value)) if isinstance(value, bool) else str(value)


@dataclass(frozen=True)
class Number(Value):
    """A number, with or without a fraction."""

    low: float
    high: float

    @property
    def allowed(self) -> str:
        return f"a number from {self.low:g} to {self.high:g}"

    def read(self, text: str) -> float:
        if not re.fullmatch(r"[+-]?([0-9]{1,20}(\.[0-9]{0,20})?|\.[0-9]{1,20})([eE][+-]?[0-9]{1,3})?", text):
            raise ValueError(self.allowed)
        value = float(text)  # infinite for 1e999
        if not self.low <= value <= self.high:
            raise ValueError(self.allowed)
        return value


@dataclass(frozen=True)
class Text(Value):
    """Printable text on one line."""

    longest: int

    @property
    def allowed(self) -> str:
        return f"at most {self.longest} printable characters on one line"

    def read(self, text: str) -> str:
        if len(text) > self.longest or not text.isprintable():
            raise ValueError(self.allowed)
        return text


@dataclass(frozen=True)
class Choice(Value):
    """One of a few words or whole numbers."""

    options: tuple[int, ...] | tuple[str, ...]

    @property
    def allowed(self) -> str:
        return " or ".join(map(str, self.options))

    def read(self, text: str) -> int | str:
        for option in self.options:
            if text == str(option):
                return option
        raise ValueError(self.allowed)


@dataclass(frozen=True)
class Interfaces(Value):
    """Names of network interfaces; none of them: all interfaces."""

    most: int

    @property
    def allowed(self) -> str:
        return f"auto, or up to {self.most} names of network interfaces with commas between them"

    def read(self, text: str) -> tuple[str, ...]:
        if text in ("", "auto"):
            return ()
        names = tuple(name.strip() for name in text.split(","))
        # the kernel allows 15 bytes (IFNAMSIZ less its NUL)
        named = all(re.fullmatch(r"[!-.0-~]{1,15}", name) and name != "auto" for name in names)
        if not named or len(names) > self.most or len(set(names)) != len(names):
            raise ValueError(self.allowed)
        return names

    def _text(self, value: Any) -> str:
        return ",".join(value) if isinstance(value, tuple) and value else "auto"
