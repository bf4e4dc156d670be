"""Server state: the data shared by all connections of one server."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field, replace

from .. import __version__
from ..core.parameters import DaemonParameters, Timeouts
from ..core.protocol.messages import Status, Welcome
from .admission import Admission
from .executor import Executor
from .memory_budget import Budget
from .tls import Credentials


@dataclass(eq=False)
class ServerState:
    """Made once the executor is ready, and handed to every connection.

    Attributes:
        welcome: its `max_frame_bytes` is that of parameters.xml, or of the largest frame for which the budget has room.
        credentials: None lets every client in, without TLS.
        budget: of bytes, for the images of all clients.
        draining: whether the server is stopping: it answers the requests that it has, and refuses new ones.
    """

    limits: DaemonParameters
    timeouts: Timeouts
    executor: Executor
    welcome: Welcome
    credentials: Credentials | None
    admission: Admission[socket.socket]
    budget: Budget = field(init=False)
    draining: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self.budget = Budget(self.limits.max_bytes_in_flight, self.limits.max_connections)
        most = min(self.welcome.max_frame_bytes, self.budget.largest)
        self.welcome = replace(self.welcome, max_frame_bytes=most)

    def status(self, id: int, now: float) -> Status:
        """Returns the answer to an inquire.

        Args:
            now: the time of the event loop.
        """
        throughput = self.executor.throughput
        return Status(
            id,
            software=f"pyraface {__version__}",
            waiting=self.executor.waiting,
            working=self.executor.working,
            connections=len(self.admission),
            answered=throughput.total,
            rate=throughput.rate(now),
            speed=float(self.executor.speed),
            uptime=throughput.elapsed(now),
        )
