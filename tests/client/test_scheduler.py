from __future__ import annotations

import gc
import itertools
import weakref
from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pyraface.client.scheduler import MOST_LOST, Scheduler


def scheduler(*jobs: str, **credits: int) -> Scheduler[str, str]:
    made: Scheduler[str, str] = Scheduler()
    for server, number in credits.items():
        made.server_up(server, number)
    for job in jobs:
        made.put(job)
    return made


def assigned(scheduler: Scheduler[str, str]) -> list[tuple[str, str]]:
    """Everything it has to give, as far as the credits go."""
    return list(iter(scheduler.assign, None))


def test_nothing_is_assigned_without_an_image() -> None:
    assert scheduler(a=2).assign() is None


def test_nothing_is_assigned_without_a_server() -> None:
    assert scheduler("1").assign() is None


def test_images_go_out_in_the_order_they_came_until_credits_end() -> None:
    assert assigned(scheduler("1", "2", "3", a=2)) == [("a", "1"), ("a", "2")]


@pytest.mark.parametrize(
    ("credits", "servers"),
    [
        ({"a": 1, "b": 1}, "ab"),
        ({"a": 2, "b": 2}, "abab"),
        ({"a": 1, "b": 4}, "abbbb"),
        ({"a": 4, "b": 1}, "abaaa"),
        ({"a": 2, "b": 4, "c": 1}, "abcbabb"),
    ],
)
def test_the_server_with_the_largest_free_share_is_next(credits: dict[str, int], servers: str) -> None:
    found = assigned(scheduler(*"123456789", **credits))
    assert "".join(server for server, _ in found) == servers


def test_the_server_that_answers_fast_gets_more() -> None:
    tried = scheduler(*(str(number) for number in range(20)), fast=2, slow=2)
    assigned(tried)
    done = Counter[str]()
    for number in (0, 2, 4, 5, 6, 7, 8, 9):  # 1 and 3 are with the slow one, for long
        tried.settled(str(number))
        done.update(server for server, _ in assigned(tried))
    assert done == {"fast": 8}


def test_a_settled_image_frees_its_credit() -> None:
    tried = scheduler("1", "2", a=1)
    assert assigned(tried) == [("a", "1")]
    tried.settled("1")
    assert assigned(tried) == [("a", "2")]


def test_a_lost_server_s_images_go_first_in_the_order_they_had() -> None:
    tried = scheduler("1", "2", "3", "4", "5", a=3)
    assert assigned(tried) == [("a", "1"), ("a", "2"), ("a", "3")]
    tried.put("6")
    assert tried.server_down("a") == []
    tried.server_up("b", 9)
    assert [job for _, job in assigned(tried)] == ["1", "2", "3", "4", "5", "6"]


def test_an_image_is_given_up_when_so_many_servers_were_lost_with_it() -> None:
    tried = scheduler("poison", "2", a=1)
    for number in range(MOST_LOST - 1):
        assert assigned(tried) == [("a" * (number + 1), "poison")]
        assert tried.server_down("a" * (number + 1)) == []
        tried.server_up("a" * (number + 2), 1)
    assigned(tried)
    assert tried.server_down("a" * MOST_LOST) == ["poison"]
    tried.server_up("b", 9)
    assert assigned(tried) == [("b", "2")]


def test_losing_a_server_that_is_unknown_gives_nothing_back() -> None:
    tried = scheduler("1", a=1)
    assigned(tried)
    assert tried.server_down("b") == []
    tried.server_down("a")
    tried.server_up("c", 9)
    assert tried.server_down("a") == []
    assert assigned(tried) == [("c", "1")]


def test_a_refused_image_goes_to_another_server_before_those_that_wait() -> None:
    tried = scheduler("1", "2", a=1)
    assigned(tried)
    tried.server_up("b", 1)
    assert not tried.refused("a", "1")
    assert assigned(tried) == [("b", "1"), ("a", "2")]


def test_an_image_every_server_refused_is_given_up() -> None:
    tried = scheduler("1", a=1, b=1)
    assert assigned(tried) == [("a", "1")]
    assert not tried.refused("a", "1")
    assert assigned(tried) == [("b", "1")]
    assert tried.refused("b", "1")
    assert assigned(tried) == []


def test_the_only_server_s_refusal_is_final() -> None:
    tried = scheduler("1", "2", a=1)
    assigned(tried)
    assert tried.refused("a", "1")
    assert assigned(tried) == [("a", "2")]


def test_a_refused_image_is_given_up_when_the_last_other_server_is_lost() -> None:
    tried = scheduler("1", "2", "3", a=1, b=1)
    assert assigned(tried) == [("a", "1"), ("b", "2")]
    tried.refused("a", "1")  # b may do it, when it has time
    assert assigned(tried) == [("a", "3")]
    assert tried.server_down("b") == ["1"]
    tried.settled("3")
    assert assigned(tried) == [("a", "2")]


