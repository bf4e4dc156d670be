"""Completion: the words that bash, zsh and fish offer after TAB, from the parser that reads them (by argcomplete)."""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Callable, Iterable, Mapping
from typing import NoReturn

SHELLS = ("bash", "zsh", "fish")

Completer = Callable[..., Iterable[str]]
"""Returns the values that may follow; is called with `prefix`, the beginning that was typed, and other names."""


class _PrintScript(argparse.Action):
    def __call__(
        self, parser: argparse.ArgumentParser, _: argparse.Namespace, values: object, __: str | None = None
    ) -> None:
        from argcomplete.shell_integration import shellcode  # not at the top: it would delay --help

        script = shellcode([parser.prog], shell=str(values))  # nosec B604: the name of a shell, which is not started
        print(script.strip())
        parser.exit()


def add_option(parser: argparse.ArgumentParser) -> None:
    """Adds --print-completion."""
    parser.add_argument(
        "--print-completion",
        choices=SHELLS,
        action=_PrintScript,
        help="print the script with which a shell completes the words of this program, and exit",
    )


def wanted() -> bool:
    """Returns whether a shell has started this program for the words that it can offer, and for nothing else."""
    return "_ARGCOMPLETE" in os.environ and "COMP_LINE" in os.environ


def typed() -> list[str]:
    """Returns the words between the program's name and the word that is being typed."""
    from argcomplete.lexers import split_line

    *_, words, _ = split_line(os.environ["COMP_LINE"], int(os.environ["COMP_POINT"]))
    return list(words[1:])


def answer(
    parser: argparse.ArgumentParser, completers: Mapping[str, Completer], *, skip: int = 0
) -> NoReturn:
    """Tells the shell the words that it can offer, and ends the program.

    Args:
        completers: for the arguments, by their `dest`, whose values are not listed by the parser. Nothing is offered for the
            others.
        skip: number of words after the program's name that are not for this parser.
    """
    from argcomplete.completers import SuppressCompleter
    from argcomplete.finders import CompletionFinder

    for action in parser._actions:
        if action.dest in completers:
            action.completer = completers[action.dest]  # type: ignore[attr-defined]
    positional = [action for action in parser._actions if not action.option_strings]

    class Finder(CompletionFinder):
        def collect_completions(
            self,
            active_parsers: list[argparse.ArgumentParser],
            parsed_args: argparse.Namespace,
            cword_prefix: str,
        ) -> list[str]:
            found = super().collect_completions(active_parsers, parsed_args, cword_prefix)
            # paths after an option: the parser of detect takes them, but not at the first reading, which is what this is
            if not active_parsers[-1].active_actions and not cword_prefix.startswith("-"):  # type: ignore[attr-defined]
                for action in positional:
                    if action.nargs == "+" and action.dest in completers:
                        found += completers[action.dest](prefix=cword_prefix)
            return found

    os.environ["_ARGCOMPLETE"] = str(1 + skip)
    Finder()(
        parser,
        always_complete_options=False if positional else "long",
        default_completer=SuppressCompleter(),
    )
    raise AssertionError("argcomplete ends the program")


def files(*suffixes: str) -> Completer:
    """Returns a completer of paths: directories, and files with one of the suffixes in any case, or all files."""

    def complete(prefix: str, **_: object) -> list[str]:
        folder, slash, beginning = prefix.rpartition("/")
        found = []
        with contextlib.suppress(OSError), os.scandir(os.path.expanduser(folder + slash) or ".") as entries:
            for entry in entries:
                name = entry.name
                if not name.startswith(beginning) or (name.startswith(".") and not beginning):
                    continue
                if entry.is_dir():
                    found.append(f"{folder}{slash}{name}/")
                elif not suffixes or name.lower().endswith(suffixes):
                    found.append(f"{folder}{slash}{name}")
        return sorted(found)

    return complete
