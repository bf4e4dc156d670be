"""Dialer: the addresses of a name, tried almost at the same time, so that a dead one costs a moment ("happy eyeballs")."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import TypeVar

from ..errors import PyrafaceError, RefusedError, SearchUnavailableError, WrongKeyError
from . import tasks, threads

STAGGER = 0.25
"""Seconds between two attempts, unless one fails before (RFC 8305, section 5)."""

STAGGERED = 0.75
"""Seconds within which all addresses are being tried: of many addresses, more than one is tried in STAGGER."""

MOST_ADDRESSES = 32
"""Limit on the addresses tried; each takes an open file at the same time. Names of machines have a handful."""

_FROM_A_SERVER = RefusedError, WrongKeyError, SearchUnavailableError

A = TypeVar("A")
T = TypeVar("T")


async def addresses(host: str, port: int, limit: float | None) -> list[str]:
    """Returns the numeric addresses of a host, IPv6 and IPv4 in turn.

    A name is looked up by a daemon thread: a name server that does not answer keeps the system's resolver waiting for as
    long as resolv.conf says, and threads of the event loop would be waited for at the end of the program.

    Args:
        limit: seconds for a name to be found; None: as many as the system's resolver takes.

    Raises:
        OSError: no address is found; its `strerror` says why.
    """
    try:
        return _looked_up(host, port, socket.AI_NUMERICHOST)
    except ValueError:  # UnicodeError: a part of the name is empty or too long for one
        raise socket.gaierror(socket.EAI_NONAME, "not a valid host name") from None
    except socket.gaierror:
        pass  # a name
    try:
        return await asyncio.wait_for(_in_a_thread(host, port), limit)
    except asyncio.TimeoutError:
        raise socket.gaierror(
            socket.EAI_AGAIN,
            f"no address found for the name within {limit:g} s (params/timeout/connect_timeout); if no name server "
            "answers, use the address instead of the name",
        ) from None


async def _in_a_thread(host: str, port: int) -> list[str]:
    loop = asyncio.get_running_loop()
    found: asyncio.Future[list[str]] = loop.create_future()

    def deliver(names: list[str], error: Exception | None) -> None:
        if found.done():  # cancelled meanwhile
            return
        if error is None:
            found.set_result(names)
        else:
            found.set_exception(error)

    def look_up() -> None:
        names: list[str] = []
        failure: Exception | None = None
        try:
            names = _looked_up(host, port)
        except Exception as error:  # noqa: BLE001  it is raised in `addresses`
            failure = error
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(deliver, names, failure)

    try:
        threading.Thread(target=look_up, name="resolver", daemon=True).start()
    except RuntimeError as error:  # the limit on threads
        raise socket.gaierror(socket.EAI_SYSTEM, threads.REMEDY) from error
    return await found


def _looked_up(host: str, port: int, flags: int = 0) -> list[str]:
    ranks: Counter[int] = Counter()
    ranked: list[tuple[int, str]] = []
    for family, _, _, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags):
        # not address[0]: it lacks the interface of a link-local address
        numeric, _ = socket.getnameinfo(address, socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)
        ranked.append((ranks[family], numeric))
        ranks[family] += 1
    in_turn = sorted(ranked, key=lambda entry: entry[0])
    return list(dict.fromkeys(address for _, address in in_turn))[:MOST_ADDRESSES]


async def race(
    hosts: list[A], attempt: Callable[[A], Awaitable[T]], discard: Callable[[T], Awaitable[None]]
) -> T:
    """Returns the result of the first attempt that succeeds; the others are cancelled.

    Args:
        hosts: addresses, in the order in which they are tried, at least one.
        attempt: tries an address; has a time limit of its own, and leaves nothing open when it fails or is cancelled.
        discard: ends the success of an attempt that was too late.

    Raises:
        OSError, PyrafaceError: every attempt failed. The error is the first, unless a server answered another attempt: its
            refusal says more.
    """
    loop = asyncio.get_running_loop()
    pause = min(STAGGER, STAGGERED / len(hosts))
    waiting = list(reversed(hosts))
    started: list[asyncio.Future[T]] = []
    running: set[asyncio.Future[T]] = set()
    failures: list[OSError | PyrafaceError] = []
    chosen: asyncio.Future[T] | None = None
    due = loop.time()
    try:
        while waiting or running:
            if waiting and (not running or loop.time() >= due):
                started.append(asyncio.ensure_future(attempt(waiting.pop())))
                running.add(started[-1])
                due = loop.time() + pause
            limit = max(0.0, due - loop.time()) if waiting else None
            ended, running = await asyncio.wait(running, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
            for task in ended:
                error = task.exception()
                if error is None:
                    chosen = task
                    return task.result()
                if not isinstance(error, (OSError, PyrafaceError)):
                    raise error
                failures.append(error)
                due = loop.time()  # the next address need not wait
    finally:
        await tasks.finish(_drop([task for task in started if task is not chosen], discard))
    raise min(failures, key=lambda error: not isinstance(error, _FROM_A_SERVER))


async def _drop(late: list[asyncio.Future[T]], discard: Callable[[T], Awaitable[None]]) -> None:
    await tasks.end(late)
    for task in late:
        if not task.cancelled() and task.exception() is None:
            await discard(task.result())
