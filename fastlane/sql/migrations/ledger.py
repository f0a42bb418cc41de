"""What a database remembers of its migrations, and the lock that makes one machine at a time change it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import asyncpg

__all__ = ["Applied", "Ledger"]

# "fastlane" in ASCII: a number that nobody else locks by chance.
LOCK = 0x666173746C616E65
LOOK_SECONDS = 0.25
TELL_SECONDS = 10.0

logger = logging.getLogger("fastlane.sql")

_TABLE = """
CREATE SCHEMA IF NOT EXISTS fastlane;
CREATE TABLE IF NOT EXISTS fastlane.migrations (
    source text NOT NULL,
    version bigint NOT NULL,
    name text NOT NULL,
    checksum text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now(),
    seconds double precision NOT NULL,
    PRIMARY KEY (source, version)
);
"""


class Applied(NamedTuple):
    """A row: a migration that was applied."""

    version: int
    name: str
    checksum: str
    applied_at: datetime
    seconds: float


class Ledger:
    """The table ``fastlane.migrations``, on one connection.

    Args:
        source: whose migrations: the declared database's name; two declared databases may be one in truth.
    """

    def __init__(self, connection: asyncpg.Connection, source: str) -> None:
        self._connection = connection
        self._source = source

    async def create(self) -> None:
        """Make the table, unless it is there. Under the lock: two that create it at once would fail."""
        if not await self._exists():
            await self._connection.execute(_TABLE)

    async def applied(self) -> list[Applied]:
        """Every row, in order. Works without the table, and changes nothing."""
        if not await self._exists():
            return []
        rows = await self._connection.fetch(
            "SELECT version, name, checksum, applied_at, seconds FROM fastlane.migrations "
            "WHERE source = $1 ORDER BY version",
            self._source,
        )
        return [Applied(*row) for row in rows]

    async def record(self, version: int, name: str, checksum: str, seconds: float) -> None:
        await self._connection.execute(
            "INSERT INTO fastlane.migrations (source, version, name, checksum, seconds) VALUES ($1, $2, $3, $4, $5)",
            self._source,
            version,
            name,
            checksum,
            seconds,
        )

    async def forget(self, version: int) -> None:
        await self._connection.execute(
            "DELETE FROM fastlane.migrations WHERE source = $1 AND version = $2", self._source, version
        )

    @asynccontextmanager
    async def alone(self, waiting: Callable[[], None]) -> AsyncIterator[None]:
        """Hold the lock of the whole database; whoever else migrates waits.

        Args:
            waiting: is called again and again while another one holds it, so that a deadline may begin anew.
        """
        # Tried again and again instead of waited for in the server: a lock that waits holds a snapshot, and an index
        # that another machine builds concurrently waits for all of those: a deadlock.
        waited = 0.0
        while not await self._connection.fetchval("SELECT pg_try_advisory_lock($1)", LOCK):
            if waited % TELL_SECONDS == 0.0:
                logger.info("another process migrates the database of %r: waiting for it", self._source)
            waiting()
            await asyncio.sleep(LOOK_SECONDS)
            waited += LOOK_SECONDS
        try:
            yield
        finally:
            if not self._connection.is_closed():
                await self._connection.fetchval("SELECT pg_advisory_unlock($1)", LOCK)

    async def _exists(self) -> bool:
        return bool(await self._connection.fetchval("SELECT to_regclass('fastlane.migrations') IS NOT NULL"))
