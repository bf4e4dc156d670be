"""Dry run: what a run would do, said before anything is sent: photographs, files left out, errors, and the time it takes.

Nothing is written and no server is started. Of each photograph that is not recorded, only the header is read.
"""

from __future__ import annotations

import argparse
import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeGuard

from ..core import fingerprints
from ..core import parameters as parameters_file
from ..core.errors import NoImagesError
from ..core.host import keyfile, tasks
from ..core.host.standard_streams import print_lines
from ..core.parameters import Parameters
from ..core.protocol.messages import Status, Welcome
from ..core.text import plural
from .archive_run import Images
from .console.progress import PLAIN_INTERVAL, Progress
from .inputs import standard_input
from .inputs.file_kinds import in_words
from .inputs.headers import Limits, headers
from .inputs.path_prefetch import PathPrefetcher
from .outputs.journal import Journal
from .pool import local_daemon
from .pool.server_reports import Report, survey
from .pool.servers_option import AUTO, LOCAL
from .time_estimate import Work, estimate

MOST_REASONS = 10
"""Reasons for errors that are named; the others are counted together."""

THIS_MACHINE = "this machine"


async def run(options: argparse.Namespace) -> bool:
    """Prints what `pyraface detect` would do with these options.

    Returns whether no photograph is known to have an error, all directories can be read, and every server answers.

    Raises:
        PyrafaceError: the run could not start; the message says why.
        asyncio.CancelledError: it was interrupted.
    """
    parameters = parameters_file.load(options.parameters)
    journal = Journal(
        options.output,
        overwrite=options.overwrite,
        retry_failed=options.retry_failed,
        redo_from=options.redo_from,
        unchanged=True,
    )
    with journal, Progress(quiet=options.quiet, terminal_taken=True) as progress:
        servers = await _Servers.asked(options, parameters)
        for report in servers.silent:
            progress.say(f"server {report.place}: {report.problem}")
        await asyncio.to_thread(journal.load)
        named = [path for path in options.paths if path != standard_input.NAME]
        from_files = argparse.Namespace(**{**vars(options), "paths": named})
        images = Images(from_files, parameters, journal, progress)
        for line in images.begin(servers.fingerprints):
            progress.say(line)
        found = await _look_through(images, servers.limits, progress, named=options.list_skipped)
        for path, reason in images.unreadable:
            progress.say(f"{path}: {reason}")
        speeds = servers.speeds(journal.speeds())
    failing = found.reasons.total() + len(images.unreadable)
    total = journal.known + found.work.photographs + found.reasons.total()
    if not (total or failing or len(named) < len(options.paths)):
        raise NoImagesError(f"no image in {', '.join(options.paths)}")
    lines = [
        ("photographs", f"{total}{' and the one on standard input' * (len(named) < len(options.paths))}"),
        ("already recorded", _recorded(journal, options.output)),
        ("to process", str(found.work)),
        ("errors", found.errors(len(images.unreadable))),
        ("skipped", in_words(images.skipped)),
        ("time", estimate(found.work, speeds)),
    ]
    print_lines(f"{name}: {words}" for name, words in lines if words)
    return not (failing or journal.known_failed or servers.silent)


class _Found:
    """The photographs that have no line.

    Attributes:
        work: the photographs that would be sent to a server.
        reasons: the number of the others, by the reason for their error.
    """

    def __init__(self) -> None:
        self.work = Work()
        self.reasons: Counter[str] = Counter()

    def look_at(self, paths: Iterable[str | bytes], limits: Limits) -> Iterator[str]:
        """Looks at photographs, and yields a line for each that would have an error."""
        for header in headers(filter(_is_path, paths), limits):
            if not header.problem:
                self.work.add(header.pixels)
                continue
            self.reasons[header.problem] += 1
            yield f"error: {header.path} ({header.problem})"

    def errors(self, unreadable: int) -> str:
        """Returns the number of errors and their reasons, "" if there is none.

        Args:
            unreadable: number of directories that cannot be read.
        """
        named = self.reasons.most_common(MOST_REASONS)
        words = [f'{count} with "{reason}"' for reason, count in named]
        others = self.reasons.total() - sum(count for _, count in named)
        if others:
            words.append(f"{others} for other reasons")
        if unreadable:
            words.append(
                f"{unreadable} {'directory' if unreadable == 1 else 'directories'} that cannot be read"
            )
        return f"{self.reasons.total() + unreadable}: {', '.join(words)}" if words else ""


