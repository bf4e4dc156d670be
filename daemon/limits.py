"""What a daemon takes on: who may connect, how many bytes may be on their way, how slowly they may come.

Everything here keeps accounts and decides; it touches no socket. A limit acts before there is work: a connection is
counted before it is read from, a frame before its bytes are stored.
"""

from __future__ import annotations

import asyncio
import ctypes
import ipaddress
import logging
import resource
import time
from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from ..core.errors import ErrorCode, RemoteProtocolError
from ..core.parameters import Parameters

SMALL_FRAME = 8192
"""Bytes of a frame that is not counted, so that pings and cancels pass when images have to wait: with every connection
and every credit in use these take a few MB. No frame before the welcome may be longer: who is not known yet has no claim
on memory."""

OTHER_DESCRIPTORS = 256
"""Descriptors that are no client's: the executor's, a beacon socket for each interface, refusals, the log."""

MOST_REFUSALS = 32
"""Connections that are told at the same time why they are refused; more are closed without a word."""

_M_MMAP_THRESHOLD = -3
"""From malloc.h."""

Guest = TypeVar("Guest", bound=Hashable)


class Admission(Generic[Guest]):
    """Who is connected: at most so many in all, and from one address.

    Who has not been greeted yet makes room for a newcomer, the oldest first: connections that say nothing keep nobody
    out, however many there are. A client says hello at once, and is greeted long before its turn would come.
    """

    def __init__(self, most: int, most_per_address: int) -> None:
        self._most = most
        self._most_per_address = most_per_address
        self._addresses: dict[Guest, str] = {}
        self._counts: Counter[str] = Counter()
        self._silent: dict[Guest, None] = {}

    def __len__(self) -> int:
        return len(self._addresses)

    def enter(self, guest: Guest, host: str) -> Guest | None:
        """Lets a guest in. Returns the one that has to go for it, who is not counted any more; None if there is room.

        Raises:
            RemoteProtocolError: it is one too many; code and text say of what.
        """
        address = site(host)
        leaving = None
        if self._counts[address] >= self._most_per_address:
            leaving = next((other for other in self._silent if self._addresses[other] == address), None)
            if leaving is None:
                raise RemoteProtocolError(
                    f"{self._most_per_address} clients are connected from {address} already "
                    "(params/daemon/max_connections_per_address)",
                    ErrorCode.TOO_MANY_FROM_ADDRESS,
                )
        elif len(self) >= self._most:
            leaving = next(iter(self._silent), None)
            if leaving is None:
                raise RemoteProtocolError(
                    f"{self._most} clients are connected already (params/daemon/max_connections)",
                    ErrorCode.TOO_MANY_CONNECTIONS,
                )
        if leaving is not None:
            self.leave(leaving)
        self._addresses[guest] = address
        self._counts[address] += 1
        self._silent[guest] = None
        return leaving

    def greeted(self, guest: Guest) -> None:
        """From now on this one stays until it leaves."""
        self._silent.pop(guest, None)

    def leave(self, guest: Guest) -> None:
        """The guest is gone; one who had to go is, already."""
        self._silent.pop(guest, None)
        address = self._addresses.pop(guest, None)
        if address is not None:
            self._counts[address] -= 1
            if not self._counts[address]:
                del self._counts[address]


def site(host: str) -> str:
    """Returns what counts as one address: an IPv4 address, or the /64 network that an IPv6 host can choose from."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:  # no IP address: a Unix socket's client
        return host
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is None:
            return str(ipaddress.ip_network((address, 64), strict=False))
        address = address.ipv4_mapped
    return str(address)


class Budget:
    """Bytes that all connections together may hold: frames that are coming in, and images without an answer.

    Three quarters are divided evenly: a connection has its part whenever it wants it, whatever the others do. What it
    holds beyond its part it borrows from the last quarter. When too little is left of that, it waits, and is not read
    from meanwhile; of those who wait, the first whose frame fits goes first. A frame larger than that quarter goes when
    nothing else is borrowed.

    Nobody waits for ever by another's waiting: what is held is a frame whose bytes the pace of its sender bounds, or an
    image that the executor answers in its time, and neither needs more from here to end.
    """

    def __init__(self, most: int, connections: int) -> None:
        self.part = most * 3 // 4 // connections
        self.to_lend = most - self.part * connections
        self.lent = 0
        self.waiting: list[_Claim] = []

    def serve(self) -> None:
        """Gives those who wait what fits now."""
        for claim in self.waiting[:]:
            if claim.share.take(claim.size):
                self.waiting.remove(claim)
                claim.granted.set_result(None)


class Share:
    """What one connection holds of the budget.

    Args:
        most: the most it may hold; one frame that is longer goes alone.
    """

    def __init__(self, budget: Budget, most: int) -> None:
        self._budget = budget
        self._most = most
        self.held = 0

    @property
    def borrowed(self) -> int:
        """Bytes that it holds beyond its part."""
        return max(0, self.held - self._budget.part)

    async def claim(self, size: int, patience: float) -> bool:
        """Returns whether `size` bytes are this connection's, at once or within `patience` seconds; `free` them later."""
        if self.take(size):
            return True
        claim = _Claim(self, size)
        self._budget.waiting.append(claim)
        try:
            await asyncio.wait({claim.granted}, timeout=patience)
        except asyncio.CancelledError:
            if claim.granted.done():
                self.free(size)
            raise
        finally:
            if not claim.granted.done():
                self._budget.waiting.remove(claim)
        return claim.granted.done()

    def take(self, size: int) -> bool:
        """Returns whether there is room for `size` bytes, and takes them if so."""
        if self.held and self.held + size > self._most:
            return False
        more = max(0, self.held + size - self._budget.part) - self.borrowed
        if more and self._budget.lent and self._budget.lent + more > self._budget.to_lend:
            return False
        self._hold(size)
        return True

    def free(self, size: int) -> None:
        """Gives back what was claimed."""
        self._hold(-size)
        self._budget.serve()

    def _hold(self, size: int) -> None:
        before = self.borrowed
        self.held += size
        self._budget.lent += self.borrowed - before


