"""Messages with numbers: one image, two images."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.support import ROOT

NOUNS = re.compile(
    r" (bytes|clients|codes|connections|datagrams|faces|files|images|keys|lines|minutes|servers|threads|tiles)\b(?!/)"
)

COUNTED = re.compile(rf"%d{NOUNS.pattern}")


def counts(file: Path) -> list[str]:
    """Returns the places where a number that is no constant is followed by a noun in the plural."""
    found = []
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.JoinedStr):
            for number, words in zip(node.values, node.values[1:], strict=False):
                if (
                    isinstance(number, ast.FormattedValue)
                    and not (isinstance(number.value, ast.Name) and number.value.id.isupper())
                    and isinstance(words, ast.Constant)
                    and NOUNS.match(str(words.value))
                ):
                    found.append(f"{file.name}:{node.lineno}: {ast.unparse(node)}")
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and COUNTED.search(node.value):
            found.append(f"{file.name}:{node.lineno}: {node.value}")
    return found


@pytest.mark.parametrize("room", ["core", "daemon", "client"])
def test_a_count_takes_its_noun_from_plural(room: str) -> None:
    assert [place for file in sorted((ROOT / room).rglob("*.py")) for place in counts(file)] == []


def test_a_count_with_a_fixed_noun_is_found(tmp_path: Path) -> None:
    file = tmp_path / "wrong.py"
    file.write_text(
        'f"{count} images, {len(found)} faces"\nlog("%d lines", 1)\nf"{MINUTES} minutes, {plural(1, \'face\')}"\n'
    )
    assert len(counts(file)) == 3
