"""Transactions: one connection, BEGIN to COMMIT or ROLLBACK; inside of one, savepoints."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, NoReturn, Self, TypeAlias

from fastlane.sql.errors import StrayTransaction, TransactionEnded, TransactionFailed
from fastlane.sql.queries import Queries
from fastlane.sql.source import Source

if TYPE_CHECKING:
    from fastlane.sql.driver import Session
    from fastlane.sql.pool import Pool
    from fastlane.sql.rows import Plan

__all__ = ["Isolation", "Transaction", "begin"]

logger = logging.getLogger("fastlane.sql")

Isolation: TypeAlias = Literal["read committed", "repeatable read", "serializable"]
ISOLATIONS: tuple[Isolation, ...] = ("read committed", "repeatable read", "serializable")

ROLLBACK_TIMEOUT = 5.0
FAILED = "25P02"
"""In a failed transaction, or a failed part of one, nothing runs but ROLLBACK."""


def begin(isolation: Isolation | None, readonly: bool) -> str:
    """The command that begins a transaction.

    Raises:
        ValueError: an isolation that PostgreSQL doesn't have.
    """
    if isolation is not None and isolation not in ISOLATIONS:
        raise ValueError(f"isolation: one of {', '.join(map(repr, ISOLATIONS))}, not {isolation!r}")
    level = f" ISOLATION LEVEL {isolation.upper()}" if isolation is not None else ""
    return f"BEGIN{level}{' READ ONLY' if readonly else ''}"


class Transaction(Queries):
    """``async with db.transaction() as tx:``. Commits at the end, rolls back where an exception leaves the block.

    It has every query method of the database, on its one connection. A nested ``tx.transaction()`` is a savepoint: an
    exception that is caught outside of it undoes that part alone.

    Raises (when it ends):
        TransactionFailed: a query failed and its error was caught inside, so that PostgreSQL rolled back.
        Unavailable: the connection was lost. Where that was during COMMIT nobody knows whether it took place.
    """

    def __init__(self, pool: Callable[[], Pool], command: str) -> None:
        self._pool_of = pool
        self._command = command
        self._held: _Held | None = None

    @property
    def _source(self) -> Source:
        return self._open()

    def _open(self) -> _Held:
        if self._held is None:
            raise TransactionEnded
        return self._held

    @property
    def connection(self) -> Any:
        """The connection of asyncpg itself. Don't end the transaction on it. json columns come as bytes."""
        held = self._open()
        held.is_fresh = False
        return held.held.connection

    def transaction(self) -> Savepoint:
        """A savepoint: ``async with tx.transaction():``."""
        return Savepoint(self)

    def after_commit(self, call: Callable[[], object]) -> None:
        """Call something once this has been committed; not if it, or the savepoint around the call, is rolled back."""
        self._open().after.append(call)

    async def __aenter__(self) -> Self:
        if self._held is not None:
            raise TransactionEnded
        pool = self._pool_of()
        session = await pool.take()
        held = _Held(pool, session)
        await held.begin(self._command)
        self._held = held
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        held, self._held = self._open(), None
        if error is not None:
            await held.roll_back()
            return
        await held.commit()
        for call in held.after:
            try:
                call()
            except Exception:
                logger.exception("database %r: a call after COMMIT failed", held.name)


