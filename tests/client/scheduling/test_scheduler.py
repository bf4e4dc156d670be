from __future__ import annotations

import gc
import itertools
import weakref
from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from pyraface.client.scheduling import backoff
from pyraface.client.scheduling.instructions import Disconnect, GiveUp, Reason, Send, Withdraw
from pyraface.client.scheduling.jobs import MOST_FORGIVEN, MOST_HOLDERS
from pyraface.client.scheduling.scheduler import (
    MOST_REFUSALS,
    MOST_SILENCES,
    Scheduler,
)
from pyraface.client.scheduling.servers import (
    ABANDON_AFTER,
    LEAST_HELD,
    STUCK_LEAST,
    STUCK_TIMES,
    STUCK_UNKNOWN,
)


class Driven:
    """A scheduler with a clock; what it decides is kept, and sent images are shown as "server:job"."""

    def __init__(self, *jobs: str, **credits: int) -> None:
        self.scheduler = Scheduler()
        self.scheduler.more_to_come = True
        self.now = 100.0
        self.put(*jobs)
        self.up(**credits)

    def put(self, *jobs: str, cost: float = 1.0) -> None:
        for job in jobs:
            self.scheduler.put(job, cost)

    def up(self, *, survived: bool = False, **credits: int) -> None:
        for server, number in credits.items():
            self.scheduler.server_up(server, number, self.now, survived=survived)

    def down(self, server: str, *, silent: bool = False) -> None:
        self.scheduler.server_down(server, self.now, silent=silent)

    def after(self, seconds: float) -> Driven:
        self.now += seconds
        return self

    def decided(self) -> list[object]:
        return list(self.scheduler.decide(self.now))

    def sent(self) -> list[str]:
        """What is sent now; nothing else may be decided."""
        decisions = self.decided()
        assert all(isinstance(decision, Send) for decision in decisions), decisions
        return [f"{decision.server}:{decision.job}" for decision in decisions if isinstance(decision, Send)]

    def answer(self, server: str, job: str) -> bool:
        return self.scheduler.answered(server, job, self.now)

    def refuse(self, server: str, job: str, *, tried: bool = True) -> None:
        self.scheduler.refused(server, job, self.now, tried=tried)

    def known(self, **seconds: float) -> Driven:
        """Has each of these servers show that it takes so long for an image of cost 1."""
        for server, takes in seconds.items():
            for number in range(20):
                job = f"{server}'s {number}"
                others = [name for name in seconds if name != server]
                for other in others:
                    self.scheduler.server_draining(other, self.now)
                self.put(job)
                assert self.sent() == [f"{server}:{job}"]
                self.after(takes).answer(server, job)
                for other in others:
                    self.up(**{other: 4})
        return self


def driven(**seconds: float) -> Driven:
    """Servers, with 4 credits each, whose speed is known."""
    return Driven(**dict.fromkeys(seconds, 4)).known(**seconds)


def test_nothing_is_sent_without_an_image() -> None:
    assert Driven(a=2).sent() == []


def test_nothing_is_sent_without_a_server() -> None:
    assert Driven("1").sent() == []


@pytest.mark.parametrize("credits", [1, 2, 8])
def test_images_go_out_in_the_order_they_came_until_credits_or_what_a_stranger_is_trusted_with_end(
    credits: int,
) -> None:
    assert Driven(*"123", a=credits).sent() == ["a:1", "a:2"][: min(credits, LEAST_HELD)]


def test_servers_that_nothing_is_known_of_get_one_image_each_before_any_gets_two() -> None:
    assert sorted(Driven(*"123", a=4, b=4, c=4).sent()) == ["a:1", "b:2", "c:3"]


def test_work_goes_to_the_server_that_would_finish_it_first() -> None:
    tried = driven(quick=1.0, slow=3.5)
    tried.put(*"123456")
    # done after 1, 2, 3, then 3.5, 4 seconds; then the quick one has no credit
    assert tried.sent() == ["quick:1", "quick:2", "quick:3", "slow:4", "quick:5", "slow:6"]


def test_what_a_server_has_counts_by_its_cost() -> None:
    tried = driven(a=1.0, b=1.0)
    tried.put("large", cost=5.0)
    [first] = tried.sent()
    tried.put("1", "2", "3")
    other = "b" if first == "a:large" else "a"
    assert tried.sent() == [f"{other}:1", f"{other}:2", f"{other}:3"]


