"""pyraface: finds every face in photographs, with whatever servers there are. Also runs as client/client.py."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncGenerator

if (
    not __package__
):  # run as a file from a checkout: this very module, found as part of its package, does the work
    from pathlib import Path

    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    from pyraface.client.client import main as run

    sys.exit(run())

import uvloop

from .. import __version__
from ..core import parameters as parameters_file
from ..core import subprocesses
from ..core.errors import ErrorCode, PyrafaceError
from .api import Client
from .journal import Journal
from .progress import Tally
from .results import Result
from .walk import Walk

EXIT_OK, EXIT_SOME_FAILED, EXIT_USAGE, EXIT_INTERRUPTED = 0, 1, 2, 130


def parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="pyraface",
        description="Finds and encodes every face in photographs; writes one JSON line an image.",
        epilog="Exit status: 0 all done; 1 some images failed, each has a line that says why; "
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
        "--output", metavar="FILE.jsonl", help="where the lines go (default: standard output)"
    )
    parser.add_argument("--overwrite", action="store_true", help="let the output replace a file that exists")
    parser.add_argument(
        "--parameters", metavar="FILE", help="parameters.xml to use instead of the usual places"
    )
    parser.add_argument("--quiet", action="store_true", help="say nothing but errors that end it")
    parser.add_argument("--version", action="version", version=f"pyraface {__version__}")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    options = parser().parse_args(arguments)
    subprocesses.open_standard_streams()
    try:
        return uvloop.run(_run(options))
    except PyrafaceError as error:
        print(f"pyraface: {error}", file=sys.stderr)
        return EXIT_USAGE
    except asyncio.CancelledError:
        return EXIT_INTERRUPTED


async def _run(options: argparse.Namespace) -> int:
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    parameters = parameters_file.load(options.parameters)
    tally = Tally(quiet=options.quiet)
    walk = Walk(options.paths)
    with Journal(options.output, overwrite=options.overwrite) as journal, tally:
        ahead = Walk(options.paths)
        counting = asyncio.create_task(asyncio.to_thread(_count, ahead))
        try:
            async with Client(options.servers, parameters=parameters, on_event=tally.say) as client:
                tally.start_clock()
                counting.add_done_callback(
                    lambda done: None if done.cancelled() or done.exception() else tally.expect(done.result())
                )
                async with contextlib.aclosing(client.map(_in_a_thread(walk))) as results:
                    async for result in results:
                        journal.write(result)
                        tally.add(result)
        except asyncio.CancelledError:
            tally.say(f"interrupted: {tally.summary()}")
            raise
        finally:
            counting.cancel()
            # their threads go on otherwise, and the end of the program waits for them
            ahead.stop()
            walk.stop()
        for path, reason in walk.unreadable:
            lost = Result(path, error=(ErrorCode.UNREADABLE, f"the directory cannot be read: {reason}"))
            journal.write(lost)
            tally.add(lost)
    if not tally.images:
        raise NoImages(f"no image in {', '.join(options.paths)}")
    skipped = f"; {walk.skipped} other files skipped" if walk.skipped else ""
    tally.say(tally.summary() + skipped)
    return EXIT_SOME_FAILED if tally.failed else EXIT_OK


class NoImages(PyrafaceError):
    """The paths hold nothing to do."""


async def _in_a_thread(walk: Walk) -> AsyncGenerator[str, None]:
    """Yields the paths of a walk, whose directories may be on a slow disk."""
    paths = iter(walk)
    while (path := await asyncio.to_thread(next, paths, None)) is not None:
        yield path


def _count(walk: Walk) -> int:
    return sum(1 for _ in walk)


if __name__ == "__main__":
    sys.exit(main())