def test_a_refused_image_waits_for_a_new_server_when_all_are_lost() -> None:
    tried = scheduler("1", "2", "3", a=1, b=1)
    assigned(tried)
    tried.refused("a", "1")
    assigned(tried)
    tried.server_down("a")
    tried.server_down("b")
    tried.server_up("c", 9)
    assert [job for _, job in assigned(tried)] == ["2", "3", "1"]


def test_a_refused_image_that_waits_does_not_hold_up_the_others() -> None:
    tried = scheduler("1", "2", "3", a=1, b=1)
    assigned(tried)
    tried.refused("a", "1")
    assert assigned(tried) == [("a", "3")]
    tried.settled("2")
    assert assigned(tried) == [("b", "1")]


def test_a_postponed_image_goes_first_even_to_the_same_server() -> None:
    tried = scheduler("1", "2", a=1)
    assigned(tried)
    tried.postponed("a", "1")
    assert assigned(tried) == [("a", "1")]


def test_a_draining_server_gets_nothing_more_and_keeps_what_it_has() -> None:
    tried = scheduler("1", "2", "3", a=2)
    assigned(tried)
    tried.server_draining("a")
    tried.settled("1")
    assert tried.assign() is None
    assert (tried.servers, tried.credits) == (1, 0)
    tried.server_up("b", 9)
    assert assigned(tried) == [("b", "3")]
    assert tried.server_down("a") == []
    assert assigned(tried) == [("b", "2")]


def test_an_unknown_server_that_drains_is_no_server() -> None:
    tried = scheduler("1")
    tried.server_draining("a")
    assert tried.servers == 0


@pytest.mark.parametrize("late", ["refused", "postponed"])
def test_a_refusal_that_comes_after_the_server_was_lost_changes_nothing(late: str) -> None:
    tried = scheduler("1", "2", a=1, b=1)
    assert assigned(tried) == [("a", "1"), ("b", "2")]
    tried.server_down("a")
    assert not getattr(tried, late)("a", "1")
    tried.settled("2")
    assert assigned(tried) == [("b", "1")]
    assert not getattr(tried, late)("a", "1")
    assert assigned(tried) == []
    tried.server_up("c", 9)
    assert assigned(tried) == []


def test_an_answer_that_comes_after_the_server_was_lost_is_final() -> None:
    tried = scheduler("1", "2", a=1)
    assigned(tried)
    tried.server_down("a")
    tried.settled("1")
    tried.server_up("b", 9)
    assert assigned(tried) == [("b", "2")]


def test_a_withdrawn_image_is_never_assigned_and_frees_its_credit() -> None:
    tried = scheduler("1", "2", "3", a=1)
    assigned(tried)
    tried.withdraw("2")
    tried.withdraw("1")
    tried.withdraw("unknown")
    assert assigned(tried) == [("a", "3")]
    assert tried.server_down("a") == []


def test_withdrawing_all_takes_back_what_waits_and_nothing_else() -> None:
    tried = scheduler("1", "2", "3", a=1)
    assigned(tried)
    assert tried.withdraw_all() == ["2", "3"]
    assert tried.withdraw_all() == []
    tried.server_down("a")
    tried.server_up("b", 9)
    assert assigned(tried) == [("b", "1")]


class Image:
    """Something that a weak reference can tell the end of."""


@pytest.mark.parametrize("end", ["settled", "withdraw", "refused", "server_down", "withdraw_all"])
def test_an_image_that_has_ended_takes_no_memory(end: str) -> None:
    tried: Scheduler[Image, str] = Scheduler()
    image = Image()
    trace = weakref.ref(image)
    tried.put(image)
    if end == "withdraw_all":
        tried.withdraw_all()
    for number in range(MOST_LOST if end == "server_down" else 1):
        tried.server_up(str(number), 1)
        tried.assign()
        if end == "server_down":
            tried.server_down(str(number))
    if end in ("settled", "withdraw"):
        getattr(tried, end)(image)
    elif end == "refused":
        assert tried.refused("0", image)
    del image
    gc.collect()
    assert trace() is None


def test_credits_are_those_of_all_servers_together() -> None:
    tried = scheduler(a=4, b=64)
    assert (tried.servers, tried.credits) == (2, 68)
    tried.server_down("a")
    assert (tried.servers, tried.credits) == (1, 64)


