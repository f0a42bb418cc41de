"""Where runs are claimed: a row per job and tick, which whoever inserts it first may run."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from datetime import datetime
from typing import Literal, TypeAlias

from msgspec import Struct

from fastlane.errors import FastlaneError

__all__ = [
    "KEPT_RUNS",
    "LEASE_SECONDS",
    "MOST_ATTEMPTS",
    "QUEUE_LENGTH",
    "Claim",
    "NotDue",
    "Overlap",
    "Run",
    "State",
    "Store",
    "StoreUnavailable",
]

Overlap: TypeAlias = Literal["skip", "allow", "queue"]
State: TypeAlias = Literal["queued", "running", "done", "failed", "skipped"]

LEASE_SECONDS = 15.0
"""How soon a run whose worker died is started again; it is renewed at a third of that."""
MOST_ATTEMPTS = 3
"""Of a run whose workers die, where ``retry=`` says nothing: then it has failed."""
QUEUE_LENGTH = 100
"""Ticks of one job that ``overlap="queue"`` lets wait; the next one is skipped."""
KEPT_RUNS = 100
"""Per job."""


class StoreUnavailable(FastlaneError):
    """The store can't be reached. The tick stays due, and is tried again while it may be caught up."""


class Run(Struct, frozen=True):
    """A row: what became of a tick.

    Attributes:
        owner: host, process and worker that has or had it.
        error: of a run that failed, one line.
    """

    job: str
    scheduled_at: datetime
    owner: str
    state: State
    attempt: int
    started_at: datetime | None
    finished_at: datetime | None
    error: str | None


class Claim(Struct, frozen=True):
    """A run that this process may do, as long as it renews it. Owner and attempt together are its fencing token."""

    job: str
    scheduled_at: datetime
    owner: str
    attempt: int


class NotDue(FastlaneError):
    """The store's clock says that the tick is still to come, ``seconds`` from now; 0: it was, and has come since."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        super().__init__(f"due in {seconds:g} s")


class Store(abc.ABC):
    """Claims, and what became of them. Every method raises `StoreUnavailable` when the store can't be reached.

    Time is the store's own: what counts is `look`, not the clock of the machine that asks.
    """

    @abc.abstractmethod
    async def look(self) -> tuple[datetime, frozenset[str]]:
        """What time it is, and the jobs that have a run which waits for somebody: queued, or with a lapsed lease."""

    @abc.abstractmethod
    async def register(self, job: str, schedule: str) -> datetime:
        """Since when the job has this schedule: ticks before that are nobody's. The first call says "now"."""

    @abc.abstractmethod
    async def claim(self, job: str, scheduled_at: datetime, owner: str, overlap: Overlap) -> Claim | None:
        """The tick, if nobody has it. Where an older run is live, ``skip`` and ``queue`` leave a row and no claim.

        Raises:
            NotDue: the tick is still to come.
        """

    @abc.abstractmethod
    async def claim_waiting(self, job: str, owner: str, overlap: Overlap, attempts: int) -> Claim | None:
        """The oldest run of the job that waits, if it may run now; of one that lapsed its next attempt.

        One that has lapsed after ``attempts`` is given up: ``failed``.
        """

    @abc.abstractmethod
    async def renew(self, claim: Claim) -> bool:
        """Hold it for `LEASE_SECONDS` from now. False: it is somebody else's."""

    @abc.abstractmethod
    async def advance(self, claim: Claim) -> Claim | None:
        """The same run as its next attempt, after a failure; None: it is somebody else's."""

    @abc.abstractmethod
    async def finish(self, claim: Claim, state: Literal["done", "failed"], error: str | None) -> bool:
        """It has ended. Old runs of the job are forgotten on the way. False: it is somebody else's."""

    @abc.abstractmethod
    async def release(self, claim: Claim) -> None:
        """Give it back unfinished, at once, without counting it as an attempt: this process stops."""

    @abc.abstractmethod
    async def history(self, job: str | None, limit: int) -> Sequence[Run]:
        """The newest runs first."""

    async def close(self) -> None: ...