class _Servers:
    """The servers that a run would use.

    Attributes:
        fingerprints: of their results.
        limits: of the photographs that they take.
        silent: the reports of the servers that do not answer.
    """

    def __init__(self, reports: list[Report], options: argparse.Namespace, parameters: Parameters) -> None:
        entries = _entries(options.servers)
        self.silent = [report for report in reports if report.answers is None]
        self._answers: list[tuple[Welcome, Status]] = [
            report.answers
            for report in reports
            if report.answers is not None
            and report.state == "ready"
            and (not options.search or options.search in report.answers[0].searches)
        ]
        welcomes = [welcome for welcome, _ in self._answers]
        # as in a run: auto starts a server where none answers
        self._local = LOCAL in entries or (AUTO in entries and not welcomes)
        self.fingerprints = {
            fingerprints.from_size(welcome.fingerprint_of(options.search), options.faces_from)
            for welcome in welcomes
        }
        if self._local or not welcomes:
            self.fingerprints.add(local_daemon.fingerprint(parameters, options.search, options.faces_from))
        self.limits = Limits(
            max(
                [welcome.max_frame_bytes for welcome in welcomes],
                default=parameters.daemon.max_frame_bytes,
            ),
            max([welcome.max_pixels for welcome in welcomes], default=parameters.images.max_pixels),
            parameters.images.max_side,
        )

    @classmethod
    async def asked(cls, options: argparse.Namespace, parameters: Parameters) -> _Servers:
        """Returns the servers that answer on the network, and those named.

        Raises:
            ServerError: an entry of --servers is invalid.
            KeyFileError: this user's key file is invalid.
        """
        others = [entry for entry in _entries(options.servers) if entry != LOCAL]
        keys = keyfile.load() if others and parameters.security.keyed else ()
        return cls(await survey(",".join(others), parameters, keys) if others else [], options, parameters)

    def speeds(self, recorded: Mapping[str, float]) -> dict[str, float]:
        """Returns the megapixels per second of each server, by its name; 0 where it is not known.

        Args:
            recorded: those of the servers in the lines of the output, by their names there.
        """
        found = {THIS_MACHINE: recorded.get(LOCAL, 0.0)} if self._local else {}
        for welcome, status in self._answers:
            earlier = [speed for name, speed in recorded.items() if name.startswith(f"{welcome.name} (")]
            found[welcome.name] = status.speed or max(earlier, default=0.0)
        return found


def _entries(servers: str) -> list[str]:
    return [entry.strip() for entry in servers.split(",")]


async def _look_through(images: Images, limits: Limits, progress: Progress, *, named: bool) -> _Found:
    """Returns the photographs without a line; if `named`, each that would have an error is named."""
    found = _Found()
    lines = PathPrefetcher(found.look_at(images.new(), limits))

    async def tell() -> None:
        while True:
            await asyncio.sleep(PLAIN_INTERVAL)
            progress.say(f"{plural(found.work.photographs, 'photograph')} to process so far")

    telling = asyncio.create_task(tell())
    try:
        async for line in lines:
            if named:
                progress.say(str(line))
    finally:
        images.stop()
        lines.stop()
        await tasks.end([telling])
    return found


def _recorded(journal: Journal, output: str | None) -> str:
    if not journal.known:
        return ""
    failed = f"; {journal.known_failed} of these failed" if journal.known_failed else ""
    return f"{journal.known} in {output}, unchanged since{failed}"


def _is_path(path: str | bytes) -> TypeGuard[str]:
    return isinstance(path, str)
