"""Subcommands of the command line: one file each, which holds the parser of its options and what is done with them.

To add one: a file here with `parser()` and `run(options)`, and a line in SUBCOMMANDS.

`pyraface --help` loads the file too, and has to be quick: its imports at the top are argparse and this package; what the
work needs is imported in `run`.
"""

from __future__ import annotations

import argparse
from collections.abc import Coroutine
from importlib import import_module
from typing import Protocol, cast

EXIT_OK, EXIT_SOME_FAILED, EXIT_USAGE, EXIT_INTERRUPTED = 0, 1, 2, 130

DEFAULT = "detect"
"""The subcommand whose name may be left out."""

SUBCOMMANDS = {
    "detect": "find and encode the faces in photographs (the default: its name may be left out)",
    "servers": "list the servers on the network",
    "pair": "get the key of another machine, to use the server there",
}
"""The name, which is also the name of its file here, and a line of help."""


class Subcommand(Protocol):
    """What the file of a subcommand holds."""

    def parser(self) -> argparse.ArgumentParser:
        """Returns the parser of the words that follow the name."""

    def run(self, options: argparse.Namespace) -> int:
        """Does the work; returns the exit status.

        Besides what the parser set, `options.words` holds all words of the command line.

        Raises:
            PyrafaceError: the work cannot be started or continued; the message says why, and what to do.
        """


def load(name: str) -> Subcommand:
    """Returns one of SUBCOMMANDS."""
    return cast("Subcommand", import_module(f".{name}", __name__))


def add_parameters_option(parser: argparse.ArgumentParser) -> None:
    """Adds --parameters, which every subcommand that talks to servers has."""
    parser.add_argument(
        "--parameters", metavar="FILE", help="parameters.xml to use instead of the usual places"
    )


def run_in_loop(work: Coroutine[object, object, bool]) -> int:
    """Runs work in an event loop; returns the exit status: EXIT_SOME_FAILED if the work returns False."""
    import asyncio

    import uvloop

    try:
        return EXIT_OK if uvloop.run(work) else EXIT_SOME_FAILED
    except asyncio.CancelledError:
        return EXIT_INTERRUPTED
