"""Path checks: the words of a command line before anything starts: paths, subcommands, and words that can be either."""

from __future__ import annotations

import argparse
import difflib
import os
import re
import stat

from ...core.errors import NoImagesError, OutputError
from ..inputs import standard_input
from . import DEFAULT, SUBCOMMANDS

MOST_NAMED = 3
"""Missing paths that an error names; a pattern of the shell can stand for thousands."""

SIMILAR = 0.75
"""Least similarity of a misspelt subcommand, by difflib: server and servers have 0.92, paris and pair, two words, 0.67."""

STANDARD_OUTPUT = "-"
"""The name of standard output. A file with this name is ./-.jsonl or the like."""

_PATH = "\0"
"""Beginning of a word after `--`, which is a path even if it begins with a dash. No word of a command line holds a NUL."""


def parse_paths(parser: argparse.ArgumentParser, words: list[str]) -> argparse.Namespace:
    """Returns the options of a parser whose `paths` may stand before, between and behind the options."""
    at = words.index("--") if "--" in words else len(words)
    # parse_intermixed_args itself loses the paths after `--`
    options = parser.parse_intermixed_args([*words[:at], *(_PATH + word for word in words[at + 1 :])])
    options.paths = [path.removeprefix(_PATH) for path in options.paths]
    return options


def advice(words: list[str]) -> str | None:
    """Returns the remedy for a command line that does not fit because its first word was mistaken, None if it was not."""
    if not words:
        return None
    first = words[0]
    if first in SUBCOMMANDS:
        if not os.path.lexists(first):
            return None
        return (
            f"{first} is a subcommand, and also a path here; for the path: "
            f"pyraface ./{first} or pyraface {DEFAULT} {first}"
        )
    if first.startswith("-") or os.path.lexists(first):
        return None
    near = difflib.get_close_matches(first[:100], SUBCOMMANDS, 1, SIMILAR)
    return f"did you mean pyraface {near[0]}?" if near else None


_SPECIAL = re.compile(r"/dev/(std(out|err)|fd/\d+)|/proc/[^/]+/fd/\d+")
"""Names of files that this process has open."""

_NEED_AN_OUTPUT = {
    "overwrite": "replaces",
    "retry_failed": "resumes",
    "redo_from": "resumes",
    "repair": "resumes",
}


def check_output(options: argparse.Namespace) -> None:
    """Checks that the output is named as JSON lines, that an option about it comes with one, and that options go together.

    `--output -` is standard output, as no --output is.

    Raises:
        OutputError: something does not fit.
    """
    if options.output == STANDARD_OUTPUT:
        options.output = None
    if options.output is not None:
        _check_suffix(options.output)
    for option, work in _NEED_AN_OUTPUT.items():
        if getattr(options, option) and options.output is None:
            name = option.replace("_", "-")
            raise OutputError(f"--{name} {work} an output file: name it with --output FILE.jsonl")
    if options.redo_from and options.overwrite:
        raise OutputError(
            "--redo-from and --overwrite exclude each other: --overwrite processes every image again"
        )
    for option in ("overwrite", "dry_run"):
        if options.repair and getattr(options, option):
            name = option.replace("_", "-")
            raise OutputError(
                f"--repair and --{name} exclude each other: --repair changes the output and resumes it"
            )


def _check_suffix(path: str) -> None:
    """Checks that the name of a regular file, or of a new one, names a format.

    Raises:
        OutputError: it does not.
    """
    from ..outputs import formats
    from ..outputs.compression import COMPRESSIONS

    if formats.names(path) or _SPECIAL.fullmatch(path):
        return
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return
        with open(path, "rb") as file:
            ours = file.read(len(formats.DEFAULT.beginning)) == formats.DEFAULT.beginning
    except (OSError, ValueError):
        ours = False
    stem, last = os.path.splitext(path)
    stem = stem if formats.names(stem) else f"{stem}.jsonl"
    right = stem + (last if last.lower() in COMPRESSIONS else "")
    raise OutputError(
        f"--output {path}: the output is JSON lines, in a file whose name ends in .jsonl, .jsonl.gz or .jsonl.zst: "
        f"{'rename this one to resume it' if ours else 'name it'}, for example {right}"
    )


def leave_a_directory_that_is_gone(options: argparse.Namespace) -> None:
    """Changes to / where the working directory was deleted, so that absolute paths still work.

    Raises:
        NoImagesError: a path is relative.
    """
    try:
        os.getcwd()
    except FileNotFoundError:
        for path in (*options.paths, *([options.output] if options.output else [])):
            if not os.path.isabs(path) and path != standard_input.NAME:
                raise NoImagesError(
                    f"{path}: the working directory was deleted; change to another, or name absolute paths"
                ) from None
        os.chdir("/")


def check_paths(paths: list[str], words: list[str]) -> None:
    """Checks that the paths of a command line exist; a link to a missing file is there, and is reported as an image.

    Raises:
        NoImagesError: some do not, or an image is to come from standard input, and that is a terminal.
    """
    if standard_input.NAME in paths and standard_input.is_a_terminal():
        raise NoImagesError(
            f"{standard_input.NAME}: standard input is a terminal; send it an image: pyraface - < photo.jpg "
            "(a file with this name is ./-)"
        )
    missing = [path for path in paths if path != standard_input.NAME and _is_missing(path)]
    if not missing:
        return
    named = ", ".join(missing[:MOST_NAMED])
    more = f" and {len(missing) - MOST_NAMED} more" if len(missing) > MOST_NAMED else ""
    hint = advice(words)
    raise NoImagesError(f"no such file or directory: {named}{more}{f'; {hint}' if hint else ''}")


def _is_missing(path: str) -> bool:
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except (OSError, ValueError):  # it may be there: reading it reports the error
        return False
    return False
