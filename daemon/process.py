"""Process: the daemon's memory, core dumps and descriptors, and its messages to the service manager."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import resource
import socket
from pathlib import Path

from ..core.text import plural

log = logging.getLogger("pyraface.server")

OTHER_DESCRIPTORS = 256
"""Descriptors that belong to no client: the executor's, a beacon socket for each interface, refusals, the log."""

_FIRST_TO_BE_KILLED = 500
"""Of oom_score_adj, proc(5): as if the process took half of the memory in addition. At 1000 it
would be killed before a program that takes far more."""

_M_MMAP_THRESHOLD = -3
"""From malloc.h."""


def return_freed_memory() -> None:
    """Makes the C library return the memory of a large image to the system when it is freed.

    By default glibc raises its threshold with each large block that is freed, and keeps the next ones: after 240 images of
    8 MB the daemon held 200 MiB and more for nothing. See mallopt(3); another C library has no such habit, or no such
    function.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, 1 << 17)  # the initial value


def disable_core_dumps() -> None:
    """Disables core dumps, because the memory of this process contains keys and photographs.

    At a limit of 0 Linux writes no file, but still hands a core to the program that core_pattern names, if it names one
    (core(5)); at 1, which no core fits in, it does neither.
    """
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    most = 1 if hard == resource.RLIM_INFINITY else min(hard, 1)
    resource.setrlimit(resource.RLIMIT_CORE, (most, most))


def prefer_to_be_killed() -> None:
    """Has the system kill this process, and not the daemon, where memory runs out: it can be started again."""
    with contextlib.suppress(OSError):  # no /proc, or a service manager has set it higher
        file = Path("/proc/self/oom_score_adj")
        if int(file.read_text()) < _FIRST_TO_BE_KILLED:
            file.write_text(str(_FIRST_TO_BE_KILLED))


def room_for_connections(wanted: int) -> int:
    """Returns how many connections this process may have, `wanted` or fewer, and raises its limit of descriptors for them.

    Fewer than wanted are logged.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + OTHER_DESCRIPTORS
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return wanted
    room = max(1, soft - OTHER_DESCRIPTORS)
    log.warning(
        "the system allows this process descriptors for %s, not %d "
        "(params/daemon/max_connections): raise its limit (ulimit -n, LimitNOFILE)",
        plural(room, "client"),
        wanted,
    )
    return room


def notify(state: str) -> None:
    """Tells systemd (Type=notify) the state of this process; sd_notify(3) describes the datagram."""
    path = os.environ.get("NOTIFY_SOCKET")
    if not path:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        try:
            sock.sendto(state.encode(), "\0" + path[1:] if path.startswith("@") else path)
        except OSError as error:
            log.warning("the service manager at %s does not listen: %s", path, error)