def test_a_server_holds_no_more_than_keeps_it_busy() -> None:
    tried = driven(slow=10.0)
    tried.put(*"12345")
    assert tried.sent() == ["slow:1", "slow:2"]
    assert tried.scheduler.capacity == 2


def test_a_rate_is_learned_and_learned_anew() -> None:
    tried = driven(a=0.5)
    assert tried.scheduler.server("a").rate == pytest.approx(2.0)
    tried.known(a=1.0).known(a=1.0).known(a=1.0)
    assert tried.scheduler.server("a").rate == pytest.approx(1.0, rel=0.05)


def test_one_image_that_takes_for_ever_hardly_changes_a_rate() -> None:
    tried = driven(a=0.5)
    tried.put("slow one")
    tried.sent()
    tried.after(5.0).answer("a", "slow one")
    assert 1.5 < tried.scheduler.server("a").rate < 2.0


def test_answers_that_come_together_do_not_make_a_server_look_quick() -> None:
    tried = driven(a=0.5)
    for pair in range(20):
        tried.put(f"{pair} a", f"{pair} b")
        tried.sent()
        tried.after(1.0)
        tried.answer("a", f"{pair} a")
        tried.answer("a", f"{pair} b")
    assert tried.scheduler.server("a").rate == pytest.approx(2.0, rel=0.05)


def test_time_without_work_does_not_make_a_server_look_slow() -> None:
    tried = driven(a=0.5)
    tried.after(1000).put("late")
    tried.sent()
    tried.after(0.5).answer("a", "late")
    assert tried.scheduler.server("a").rate == pytest.approx(2.0)


def test_an_answer_frees_a_credit() -> None:
    tried = Driven("1", "2", a=1)
    assert tried.sent() == ["a:1"]
    assert tried.answer("a", "1")
    assert tried.sent() == ["a:2"]


def test_what_a_silent_server_had_goes_first_in_the_order_it_had() -> None:
    tried = Driven(*"1234", a=2)
    tried.sent()
    tried.put("5")
    tried.down("a", silent=True)
    tried.up(b=1)
    for number in "12345":
        assert tried.sent() == [f"b:{number}"]
        assert tried.answer("b", number)


def test_after_a_crash_each_image_is_tried_alone_and_the_one_to_blame_is_found() -> None:
    tried = Driven("poison", "innocent", "3", "4", a=4, b=4)
    assert tried.sent() == ["a:poison", "b:innocent", "a:3", "b:4"]
    tried.answer("b", "innocent")
    tried.answer("b", "4")
    tried.down("a")
    assert tried.sent() == ["b:poison"], "alone"
    tried.down("b")
    tried.up(c=4)
    assert tried.decided() == [GiveUp("poison", Reason.LOST), Send("c", "3")]
    tried.put("5")
    assert tried.sent() == [], "a suspect is with it"
    assert tried.answer("c", "3")
    assert tried.sent() == ["c:5"]


def test_a_suspect_does_not_wait_for_a_server_that_happens_to_be_idle() -> None:
    tried = Driven("suspect", "1", "2", "3", "4", a=1, b=2)
    assert tried.sent() == ["a:suspect", "b:1", "b:2"]
    tried.down("a")
    assert tried.sent() == []
    tried.answer("b", "1")
    assert tried.sent() == [], "b is being emptied"
    tried.answer("b", "2")
    assert tried.sent() == ["b:suspect"]
    tried.answer("b", "suspect")
    assert tried.sent() == ["b:3", "b:4"]


def test_innocents_survive_any_number_of_poisoned_images_among_them() -> None:
    tried = Driven(*(f"{'poison' if number % 3 == 0 else 'good'} {number}" for number in range(30)))
    ended = Counter[str]()
    names = (f"server {number}" for number in itertools.count())
    alive: dict[str, list[str]] = {next(names): [], next(names): []}
    for name in alive:
        tried.up(**{name: 4})
    while tried.scheduler._jobs:
        for decision in tried.decided():
            if isinstance(decision, GiveUp):
                ended[decision.job] += 1
            elif isinstance(decision, Send):
                alive[decision.server].append(decision.job)
        for name in list(alive):
            job = alive[name].pop(0) if alive[name] else ""
            if job.startswith("good"):
                assert tried.after(1.0).answer(name, job)
            elif job:
                del alive[name]
                tried.down(name)
                new = next(names)
                alive[new] = []
                tried.up(**{new: 4})
                ended[job] += 0
    poisoned = {f"poison {number}" for number in range(0, 30, 3)}
    assert {job for job, count in ended.items() if count} == poisoned
    assert set(ended.values()) == {1}


