"""Night: blows to machines and to a client while it works, in an order and at moments that a seed decides."""

from __future__ import annotations

import contextlib
import itertools
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

from tests.network.chaos.client import Client
from tests.network.chaos.machines import Machine, Scale

FIRST_SHARE, LAST_SHARE = 0.04, 0.8
"""Of the images that are done, between which blows are dealt: later, the end of the run might come before them."""

EARLY = 0.4
"""The pauses come in this part of the blows, so that they are over before the end."""

RETURN_TIMES = 5
"""Of the client's read_timeout, within which it uses a machine again after a blow: the machine's silence takes one to be
noticed, and other blows come between."""

GRACE = 5.0
"""Seconds after a blow in which the machine is dealt no other, unless it is used again before."""

NEIGHBOURS_TIME = 60.0
"""Seconds for another client, with a few images: a fraction of the time in which the DNS server gives no answer."""

THREADS = 16
"""Blows at the same time, and returns that are awaited."""

OTHER_PORTS = 5020
"""The first of the ports that daemons move to."""


Blow = Callable[[], None]


class Night:
    """Deals blows while a client works; at any time one machine at least is in no trouble.

    Args:
        neighbour: makes another client, of few images, that names its servers.

    Attributes:
        diary: a line for each blow.
        neighbours: the other clients, which have ended.
    """

    def __init__(
        self,
        machines: Sequence[Machine],
        client: Client,
        neighbour: Callable[[str], Client],
        scale: Scale,
        seed: int,
    ) -> None:
        self._machines = machines
        self._client = client
        self._neighbour = neighbour
        self._scale = scale
        self._chance = random.Random(seed)
        self._abandoned = threading.Event()
        self._changed = threading.Condition()
        self._dealt: Counter[Machine] = Counter()
        self._in_trouble: dict[Machine, int] = {}
        """Machines with the number of the blow that they suffer from."""
        self._awaited: dict[Machine, int] = {}
        """Machines with the number of the last blow, that the client has not used since."""
        self._return_time = RETURN_TIMES * scale.read_timeout
        self._neighbours_lock = threading.Lock()
        self._network_lock = threading.Lock()
        self._suspended = 0.0
        self._ports = itertools.count(OTHER_PORTS)
        self._lives = [True, True, True]
        self._lives[self._chance.randrange(3)] = False
        self._started = time.monotonic()
        self.diary: list[str] = []
        self.neighbours: list[Client] = []
        for machine in machines:
            machine.limit(self._rate())

    def _plan(self) -> list[tuple[float, Blow]]:
        """Returns the blows, each with the share of the images after which it is dealt."""

        def on(name: str, blow: Callable[[Machine], None]) -> Blow:
            return partial(self._deal, name, blow)

        alternatives: list[list[Blow]] = [
            [on("its address changes", self._address_changes)],
            [on("its first interface is down", self._interface_is_down)],
            [on("its memory runs out", self._memory_runs_out)],
            [
                on("its daemon is killed", self._daemon_is_killed),
                on("its daemon moves to another port", self._daemon_moves),
            ],
            [
                on("its links lose packets", self._packets_are_lost),
                on("its cables are out", self._cables_are_out),
            ],
            [
                on("the disk with its log is full", self._logs_disk_is_full),
                on("its journal stalls", self._journal_stalls),
            ],
            [self._clients_address_changes, self._network_fails],
            [self._client_is_suspended, self._all_are_suspended],
            [self._name_is_not_found],
        ]
        blows: list[Blow] = [self._client_is_killed, self._client_is_killed]
        for group in alternatives:
            self._chance.shuffle(group)
            blows += itertools.islice(itertools.cycle(group), self._scale.rounds)
        self._chance.shuffle(blows)
        for _ in range(self._scale.rounds):
            early = self._chance.randrange(int(EARLY * len(blows)))
            blows.insert(early, on("it is paused", self._is_paused))
        width = (LAST_SHARE - FIRST_SHARE) / len(blows)
        return [
            (FIRST_SHARE + width * (number + self._chance.random()), blow)
            for number, blow in enumerate(blows)
        ]

    def run(self, patience: float) -> int:
        """Starts the client, deals every blow, and returns the client's exit status."""
        deadline = time.monotonic() + patience
        with ThreadPoolExecutor(THREADS) as self._threads:
            self._blows: list[Future[None]] = []
            try:
                self._client.start(read=self._lives.pop())
                for share, deal in self._plan():
                    self._until(
                        lambda share=share: self._client.lines >= share * self._scale.images, deadline
                    )
                    assert self._client.process.poll() is None, "the client ended before its time"
                    deal()
                self._until(lambda: self._client.process.poll() is not None, deadline, ended=True)
                self._write("the client has ended")
            except BaseException:
                self._abandoned.set()
                raise
            for blow in self._blows:
                blow.result()
        return self._client.process.returncode

    def _until(self, condition: Callable[[], bool], deadline: float, *, ended: bool = False) -> None:
        while not condition():
            assert time.monotonic() < deadline, "the night does not end"
            assert ended or self._client.process.poll() is None, "the client ended before its time"
            for blow in self._blows:
                if blow.done():
                    blow.result()
            time.sleep(0.02)

    def _deal(self, name: str, blow: Callable[[Machine], None]) -> None:
        """Deals a blow to a machine that is in no trouble, when another one is in none either; rather to one that the
        client has used since its last blow."""

        def free() -> list[Machine]:
            return [machine for machine in self._machines if machine not in self._in_trouble]

        with self._changed:
            longest = self._scale.pause + self._return_time
            assert self._changed.wait_for(lambda: len(free()) > 1, longest), (
                "too many machines are in trouble"
            )
            machine = self._chance.choice([one for one in free() if one not in self._awaited] or free())
            self._dealt[machine] += 1
            self._in_trouble[machine] = self._awaited[machine] = self._dealt[machine]
        self._write(f"{machine.role}: {name}")
        self._blows.append(self._threads.submit(self._suffer, machine, blow, self._dealt[machine]))

    def _suffer(self, machine: Machine, blow: Callable[[Machine], None], number: int) -> None:
        """Deals a blow, and waits until the client uses the machine again, if no other event comes between."""
        try:
            blow(machine)
            client, before = self._client.process, self._client.done_by(machine.role)
            over = self._running_time()
            while client.poll() is None:
                self._wait(0.2)
                late = max(0.0, self._running_time() - over)  # negative if it was over in a suspension
                if self._client.done_by(machine.role) > before:
                    self._write(f"{machine.role}: it is used again after {late:.1f} s")
                    return
                if late > GRACE:
                    self._recovered(self._in_trouble, machine, number)
                if self._dealt[machine] > number or self._abandoned.is_set():
                    return
                assert late < self._return_time, f"{machine.role} is not used again"
        finally:
            self._recovered(self._in_trouble, machine, number)
            self._recovered(self._awaited, machine, number)

    def _recovered(self, troubled: dict[Machine, int], machine: Machine, number: int) -> None:
        with self._changed:
            if troubled.get(machine) == number:
                del troubled[machine]
                self._changed.notify_all()

    def _running_time(self) -> float:
        """Returns a time that does not pass while the client is suspended."""
        return time.monotonic() - self._suspended

    def _wait(self, seconds: float) -> None:
        self._abandoned.wait(seconds)

    def _write(self, line: str) -> None:
        seconds = time.monotonic() - self._started
        self.diary.append(f"{seconds:6.1f} s {self._client.lines:6} images  {line}")

    def _rate(self) -> int:
        """Returns bits per second of a link: no two machines have the same."""
        return int(self._scale.link_rate * self._chance.uniform(0.7, 1.4))

    def _address_changes(self, machine: Machine) -> None:
        machine.change_address()

    def _interface_is_down(self, machine: Machine) -> None:
        with machine.down("eth0"):
            self._wait(self._scale.trouble)

    def _is_paused(self, machine: Machine) -> None:
        with machine.standing_still():
            self._wait(self._scale.pause)

    def _memory_runs_out(self, machine: Machine) -> None:
        self._write(f"{machine.role}: {machine.run_out_of_memory()}")

    def _daemon_is_killed(self, machine: Machine) -> None:
        machine.restart()

    def _daemon_moves(self, machine: Machine) -> None:
        machine.move(next(self._ports))

    def _packets_are_lost(self, machine: Machine) -> None:
        with machine.losing_packets(self._rate()):
            self._wait(self._scale.trouble)

    def _cables_are_out(self, machine: Machine) -> None:
        with machine.cut_off():
            self._wait(self._scale.trouble)

    def _logs_disk_is_full(self, machine: Machine) -> None:
        with machine.disk_full():
            self._wait(self._scale.trouble)

    def _journal_stalls(self, machine: Machine) -> None:
        with machine.journal_stalled():
            self._wait(self._scale.trouble)

    def _client_is_killed(self) -> None:
        """A new client finds each machine anew; so first the old one has to use those again whose blow is over."""
        with self._changed:
            found = self._changed.wait_for(
                lambda: self._awaited.keys() <= self._in_trouble.keys(), self._return_time
            )
            assert found, f"{', '.join(machine.role for machine in self._awaited)} not used again"
        read = self._lives.pop()
        self._write(
            "the client is killed, and started again" + ("" if read else " with its standard error unread")
        )
        self._client.kill()
        self._client.start(read=read)

    def _clients_address_changes(self) -> None:
        self._write("the client's address changes")
        self._client.change_address()

    def _network_fails(self) -> None:
        self._write("the first network fails: each machine is reached through the second alone")
        self._blows.append(self._threads.submit(self._without_network))

    def _without_network(self) -> None:
        with self._network_lock, self._machines[0].lab.failed():
            self._wait(self._scale.trouble)

    def _name_is_not_found(self) -> None:
        servers = ["nas.example", *(place for machine in self._machines for place in machine.places)]
        self._write("another client names its servers, and one that only the dead DNS server knows")
        self.neighbours.append(self._neighbour(",".join(servers)))
        self._blows.append(self._threads.submit(self._neighbour_works, self.neighbours[-1]))

    def _neighbour_works(self, neighbour: Client) -> None:
        started = time.monotonic()
        with self._neighbours_lock:
            assert neighbour.run(NEIGHBOURS_TIME) in (0, 1), neighbour.said
        self._write(f"the other client has ended after {time.monotonic() - started:.1f} s")

    def _client_is_suspended(self) -> None:
        self._write("the client is suspended")
        with self._client.suspended():
            self._stand_still()

    def _all_are_suspended(self) -> None:
        """The client, and all machines but those in trouble; not while another client, which would have no server, works."""
        with self._neighbours_lock, self._changed, contextlib.ExitStack() as stack:
            self._write("the client and all machines in no trouble are suspended")
            stack.enter_context(self._client.suspended())
            for machine in self._machines:
                if machine not in self._in_trouble:
                    stack.enter_context(machine.standing_still())
            self._stand_still()

    def _stand_still(self) -> None:
        self._wait(self._scale.suspension)
        self._suspended += self._scale.suspension