class Savepoint:
    """Part of a transaction that can be undone alone. Entering it gives the transaction."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction
        self._name = ""
        self._calls = 0

    async def __aenter__(self) -> Transaction:
        held = self._transaction._open()
        held.savepoints += 1
        self._name = f"fastlane_{held.savepoints}"
        self._calls = len(held.after)
        await held.command(f"SAVEPOINT {self._name}")
        return self._transaction

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        held = self._transaction._open()
        if error is None:
            try:
                await held.command(f"RELEASE SAVEPOINT {self._name}")
                return
            except Exception as failure:
                await self._undo(held)
                if getattr(failure, "sqlstate", None) == FAILED:
                    raise TransactionFailed from None
                raise
        await self._undo(held)

    async def _undo(self, held: _Held) -> None:
        del held.after[self._calls :]
        # What can't be undone here is undone with the whole: the connection is lost, or busy for another task.
        with contextlib.suppress(Exception):
            async with asyncio.timeout(ROLLBACK_TIMEOUT):
                await held.command(f"ROLLBACK TO SAVEPOINT {self._name}; RELEASE SAVEPOINT {self._name}")


class _Held(Source):
    """The connection of a transaction.

    Attributes:
        is_fresh: nothing has run in it, so that it can begin again where its first query meets a changed schema.
    """

    def __init__(self, pool: Pool, session: Session) -> None:
        self.name = pool.name
        self.held = session
        self.after: list[Callable[[], object]] = []
        self.savepoints = 0
        self.is_fresh = False
        self._begun_by = ""
        self._pool = pool

    async def rows(self, key: tuple[Any, ...], arguments: Sequence[Any], limit: int) -> tuple[Plan, list[Any]]:
        session = self.held
        is_fresh, self.is_fresh = self.is_fresh, False
        try:
            state, plan = session.fast.get(key) or await session.planned(key)
            return plan, await session.run(state, arguments, "", limit, False, None)
        except Exception as error:
            better = await self._better(error, arguments, is_fresh)
            if better is None:
                self._raise(error, key[1])
        async with self.session(key[1]):
            state, plan = await session.planned(key)
            return plan, await session.run(state, better, "", limit, False, None)

    async def status(self, query: str, arguments: Sequence[Any]) -> str:
        session = self.held
        is_fresh, self.is_fresh = self.is_fresh, False
        try:
            if arguments:
                return await session.status(query, arguments)
            status = await session.command(query)
            if not session.in_transaction():
                raise StrayTransaction(query, ended=True)
            return status
        except Exception as error:
            better = await self._better(error, arguments, is_fresh)
            if better is None:
                self._raise(error, query)
        async with self.session(query):
            return await session.status(query, better)

    async def _better(self, error: Exception, arguments: Sequence[Any], is_fresh: bool) -> Sequence[Any] | None:
        """The arguments for a second try, or None: there is to be none."""
        if not (is_fresh and self._pool.is_stale(error)):
            return self._pool.adapted(error, arguments)
        self._pool.forget()
        await self.command("ROLLBACK")
        await self.command(self._begun_by)
        return arguments

    @contextlib.asynccontextmanager
    async def session(self, query: str, *, transaction: bool = False) -> AsyncIterator[Session]:
        self.is_fresh = False
        try:
            yield self.held
        except Exception as error:
            self._raise(error, query)

    def _raise(self, error: Exception, query: str) -> NoReturn:
        other = self._pool.told(error, self.held, query)
        if other is error:
            raise error
        raise other from error

    async def command(self, command: str) -> str:
        """BEGIN, COMMIT and the like."""
        self.is_fresh = False
        try:
            return await self.held.command(command)
        except Exception as error:
            self._raise(error, command)

    async def begin(self, command: str) -> None:
        try:
            await self.command(command)
        except BaseException:
            self._pool.put_aside(self.held)
            raise
        self.is_fresh, self._begun_by = True, command

    async def commit(self) -> None:
        try:
            done = await self.command("COMMIT")
        except BaseException:
            # A deferred constraint, a serialization failure, a lost connection, a cancellation.
            self._pool.put_aside(self.held)
            raise
        self._pool.release(self.held)
        if done == "ROLLBACK":
            raise TransactionFailed

    async def roll_back(self) -> None:
        """Never raises: what went wrong before is what the user has to hear of."""
        try:
            async with asyncio.timeout(ROLLBACK_TIMEOUT):
                await self.held.command("ROLLBACK")
        except BaseException as error:
            self._pool.drop(self.held)
            if not isinstance(error, Exception):
                raise
        else:
            self._pool.release(self.held)