def test_a_network_that_fails_now_and_then_fails_no_image_but_not_for_ever() -> None:
    tried = Driven("1")
    for number in range(MOST_SILENCES):
        server = f"server {number}"
        tried.up(**{server: 4})
        assert tried.sent() == [f"{server}:1"]
        tried.down(server, silent=True)
    assert tried.decided() == [GiveUp("1", Reason.LOST)]


def test_losing_a_server_that_is_unknown_gives_nothing_back() -> None:
    tried = Driven("1", a=1)
    tried.sent()
    tried.down("b")
    tried.down("a", silent=True)
    tried.down("a", silent=True)
    tried.up(c=9)
    assert tried.sent() == ["c:1"]
    assert tried.sent() == []


def test_a_refused_image_goes_to_another_server_before_those_that_wait() -> None:
    tried = Driven("1", "2", a=1)
    tried.sent()
    tried.up(b=1)
    tried.refuse("a", "1")
    assert tried.sent() == ["b:1", "a:2"]


def test_an_image_that_two_servers_failed_at_is_given_up_though_there_are_others() -> None:
    tried = Driven("1", a=1, b=1, c=1)
    first = tried.sent()[0][0]
    tried.refuse(first, "1")
    second = tried.sent()[0][0]
    assert second != first
    tried.refuse(second, "1")
    assert tried.decided() == [GiveUp("1", Reason.REFUSED)]


def test_an_image_beyond_the_limits_of_servers_is_offered_to_every_one() -> None:
    tried = Driven("1", **dict.fromkeys("abcdefgh", 1))
    asked = set()
    for _ in range(8):
        [sent] = tried.sent()
        asked.add(sent[0])
        tried.refuse(sent[0], "1", tried=False)
    assert asked == set("abcdefgh")
    assert tried.decided() == [GiveUp("1", Reason.REFUSED)]


def test_an_image_that_fails_everywhere_does_not_visit_a_thousand_servers() -> None:
    tried = Driven("1", **{f"s{number}": 1 for number in range(MOST_REFUSALS + 3)})
    for number in range(MOST_REFUSALS + 3):  # whose failures do not count any more
        for job in range(3):
            tried.put(f"{number} {job}")
    given_up: list[object] = []
    visits = Counter[str]()
    for _ in range(500):
        decisions = tried.after(backoff.LONGEST).decided()
        given_up += [decision for decision in decisions if isinstance(decision, GiveUp)]
        for decision in decisions:
            if isinstance(decision, Send):
                visits[decision.job] += 1
                tried.refuse(decision.server, decision.job)
    assert len(given_up) == 1 + 3 * (MOST_REFUSALS + 3)
    assert max(visits.values()) <= MOST_REFUSALS


def test_the_only_server_s_refusal_is_final() -> None:
    tried = Driven("1", "2", a=1)
    tried.sent()
    tried.refuse("a", "1")
    assert tried.decided() == [GiveUp("1", Reason.REFUSED), Send("a", "2")]


def test_a_refused_image_waits_for_a_lost_server_until_that_is_gone() -> None:
    tried = Driven("1", "2", "3", a=1, b=1)
    assert tried.sent() == ["a:1", "b:2"]
    tried.refuse("a", "1", tried=False)  # b may do it, when it has time
    assert tried.sent() == ["a:3"]
    tried.down("b", silent=True)
    assert tried.sent() == []
    tried.refuse("a", "3", tried=False)
    assert tried.sent() == ["a:2"], "3 waits for b, too"
    tried.scheduler.server_gone("b")
    assert tried.decided() == [GiveUp("1", Reason.REFUSED), GiveUp("3", Reason.REFUSED)]


