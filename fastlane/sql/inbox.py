"""``once=db``: which messages were handled, remembered in the transaction in which their handlers write.

claim ─► BEGIN, INSERT ─► the handler: what it does with the database in this task joins the transaction ─► COMMIT
            └── the row is there: nothing is left to do
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections import deque
from collections.abc import AsyncIterator
from contextvars import ContextVar
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from fastlane.errors import ConfigurationError
from fastlane.sql.transactions import Savepoint, Transaction

if TYPE_CHECKING:
    from fastlane.sql.pool import Pool

__all__ = ["Inbox", "Joined", "claimed", "current"]

logger = logging.getLogger("fastlane.sql")

INSERT = "INSERT INTO fastlane.inbox (subscription, message_id) VALUES ($1, $2) ON CONFLICT DO NOTHING"
PURGE = """
DELETE FROM fastlane.inbox WHERE (subscription, message_id) IN (
    SELECT subscription, message_id FROM fastlane.inbox
    WHERE handled_at < clock_timestamp() - interval '14 days' ORDER BY handled_at LIMIT 5000 FOR UPDATE SKIP LOCKED)
"""
"""Two weeks, the longest that SQS keeps a message."""

PURGE_EVERY = 600.0


class _Claim(NamedTuple):
    pool: Pool
    transaction: Transaction
    task: asyncio.Task[Any] | None


current: ContextVar[_Claim | None] = ContextVar("fastlane.sql.claim", default=None)


def claimed(pool: Pool) -> Transaction | None:
    """The transaction of the message that the running task handles, where it is one of this pool.

    Tasks that the handler starts have none: a transaction is one connection, and a connection runs one query at a time.
    """
    claim = current.get()
    if claim is None or claim.pool is not pool or claim.task is not asyncio.current_task():
        return None
    return claim.transaction


class Joined(Transaction):
    """``db.transaction()`` in such a handler: a part of its transaction that can be undone alone."""

    def __init__(self, outer: Transaction) -> None:
        super().__init__(outer._pool_of, "")
        self._outer = outer

    async def __aenter__(self) -> Self:
        held = self._outer._open()
        self._savepoint = Savepoint(self._outer)
        await self._savepoint.__aenter__()
        self._held = held
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._held = None
        await self._savepoint.__aexit__(kind, error, traceback)


class Inbox:
    """Of one database on one event loop.

    A claim holds a connection for as long as the handler runs. So at most all connections but one are claimed; further
    messages wait for their turn, leased, instead of failing because there is none.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._active = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._next_purge: float | None = None
        self._purging: asyncio.Task[None] | None = None

    @contextlib.asynccontextmanager
    async def claim(self, source: str, message_id: str) -> AsyncIterator[bool]:
        """See `Database.claim`."""
        import asyncpg

        await self._enter()
        try:
            async with Transaction(lambda: self._pool, "BEGIN") as tx:
                try:
                    first = await tx.execute(INSERT, source, message_id) == 1
                except asyncpg.UndefinedTableError as error:
                    raise ConfigurationError(
                        f"subscription {source!r}: database {self._pool.name!r} can't remember what was handled: "
                        f"{error}\n"
                        "    mend: run `fastlane sql migrate APP`"
                    ) from error
                token = current.set(_Claim(self._pool, tx, asyncio.current_task()))
                try:
                    yield first
                finally:
                    current.reset(token)
        finally:
            self._leave()
            self._purge_now_and_then()

    async def close(self) -> None:
        if self._purging is not None:
            self._purging.cancel()
            await asyncio.wait([self._purging], timeout=1.0)

    async def _enter(self) -> None:
        while self._active >= max(1, (self._pool.most or 2) - 1):
            waiter = asyncio.get_running_loop().create_future()
            self._waiting.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                if not waiter.cancelled():
                    self._wake()  # let in, and cancelled in the same moment
                raise
        self._active += 1

    def _leave(self) -> None:
        self._active -= 1
        self._wake()

    def _wake(self) -> None:
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    def _purge_now_and_then(self) -> None:
        now = asyncio.get_running_loop().time()
        if self._next_purge is None:
            self._next_purge = now + PURGE_EVERY * random.random()
        elif now >= self._next_purge and (self._purging is None or self._purging.done()):
            self._next_purge = now + PURGE_EVERY
            self._purging = asyncio.get_running_loop().create_task(self.purge())

    async def purge(self) -> None:
        """Forget what was handled two weeks ago. Several processes may do so at the same time."""
        try:
            while await self._pool.status(PURGE, ()) == "DELETE 5000":
                pass
        except Exception as error:
            logger.warning("database %r: what was handled long ago is still remembered: %s", self._pool.name, error)
