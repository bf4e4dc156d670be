"""The images that have not ended: each with what happened to it, and those that wait for a server in their order."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Generic

from .instructions import J, S

if TYPE_CHECKING:
    from .workers import Server


class Image(Generic[J, S]):
    """One that has not ended."""

    def __init__(self, job: J, cost: float) -> None:
        self.job = job
        self.cost = cost
        self.waiting = True
        """Whether it is to be sent to a server. Some may hold it all the same: those that are late with it."""
        self.done = False
        self.holders: list[Server[J, S]] = []
        self.refusals: set[S] = set()
        self.failures = self.crashes = self.silences = 0

    @property
    def suspect(self) -> bool:
        """Whether it may have ended a server, or silenced several: it is tried alone."""
        return self.crashes > 0 or self.silences > 1

    @property
    def in_good_hands(self) -> bool:
        """Whether a server has it from which an answer is expected."""
        return any(not server.overdue for server in self.holders)

    @property
    def may_be_copied(self) -> bool:
        """Whether another server may be given it while one has it. Not one that may do harm, or that servers refuse."""
        return not (self.done or self.waiting or len(self.holders) != 1 or self.suspect or self.refusals)


class Waiting(Generic[J, S]):
    """Those that wait for a server, in the order they came; those put back go first.

    Suspects and those that a server refused do not fit every server, and stand apart. The queue may hold what waits no
    more: taking something out of its middle would take as long as it is.
    """

    def __init__(self) -> None:
        self.count = 0
        self.suspects: dict[Image[J, S], None] = {}
        self.refused: dict[Image[J, S], None] = {}
        self._queue: deque[Image[J, S]] = deque()

    @property
    def next_cost(self) -> float | None:
        """What the next image is expected to take, roughly: None if nobody knows."""
        return self._queue[0].cost if self._queue else None

    def append(self, image: Image[J, S]) -> None:
        """A new one."""
        image.waiting = True
        self.count += 1
        self._queue.append(image)

    def put_back(self, images: Iterable[Image[J, S]]) -> None:
        """To the head of the queue, in this order."""
        plain = []
        for image in images:
            image.waiting = True
            self.count += 1
            if image.suspect:
                self.suspects[image] = None
            elif image.refusals:
                self.refused[image] = None
            else:
                plain.append(image)
        self._queue.extendleft(reversed(plain))

    def remove(self, image: Image[J, S]) -> None:
        """It waits no more, if it did."""
        if image.waiting:
            image.waiting = False
            self.count -= 1
            self.suspects.pop(image, None)
            self.refused.pop(image, None)
            self._clean()
            if len(self._queue) > 2 * self.count + 16:
                self._queue = deque(image for image in self._queue if self._stands(image))

    def suspect_for(self, server: S) -> Image[J, S] | None:
        """Returns the first suspect that this server has not refused; it still waits."""
        return next((image for image in self.suspects if server not in image.refusals), None)

    def first_for(self, server: S) -> Image[J, S] | None:
        """Returns the first image for this server but for suspects; it still waits."""
        for image in self.refused:
            if server not in image.refusals:
                return image
        return self._queue[0] if self._queue else None

    def _clean(self) -> None:
        """Has the queue begin with one that waits, so that what has ended is not kept in memory for long."""
        while self._queue and not self._stands(self._queue[0]):
            self._queue.popleft()

    def _stands(self, image: Image[J, S]) -> bool:
        """Whether one in the queue is there rightly."""
        return image.waiting and image not in self.suspects and image not in self.refused