def test_a_refused_image_waits_for_a_new_server_when_all_are_lost() -> None:
    tried = Driven("1", a=1, b=1)
    first = tried.sent()[0][0]
    tried.refuse(first, "1")
    other = "b" if first == "a" else "a"
    tried.down(other, silent=True)
    tried.scheduler.server_gone(other)
    assert tried.decided() == [GiveUp("1", Reason.REFUSED)]
    tried = Driven("1", a=1, b=1)
    first = tried.sent()[0][0]
    tried.refuse(first, "1")
    tried.down(first, silent=True)
    tried.down("b" if first == "a" else "a", silent=True)
    tried.up(c=1)
    assert tried.sent() == ["c:1"]


def test_a_refused_image_that_waits_does_not_hold_up_the_others() -> None:
    tried = Driven("1", "2", "3", a=1, b=1)
    tried.sent()
    tried.refuse("a", "1")
    assert tried.sent() == ["a:3"]
    tried.answer("b", "2")
    assert tried.sent() == ["b:1"]


def test_a_server_that_fails_again_and_again_rests_longer_each_time_and_then_gets_one_image() -> None:
    tried = Driven(a=4)
    tried.put(*(str(number) for number in range(50)))
    held = [sent.partition(":")[2] for sent in tried.sent()]
    assert len(held) == 2
    tried.refuse("a", held.pop())
    rest = backoff.FIRST
    for _ in range(9):
        tried.refuse("a", held.pop() if held else "")
        decisions = tried.decided()
        assert not any(isinstance(decision, Send) for decision in decisions)
        assert tried.scheduler.server("a").backoff_until > tried.now
        wake = tried.scheduler.wake
        assert wake is not None
        assert wake <= tried.now + rest
        assert tried.after(rest - 0.01).sent() == []
        sent = tried.after(0.01).sent()
        assert len(sent) == 1, "to prove itself"
        held = [sent[0].partition(":")[2]]
        rest = min(2 * rest, backoff.LONGEST)
    tried.answer("a", held.pop())
    assert len(tried.sent()) > 1, "it has proved itself"


def test_a_server_that_is_lost_before_it_answers_anything_rests_from_the_second_time_on() -> None:
    tried = Driven("1", "2", a=1)
    tried.sent()
    tried.down("a", silent=True)
    tried.up(a=1)
    assert tried.sent() == ["a:1"]
    tried.down("a", silent=True)
    tried.up(a=1)
    assert tried.sent() == []
    assert tried.after(backoff.FIRST).sent() == ["a:1"]


def test_good_images_outlive_two_servers_that_fail_at_everything() -> None:
    tried = Driven(*(str(number) for number in range(40)), bad=4, worse=4, good=4)
    done: set[str] = set()
    given_up: set[str] = set()
    for _ in range(2000):
        for decision in tried.decided():
            if isinstance(decision, GiveUp):
                given_up.add(decision.job)
            elif isinstance(decision, Send) and decision.server == "good":
                done.add(decision.job)
                tried.after(0.5).answer("good", decision.job)
            elif isinstance(decision, Send):
                tried.refuse(decision.server, decision.job)
        tried.after(0.1)
        if not tried.scheduler._jobs:
            break
    # only what both were given before anything was known of them
    assert len(given_up) <= 4
    assert len(done) + len(given_up) == 40


def test_a_postponed_image_goes_first_and_a_busy_server_is_left_alone_for_a_moment() -> None:
    tried = Driven("1", "2", a=1)
    tried.sent()
    tried.scheduler.postponed("a", "1", tried.now)
    assert tried.sent() == []
    assert tried.after(backoff.BUSY).sent() == ["a:1"]


def test_a_draining_server_gets_nothing_more_and_keeps_what_it_has() -> None:
    tried = Driven("1", "2", "3", a=2)
    tried.sent()
    tried.scheduler.server_draining("a", tried.now)
    assert tried.answer("a", "1")
    assert tried.sent() == []
    assert (tried.scheduler.servers, tried.scheduler.capacity) == (1, 0)
    tried.up(b=1)
    assert tried.sent() == ["b:3"]
    tried.down("a", silent=True)
    tried.answer("b", "3")
    assert tried.sent() == ["b:2"]


def test_an_unknown_server_that_drains_is_no_server() -> None:
    tried = Driven("1")
    tried.scheduler.server_draining("a", tried.now)
    assert tried.scheduler.servers == 0


