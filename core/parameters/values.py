"""What one value of parameters.xml may be: a number, text, a choice, network interfaces, each with its bounds."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Value:
    """How one value stands in the file.

    Attributes:
        name: the element's name.
        meaning: for a person: what it sets, its unit.
        required: whether the file must hold it.
    """

    name: str
    meaning: str
    required: bool

    @property
    def allowed(self) -> str:
        """What it may be, to end the sentence "it must be ..."."""
        raise NotImplementedError

    def read(self, text: str) -> Any:
        """Returns the value that `text`, without white space around it, stands for.

        Raises:
            ValueError: it is not what is allowed.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class Whole(Value):
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
class Number(Value):
    low: float
    high: float

    @property
    def allowed(self) -> str:
        return f"a number from {self.low:g} to {self.high:g}"

    def read(self, text: str) -> float:
        if not re.fullmatch(r"[+-]?([0-9]{1,20}(\.[0-9]{0,20})?|\.[0-9]{1,20})([eE][+-]?[0-9]{1,3})?", text):
            raise ValueError(self.allowed)
        value = float(text)  # infinite where it is 1e999
        if not self.low <= value <= self.high:
            raise ValueError(self.allowed)
        return value


@dataclass(frozen=True)
class Text(Value):
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
    options: tuple[str, ...]

    @property
    def allowed(self) -> str:
        return " or ".join(self.options)

    def read(self, text: str) -> str:
        if text not in self.options:
            raise ValueError(self.allowed)
        return text


@dataclass(frozen=True)
class Interfaces(Value):
    most: int

    @property
    def allowed(self) -> str:
        return f"auto, or up to {self.most} names of network interfaces with commas between them"

    def read(self, text: str) -> tuple[str, ...]:
        if text in ("", "auto"):
            return ()
        names = tuple(name.strip() for name in text.split(","))
        # 15 bytes is what the kernel allows (IFNAMSIZ less its NUL)
        named = all(re.fullmatch(r"[!-.0-~]{1,15}", name) and name != "auto" for name in names)
        if not named or len(names) > self.most or len(set(names)) != len(names):
            raise ValueError(self.allowed)
        return names
