"""The pool of one database in one worker: each query on whatever connection is free.

PERF: CPU of a query for one row with 20 at a time on 10 connections: 11 µs; by asyncpg's own pool 42, by a free list
over prepared statements of asyncpg and nothing else 11 (uvloop, Python 3.11).
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

from fastlane.sql.arguments import adapted
from fastlane.sql.driver import Session
from fastlane.sql.errors import StrayTransaction
from fastlane.sql.failures import is_argument, is_lost, is_read_only, is_schema_change, is_stale, translated
from fastlane.sql.reserve import Reserve
from fastlane.sql.rows import Plan
from fastlane.sql.source import Source

__all__ = ["Pool"]


class Pool(Reserve, Source):
    """A reserve of connections that runs queries."""

    async def rows(self, key: tuple[Any, ...], arguments: Sequence[Any], limit: int) -> tuple[Plan, list[Any]]:
        free = self.free
        session = free.pop() if free else await self.take()
        try:
            state, plan = session.fast.get(key) or await session.planned(key)
            rows = await session.run(state, arguments, "", limit, False, None)
        except BaseException as error:
            return await self._again(session, error, key, arguments, limit)
        # PERF: `release`, in place: a connection that has just answered is open.
        if not session.usable:
            self.drop(session)
        elif not self._queue or not self._waiting.hand(session):
            session.tick = self._tick
            free.append(session)
        return plan, rows

    async def _again(
        self, session: Session, error: BaseException, key: tuple[Any, ...], arguments: Sequence[Any], limit: int
    ) -> tuple[Plan, list[Any]]:
        """Once more, where nothing has run yet and another way may succeed."""
        async with self._returning(session, key[1]):
            better = self._better(session, error, arguments)
            if better is None:
                raise error
            state, plan = await session.planned(key)
            return plan, await session.run(state, better, "", limit, False, None)

    def _better(self, session: Session, error: BaseException, arguments: Sequence[Any]) -> Sequence[Any] | None:
        """The arguments for a second try, or None: there is to be none."""
        if is_stale(error) and not session.in_transaction():
            self.forget()
            return arguments
        return self.adapted(error, arguments)

    def is_stale(self, error: BaseException) -> bool:
        """Whether a query was refused because the schema has changed since it was prepared. Nothing ran."""
        return is_stale(error)

    def adapted(self, error: BaseException, arguments: Sequence[Any]) -> Sequence[Any] | None:
        """Arguments to send instead of some that were refused before they were sent, or None."""
        return adapted(arguments) if is_argument(error) else None

    def told(self, error: BaseException, session: Session, query: str) -> BaseException:
        """What the user gets to see for an error."""
        if is_stale(error) or is_schema_change(error):
            self.forget()
        elif is_read_only(error):
            session.usable = False  # after a failover a new connection finds the new primary
        elif is_lost(error, session):
            # A pooler whose server is gone answers every query so.
            self._complaints.warn("lost", "database %r: the connection was lost during a query: %s", self.name, error)
        return translated(error, session, query)

    def forget(self) -> None:
        """Every connection prepares its statements anew: the schema has changed."""
        for session in self._sessions:
            session.forget()

    async def status(self, query: str, arguments: Sequence[Any]) -> str:
        free = self.free
        session = free.pop() if free else await self.take()
        try:
            if arguments:
                status = await session.status(query, arguments)
            else:
                status = await session.command(query)
                if session.in_transaction():
                    raise StrayTransaction(query)
        except BaseException as error:
            async with self._returning(session, query):
                better = self._better(session, error, arguments) if arguments else None
                if better is None:
                    raise error
                return await session.status(query, better)
        self.release(session)
        return status

    @contextlib.asynccontextmanager
    async def session(self, query: str, *, transaction: bool = False) -> AsyncIterator[Session]:
        session = await self.take()
        async with self._returning(session, query):
            if transaction:
                await session.command("BEGIN")
                yield session
                await session.command("COMMIT")
            else:
                yield session

    @contextlib.asynccontextmanager
    async def _returning(self, session: Session, query: str) -> AsyncIterator[None]:
        """Gives a session back, whatever happens: at once where it is well, after a while where it has to be mended."""
        try:
            yield
        except BaseException as error:
            other = self.told(error, session, query)
            if is_lost(error, session):
                self.drop(session)
            elif isinstance(error, Exception) and not session.in_transaction():
                self.release(session)
            else:
                self.put_aside(session)
            if other is error:
                raise
            raise other from error
        if session.is_open() and session.in_transaction():
            self.put_aside(session)
        else:
            self.release(session)

    @contextlib.asynccontextmanager
    async def acquire(self) -> AsyncIterator[Any]:
        """The connection of asyncpg itself, for the caller alone; reset when it comes back."""
        session = await self.take()
        session.raw = True
        try:
            yield session.connection
        except Exception as error:
            if not is_lost(error, session):
                raise
            raise self.told(error, session, "") from error
        finally:
            session.raw = False
            self.put_aside(session, reset=True)