@pytest.mark.parametrize("late", ["answered", "refused", "postponed"])
def test_an_answer_that_comes_after_the_server_was_lost_changes_nothing(late: str) -> None:
    tried = Driven("1", "2", a=1, b=1)
    assert tried.sent() == ["a:1", "b:2"]
    tried.down("a", silent=True)
    assert not getattr(tried.scheduler, late)("a", "1", tried.now)
    tried.answer("b", "2")
    assert tried.sent() == ["b:1"]
    assert not getattr(tried.scheduler, late)("a", "1", tried.now)
    assert tried.answer("b", "1")


def test_a_server_that_comes_back_is_known_by_its_rate() -> None:
    tried = driven(a=0.5)
    tried.down("a")
    tried.up(a=4)
    assert tried.scheduler.server("a").rate == pytest.approx(2.0)
    tried.put(*"1234")
    assert len(tried.sent()) == 4


def test_a_withdrawn_image_is_never_sent_and_one_that_is_out_is_cancelled() -> None:
    tried = Driven("1", "2", "3", a=1)
    tried.sent()
    tried.scheduler.withdraw("2")
    tried.scheduler.withdraw("1")
    tried.scheduler.withdraw("unknown")
    assert tried.decided() == [Withdraw("a", "1")], "its credit is in use until it answers"
    assert not tried.answer("a", "1")
    assert tried.sent() == ["a:3"]


def test_a_cancelled_image_that_a_server_never_began_frees_its_credit() -> None:
    tried = Driven("1", "2", a=1)
    tried.sent()
    tried.scheduler.withdraw("1")
    tried.decided()
    tried.scheduler.postponed("a", "1", tried.now)
    assert tried.sent() == ["a:2"]


def test_withdrawing_all_takes_back_what_waits_and_nothing_else() -> None:
    tried = Driven("1", "2", "3", a=1)
    tried.sent()
    assert tried.scheduler.withdraw_all() == ["2", "3"]
    assert tried.scheduler.withdraw_all() == []
    assert tried.answer("a", "1")


# ------------------------------------------------------------------------------------------ the end, and what is late


def test_at_the_end_an_idle_faster_server_does_what_a_slow_one_has_and_the_first_answer_counts() -> None:
    tried = driven(quick=1.0, slow=10.0)
    tried.put(*"12345")
    assert tried.sent() == ["quick:1", "quick:2", "quick:3", "quick:4", "slow:5"]
    for number in "1234":
        tried.after(1.0).answer("quick", number)
    assert tried.sent() == [], "more may come"
    tried.scheduler.more_to_come = False
    assert tried.sent() == ["quick:5"]
    assert tried.after(1.0).answer("quick", "5")
    assert tried.decided() == [Withdraw("slow", "5")]
    assert not tried.after(5.0).answer("slow", "5"), "it came late"
    assert not tried.scheduler._jobs


def test_a_copy_that_comes_second_is_cancelled_just_the_same() -> None:
    tried = driven(quick=1.0, slow=10.0)
    tried.put(*"12345")
    tried.sent()
    for number in "1234":
        tried.after(1.0).answer("quick", number)
    tried.scheduler.more_to_come = False
    tried.sent()
    assert tried.answer("slow", "5")
    assert tried.decided() == [Withdraw("quick", "5")]
    tried.put("6")
    assert not tried.answer("quick", "5")
    assert tried.scheduler.server("quick").done == 24
    assert tried.sent() == ["quick:6"]


def test_nothing_is_done_twice_where_it_would_not_be_done_sooner() -> None:
    tried = driven(a=1.0, b=1.0)
    tried.put("1", "2")
    sent = tried.sent()
    tried.scheduler.more_to_come = False
    tried.after(1.0).answer(sent[0][0], "1")
    assert tried.sent() == []


def test_the_image_that_would_be_done_last_is_copied_first() -> None:
    tried = driven(slow=10.0, slower=15.0)
    tried.put(*"1234")
    assert sorted(tried.sent()) == ["slow:1", "slow:3", "slower:2", "slower:4"]
    tried.scheduler.more_to_come = False
    tried.up(new=1)
    assert tried.sent() == ["new:4"]


def test_at_the_end_an_image_that_is_late_is_given_to_an_idle_server() -> None:
    tried = driven(a=1.0, b=1.0)
    tried.scheduler.more_to_come = False
    tried.put("1")
    [sent] = tried.sent()
    assert tried.after(1.9).sent() == []
    wake = tried.scheduler.wake
    assert wake is not None
    other = "b" if sent[0] == "a" else "a"
    assert tried.after(wake - tried.now).sent() == [f"{other}:1"]
    assert tried.answer(sent[0], "1"), "it was late, but first"
    assert tried.decided() == [Withdraw(other, "1")]


