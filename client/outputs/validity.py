"""Validity of recorded lines: the ones that stand in a run, and the reasons for which the others are done again."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from enum import Enum

from ...core.errors import OutputError
from .index import LineState, Origin

MOST_NAMED = 10
"""Engines, devices and versions that an error names; an output of many machines has more."""


class Stale(Enum):
    """A reason for which an image with a line is done again."""

    UNANSWERED = "without a result"
    PARAMETERS = "recorded with another search or other parameters"
    RETRIED = "failed"
    REDO = "computed by"
    CHANGED = "changed since"


class Validity:
    """Decides which lines stand. Set `fingerprints` before the first question.

    Args:
        redo_from: engines, devices and versions whose results are computed again.
        retry_failed: whether images in which a server found an error are processed again.

    Attributes:
        fingerprints: of the servers of this run; it may grow.
    """

    def __init__(self, *, redo_from: Sequence[str] = (), retry_failed: bool = False) -> None:
        self.fingerprints: Container[str] = ()
        self._redo_from = tuple(redo_from)
        self._retry_failed = retry_failed

    def problem(self, origin: Origin, state: LineState) -> Stale | None:
        """Returns why a line with this origin and state does not stand; None if it stands."""
        if state not in (LineState.DONE, LineState.FAILED):
            return Stale.UNANSWERED
        if origin.fingerprint not in self.fingerprints:
            return Stale.PARAMETERS
        if state is LineState.FAILED and self._retry_failed:
            return Stale.RETRIED
        if origin.computed_by is not None and any(map(origin.computed_by.has, self._redo_from)):
            return Stale.REDO
        return None

    def check(self, origins: Iterable[Origin], name: str) -> None:
        """Checks that each value of --redo-from is in a line.

        Args:
            origins: of the lines of the output.
            name: of the output, for the error.

        Raises:
            OutputError: one is in none; the message names the ones that are.
        """
        present = {origin.computed_by: None for origin in origins if origin.computed_by is not None}
        for value in self._redo_from:
            if not any(computed_by.has(value) for computed_by in present):
                texts = dict.fromkeys(
                    text for one in present for text in (one.engine, one.device, one.version)
                )
                named = "; ".join(list(texts)[:MOST_NAMED]) or "none"
                more = "; and others" if len(texts) > MOST_NAMED else ""
                raise OutputError(
                    f"--redo-from {value}: no line of {name} has this engine, device or version; its lines have: "
                    f"{named}{more}. Leave --redo-from out to resume"
                )

    def words(self, reason: Stale) -> str:
        """Returns what is said of images that are done again for this reason."""
        if reason is Stale.REDO:
            return f"computed by {' or '.join(self._redo_from)}"
        return str(reason.value)
