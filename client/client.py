"""pyraface: the command line, which picks the subcommand and runs it. Also runs as a file: client/client.py."""

from __future__ import annotations

import argparse
import shutil
import sys
import textwrap

if (
    not __package__
):  # run as a file from a checkout: the same module, imported as part of its package, does the work
    from pathlib import Path

    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    from pyraface.client.client import main as run

    sys.exit(run())

from .. import __version__
from ..core.errors import PyrafaceError, ReaderGoneError
from ..core.host import completion
from . import commands
from .commands.path_checks import advice, parse_paths

HELP_WIDTH = 100
"""Most characters in a line of the list of subcommands; on a narrower terminal, as many as it has."""


def parse(words: list[str]) -> argparse.Namespace:
    """Returns the options, with the `command` that they are for, and all `words` of the command line."""
    named = bool(words) and words[0] in commands.SUBCOMMANDS
    command = words[0] if named else commands.DEFAULT
    parser = commands.load(command).parser() if named else program_parser()
    rest = words[1:] if named else words
    try:
        options = parse_paths(parser, rest) if command == commands.DEFAULT else parser.parse_args(rest)
    except SystemExit as end:
        hint = advice(words) if end.code == commands.EXIT_USAGE else None
        if hint:
            from ..core.host import standard_streams
            from .console.terminal import say

            standard_streams.prepare()
            say(f"pyraface: {hint}")
        raise
    options.command, options.words = command, words
    return options


def program_parser() -> argparse.ArgumentParser:
    """Returns the parser of the default subcommand as the one of the whole program, whose help lists the others."""
    parser = commands.load(commands.DEFAULT).parser()
    parser.prog = "pyraface"
    parser.add_argument("--version", action="version", version=f"pyraface {__version__}")
    completion.add_option(parser)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    width = min(HELP_WIDTH, shutil.get_terminal_size().columns - 2)  # 2: as argparse does
    indent = max(map(len, commands.SUBCOMMANDS)) + 4
    parser.description = textwrap.fill(parser.description or "", width)
    parser.epilog = "\n".join(
        [
            "subcommands, each with a --help of its own:",
            *(
                textwrap.fill(f"  {name:{indent - 2}}{line}", width, subsequent_indent=" " * indent)
                for name, line in commands.SUBCOMMANDS.items()
            ),
            "",
            textwrap.fill(
                "A directory with the name of a subcommand is written ./servers, or after detect. "
                f"{parser.epilog or ''}",
                width,
            ),
        ]
    )
    return parser


def main(words: list[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    if completion.wanted():
        from .commands.completion import answer

        answer(program_parser)
    options = parse(sys.argv[1:] if words is None else words)
    try:
        from ..core.host import standard_streams  # not at the top, like the next one: they would delay --help

        standard_streams.prepare()
        return commands.load(options.command).run(options)
    except ReaderGoneError:
        return ReaderGoneError.EXIT_STATUS
    except PyrafaceError as error:
        from .console.terminal import say

        say(f"pyraface: {error}")
        return commands.EXIT_USAGE
    except RuntimeError as error:
        from ..core.host import threads
        from .console.terminal import say

        if not threads.refused(error):
            raise
        say(f"pyraface: {threads.REMEDY}")
        return commands.EXIT_USAGE
    except KeyboardInterrupt:  # before the work began, or while it ended
        return commands.EXIT_INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
