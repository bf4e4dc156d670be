"""Instructions: the decisions of the scheduler, as plain values that the pool carries out."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from enum import Enum

Key = Hashable
"""Identifies a job or a server for the caller; the scheduler only compares and hashes it."""


@dataclass(frozen=True)
class Send:
    """Send this job to this server."""

    server: Key
    job: Key


@dataclass(frozen=True)
class Withdraw:
    """Tell this server that the result of the job is no longer needed. The job uses a credit until the server answers."""

    server: Key
    job: Key


class Reason(Enum):
    """Why a job is given up."""

    REFUSED = "refused"
    """Every server refused it, or the limit on refusals of one job was reached."""
    LOST = "lost"
    """Several servers disconnected while they had it."""


@dataclass(frozen=True)
class GiveUp:
    """The job has failed for good."""

    job: Key
    reason: Reason


@dataclass(frozen=True)
class Disconnect:
    """End the connection to this server, which no longer answers any job; report `server_down` then."""

    server: Key


Instruction = Send | Withdraw | GiveUp | Disconnect
