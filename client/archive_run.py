"""Archive run: finds the images in directories, sends them to the servers, and writes their results."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import shlex
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Set
from dataclasses import replace
from functools import partial

from ..core import parameters as parameters_file
from ..core.errors import ErrorCode, NoImagesError, OutputError, ReaderGoneError, ServerMemoryError
from ..core.former_fingerprints import WithFormer
from ..core.host import file_leases
from ..core.parameters import AUTOMATIC, DetectionParameters, Parameters, search_named
from ..core.results import Result
from ..core.text import plural
from .api import Client
from .console import number_formats
from .console.progress import Progress
from .inputs import standard_input
from .inputs.directory_walk import Scan, Selection
from .inputs.file_kinds import Skipped, in_words
from .inputs.file_reader import File, digest_of
from .inputs.path_prefetch import PathPrefetcher
from .inputs.standard_input import StandardInput
from .outputs.journal import Journal

PREDICTED_FOR = (4000, 3000)
"""Pixels of the photograph that the cost of --faces-from is calculated for."""

MOST_STARVED = 10
"""Images in a row for which every server had too little memory, after which a run ends: an archive of photographs that are
all too large is not failed one by one. A folder of a few panoramas must not end it."""

DRAIN_TIMEOUT = 30.0
"""Seconds that an interrupted run waits for the images in flight to be answered."""


async def run(options: argparse.Namespace) -> bool:
    """Processes the images that the options of `pyraface detect` name; returns whether all of them succeeded.

    Raises:
        PyrafaceError: the run cannot start or continue; the message says why.
        asyncio.CancelledError: the run was interrupted.
    """
    parameters = parameters_file.load(options.parameters)
    journal = await file_leases.patiently(
        partial(
            Journal,
            options.output,
            overwrite=options.overwrite,
            retry_failed=options.retry_failed,
            redo_from=options.redo_from,
            repair=options.repair,
        )
    )
    with journal, Progress(quiet=options.quiet, terminal_taken=journal.watched) as progress:
        interrupt = _Interrupt(journal, progress)
        try:
            if parameters.stated:
                progress.say(f"parameters: {parameters.source}")
            if options.faces_from:
                progress.say(_cost(options.faces_from, options.search, parameters.detection))
            images = Images(options, parameters, journal, progress)
            client = Client(
                options.servers,
                parameters=parameters,
                faces_from=options.faces_from,
                search=options.search,
                on_event=progress.say,
            )
            client.start_daemon_if(images.need_a_daemon)
            await _work(client, images, interrupt)
        except asyncio.CancelledError:
            for line in (
                *progress.troubles(),
                f"interrupted: {progress.summary()}",
                _how_to_resume(options, journal),
            ):
                progress.say(line)
            raise
        except ReaderGoneError:
            raise
        except (OutputError, ServerMemoryError) as error:
            if not progress.images or (options.output is None and isinstance(error, OutputError)):
                raise
            raise type(error)(
                f"{error}; after correcting that, {_how_to_resume(options, journal)}"
            ) from error
    if not (progress.images or journal.known or journal.repeated):
        raise NoImagesError(f"no image in {', '.join(options.paths)}")
    listed = "" if options.list_skipped else " (--list-skipped lists them)"
    counts = [
        (journal.known, f"{journal.known} already recorded"),
        (journal.repeated, f"{journal.repeated} recorded under another path"),
        (journal.known_failed, f"{journal.known_failed} of these failed"),
        (journal.redone.total(), journal.summary()),
        (images.skipped.total(), f"skipped: {in_words(images.skipped)}{listed}"),
    ]
    summary = "; ".join([progress.summary(), *(words for count, words in counts if count)])
    for line in (*progress.troubles(), summary):
        progress.say(line)
    return not (progress.failed or journal.known_failed)


async def _work(client: Client, images: Images, interrupt: _Interrupt) -> None:
    """Processes the images, and brings the output up to date."""
    journal, progress = interrupt.journal, interrupt.progress
    for line in await asyncio.to_thread(journal.load):
        progress.say(line)
    if await images.any_is(lambda _: True):  # without an image, no server is looked for or started
        await _process(client, images, interrupt)
    for path, reason in images.unreadable:
        await _add(Result(path, error=(ErrorCode.UNREADABLE, reason)), journal, progress)
    if images.problem is not None:
        await _add(Result(standard_input.NAME, error=images.problem), journal, progress)
    await asyncio.to_thread(journal.finish)


async def _process(new_client: Client, images: Images, interrupt: _Interrupt) -> None:
    """Sends the images that are not recorded to the servers, and writes their results.

    Raises:
        asyncio.CancelledError: the run was interrupted.
    """
    journal, progress = interrupt.journal, interrupt.progress
    async with new_client as client:
        for line in images.begin(client.fingerprints):
            progress.say(line)
        loop = asyncio.get_running_loop()

        def skip(file: File) -> bool:  # in a thread
            known = journal.repeat(file)
            if known:
                loop.call_soon_threadsafe(progress.leave_out)
            return known

        upcoming = PathPrefetcher(images.new(), ended=progress.expect)

        def stop() -> None:
            images.stop()
            upcoming.stop()
            client.drain()

        interrupt.stop = stop
        try:
            results = client.map(upcoming, skip=skip)
            async with progress.following(client.status), contextlib.aclosing(results):
                starved = 0
                async for result in results:
                    await _add(result, journal, progress)
                    starved = _starved(result, starved)
        finally:
            images.stop()
            upcoming.stop()
    if interrupt.happened:
        raise asyncio.CancelledError


class Images:
    """The images of a run: first the files that a scan of the paths finds, then the image on standard input."""

    def __init__(
        self, options: argparse.Namespace, parameters: Parameters, journal: Journal, progress: Progress
    ) -> None:
        self._parameters = parameters
        self._journal = journal
        self._faces_from: int = options.faces_from
        loop = asyncio.get_running_loop()

        def name(path: str, kind: Skipped) -> None:  # in a thread
            if options.list_skipped:
                loop.call_soon_threadsafe(progress.say, f"skipped: {path} ({kind.value[0]})")

        selection = Selection.of(options.exclude, options.include, follow_links=options.follow_links)
        named = [path for path in options.paths if path != standard_input.NAME]
        self._walk = Scan(named, selection, read=journal.forget, skip=name)
        self._sent = StandardInput(parameters.daemon.max_frame_bytes)
        sent = self._sent.images() if standard_input.NAME in options.paths else ()
        self._paths: Iterator[str | bytes] = itertools.chain[str | bytes](self._walk, sent)

    @property
    def skipped(self) -> Counter[Skipped]:
        """The numbers of the files and folders that were skipped, by their kinds."""
        return self._walk.skipped

    @property
    def unreadable(self) -> list[tuple[str, str]]:
        """Directories that cannot be read, with the reasons."""
        return [(path, f"the directory cannot be read: {reason}") for path, reason in self._walk.unreadable]

    @property
    def problem(self) -> tuple[ErrorCode, str] | None:
        """Why there is no image on standard input."""
        return self._sent.problem

    async def any_is(self, wanted: Callable[[str | bytes], bool]) -> bool:
        """Returns whether there is an image for which `wanted` returns True. Those before it are left out from then on."""
        first = PathPrefetcher(itertools.islice(filter(wanted, self._paths), 1))
        try:
            found = [path async for path in first]
        except asyncio.CancelledError:
            self.stop()
            first.stop()
            raise
        self._paths = itertools.chain(found, self._paths)
        return bool(found)

    async def need_a_daemon(self, fingerprint: str) -> bool:
        """Returns whether any image has no line with this fingerprint, that of a daemon on this machine."""
        self.begin({fingerprint})
        return await self.any_is(self._is_new)

    def begin(self, fingerprints: Set[str]) -> list[str]:
        """Returns the lines that summarise an existing output, of which lines with these fingerprints stand."""
        asked = self._parameters.detection, self._parameters.fusion, self._parameters.encoding
        return self._journal.begin(WithFormer(fingerprints, *asked, faces_from=self._faces_from))

    def new(self) -> Iterator[str | bytes]:
        """Returns the images that are not recorded."""
        return filter(self._is_new, self._paths)

    def stop(self) -> None:
        """Ends the scan."""
        self._walk.stop()

    def _is_new(self, path: str | bytes) -> bool:  # in a thread
        if isinstance(path, str):
            return not self._journal.has(path)
        return not self._journal.repeat(File(standard_input.NAME, len(path), None, digest_of(path), path))


def _starved(result: Result, before: int) -> int:
    """Returns the number of images in a row for which the servers had too little memory, after one more result.

    Raises:
        ServerMemoryError: there are so many that the others will have the same fate.
    """
    if result.error is None or result.error[0] is not ErrorCode.OUT_OF_MEMORY:
        return before if result.error is not None and result.error[0] is ErrorCode.UNREADABLE else 0
    if before + 1 < MOST_STARVED:
        return before + 1
    raise ServerMemoryError(
        f"{MOST_STARVED} images in a row failed for want of memory, the last one with: {result.error[1]}"
    )


async def _add(result: Result, journal: Journal, progress: Progress) -> None:
    if not result.path:  # of an image given as bytes
        result = replace(result, path=standard_input.NAME)
    if journal.waits:  # meanwhile the loop handles signals, and keeps the connections to the servers alive
        await asyncio.to_thread(journal.write, result)
    else:
        journal.write(result)
    progress.add(result)


class _Interrupt:
    """Handler of SIGINT, SIGTERM and SIGHUP, which is sent when a terminal is closed.

    After the first signal the run sends no further image and waits for the images in flight; the second signal ends the run
    at once. A signal that the starter of the program ignores, as nohup ignores SIGHUP, stays ignored.

    Attributes:
        happened: whether a signal was received.
        stop: called at the first signal, to stop a run that has started to send.
    """

    def __init__(self, journal: Journal, progress: Progress) -> None:
        self.journal = journal
        self.progress = progress
        self.happened = False
        self.stop: Callable[[], object] | None = None
        self._loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        self._handled = [number for number in signals if signal.getsignal(number) is not signal.SIG_IGN]
        for number in self._handled:
            self._loop.add_signal_handler(number, self._signalled)

    def _signalled(self) -> None:
        first, self.happened = not self.happened, True
        if first and self.stop is not None:
            self.progress.say(
                "stopping: waiting for the images in flight, no others are sent (a second interrupt stops at once)"
            )
            self._loop.call_later(DRAIN_TIMEOUT, self._task.cancel)
            self.stop()
            return
        self.progress.end_display()  # a third signal ends the program where it stands
        self.journal.stop()
        self._task.cancel()
        if not first:
            for number in self._handled:
                self._loop.remove_signal_handler(number)


def _how_to_resume(options: argparse.Namespace, journal: Journal) -> str:
    if options.output is None:
        return "with --output FILE.jsonl, the same command would resume from here"
    words = [word for word in options.words if word != "--overwrite" or journal.replaces]
    return f"resume with: {shlex.join(['pyraface', *words])}"


def _cost(faces_from: int, search: str, detection: DetectionParameters) -> str:
    """Returns a line that states the cost of --faces-from, with the parameters of this machine."""
    # not at the top: a client that is not asked for the cost needs no image library
    from ..core import search as searches

    width, height = PREDICTED_FOR
    if not search:
        search = AUTOMATIC if detection.search == "auto" else detection.search
    work = partial(searches.work, search_named(search), PREDICTED_FOR, detection)
    wanted, usual = work(faces_from=faces_from), work()
    megapixels = wanted.pixels / 1e6
    shown = f"{megapixels:.0f}" if megapixels >= 10 else f"{megapixels:.2g}"
    times = number_formats.multiple(wanted.pixels / usual.pixels, "the default")
    return (
        f"faces from {faces_from} px: a photograph of {width} x {height} pixels takes {plural(wanted.tiles, 'tile')}, "
        f"{shown} megapixels in all, {times}"
    )
