"""Subcommands of the command line: one file each, with the parser of its options and the work that it does.

To add one: a file here with `parser()` and `run(options)`, and a line in SUBCOMMANDS.

`pyraface --help` loads the file of the default subcommand and must be quick. The file imports argparse and this package at
its top; all other imports are inside the functions that need them.
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
    "encode": "encode the faces in given boxes of a photograph",
    "servers": "list the servers on the network",
    "pair": "get the key of another machine, to use the server there",
    "parameters": "show the parameters in force, each with where it comes from",
}
"""The name of each subcommand, which is also the name of its file, and its line of help."""


class Subcommand(Protocol):
    """Interface of a subcommand's file."""

    def parser(self) -> argparse.ArgumentParser:
        """Returns the parser of the words that follow the name."""

    def run(self, options: argparse.Namespace) -> int:
        """Does the work; returns the exit status.

        Besides what the parser set, `options.words` holds all words of the command line.

        Raises:
            PyrafaceError: the work cannot be started or continued; the message gives the reason and the remedy.
        """


def load(name: str) -> Subcommand:
    """Imports and returns the file of one of SUBCOMMANDS."""
    return cast("Subcommand", import_module(f".{name}", __name__))


def add_parameters_option(parser: argparse.ArgumentParser) -> None:
    """Adds --parameters, an option of every subcommand that connects to servers."""
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
