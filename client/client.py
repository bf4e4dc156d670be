"""pyraface: finds every face in photographs, with whatever servers there are. Also runs as client/client.py."""

from __future__ import annotations

import argparse
import sys

if (
    not __package__
):  # run as a file from a checkout: this very module, found as part of its package, does the work
    from pathlib import Path

    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    from pyraface.client.client import main as run

    sys.exit(run())

from .. import __version__
from ..core.errors import PyrafaceError

EXIT_OK, EXIT_SOME_FAILED, EXIT_USAGE, EXIT_INTERRUPTED = 0, 1, 2, 130


def parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="pyraface",
        allow_abbrev=False,  # the words of a command are said again to whoever interrupted it
        description="Finds and encodes every face in photographs; writes one JSON line an image.",
        epilog="pyraface servers lists the servers on the network, and pyraface pair takes the key of one (each has a "
        "--help of its own); directories of these names are ./servers and ./pair. Exit status: 0 all done; 1 some images "
        "failed, each has a line that says why; "
        "2 nothing could be done (bad usage, no server, no output); 130 interrupted.",
    )
    parser.add_argument(
        "paths", nargs="+", metavar="PATH", help="an image, or a directory with images below it"
    )
    parser.add_argument(
        "--servers",
        default="auto",
        metavar="auto|local|HOST[:PORT],...",
        help="auto (the default): every server that answers on the network, and if none does, one started on this "
        "machine; local: one started on this machine",
    )
    parser.add_argument(
        "--faces-from",
        type=_pixels,
        default=0,
        metavar="PX",
        help="the smallest face wanted, in pixels of the photograph, 5 to 1000: servers look as closely as that takes, "
        "and say what it costs (default: as each server's parameters.xml says)",
    )
    parser.add_argument(
        "--output",
        metavar="FILE.jsonl",
        help="where the lines go (default: standard output). A file that this program wrote is gone on with: images that "
        "have their line in it and have not changed since are not done again",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="begin anew: replace the output, whatever file it is"
    )
    parser.add_argument(
        "--retry-failed", action="store_true", help="do images again that failed in an earlier run"
    )
    parser.add_argument(
        "--parameters", metavar="FILE", help="parameters.xml to use instead of the usual places"
    )
    parser.add_argument("--quiet", action="store_true", help="say nothing but errors that end it")
    parser.add_argument("--version", action="version", version=f"pyraface {__version__}")
    return parser


def _pixels(text: str) -> int:
    """Returns the pixels that --faces-from names."""
    # 5 is a detector's window at 16 times its size, the most there is; 1000 is what the protocol holds
    if not (text.isascii() and text.isdigit()) or len(text) > 4 or not 5 <= int(text) <= 1000:
        raise argparse.ArgumentTypeError(f"takes 5 to 1000 pixels, not {text!r}")
    return int(text)


def servers_parser() -> argparse.ArgumentParser:
    """Returns the parser of what follows `pyraface servers`."""
    parser = argparse.ArgumentParser(
        prog="pyraface servers",
        description="Lists the servers on the network: what they are, how busy, and how fast over the last minute.",
        epilog="Exit status: 0 all that are listed say how they are; 1 some do not; 2 none does, or there is none. "
        "A directory of photographs with this name is ./servers.",
    )
    parser.add_argument(
        "--servers",
        default="auto",
        metavar="auto|HOST[:PORT],...",
        help="auto (the default): every server that answers on the network; otherwise these alone",
    )
    parser.add_argument("--json", action="store_true", help="one JSON line a server, for programs")
    parser.add_argument(
        "--parameters", metavar="FILE", help="parameters.xml to use instead of the usual places"
    )
    return parser


def pair_parser() -> argparse.ArgumentParser:
    """Returns the parser of what follows `pyraface pair`."""
    parser = argparse.ArgumentParser(
        prog="pyraface pair",
        description="Takes the key of another machine once, so that its daemon may have this user's images. Run "
        "pyraface-daemon pair there first: it shows a code, which is asked for here.",
        epilog="Exit status: 0 paired; 2 not. A directory of photographs with this name is ./pair.",
    )
    parser.add_argument(
        "host",
        nargs="?",
        metavar="HOST[:PORT]",
        help="the other machine (default: the one on the network that shows a code)",
    )
    parser.add_argument(
        "--parameters", metavar="FILE", help="parameters.xml to use instead of the usual places"
    )
    return parser


def parse(arguments: list[str]) -> argparse.Namespace:
    """Returns the options, with the `command` that they are for: the first word if it is one, otherwise "detect"."""
    commands = {"servers": servers_parser, "pair": pair_parser}
    command, words = "detect", arguments
    if arguments and arguments[0] in commands:
        command, words = arguments[0], arguments[1:]
    options = commands.get(command, parser)().parse_args(words)
    options.command, options.words = command, arguments
    return options


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    options = parse(sys.argv[1:] if arguments is None else arguments)
    try:
        return _run(options)
    except PyrafaceError as error:
        from .console.terminal import say

        say(f"pyraface: {error}")
        return EXIT_USAGE
    except KeyboardInterrupt:  # before anything had begun, or while everything ended
        return EXIT_INTERRUPTED


def _run(options: argparse.Namespace) -> int:
    # not at the top: whoever only wants --help does not wait for numpy and the rest
    import asyncio

    import uvloop

    from ..core.host import subprocesses

    if options.command == "servers":
        from .pool.survey import run
    elif options.command == "pair":
        from .pool.pairing import run
    else:
        from .archive_run import run

    subprocesses.open_standard_streams()
    try:
        return EXIT_OK if uvloop.run(run(options)) else EXIT_SOME_FAILED
    except asyncio.CancelledError:
        return EXIT_INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