@dataclass(eq=False)
class _Claim:
    share: Share
    size: int
    granted: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Pace:
    """How one frame comes in: told of each wait for its bytes, it says when that has taken too long.

    Only waiting for the peer counts; while we do not read, nobody is slow.
    """

    def __init__(self, parameters: Parameters) -> None:
        self._frame = parameters.timeouts.frame
        self._window = parameters.timeouts.slow
        self._rate = parameters.daemon.min_bytes_per_second
        self._waited = 0.0
        self._in_window = 0.0
        self._bytes = 0

    @property
    def patience(self) -> float:
        """Seconds that the next wait may take."""
        return max(0.0, min(self._frame - self._waited, self._window - self._in_window))

    def waited(self, seconds: float, received: int) -> None:
        """Takes note of a wait and the bytes it brought, 0 if none.

        Raises:
            RemoteProtocolError: the frame takes too long, or comes too slowly.
        """
        self._waited += seconds
        self._in_window += seconds
        self._bytes += received
        if self._waited >= self._frame:
            raise RemoteProtocolError(
                f"a frame was not complete within {self._frame:g} s (params/timeout/frame_timeout)",
                ErrorCode.FRAME_TIMED_OUT,
            )
        if self._in_window >= self._window:
            if self._bytes < self._rate * self._in_window:
                raise RemoteProtocolError(
                    f"{self._bytes} bytes of a frame came in {self._window:g} s (params/timeout/slow_timeout); "
                    f"{self._rate} a second are expected (params/daemon/min_bytes_per_second)",
                    ErrorCode.SLOW_SENDER,
                )
            self._in_window = 0.0
            self._bytes = 0


class LineLimit(logging.Filter):
    """Lets through so many lines in so many seconds: whoever can make a line can make a million, and fill the disk."""

    def __init__(self, lines: int = 100, seconds: float = 10.0) -> None:
        super().__init__()
        self._lines = lines
        self._seconds = seconds
        self._since = -seconds
        self._count = 0

    def filter(self, record: logging.LogRecord) -> bool:
        """Returns whether this line is logged; the first after some that were not says how many."""
        now = time.monotonic()
        if now - self._since >= self._seconds:
            left_out = max(0, self._count - self._lines)
            self._since, self._count = now, 0
            if left_out:
                record.msg = f"{record.getMessage()} ({left_out} lines before this one were left out)"
                record.args = ()
        self._count += 1
        return self._count <= self._lines


def give_memory_back() -> None:
    """Has the C library return the memory of a large image to the system when it is freed.

    glibc otherwise takes each large block that is freed for a sign to keep the next ones: after 240 images of 8 MB the
    daemon held 200 MiB and more for nothing. See mallopt(3); another C library has no such habit, or no such function.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, 1 << 17)  # what it begins with


def leave_no_core() -> None:
    """Has the system keep nothing of this process's memory when it crashes: there are keys and photographs in it.

    At a limit of 0 Linux writes no file, but still hands a core to the program that core_pattern names, if it names one
    (core(5)); at 1, which no core fits in, it does neither.
    """
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    most = 1 if hard == resource.RLIM_INFINITY else min(hard, 1)
    resource.setrlimit(resource.RLIMIT_CORE, (most, most))


def room_for_connections(wanted: int) -> int:
    """Returns how many connections this process may have, `wanted` or fewer: raises its limit of descriptors for them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + OTHER_DESCRIPTORS
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return wanted
    return max(1, soft - OTHER_DESCRIPTORS)
