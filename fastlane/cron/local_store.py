"""Runs in a SQLite file: for one machine, whose leader alone runs jobs. The rows outlive its death."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, TypeVar

from fastlane.cron.store import (
    KEPT_RUNS,
    LEASE_SECONDS,
    QUEUE_LENGTH,
    Claim,
    NotDue,
    Overlap,
    Run,
    State,
    Store,
    StoreUnavailable,
)

__all__ = ["LocalStore"]

T = TypeVar("T")

BUSY_SECONDS = 5.0
_LOOK_SECONDS = 0.001

_TABLES = """
CREATE TABLE IF NOT EXISTS cron_job (name TEXT PRIMARY KEY, schedule TEXT NOT NULL, registered_at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS cron_run (
    job TEXT NOT NULL, scheduled_at REAL NOT NULL, owner TEXT NOT NULL, state TEXT NOT NULL, attempt INTEGER NOT NULL,
    lease_until REAL, started_at REAL, finished_at REAL, error TEXT, PRIMARY KEY (job, scheduled_at)) WITHOUT ROWID;
"""
_HELD = "job = ? AND scheduled_at = ? AND owner = ? AND attempt = ? AND state = 'running'"
_LIVE = "SELECT count(*) FROM cron_run WHERE job = ? AND state = 'running' AND lease_until > ?"


class LocalStore(Store):
    """Rows in the file ``path``.

    Args:
        path: made when it is missing.
        clock: seconds since the epoch.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock
        self._connection: sqlite3.Connection | None = None
        self._alone = asyncio.Lock()

    async def look(self) -> tuple[datetime, frozenset[str]]:
        def query(connection: sqlite3.Connection, now: float) -> tuple[datetime, frozenset[str]]:
            rows = connection.execute(
                "SELECT DISTINCT job FROM cron_run WHERE state = 'queued' OR (state = 'running' AND lease_until <= ?)",
                (now,),
            )
            return _moment(now), frozenset(job for (job,) in rows)

        return await self._do(query)

    async def register(self, job: str, schedule: str) -> datetime:
        def query(connection: sqlite3.Connection, now: float) -> datetime:
            row = connection.execute(
                "SELECT registered_at FROM cron_job WHERE name = ? AND schedule = ?", (job, schedule)
            )
            found = row.fetchone()
            if found is not None:
                return _moment(found[0])
            connection.execute("INSERT OR REPLACE INTO cron_job VALUES (?, ?, ?)", (job, schedule, now))
            return _moment(now)

        return await self._do(query)

    async def claim(self, job: str, scheduled_at: datetime, owner: str, overlap: Overlap) -> Claim | None:
        def query(connection: sqlite3.Connection, now: float) -> Claim | None:
            tick = scheduled_at.timestamp()
            if tick > now:
                raise NotDue(tick - now)
            if connection.execute("SELECT 1 FROM cron_run WHERE job = ? AND scheduled_at = ?", (job, tick)).fetchone():
                return None
            state = _decide(connection, job, overlap, now)
            is_running = state == "running"
            connection.execute(
                "INSERT INTO cron_run VALUES (?, ?, ?, ?, ?, ?, ?, ?, NULL)",
                (
                    job,
                    tick,
                    owner,
                    state,
                    int(is_running),
                    now + LEASE_SECONDS if is_running else None,
                    now if is_running else None,
                    now if state == "skipped" else None,
                ),
            )
            return Claim(job, scheduled_at, owner, 1) if is_running else None

        return await self._do(query)

    async def claim_waiting(self, job: str, owner: str, overlap: Overlap, attempts: int) -> Claim | None:
        def query(connection: sqlite3.Connection, now: float) -> Claim | None:
            connection.execute(
                "UPDATE cron_run SET state = 'failed', finished_at = ?, error = 'its worker died' "
                "WHERE job = ? AND state = 'running' AND lease_until <= ? AND attempt >= ?",
                (now, job, now, attempts),
            )
            if overlap != "allow" and connection.execute(_LIVE, (job, now)).fetchone()[0]:
                return None
            row = connection.execute(
                "SELECT scheduled_at, attempt FROM cron_run WHERE job = ? AND "
                "(state = 'queued' OR (state = 'running' AND lease_until <= ?)) ORDER BY scheduled_at LIMIT 1",
                (job, now),
            ).fetchone()
            if row is None:
                return None
            connection.execute(
                "UPDATE cron_run SET owner = ?, state = 'running', attempt = attempt + 1, lease_until = ?, "
                "started_at = coalesce(started_at, ?) WHERE job = ? AND scheduled_at = ?",
                (owner, now + LEASE_SECONDS, now, job, row[0]),
            )
            return Claim(job, _moment(row[0]), owner, row[1] + 1)

        return await self._do(query)

    async def renew(self, claim: Claim) -> bool:
        def query(connection: sqlite3.Connection, now: float) -> bool:
            changed = f"UPDATE cron_run SET lease_until = ? WHERE {_HELD}"
            return connection.execute(changed, (now + LEASE_SECONDS, *_key(claim))).rowcount > 0

        return await self._do(query)

    async def advance(self, claim: Claim) -> Claim | None:
        def query(connection: sqlite3.Connection, now: float) -> Claim | None:
            changed = f"UPDATE cron_run SET attempt = attempt + 1, lease_until = ? WHERE {_HELD}"
            if not connection.execute(changed, (now + LEASE_SECONDS, *_key(claim))).rowcount:
                return None
            return Claim(claim.job, claim.scheduled_at, claim.owner, claim.attempt + 1)

        return await self._do(query)

    async def finish(self, claim: Claim, state: Literal["done", "failed"], error: str | None) -> bool:
        def query(connection: sqlite3.Connection, now: float) -> bool:
            changed = f"UPDATE cron_run SET state = ?, error = ?, lease_until = NULL, finished_at = ? WHERE {_HELD}"
            count = connection.execute(changed, (state, error, now, *_key(claim))).rowcount
            connection.execute(
                "DELETE FROM cron_run WHERE job = :job AND state IN ('done', 'failed', 'skipped') AND scheduled_at < ("
                "SELECT scheduled_at FROM cron_run WHERE job = :job ORDER BY scheduled_at DESC LIMIT 1 OFFSET :kept)",
                {"job": claim.job, "kept": KEPT_RUNS - 1},
            )
            return count > 0

        return await self._do(query)

    async def release(self, claim: Claim) -> None:
        def query(connection: sqlite3.Connection, now: float) -> None:
            changed = f"UPDATE cron_run SET attempt = attempt - 1, lease_until = ? WHERE {_HELD}"
            connection.execute(changed, (now, *_key(claim)))

        await self._do(query)

    async def history(self, job: str | None, limit: int) -> Sequence[Run]:
        def query(connection: sqlite3.Connection, _: float) -> list[Run]:
            rows = connection.execute(
                "SELECT job, scheduled_at, owner, state, attempt, started_at, finished_at, error FROM cron_run "
                "WHERE :job IS NULL OR job = :job ORDER BY scheduled_at DESC, job LIMIT :limit",
                {"job": job, "limit": limit},
            )
            return [
                Run(name, _moment(tick), owner, state, attempt, _perhaps(started), _perhaps(finished), error)
                for name, tick, owner, state, attempt, started, finished, error in rows
            ]

        return await self._do(query)

    async def close(self) -> None:
        async with self._alone:
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()

    async def _do(self, query: Callable[[sqlite3.Connection, float], T]) -> T:
        """Run ``query`` as a transaction, in a thread."""

        def transaction() -> T:
            try:
                connection = self._connection or self._open()
                connection.execute("BEGIN IMMEDIATE")
                try:
                    result = query(connection, self._clock())
                except BaseException:
                    connection.execute("ROLLBACK")
                    raise
                connection.execute("COMMIT")
            except sqlite3.Error as error:
                raise StoreUnavailable(f"{self._path}: {error}") from error
            return result

        async with self._alone:
            thread = asyncio.ensure_future(asyncio.to_thread(transaction))
            try:
                return await asyncio.shield(thread)
            except asyncio.CancelledError:
                await asyncio.wait({thread})  # the connection is in use until then
                raise

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        try:
            _write_ahead(connection)
            connection.executescript(_TABLES)
        except sqlite3.Error:
            connection.close()
            raise
        self._connection = connection
        return connection


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Turn a new file to write-ahead logging. SQLite does not wait for a lock where two would wait for each other: of
    several that open a new file at the same time, some are told at once that it is busy, whatever the timeout."""
    until = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(_LOOK_SECONDS)  # in a thread of its own; others hold that lock for less


def _decide(connection: sqlite3.Connection, job: str, overlap: Overlap, now: float) -> State:
    """What becomes of a tick of the job that comes now."""
    if overlap == "skip":
        return "skipped" if connection.execute(_LIVE, (job, now)).fetchone()[0] else "running"
    if overlap == "queue":
        rows = connection.execute(
            "SELECT state, count(*) FROM cron_run WHERE job = ? AND state IN ('queued', 'running') GROUP BY state",
            (job,),
        )
        counts = dict(rows.fetchall())
        if counts:
            return "queued" if counts.get("queued", 0) < QUEUE_LENGTH else "skipped"
    return "running"


def _key(claim: Claim) -> tuple[str, float, str, int]:
    return claim.job, claim.scheduled_at.timestamp(), claim.owner, claim.attempt


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _perhaps(seconds: float | None) -> datetime | None:
    return None if seconds is None else _moment(seconds)
