"""One run of the command: what the walk finds goes through the servers, and what comes back is written."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import shlex
import signal
import sys
from collections.abc import Callable

from ..core import parameters as parameters_file
from ..core import pyramid
from ..core.errors import ErrorCode, NoImagesError, OutputError
from ..core.parameters import DetectionParameters
from ..core.results import Result
from .api import Client
from .console.progress import Tally
from .inputs.prefetch import Prefetcher
from .inputs.reader import File
from .inputs.scan import Scan
from .outputs.journal import Journal

PREDICTED_FOR = (4000, 3000)
"""Pixels: the photograph that a cost is predicted for."""

DRAIN_TIMEOUT = 30.0
"""Seconds that an interrupted run waits for the answers that are on their way."""


async def run(options: argparse.Namespace) -> bool:
    """Does what the command line asks for; returns whether every image has faces, or none to show, but no error.

    Raises:
        PyrafaceError: it cannot be begun or go on; the message says why.
        asyncio.CancelledError: it was interrupted.
    """
    parameters = parameters_file.load(options.parameters)
    journal = Journal(options.output, overwrite=options.overwrite, retry_failed=options.retry_failed)
    taken = options.output is None and sys.stdout is not None and sys.stdout.isatty()
    with journal, Tally(quiet=options.quiet, terminal_taken=taken) as tally:
        interrupt = _Interrupt(journal, tally)
        try:
            if options.faces_from:
                tally.say(_cost(options.faces_from, parameters.detection))
            client = Client(
                options.servers,
                parameters=parameters,
                faces_from=options.faces_from,
                on_event=tally.say,
            )
            skipped = await _work(options, client, interrupt)
        except asyncio.CancelledError:
            for line in (
                *tally.troubles(),
                f"interrupted: {tally.summary()}",
                _how_to_go_on(options, journal),
            ):
                tally.say(line)
            raise
        except OutputError as error:
            if not tally.images or options.output is None:
                raise
            raise OutputError(f"{error}; when that is remedied, {_how_to_go_on(options, journal)}") from error
    if not (tally.images or journal.known or journal.repeated):
        raise NoImagesError(f"no image in {', '.join(options.paths)}")
    counts = [
        (journal.known, f"{journal.known} done before"),
        (journal.repeated, f"{journal.repeated} with the bytes of one done before"),
        (journal.known_failed, f"{journal.known_failed} of these failed"),
        (skipped, f"{skipped} other files skipped"),
    ]
    summary = "; ".join([tally.summary(), *(words for count, words in counts if count)])
    for line in (*tally.troubles(), summary):
        tally.say(line)
    return not (tally.failed or journal.known_failed)


async def _work(options: argparse.Namespace, new_client: Client, interrupt: _Interrupt) -> int:
    """Does it, and returns how many files were passed over that are no images by their names."""
    journal, tally = interrupt.journal, interrupt.tally
    await asyncio.to_thread(journal.load)
    walk = Scan(options.paths, read=journal.forget)
    async with new_client as client:
        for line in journal.begin(client.fingerprints):
            tally.say(line)
        loop = asyncio.get_running_loop()

        def skip(file: File) -> bool:  # in a thread
            known = journal.repeat(file)
            if known:
                loop.call_soon_threadsafe(tally.leave_out)
            return known

        upcoming = Prefetcher((path for path in walk if not journal.has(path)), ended=tally.expect)

        def stop() -> None:
            walk.stop()
            upcoming.stop()
            client.drain()

        interrupt.stop = stop
        try:
            results = client.map(upcoming, skip=skip)
            async with tally.following(client.status), contextlib.aclosing(results):
                async for result in results:
                    await _add(result, journal, tally)
        finally:
            walk.stop()
            upcoming.stop()
    if interrupt.happened:
        raise asyncio.CancelledError
    for path, reason in walk.unreadable:
        lost = Result(path, error=(ErrorCode.UNREADABLE, f"the directory cannot be read: {reason}"))
        await _add(lost, journal, tally)
    await asyncio.to_thread(journal.finish)
    return walk.skipped


async def _add(result: Result, journal: Journal, tally: Tally) -> None:
    if journal.waits:  # meanwhile signals are heard, and servers are told that somebody is there
        await asyncio.to_thread(journal.write, result)
    else:
        journal.write(result)
    tally.add(result)


class _Interrupt:
    """What SIGINT and SIGTERM do. The first: nothing more is sent, and what is on its way is waited for. The second ends it.

    Attributes:
        happened: whether there was one.
        stop: what the first does to a run that has begun to send.
    """

    def __init__(self, journal: Journal, tally: Tally) -> None:
        self.journal = journal
        self.tally = tally
        self.happened = False
        self.stop: Callable[[], object] | None = None
        self._loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        for number in (signal.SIGINT, signal.SIGTERM):
            self._loop.add_signal_handler(number, self._signalled)

    def _signalled(self) -> None:
        first, self.happened = not self.happened, True
        if first and self.stop is not None:
            self.tally.say(
                "stopping: nothing more is sent; what is on its way is waited for (once more ends it at once)"
            )
            self._loop.call_later(DRAIN_TIMEOUT, self._task.cancel)
            self.stop()
            return
        self.journal.stop()
        self._task.cancel()
        if not first:  # a third one ends the program as it ends any other
            for number in (signal.SIGINT, signal.SIGTERM):
                self._loop.remove_signal_handler(number)


def _how_to_go_on(options: argparse.Namespace, journal: Journal) -> str:
    if options.output is None:
        return "with --output FILE.jsonl the same command would go on from here"
    words = [word for word in options.words if word != "--overwrite" or journal.replaces]
    return f"go on with: {shlex.join(['pyraface', *words])}"


def _cost(faces_from: int, detection: DetectionParameters) -> str:
    """Returns in one line what the smallest face wanted costs, by this machine's parameters."""
    width, height = PREDICTED_FOR
    wanted = pyramid.work(pyramid.levels(width, height, detection, faces_from=faces_from))
    usual = pyramid.work(pyramid.levels(width, height, detection))
    return (
        f"faces from {faces_from} px: a photograph of {width} x {height} takes {wanted.tiles} tiles, "
        f"{wanted.pixels / 1e6:.0f} megapixels together, {wanted.pixels / usual.pixels:.1f} times as much as otherwise"
    )
