"""One run of the command: what the walk finds goes through the servers, and what comes back is written."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import sys

from ..core import parameters as parameters_file
from ..core import pyramid
from ..core.errors import ErrorCode, PyrafaceError
from ..core.parameters import DetectionParameters
from .ahead import Ahead
from .api import Client
from .journal import Journal
from .progress import Tally
from .results import Result
from .walk import Walk

PREDICTED_FOR = (4000, 3000)
"""Pixels: the photograph that a cost is predicted for."""


class NoImages(PyrafaceError):
    """The paths hold nothing to do."""


async def run(options: argparse.Namespace) -> bool:
    """Does what the command line asks for; returns whether all of it succeeded.

    Raises:
        PyrafaceError: it cannot be begun or go on; the message says why.
        asyncio.CancelledError: it was interrupted.
    """
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    parameters = parameters_file.load(options.parameters)
    taken = options.output is None and sys.stdout is not None and sys.stdout.isatty()
    tally = Tally(quiet=options.quiet, terminal_taken=taken)
    walk = Walk(options.paths)
    with Journal(options.output, overwrite=options.overwrite) as journal, tally:
        upcoming = Ahead(walk, ended=tally.expect)
        try:
            if options.faces_from:
                tally.say(_cost(options.faces_from, parameters.detection))
            async with Client(
                options.servers,
                parameters=parameters,
                faces_from=options.faces_from,
                on_event=tally.say,
            ) as client:
                results = client.map(upcoming)
                async with tally.following(client.status), contextlib.aclosing(results):
                    async for result in results:
                        journal.write(result)
                        tally.add(result)
        except asyncio.CancelledError:
            tally.say(f"interrupted: {tally.summary()}")
            raise
        finally:
            upcoming.stop()
            walk.stop()
        for path, reason in walk.unreadable:
            lost = Result(path, error=(ErrorCode.UNREADABLE, f"the directory cannot be read: {reason}"))
            journal.write(lost)
            tally.add(lost)
    if not tally.images:
        raise NoImages(f"no image in {', '.join(options.paths)}")
    skipped = f"; {walk.skipped} other files skipped" if walk.skipped else ""
    for line in (*tally.troubles(), tally.summary() + skipped):
        tally.say(line)
    return not tally.failed


def _cost(faces_from: int, detection: DetectionParameters) -> str:
    """Returns in one line what the smallest face wanted costs, by this machine's parameters."""
    width, height = PREDICTED_FOR
    wanted = pyramid.work(pyramid.levels(width, height, detection, faces_from=faces_from))
    usual = pyramid.work(pyramid.levels(width, height, detection))
    return (
        f"faces from {faces_from} px: a photograph of {width} x {height} takes {wanted.tiles} tiles, "
        f"{wanted.pixels / 1e6:.0f} megapixels together, {wanted.pixels / usual.pixels:.1f} times as much as otherwise"
    )
