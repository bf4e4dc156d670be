"""Supervisor's events, and the receiver of them: the follower."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Protocol

from .connection import ServerConnection


class Follower(Protocol):
    """Receiver of events about servers, each identified by a key: one server has one key at all its addresses."""

    def joined(self, key: Hashable, place: str, connection: ServerConnection) -> None:
        """The server is connected, for the first time or again, at this address."""

    def draining(self, key: Hashable) -> None:
        """The server takes no further images."""

    def path_changed(self, key: Hashable, *, reachable: bool) -> None:
        """The server acknowledges nothing that is sent to it, or does so again."""

    def left(self, key: Hashable) -> None:
        """The server is lost, or its connection is about to be closed."""

    def no_server_left(self) -> None:
        """There is no server, and none is expected."""

    async def needs_local(self) -> bool:
        """Returns whether a daemon on this machine, before it is started, has anything to do."""
