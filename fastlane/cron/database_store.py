"""Runs as rows of a declared database: every worker of every machine competes, and the insert decides.

A row, not an advisory lock of the session: it holds behind a pooler in transaction mode, and after its owner's death as
long as its lease does. What must look at several rows of a job takes a lock of the transaction.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, TypeVar

import asyncpg

from fastlane.cron.store import (
    KEPT_RUNS,
    LEASE_SECONDS,
    QUEUE_LENGTH,
    Claim,
    NotDue,
    Overlap,
    Run,
    Store,
    StoreUnavailable,
)
from fastlane.sql.failures import FAULTS

__all__ = ["DatabaseStore"]

T = TypeVar("T")

LEASE = timedelta(seconds=LEASE_SECONDS)
QUERY_SECONDS = 5.0

_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('fastlane cron ' || $1, 0))"
# The server's clock guards the tick: the machine whose clock is fastest would win every one, too early.
_CLAIM = f"""
INSERT INTO fastlane.cron_run (job, scheduled_at, owner, state, attempt, lease_until, started_at, finished_at)
SELECT $1, $2::timestamptz, $3, state,
    CASE state WHEN 'running' THEN 1 ELSE 0 END,
    CASE state WHEN 'running' THEN clock_timestamp() + $5::interval END,
    CASE state WHEN 'running' THEN clock_timestamp() END,
    CASE state WHEN 'skipped' THEN clock_timestamp() END
FROM (SELECT CASE
    WHEN $4 = 'allow' THEN 'running'
    WHEN $4 = 'skip' THEN CASE WHEN EXISTS (
        SELECT FROM fastlane.cron_run WHERE job = $1 AND state = 'running' AND lease_until > clock_timestamp()
    ) THEN 'skipped' ELSE 'running' END
    ELSE CASE (SELECT count(*) FROM fastlane.cron_run WHERE job = $1 AND state IN ('queued', 'running'))
        WHEN 0 THEN 'running' ELSE CASE WHEN (
            SELECT count(*) FROM fastlane.cron_run WHERE job = $1 AND state = 'queued'
        ) < {QUEUE_LENGTH} THEN 'queued' ELSE 'skipped' END END
    END AS state) AS decided
WHERE $2::timestamptz <= clock_timestamp()
ON CONFLICT (job, scheduled_at) DO NOTHING
RETURNING state
"""
# Why there was nothing to insert: no row, and it was too early. Its time may have come since, so a tick without a row
# is never somebody else's.
_UNCLAIMED = """
SELECT extract(epoch FROM $2::timestamptz - clock_timestamp())::float8
WHERE NOT EXISTS (SELECT FROM fastlane.cron_run WHERE job = $1 AND scheduled_at = $2::timestamptz)
"""
_LAPSED = "state = 'running' AND lease_until <= clock_timestamp()"
_GIVE_UP = f"""
UPDATE fastlane.cron_run SET state = 'failed', finished_at = clock_timestamp(), error = 'its worker died'
WHERE job = $1 AND {_LAPSED} AND attempt >= $2
"""
_CLAIM_WAITING = f"""
UPDATE fastlane.cron_run SET owner = $2, state = 'running', attempt = attempt + 1,
    lease_until = clock_timestamp() + $4::interval, started_at = coalesce(started_at, clock_timestamp())
