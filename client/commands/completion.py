"""Completion of the command line of pyraface: subcommands, options and their values, images and directories."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import NoReturn

from ...core.host import completion
from ..inputs.file_kinds import PHOTOGRAPHS
from . import DEFAULT, SUBCOMMANDS, load


def answer(program: Callable[[], argparse.ArgumentParser]) -> NoReturn:
    """Tells the shell the words that it can offer, and ends the program.

    Args:
        program: returns the parser of a command line that does not begin with a subcommand.
    """
    typed = completion.typed()
    named = bool(typed) and typed[0] in SUBCOMMANDS
    images = completion.files(*PHOTOGRAPHS)

    def paths(prefix: str, **names: object) -> list[str]:
        """Returns the paths, and, for the first word, the subcommands."""
        first = [] if typed else [name for name in SUBCOMMANDS if name.startswith(prefix)]
        return [*first, *images(prefix=prefix, **names)]

    def servers(prefix: str, **_: object) -> list[str]:
        command = typed[0] if named else DEFAULT
        words = ("auto", "local") if command in (DEFAULT, "encode") else ("auto",)
        return [word for word in words if word.startswith(prefix)]

    parser = load(typed[0]).parser() if named else program()
    completers = {
        "paths": paths,
        "photo": images,
        "servers": servers,
        "output": completion.files(".jsonl", ".jsonl.gz", ".jsonl.zst"),
        "parameters": completion.files(".xml"),
    }
    completion.answer(parser, completers, skip=int(named))