def test_a_server_that_is_stuck_holds_no_image_hostage_and_gets_no_more_until_it_answers() -> None:
    tried = driven(a=2.0, b=2.0)
    tried.put(*"123456789")
    kept = {sent[2:] for sent in tried.sent() if sent.startswith("a:")}
    given = set[str]()
    stuck_after = 0.0
    for number in range(30):  # b goes on
        tried.after(2.0).answer("b", next(iter(tried.scheduler.server("b").in_flight)))
        tried.put(f"later {number}")
        sent = {
            decision.server + ":" + decision.job for decision in tried.decided() if isinstance(decision, Send)
        }
        given |= sent
        if tried.scheduler.server("a").stuck:
            stuck_after = stuck_after or 2.0 * (number + 1)
            assert not any(name.startswith("a:") for name in sent)
    assert 0 < stuck_after <= max(STUCK_LEAST, STUCK_TIMES * 2.0) + 2.0
    assert {f"b:{job}" for job in kept} <= given, "b has done what a keeps"
    for job in kept:
        assert not tried.answer("a", job)
    assert not tried.scheduler.server("a").stuck
    tried.put(*(f"new {number}" for number in range(9)))
    assert any(name.startswith("a:") for name in tried.sent())


def test_a_server_that_answers_after_all_keeps_what_nobody_has_taken_yet() -> None:
    tried = Driven("1", "2", a=2)
    tried.sent()
    assert tried.after(STUCK_UNKNOWN).sent() == []
    assert tried.scheduler.server("a").stuck
    assert tried.answer("a", "1")
    tried.up(b=2)
    assert tried.sent() == [], "a still has 2"
    assert tried.answer("a", "2")


def test_an_image_that_takes_long_everywhere_is_left_to_those_that_have_it() -> None:
    tried = Driven("long", **{f"s{number}": 1 for number in range(MOST_HOLDERS + 2)})
    sent = tried.sent()
    for _ in range(3 * MOST_HOLDERS):
        sent += tried.after(STUCK_UNKNOWN).sent()
    assert len(sent) == MOST_HOLDERS
    assert tried.answer(sent[-1].partition(":")[0], "long")


def test_the_connection_of_a_server_that_never_answers_is_given_up() -> None:
    tried = Driven("1", a=1)
    tried.sent()
    tried.after(STUCK_UNKNOWN).sent()
    wake = tried.scheduler.wake
    assert wake == pytest.approx(tried.now + ABANDON_AFTER)
    assert tried.after(ABANDON_AFTER).decided() == [Disconnect("a")]
    assert tried.after(10 * ABANDON_AFTER).decided() == [], "said once"
    tried.down("a", silent=True)
    tried.up(b=1)
    assert tried.sent() == ["b:1"]


def test_servers_may_join_at_any_time() -> None:
    tried = driven(a=1.0)
    tried.put(*"12345678")
    assert len(tried.sent()) == 4
    tried.up(b=4)
    assert tried.sent() == ["b:5", "b:6"]
    assert tried.scheduler.capacity == 4 + LEAST_HELD


def test_the_images_of_a_server_out_of_reach_go_to_others_and_it_gets_none_until_it_is_back() -> None:
    tried = driven(a=1.0, b=1.0)
    tried.put(*"12")
    assert sorted(tried.sent()) == ["a:2", "b:1"]
    tried.scheduler.path_changed("a", tried.now, reachable=False)
    assert tried.sent() == ["b:2"]
    tried.answer("b", "1")
    tried.put("3")
    assert tried.sent() == ["b:3"]
    tried.scheduler.path_changed("a", tried.now, reachable=True)
    tried.put("4")
    assert tried.sent() == ["a:4"]
    assert tried.answer("a", "2"), "the first answer counts, whichever it is"


def test_an_image_that_no_other_took_is_the_returning_servers_again() -> None:
    tried = Driven("1", a=1)
    tried.sent()
    tried.scheduler.path_changed("a", tried.now, reachable=False)
    tried.scheduler.path_changed("a", tried.now, reachable=True)
    tried.up(b=1)
    assert tried.sent() == []