WHERE (job, scheduled_at) = (
    SELECT job, scheduled_at FROM fastlane.cron_run
    WHERE job = $1 AND (state = 'queued' OR {_LAPSED}) AND ($3 = 'allow' OR NOT EXISTS (
        SELECT FROM fastlane.cron_run WHERE job = $1 AND state = 'running' AND lease_until > clock_timestamp()))
    ORDER BY scheduled_at LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING scheduled_at, attempt
"""
_HELD = "job = $1 AND scheduled_at = $2 AND owner = $3 AND attempt = $4 AND state = 'running'"
_RENEW = f"UPDATE fastlane.cron_run SET lease_until = clock_timestamp() + $5::interval WHERE {_HELD} RETURNING true"
_ADVANCE = f"""
UPDATE fastlane.cron_run SET attempt = attempt + 1, lease_until = clock_timestamp() + $5::interval
WHERE {_HELD} RETURNING attempt
"""
_FINISH = f"""
UPDATE fastlane.cron_run SET state = $5, error = $6, lease_until = NULL, finished_at = clock_timestamp()
WHERE {_HELD} RETURNING true
"""
_RELEASE = f"UPDATE fastlane.cron_run SET attempt = attempt - 1, lease_until = clock_timestamp() WHERE {_HELD}"
_FORGET = f"""
DELETE FROM fastlane.cron_run WHERE job = $1 AND state IN ('done', 'failed', 'skipped') AND scheduled_at < (
    SELECT scheduled_at FROM fastlane.cron_run WHERE job = $1 ORDER BY scheduled_at DESC OFFSET {KEPT_RUNS - 1} LIMIT 1)
"""
_LOOK = f"""
SELECT clock_timestamp(),
    ARRAY(SELECT DISTINCT job FROM fastlane.cron_run WHERE state = 'queued' OR ({_LAPSED}))
"""
_REGISTER = """
INSERT INTO fastlane.cron_job AS known (name, schedule) VALUES ($1, $2)
ON CONFLICT (name) DO UPDATE SET schedule = excluded.schedule,
    registered_at = CASE WHEN known.schedule = excluded.schedule THEN known.registered_at ELSE clock_timestamp() END
RETURNING registered_at
"""
_HISTORY = """
SELECT job, scheduled_at, owner, state, attempt, started_at, finished_at, error FROM fastlane.cron_run
WHERE $1::text IS NULL OR job = $1 ORDER BY scheduled_at DESC, job LIMIT $2
"""


class DatabaseStore(Store):
    """On a connection of its own, which is opened when it is needed, and again when it was lost.

    Args:
        arguments: answers the keyword arguments of ``asyncpg.connect``: asked each time, since a password may change.
    """

    def __init__(self, arguments: Callable[[], dict[str, Any]]) -> None:
        self._arguments = arguments
        self._connection: asyncpg.Connection | None = None
        self._alone = asyncio.Lock()

    async def look(self) -> tuple[datetime, frozenset[str]]:
        now, jobs = await self._do(lambda connection: connection.fetchrow(_LOOK))
        return now, frozenset(jobs)

    async def register(self, job: str, schedule: str) -> datetime:
        registered: datetime = await self._do(lambda connection: connection.fetchval(_REGISTER, job, schedule))
        return registered

    async def claim(self, job: str, scheduled_at: datetime, owner: str, overlap: Overlap) -> Claim | None:
        async def transaction(connection: asyncpg.Connection) -> Claim | None:
            async with connection.transaction():
                if overlap != "allow":
                    await connection.fetchval(_LOCK, job)
                state = await connection.fetchval(_CLAIM, job, scheduled_at, owner, overlap, LEASE)
                if state is None:
                    early = await connection.fetchval(_UNCLAIMED, job, scheduled_at)
                    if early is not None:
                        raise NotDue(max(early, 0.0))
            return Claim(job, scheduled_at, owner, 1) if state == "running" else None

        return await self._do(transaction)

    async def claim_waiting(self, job: str, owner: str, overlap: Overlap, attempts: int) -> Claim | None:
        async def transaction(connection: asyncpg.Connection) -> Claim | None:
            async with connection.transaction():
                if overlap != "allow":
                    await connection.fetchval(_LOCK, job)
                await connection.execute(_GIVE_UP, job, attempts)
                row = await connection.fetchrow(_CLAIM_WAITING, job, owner, overlap, LEASE)
            return None if row is None else Claim(job, row[0], owner, row[1])

        return await self._do(transaction)

    async def renew(self, claim: Claim) -> bool:
        return await self._do(lambda c: c.fetchval(_RENEW, *_key(claim), LEASE)) is not None

    async def advance(self, claim: Claim) -> Claim | None:
        attempt = await self._do(lambda c: c.fetchval(_ADVANCE, *_key(claim), LEASE))
        return None if attempt is None else Claim(claim.job, claim.scheduled_at, claim.owner, attempt)

    async def finish(self, claim: Claim, state: Literal["done", "failed"], error: str | None) -> bool:
        finished = await self._do(lambda c: c.fetchval(_FINISH, *_key(claim), state, error))
        await self._do(lambda c: c.execute(_FORGET, claim.job))
        return finished is not None

    async def release(self, claim: Claim) -> None:
        await self._do(lambda c: c.execute(_RELEASE, *_key(claim)))

    async def history(self, job: str | None, limit: int) -> Sequence[Run]:
        rows = await self._do(lambda c: c.fetch(_HISTORY, job, limit))
        return [Run(*row) for row in rows]

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()

    async def _do(self, query: Callable[[asyncpg.Connection], Awaitable[T]]) -> T:
        """Run ``query``, alone on the connection, within `QUERY_SECONDS`. Raises StoreUnavailable."""
        async with self._alone:
            try:
                async with asyncio.timeout(QUERY_SECONDS):
                    if self._connection is None or self._connection.is_closed():
                        self._connection = await asyncpg.connect(**self._arguments(), timeout=QUERY_SECONDS)
                    return await query(self._connection)
            except asyncpg.UndefinedTableError as error:
                raise StoreUnavailable(f"{error}\n    mend: run `fastlane sql migrate APP`") from error
            except TimeoutError as error:
                await self.close()
                raise StoreUnavailable(f"the database did not answer within {QUERY_SECONDS:g} s") from error
            except FAULTS as error:
                await self.close()
                raise StoreUnavailable(f"{type(error).__name__}: {error}") from error
            except asyncio.CancelledError:
                await self.close()  # its answer may still come
                raise


def _key(claim: Claim) -> tuple[str, datetime, str, int]:
    return claim.job, claim.scheduled_at, claim.owner, claim.attempt
