"""What waits in an outbox, and what a broker has refused for good: for whoever looks after it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    import asyncpg

__all__ = ["Refused", "Waiting", "drop", "refused", "retry", "waiting"]

WAITING: Final = "SELECT topic, count(*), min(published_at) FROM fastlane.outbox GROUP BY topic ORDER BY topic"
REFUSED: Final = """
SELECT id, topic, key, published_at, died_at, error, attributes, body FROM fastlane.outbox_dead ORDER BY seq LIMIT $1
"""
CHOSEN: Final = """
SELECT seq FROM fastlane.outbox_dead WHERE $1::text[] IS NULL OR id = ANY ($1) ORDER BY seq LIMIT $2
FOR UPDATE SKIP LOCKED
"""
DROP: Final = f"DELETE FROM fastlane.outbox_dead WHERE seq = ANY (ARRAY ({CHOSEN}))"
# With their old numbers: of a key they stay in order.
RETRY: Final = f"""
WITH back AS (DELETE FROM fastlane.outbox_dead WHERE seq = ANY (ARRAY ({CHOSEN})) RETURNING *)
INSERT INTO fastlane.outbox (seq, topic, id, key, published_at, due_at, dedupe_id, attributes, body)
SELECT seq, topic, id, key, published_at, due_at, dedupe_id, attributes, body FROM back
"""
WAKE: Final = "SELECT pg_notify('fastlane_outbox', '')"


class Waiting(NamedTuple):
    """Messages of a topic that were committed, and not confirmed by the broker yet."""

    topic: str
    messages: int
    oldest: datetime


class Refused(NamedTuple):
    """A message that the broker has refused for good.

    Attributes:
        attributes: as JSON.
        error: what the broker said.
    """

    id: str
    topic: str
    key: str | None
    published_at: datetime
    refused_at: datetime
    error: str
    attributes: str
    body: bytes


async def waiting(connection: asyncpg.Connection) -> list[Waiting]:
    """By topic."""
    return [Waiting(*row) for row in await connection.fetch(WAITING)]


async def refused(connection: asyncpg.Connection, limit: int) -> list[Refused]:
    """The oldest so many."""
    return [Refused(*row) for row in await connection.fetch(REFUSED, limit)]


async def retry(connection: asyncpg.Connection, ids: Sequence[str] | None, limit: int) -> int:
    """Hand them to the relay again, in their old order; answers how many. What came behind them was sent already.

    Args:
        ids: those alone; None: all.
        limit: at most so many, the oldest first.
    """
    async with connection.transaction():
        count = _count(await connection.execute(RETRY, ids, limit))
        await connection.execute(WAKE)
    return count


async def drop(connection: asyncpg.Connection, ids: Sequence[str] | None, limit: int) -> int:
    """Remove them for good; answers how many. As `retry`."""
    return _count(await connection.execute(DROP, ids, limit))


def _count(status: str) -> int:
    return int(status.rpartition(" ")[2])