class AnyOrderOfEvents(RuleBasedStateMachine):
    """What a scheduler promises, whatever happens: kept books of where each image is, by its answers alone."""

    def __init__(self) -> None:
        super().__init__()
        self.scheduler: Scheduler[int, str] = Scheduler()
        self.numbers = itertools.count()
        self.waiting: list[int] = []
        self.held: dict[str, list[int]] = {}
        self.credits: dict[str, int] = {}
        self.lost: Counter[int] = Counter()
        self.refusals: dict[int, set[str]] = {}
        self.past: list[tuple[str, int]] = []
        """Pairs of a server and an image that were together once."""

    def hopeless(self, job: int) -> bool:
        return bool(self.held) and self.held.keys() <= self.refusals[job]

    def give_back(self, jobs: list[int]) -> None:
        self.waiting = jobs + self.waiting

    @rule(number=st.integers(1, 4))
    def put(self, number: int) -> None:
        for job in itertools.islice(self.numbers, number):
            self.scheduler.put(job)
            self.waiting.append(job)
            self.refusals[job] = set()

    @precondition(lambda self: len(self.held) < 5)
    @rule(credits=st.integers(1, 4))
    def server_up(self, credits: int) -> None:
        server = f"server {next(self.numbers)}"
        self.scheduler.server_up(server, credits)
        self.held[server] = []
        self.credits[server] = credits

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def server_down(self, data: st.DataObject) -> None:
        server = data.draw(st.sampled_from(sorted(self.held)))
        jobs = self.held.pop(server)
        del self.credits[server]
        self.lost.update(jobs)
        self.past += [(server, job) for job in jobs]
        self.give_back(jobs)
        reasons = {job for job in jobs if self.lost[job] >= MOST_LOST}
        reasons |= {job for job in self.waiting if self.hopeless(job)}
        given_up = self.scheduler.server_down(server)
        assert sorted(given_up) == sorted(reasons)
        self.waiting = [job for job in self.waiting if job not in reasons]

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def server_draining(self, data: st.DataObject) -> None:
        server = data.draw(st.sampled_from(sorted(self.held)))
        self.scheduler.server_draining(server)
        self.credits[server] = 0

    @rule()
    def assign(self) -> None:
        for server, job in iter(self.scheduler.assign, None):
            assert job in self.waiting, "it is nobody's to give"
            assert server not in self.refusals[job]
            for earlier in self.waiting[: self.waiting.index(job)]:
                free = [name for name in self.held if len(self.held[name]) < self.credits[name]]
                assert set(free) <= self.refusals[earlier], "an image that came before was passed over"
            self.waiting.remove(job)
            self.held[server].append(job)
            assert len(self.held[server]) <= self.credits[server]
        for job in self.waiting:
            for server, jobs in self.held.items():
                assert len(jobs) >= self.credits[server] or server in self.refusals[job], "a server is idle"

    @precondition(lambda self: any(self.held.values()))
    @rule(data=st.data(), outcome=st.sampled_from(["settled", "refused", "postponed", "withdraw"]))
    def answer(self, data: st.DataObject, outcome: str) -> None:
        server = data.draw(st.sampled_from(sorted(name for name, jobs in self.held.items() if jobs)))
        job = data.draw(st.sampled_from(self.held[server]))
        self.held[server].remove(job)
        self.past.append((server, job))
        if outcome == "settled":
            self.scheduler.settled(job)
        elif outcome == "withdraw":
            self.scheduler.withdraw(job)
        elif outcome == "postponed":
            self.scheduler.postponed(server, job)
            self.give_back([job])
        else:
            self.refusals[job].add(server)
            hopeless = self.hopeless(job)
            assert self.scheduler.refused(server, job) == hopeless
            if not hopeless:
                self.give_back([job])

    @precondition(lambda self: self.past)
    @rule(data=st.data(), outcome=st.sampled_from(["refused", "postponed"]))
    def late_answer(self, data: st.DataObject, outcome: str) -> None:
        server, job = data.draw(st.sampled_from(self.past))
        if job not in self.held.get(server, ()):
            assert not getattr(self.scheduler, outcome)(server, job)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        job = data.draw(st.sampled_from(self.waiting))
        self.scheduler.withdraw(job)
        self.waiting.remove(job)

    @rule()
    def withdraw_all(self) -> None:
        assert self.scheduler.withdraw_all() == self.waiting
        self.waiting = []

    @invariant()
    def the_sums_are_right(self) -> None:
        assert self.scheduler.servers == len(self.held)
        assert self.scheduler.credits == sum(self.credits.values())

    def teardown(self) -> None:
        """Whatever is left is somewhere, and a new server gets all of it in the order promised."""
        for server in list(self.held):
            self.credits.pop(server)
            jobs = self.held.pop(server)
            self.lost.update(jobs)
            self.give_back(jobs)
            reasons = {job for job in jobs if self.lost[job] >= MOST_LOST}
            reasons |= {job for job in self.waiting if self.hopeless(job)}
            assert sorted(self.scheduler.server_down(server)) == sorted(reasons)
            self.waiting = [job for job in self.waiting if job not in reasons]
        self.scheduler.server_up("the last", len(self.waiting) + 1)
        assert [job for _, job in iter(self.scheduler.assign, None)] == self.waiting


TestAnyOrderOfEvents = AnyOrderOfEvents.TestCase
TestAnyOrderOfEvents.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