@pytest.mark.parametrize("silent", [True, False])
def test_the_loss_of_a_server_that_survived_it_counts_against_no_image(silent: bool) -> None:
    tried = Driven(*"12", a=2)
    for _ in range(MOST_FORGIVEN):
        # both at once: neither is tried alone
        assert tried.after(backoff.LONGEST).sent() == ["a:1", "a:2"]
        tried.down("a", silent=silent)
        tried.up(a=2, survived=True)


@pytest.mark.parametrize("silent", [True, False])
def test_an_image_that_breaks_connections_for_ever_is_given_up_though_its_server_survives(
    silent: bool,
) -> None:
    tried, ends = Driven("bad", a=1), []
    for _ in range(MOST_FORGIVEN + MOST_SILENCES + 1):
        ends += [
            decision for decision in tried.after(backoff.LONGEST).decided() if isinstance(decision, GiveUp)
        ]
        tried.down("a", silent=silent)
        ends += [decision for decision in tried.decided() if isinstance(decision, GiveUp)]
        tried.up(a=1, survived=True)
    assert ends == [GiveUp("bad", Reason.LOST)]


class Image:
    """Something that a weak reference can tell the end of."""


@pytest.mark.parametrize("end", ["answered", "withdraw", "refused", "server_down", "withdraw_all"])
def test_an_image_that_has_ended_takes_no_memory(end: str) -> None:
    tried = Scheduler()
    image = Image()
    trace = weakref.ref(image)
    tried.put(image)
    if end == "withdraw_all":
        tried.withdraw_all()
    for number in range(2 if end == "server_down" else 1):
        tried.server_up(str(number), 1, 0.0)
        tried.decide(0.0)
        if end == "server_down":
            tried.server_down(str(number), 0.0)
    if end == "withdraw":
        tried.withdraw(image)
        tried.postponed("0", image, 0.0)
    elif end == "answered":
        assert tried.answered("0", image, 1.0)
    elif end == "refused":
        tried.refused("0", image, 1.0)
    tried.decide(1.0)
    del image
    gc.collect()
    assert trace() is None


def test_taking_back_images_does_not_take_the_longer_the_more_wait() -> None:
    tried = Driven(*(str(number) for number in range(100_000)))
    for number in reversed(range(100_000)):  # each would be looked for in 100,000 otherwise: minutes
        tried.scheduler.withdraw(str(number))
    assert not tried.scheduler._jobs


