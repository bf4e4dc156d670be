"""The tree of exceptions: one module holds them all, and its docstring draws them as they are."""

from __future__ import annotations

import ast
import re

import pytest

from pyraface.core import errors
from pyraface.core.errors import PyrafaceError
from tests.support import ROOT


def drawn(kind: type[Exception], depth: int = 0) -> list[tuple[int, str]]:
    below = sorted(kind.__subclasses__(), key=lambda one: list(vars(errors).values()).index(one))
    return [(depth, kind.__name__), *(row for one in below for row in drawn(one, depth + 1))]


def test_the_docstring_draws_the_tree() -> None:
    rows = re.findall(
        r"^    ((?:\|   |    )*)(?:\|-- |`-- )?(\w+Error)\b", errors.__doc__ or "", re.MULTILINE
    )
    assert rows[0] == ("", "PyrafaceError")
    tree = [(0, "PyrafaceError"), *((len(indent) // 4 + 1, name) for indent, name in rows[1:])]
    assert tree == drawn(PyrafaceError)


def test_every_exception_stands_in_one_module() -> None:
    found = []
    for folder in ("core", "client", "daemon"):
        for file in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.ClassDef) and any(
                    re.search(r"(Error|Exception)$", ast.unparse(base)) for base in node.bases
                ):
                    found.append((str(file.relative_to(ROOT)), node.name))
    assert {file for file, name in found if not name.startswith("_")} == {"core/errors.py"}


@pytest.mark.parametrize("name", [name for _, name in drawn(PyrafaceError)])
def test_an_exception_is_called_an_error(name: str) -> None:
    assert name.endswith("Error")
