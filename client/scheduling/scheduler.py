"""Which server gets which image, and what becomes of those a server keeps: decisions only, no I/O and no clock.

Whoever drives it reports what happened, with the time (seconds, of any clock that only goes forward), and then carries out
what `decide(now)` returns; `wake` says when to ask again if nothing happens before.

An image waits, or some server has it, until it ends in exactly one way: `answered` returned True for it, a GiveUp named
it, or it was withdrawn. The rules:

- Work goes to the server that would finish it first, with what it has already, at the rate it has shown.
- A server holds as many images as keep it busy (`roster.AHEAD`), within its credits; one that has shown nothing yet, two.
- When nothing waits and nothing more comes, idle servers are given what others would finish later. The first answer counts.
- A server silent for far longer than expected is stuck: others get its images too, it gets no more until it answers.
- What a lost server had goes to the head of the queue. If the server broke off, any of it may be to blame: each is tried
  alone, so that one that ends a server again is known for certain, and given up.
- A server that fails again and again rests, twice as long each time, and then gets one image to prove itself.
"""

from __future__ import annotations

from typing import Generic

from .instructions import Cancel, Decision, Disconnect, GiveUp, J, Load, Reason, S, Send
from .queue import Image, Waiting
from .workers import Roster, Server

MOST_FAILURES = 2
"""An image is given up when so many servers failed at it. Of a server that fails at everything, the first ones count."""

MOST_REFUSALS = 6
"""It is given up, too, when so many servers did not do it, whatever they are worth."""

MOST_CRASHES = 2
"""It is given up when so many servers broke off with it, at last with nothing else in hand; or twice as many."""

MOST_SILENCES = 4
"""It is given up when so many servers fell silent with it: more than crashes, because a network falls silent too."""

MOST_HOLDERS = 3
"""An image that so many servers are late with is left to them: it may just take its time."""

FIRST_REST, LONGEST_REST = 1.0, 60.0
"""Seconds that a server rests after a second failure in a row; doubled with each that follows."""

BUSY_REST = 0.5
"""Seconds before a server that said busy gets its next image."""

WORTH = 1.25
"""A copy is made if it would be done before the original even if it took so many times as long as expected."""