class AnyOrderOfEvents(RuleBasedStateMachine):
    """What a scheduler promises, whatever happens: kept books of where each image is, by its decisions alone."""

    def __init__(self) -> None:
        super().__init__()
        self.scheduler = Scheduler()
        self.now = 0.0
        self.numbers = itertools.count()
        self.ended = Counter[int]()
        self.alive: set[int] = set()
        self.held: dict[str, list[int]] = {}
        self.credits: dict[str, int] = {}
        self.refusals: dict[int, set[str]] = {}
        self.past: list[tuple[str, int]] = []
        """Pairs of a server and an image that were together once."""

    def end(self, job: int) -> None:
        self.ended[job] += 1
        self.alive.remove(job)

    def carry_out(self) -> None:
        decisions = self.scheduler.decide(self.now)
        for decision in decisions:
            if isinstance(decision, GiveUp):
                self.end(decision.job)
        for decision in decisions:
            if isinstance(decision, Send):
                assert decision.job in self.alive, "it has ended"
                assert decision.server in self.held, "there is no such server"
                assert decision.server not in self.refusals[decision.job]
                assert decision.job not in self.held[decision.server], "it has it"
                self.held[decision.server].append(decision.job)
                assert len(self.held[decision.server]) <= self.credits[decision.server]
            elif isinstance(decision, Withdraw):
                assert decision.job in self.held[decision.server]
                assert decision.job not in self.alive
            elif isinstance(decision, Disconnect):
                self.lose(decision.server, silent=True)

    def lose(self, server: str, *, silent: bool) -> None:
        self.past += [(server, job) for job in self.held.pop(server)]
        self.scheduler.server_down(server, self.now, silent=silent)
        self.carry_out()

    @rule(number=st.integers(1, 4), cost=st.floats(0.1, 10.0))
    def put(self, number: int, cost: float) -> None:
        for job in itertools.islice(self.numbers, number):
            self.scheduler.put(job, cost)
            self.alive.add(job)
            self.refusals[job] = set()
        self.carry_out()

    @rule(more=st.booleans())
    def more_to_come(self, more: bool) -> None:
        self.scheduler.more_to_come = more
        self.carry_out()

    @rule(seconds=st.sampled_from([0.01, 1.0, 10.0, 100.0, 1000.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.carry_out()

    @precondition(lambda self: len(self.held) < 5)
    @rule(server=st.sampled_from("abcde"), credits=st.integers(1, 4), survived=st.booleans())
    def server_up(self, server: str, credits: int, survived: bool) -> None:
        if server not in self.held:
            self.scheduler.server_up(server, credits, self.now, survived=survived)
            self.held[server] = []
            self.credits[server] = credits
            self.carry_out()

    @precondition(lambda self: self.held)
    @rule(data=st.data(), silent=st.booleans())
    def server_down(self, data: st.DataObject, silent: bool) -> None:
        server = data.draw(st.sampled_from(sorted(self.held)))
        self.lose(server, silent=silent)

    @rule(server=st.sampled_from("abcde"))
    def server_gone(self, server: str) -> None:
        if server not in self.held:
            self.scheduler.server_gone(server)
            self.carry_out()

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def server_draining(self, data: st.DataObject) -> None:
        server = data.draw(st.sampled_from(sorted(self.held)))
        self.scheduler.server_draining(server, self.now)
        self.credits[server] = 0
        self.carry_out()

    @precondition(lambda self: self.held)
    @rule(data=st.data(), reachable=st.booleans())
    def path_changes(self, data: st.DataObject, reachable: bool) -> None:
        server = data.draw(st.sampled_from(sorted(self.held)))
        self.scheduler.path_changed(server, self.now, reachable=reachable)
        self.carry_out()

    @precondition(lambda self: any(self.held.values()))
    @rule(
        data=st.data(),
        outcome=st.sampled_from(["answered", "answered", "refused", "postponed"]),
        seconds=st.floats(0.0, 5.0),
    )
    def answer(self, data: st.DataObject, outcome: str, seconds: float) -> None:
        self.now += seconds
        server = data.draw(st.sampled_from(sorted(name for name, jobs in self.held.items() if jobs)))
        job = data.draw(st.sampled_from(self.held[server]))
        self.held[server].remove(job)
        self.past.append((server, job))
        if outcome == "answered":
            first = self.scheduler.answered(server, job, self.now)
            assert first == (job in self.alive)
            if first:
                self.end(job)
        elif outcome == "postponed":
            self.scheduler.postponed(server, job, self.now)
        else:
            self.refusals[job].add(server)
            self.scheduler.refused(server, job, self.now)
        self.carry_out()

    @precondition(lambda self: self.past)
    @rule(data=st.data(), outcome=st.sampled_from(["answered", "refused", "postponed"]))
    def late_answer(self, data: st.DataObject, outcome: str) -> None:
        server, job = data.draw(st.sampled_from(self.past))
        if job not in self.held.get(server, ()):
            assert not getattr(self.scheduler, outcome)(server, job, self.now)
            self.carry_out()

    @precondition(lambda self: self.alive)
    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        job = data.draw(st.sampled_from(sorted(self.alive)))
        self.end(job)
        self.scheduler.withdraw(job)
        self.carry_out()

    @rule()
    def withdraw_all(self) -> None:
        for job in self.scheduler.withdraw_all():
            assert not any(job in jobs for jobs in self.held.values())
            self.end(job)
        self.carry_out()

    def teardown(self) -> None:
        """One server that works is enough for whatever is left, though the others never say a word again."""
        self.scheduler.more_to_come = False
        self.scheduler.server_up("the last", 3, self.now)
        self.held["the last"] = []
        self.credits["the last"] = 3
        for _ in range(2000):
            self.carry_out()
            if not self.alive:
                break
            if self.held["the last"]:
                self.now += 0.5
                job = self.held["the last"].pop(0)
                if self.scheduler.answered("the last", job, self.now):
                    self.end(job)
            else:
                wake = self.scheduler.wake
                assert wake is not None, "images wait, and nothing will ever happen"
                self.now = max(self.now, wake)
        assert not self.alive
        assert not self.scheduler._jobs
        assert set(self.ended.values()) <= {1}


TestAnyOrderOfEvents = AnyOrderOfEvents.TestCase
TestAnyOrderOfEvents.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