class Scheduler(Generic[J, S]):
    """Images wait in the order they came; those given back go first."""

    def __init__(self) -> None:
        self.more_to_come = False
        """Whether images are on their way, so that an idle server should rather wait for them; set from outside."""
        self._roster: Roster[J, S] = Roster()
        self._images: dict[J, Image[J, S]] = {}
        self._waiting: Waiting[J, S] = Waiting()
        self._said: list[Decision[J, S]] = []

    # ------------------------------------------------------------------------------------------ what there is

    @property
    def servers(self) -> int:
        """How many servers there are."""
        return len(self._roster.up)

    @property
    def room(self) -> int:
        """How many images all servers together should hold."""
        return self._roster.room

    @property
    def unfinished(self) -> int:
        """How many images have not ended."""
        return len(self._images)

    @property
    def wake(self) -> float | None:
        """When to `decide` again if nothing happens before; None if time alone changes nothing."""
        return self._roster.wake

    def load(self, server: S, now: float) -> Load:
        """Returns what a server has and does; it was up once."""
        s = self._roster[server]
        return Load(
            credits=s.credits if s.up and not s.draining else 0,
            in_flight=len(s.flying),
            done=s.done,
            rate=s.images / s.busy if s.busy else 0.0,
            resting=now < s.rest_until,
            stuck=s.stuck,
        )

    # ------------------------------------------------------------------------------------------ what happens

    def put(self, job: J, cost: float = 1.0) -> None:
        """A new image; `cost` is what it is expected to take, in any unit."""
        self._images[job] = image = Image[J, S](job, cost)
        self._waiting.append(image)
        self._roster.expect_cost(cost)
        self._roster.ending = False

    def withdraw(self, job: J) -> None:
        """Nobody wants this image's faces any more. Servers that have it are told."""
        image = self._images.get(job)
        if image is not None:
            self._end(image)

    def withdraw_all(self) -> list[J]:
        """Takes back every image that no server has, and returns them."""
        waiting = [image for image in self._images.values() if image.waiting and not image.holders]
        for image in waiting:
            self._end(image)
        return [image.job for image in waiting]

    def server_up(self, server: S, credits: int, now: float) -> None:
        """A server is connected, for the first time or again; it takes `credits` images at a time."""
        s = self._roster.get_or_add(server)
        s.up, s.draining, s.credits, s.answers = True, False, credits, 0
        self._roster.file(s, now)

    def server_draining(self, server: S, now: float) -> None:
        """A server takes nothing more, but finishes what it has."""
        s = self._roster.get(server)
        if s is not None:
            s.draining = True
            self._roster.file(s, now)

    def server_down(self, server: S, now: float, *, silent: bool = False) -> None:
        """A server is lost: its images are given back.

        Args:
            silent: nothing was heard of it any more, which may be the network's fault; otherwise it broke off, as one does
                that crashed.
        """
        s = self._roster.get(server)
        if s is None or not s.up:
            return
        enough = MOST_CRASHES if len(s.flying) == 1 else 2 * MOST_CRASHES
        held = [image for image in s.flying.values() if not image.done]
        s.flying.clear()
        self._emptied(s)
        s.up = s.late = s.stuck = s.forsaken = False
        s.streak = 1 if s.answers else s.streak + 1
        _rest(s, now)
        back = []
        for image in held:
            image.holders.remove(s)
            if silent:
                image.silences += 1
            else:
                image.crashes += 1
            if image.crashes >= enough or image.silences >= MOST_SILENCES:
                self._give_up(image, Reason.LOST)
            else:
                self._waiting.remove(image)  # it may have become a suspect
                if _needs_another(image):
                    back.append(image)
        self._waiting.put_back(back)
        for image in [*self._waiting.refused, *self._waiting.suspects]:
            if self._hopeless(image):
                self._give_up(image, Reason.REFUSED)
        self._roster.file(s, now)

    def answered(self, server: S, job: J, now: float, *, learn: bool = True) -> bool:
        """A server has answered. Returns whether this is the image's one answer; if not, it came late, and is nobody's.

        Args:
            learn: whether the time it took says anything about the server; a file that is no image takes none.
        """
        s, image = self._freed(server, job)
        if s is None or image is None:
            return False
        if learn:
            self._roster.learn(s, image.cost, now)
        s.since = now
        s.streak = 0
        s.answers += 1
        first = not image.done
        if first:
            s.done += 1
            image.holders.remove(s)
            self._end(image)
        self._roster.file(s, now)
        return first

    def refused(self, server: S, job: J, now: float, *, tried: bool = True) -> None:
        """A server did not do an image that another may.

        Args:
            tried: it failed; otherwise it saw at once that the image is beyond its limits, which is nobody's failure.
        """
        s, image = self._freed(server, job)
        if s is None or image is None:
            return
        s.since = now
        if tried:
            s.streak += 1
            _rest(s, now)
        if not image.done:
            image.holders.remove(s)
            image.refusals.add(server)
            if tried and s.streak <= MOST_FAILURES:
                image.failures += 1
            if not image.in_good_hands:  # otherwise there may be a better answer
                many = image.failures >= MOST_FAILURES or (tried and len(image.refusals) >= MOST_REFUSALS)
                if many or self._hopeless(image):
                    self._give_up(image, Reason.REFUSED)
                else:
                    self._waiting.remove(image)  # it fits fewer servers than before
                    self._put_back(image)
        self._roster.file(s, now)

    def postponed(self, server: S, job: J, now: float) -> None:
        """A server had no time for an image just now, or was told to cancel it: it is free for others."""
        s, image = self._freed(server, job)
        if s is None or image is None:
            return
        s.since = now
        if not image.done:
            s.rest_until = max(s.rest_until, now + BUSY_REST)
            image.holders.remove(s)
            self._put_back(image)
        self._roster.file(s, now)

    # ------------------------------------------------------------------------------------------ what is to be done

    def decide(self, now: float) -> list[Decision[J, S]]:
        """Returns what is to be done, in this order."""
        while due := self._roster.due(now):
            for s, overdue in due:
                if overdue:
                    self._overdue(s)
                self._roster.file(s, now)
        while (send := self._next(now)) is not None:
            self._said.append(send)
        said, self._said = self._said, []
        return said

    def _next(self, now: float) -> Send[J, S] | None:
        unfit: list[Server[J, S]] = []
        found: Send[J, S] | None = None
        while self._waiting.count and found is None:
            cost = self._waiting.next_cost
            s = self._roster.take_best(self._roster.mean_cost if cost is None else cost, now)
            if s is None:
                break
            image = self._first_for(s)
            if image is None:
                unfit.append(s)
            else:
                found = self._send(s, image, now)
        for other in unfit:
            self._roster.file(other, now)
        return found if found is not None or self.more_to_come else self._copy(now)

    def _first_for(self, s: Server[J, S]) -> Image[J, S] | None:
        """Returns the first image for this server of those that wait."""
        if self._waiting.suspects:
            if not s.flying:
                suspect = self._waiting.suspect_for(s.server)
                if suspect is not None:
                    return suspect
            elif self._roster.emptying < len(self._waiting.suspects):
                s.emptying = True
                self._roster.emptying += 1
                return None
        return self._waiting.first_for(s.server)

    def _send(self, s: Server[J, S], image: Image[J, S], now: float) -> Send[J, S]:
        self._waiting.remove(image)
        image.holders.append(s)
        if not s.flying:
            s.since = now
        s.flying[image.job] = image
        s.backlog += image.cost
        s.alone = image.suspect
        self._roster.file(s, now)
        return Send(s.server, image.job)

    def _copy(self, now: float) -> Send[J, S] | None:
        """Gives the fastest idle server the image that would be done last, if it would be done sooner there."""
        idle = self._roster.fastest_idle()
        if idle is None or not self._roster.known:
            return None
        if not self._roster.ending:
            self._roster.end(now)
        last = self._roster.last_alone(now)
        if last is None:
            return None
        image, finish = last
        if now + WORTH * image.cost / self._roster.rate(idle) >= finish:
            return None
        return self._send(idle, image, now)

    # ------------------------------------------------------------------------------------------ servers and images

    def _freed(self, server: S, job: J) -> tuple[Server[J, S] | None, Image[J, S] | None]:
        """Takes an image from a server, which has answered and so is not late; None if it had no such image."""
        s = self._roster.get(server)
        image = s.flying.pop(job, None) if s is not None else None
        if s is None or image is None:
            return None, None
        s.backlog -= image.cost
        if not s.flying:
            self._emptied(s)
        if s.overdue:
            s.late = s.stuck = s.forsaken = False
            for other in s.flying.values():
                self._waiting.remove(other)
        return s, image

    def _emptied(self, s: Server[J, S]) -> None:
        s.backlog = 0.0
        s.alone = False
        self._stop_emptying(s)

    def _stop_emptying(self, s: Server[J, S]) -> None:
        self._roster.emptying -= s.emptying
        s.emptying = False

    def _overdue(self, s: Server[J, S]) -> None:
        """A server has not answered by its deadline."""
        if s.stuck:
            s.forsaken = True
            self._said.append(Disconnect(s.server))
            return
        if self._roster.ending and not s.late:
            s.late = True
        else:
            s.stuck = True
        self._stop_emptying(s)
        self._waiting.put_back(
            [image for image in s.flying.values() if not image.done and _needs_another(image)]
        )

    def _put_back(self, image: Image[J, S]) -> None:
        if _needs_another(image):
            self._waiting.put_back([image])

    def _end(self, image: Image[J, S]) -> None:
        self._waiting.remove(image)
        image.done = True
        del self._images[image.job]
        if image.holders:
            self._said += [Cancel(s.server, image.job) for s in image.holders]
            image.holders = []

    def _give_up(self, image: Image[J, S], reason: Reason) -> None:
        self._end(image)
        self._said.append(GiveUp(image.job, reason))

    def _hopeless(self, image: Image[J, S]) -> bool:
        """Whether every server there is has refused an image. Without any server there is hope for a new one."""
        there = self._roster.up
        return bool(there) and image.refusals.issuperset(there)


def _needs_another(image: Image[J, S]) -> bool:
    """Whether an image is to wait for one more server."""
    return not image.waiting and not image.in_good_hands and len(image.holders) < MOST_HOLDERS


def _rest(s: Server[J, S], now: float) -> None:
    """Has a server rest that failed more than once in a row."""
    if s.streak > 1:
        s.rest_until = now + min(FIRST_REST * 2.0 ** min(s.streak - 2, 60), LONGEST_REST)
