"""The pool of one database in one worker: a free list over connections of asyncpg.

Taking a connection is ``list.pop``, giving it back ``list.append``: last in, first out, so that few connections are hot
and the others grow old and are closed. Who finds none waits in a bounded queue, first come, first served.

While the server can't be reached one attempt runs at a time, with pauses of up to half a second. Who waits learns the
result of the next attempt: a request fails soon, and the first one after the server's return succeeds.

PERF: CPU of a query for one row with 20 at a time on 10 connections: 11 µs; by asyncpg's own pool 42, by a free list
over prepared statements of asyncpg and nothing else 11 (uvloop, Python 3.11).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import weakref
from collections import deque
from collections.abc import AsyncIterator, Sequence
from typing import Any

from fastlane.errors import Unavailable
from fastlane.resources.configuration import PoolOptions
from fastlane.sql.arguments import adapted
from fastlane.sql.driver import (
    CONNECT_TIMEOUT,
    Plans,
    Session,
    is_argument,
    is_lost,
    is_read_only,
    is_schema_change,
    is_stale,
    open_session,
    translated,
)
from fastlane.sql.errors import ForkedPool, StrayTransaction
from fastlane.sql.rows import Plan
from fastlane.sql.settings import ConnectionSettings, redacted
from fastlane.sql.sizing import MOST, Sharing, size_of
from fastlane.sql.source import Source

__all__ = ["Pool"]

logger = logging.getLogger("fastlane.sql")

MOST_WAITERS = 1000
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 0.5
QUIET = 10.0
"""Seconds between two log lines that say the same."""
CLOSE_TIMEOUT = 2.0

LIMITS = """
SELECT current_setting('max_connections')::int,
       current_setting('superuser_reserved_connections')::int
         + coalesce(current_setting('reserved_connections', true)::int, 0),
       (SELECT rolconnlimit FROM pg_roles WHERE rolname = current_user),
       (SELECT datconnlimit FROM pg_database WHERE datname = current_database())
"""

_pools: weakref.WeakSet[Pool] = weakref.WeakSet()
_inherited: list[Session] = []


class Pool(Source):
    """Connections to one database, on one event loop.

    Args:
        name: of the database.
        settings: how to connect.
        options: least and most connections, how long to wait for one, when an idle one is closed.
        sharing: who else wants connections; decides the size where ``options.max`` doesn't.
        tells: logs its size (one of many workers does).

    Attributes:
        free: connections that nobody uses.
        most: connections at most; None until the first one told what the server has.
        is_forked: this process is a child of the one that opened it.
    """

    def __init__(
        self,
        name: str,
        settings: ConnectionSettings,
        options: PoolOptions | None = None,
        *,
        sharing: Sharing | None = None,
        tells: bool = False,
    ) -> None:
        self.name = name
        self.settings = settings
        self.free: list[Session] = []
        self.most: int | None = None
        self._options = options or PoolOptions()
        self._sharing = sharing or Sharing()
        self._tells = tells
        self._timeout = float(self._options.acquire_timeout)
        self._plans = Plans()
        self._sessions: set[Session] = set()
        self._waiters: deque[_Waiter] = deque()
        self._openers: set[asyncio.Task[None]] = set()
        self._menders: set[asyncio.Task[None]] = set()
        self._expiry: asyncio.TimerHandle | None = None
        self._pause: asyncio.TimerHandle | None = None
        self._clock: asyncio.TimerHandle | None = None
        self._tick = 0
        self._failures = 0
        self._silent_until: dict[str, float] = {}
        self._closing = False
        self.is_forked = False
        self._returned = asyncio.Event()
        _pools.add(self)

    # Queries

    async def rows(self, key: tuple[Any, ...], arguments: Sequence[Any], limit: int) -> tuple[Plan, list[Any]]:
        free = self.free
        session = free.pop() if free else await self.take()
        try:
            state, plan = session.fast.get(key) or await session.planned(key)
            rows = await session.run(state, arguments, "", limit, False, None)
        except BaseException as error:
            return await self._again(session, error, key, arguments, limit)
        # PERF: `release`, in place.
        if session.usable and not self._waiters:
            session.tick = self._tick
            free.append(session)
        else:
            self.release(session)
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

    def adapted(self, error: BaseException, arguments: Sequence[Any]) -> Sequence[Any] | None:
        """Arguments to send instead of some that were refused before they were sent, or None."""
        return adapted(arguments) if is_argument(error) else None

    def told(self, error: BaseException, session: Session, query: str) -> BaseException:
        """What the user gets to see for an error."""
        if is_stale(error):
            self.forget()
        elif is_read_only(error):
            session.usable = False  # after a failover a new connection finds the new primary
        return translated(error, session, query, self.name)

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
            if is_schema_change(error):
                session.forget()
                with contextlib.suppress(Exception):
                    await session.connection.reload_schema_state()
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

    # Taking and giving back

    async def take(self) -> Session:
        """A connection for the caller alone, who gives it to `release`, `put_aside` or `drop`.

        Raises:
            Unavailable: there is none in time, or the server can't be reached.
            ForkedPool: this process is a child of the one that opened the pool.
        """
        if self.free:
            return self.free.pop()
        if self.is_forked:
            raise ForkedPool(self.name)
        if self._closing:
            raise Unavailable("the database is not available")
        if len(self._waiters) >= MOST_WAITERS:
            self._say("queue", "database %r: %d queries wait for a connection: no more may", self.name, MOST_WAITERS)
            raise Unavailable("the database is not available")
        loop = asyncio.get_running_loop()
        waiter = _Waiter(loop.create_future(), loop.time() + self._timeout)
        self._waiters.append(waiter)
        if self._expiry is None:
            self._expiry = loop.call_at(waiter.deadline, self._expire)
        self._want()
        try:
            return await waiter.future
        except asyncio.CancelledError:
            if not waiter.future.cancelled() and waiter.future.exception() is None:
                self.release(waiter.future.result())  # it came together with the cancellation
            elif waiter in self._waiters:
                self._waiters.remove(waiter)
            raise

    def release(self, session: Session) -> None:
        """Give back a connection that is well."""
        if not session.usable or not session.is_open():
            self.drop(session)
            return
        session.tick = self._tick
        while self._waiters:
            future = self._waiters.popleft().future
            if not future.done():
                future.set_result(session)
                return
        self.free.append(session)

    def drop(self, session: Session) -> None:
        """Close a connection that is of no more use, and open another if somebody waits."""
        session.terminate()
        self._gone(session)

    def put_aside(self, session: Session, *, reset: bool = False) -> None:
        """Give back a connection that may still be busy: it is mended first, or closed.

        Args:
            reset: also undo what a user may have done to the session.
        """
        task = asyncio.get_running_loop().create_task(self._mend(session, reset))
        self._menders.add(task)
        task.add_done_callback(self._menders.discard)

    async def _mend(self, session: Session, reset: bool) -> None:
        if session.usable and await session.mended() and (not reset or await session.reset()):
            self.release(session)
        else:
            self.drop(session)

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

    # Opening and closing

    async def open(self, *, warm: bool) -> None:
        """On the running loop.

        Args:
            warm: wait for the first connection, so that no request does, and that the log says at once what is wrong. A
                server that can't be reached is no error here: it may come back.
        """
        if self._options.max is not None:
            self.most = self._options.max
        elif self.settings.pooler:
            self.most = MOST
        self._clock = asyncio.get_running_loop().call_later(self._period, self._grow_old)
        self._want(at_least=1 if warm else 0)
        if warm and self._openers:
            await asyncio.wait(self._openers, timeout=CONNECT_TIMEOUT)

    async def close(self, timeout: float = 5.0) -> None:
        """Refuse new queries at once, wait ``timeout`` seconds for those that run, and end the rest."""
        if self._closing:
            return
        self._closing = True
        for handle in (self._expiry, self._pause, self._clock):
            if handle is not None:
                handle.cancel()
        self._fail_waiters()
        for session in self._sessions:
            session.usable = False  # so that none finds its way back into the list
        for task in list(self._openers):
            task.cancel()
        if self._openers:
            await asyncio.wait(self._openers, timeout=CLOSE_TIMEOUT)
        free, self.free = self.free, []
        await asyncio.gather(*(self._farewell(session) for session in free))
        if self._sessions:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    await self._returned.wait()
        for session in list(self._sessions):
            session.terminate()
        self._sessions.clear()
        if self._menders:
            await asyncio.wait(self._menders, timeout=CLOSE_TIMEOUT)

    async def _farewell(self, session: Session) -> None:
        self._sessions.discard(session)
        with contextlib.suppress(Exception):
            await session.connection.close(timeout=CLOSE_TIMEOUT)

    def _want(self, at_least: int = 0) -> None:
        """Open as many connections as are missing, and as there is room for."""
        if self._closing or self.is_forked:
            return
        wanted = max(len(self._waiters), max(self._options.min, at_least) - len(self._sessions)) - len(self._openers)
        room = (self.most or 1) - len(self._sessions) - len(self._openers)
        count = min(wanted, room)
        if self._failures:
            count = 0 if self._openers or self._pause is not None else min(count, 1)
        for _ in range(count):
            task = asyncio.get_running_loop().create_task(self._open())
            self._openers.add(task)
            task.add_done_callback(self._opened)

    def _opened(self, task: asyncio.Task[None]) -> None:
        self._openers.discard(task)
        self._want()

    async def _open(self) -> None:
        try:
            session = await open_session(self.settings, self._plans)
            if self.most is None:
                await self._decide_size(session)
        except Exception as error:
            self._refused(error)
            return
        if self._failures:
            logger.info("database %r is back", self.name)
            self._failures = 0
        session.connection.add_termination_listener(lambda _: self._gone(session))
        self._sessions.add(session)
        if self._closing:
            session.usable = False
        self.release(session)

    def _refused(self, error: Exception) -> None:
        pause = min(FIRST_PAUSE * 2**self._failures, LONGEST_PAUSE)
        self._failures = min(self._failures + 1, 10)
        self._say(
            "refused",
            "database %r: no connection to %s: %s: %s; trying again every %.1f s at most",
            self.name,
            redacted(self.settings.current().url),
            type(error).__name__,
            error,
            LONGEST_PAUSE,
        )
        if not self._closing:
            loop = asyncio.get_running_loop()
            self._pause = loop.call_later(pause * random.uniform(0.8, 1.0), self._end_pause)
        if not self._sessions:  # else one of those will be given back
            self._fail_waiters()

    def _end_pause(self) -> None:
        self._pause = None
        self._want()

    async def _decide_size(self, session: Session) -> None:
        limit, kept, of_role, of_database = await session.connection.fetchrow(LIMITS)
        limits = [of for of in (of_role, of_database) if of is not None and of >= 0]
        if limits and min(limits) < limit:
            limit, kept = min(limits), 0
        size = size_of(server=limit, kept=kept, sharing=self._sharing)
        self.most = max(size.most, self._options.min)
        session.forget()
        if not self._tells:
            return
        if size.short:
            logger.warning(
                "database %r: the server has too few connections for every worker: %s\n"
                "    mend: raise max_connections, start fewer workers, or put pgbouncer between (pooler)",
                self.name,
                size.arithmetic,
            )
        else:
            logger.info("database %r: at most %d connections of each worker: %s", self.name, size.most, size.arithmetic)

    def _gone(self, session: Session) -> None:
        """A connection was closed, by whomever."""
        session.usable = False
        if session in self._sessions:
            self._sessions.discard(session)
            if session in self.free:
                self.free.remove(session)
            self._want()
        if self._closing and not self._sessions:
            self._returned.set()

    # What time does

    @property
    def _period(self) -> float:
        return max(float(self._options.idle) / 2, 0.01)

    def _grow_old(self) -> None:
        """Every half of the idle time: close what nobody used in the last two of them, but for the least."""
        self._tick += 1
        spare = len(self._sessions) - self._options.min
        old = [session for session in self.free if session.tick < self._tick - 2][: max(spare, 0)]
        for session in old:
            self.free.remove(session)
            session.usable = False
            task = asyncio.get_running_loop().create_task(self._farewell(session))
            self._menders.add(task)
            task.add_done_callback(self._menders.discard)
        self._clock = asyncio.get_running_loop().call_later(self._period, self._grow_old)

    def _expire(self) -> None:
        """The first in the queue has waited long enough; so may some behind it."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        expired = 0
        while self._waiters and (self._waiters[0].future.done() or self._waiters[0].deadline <= now):
            future = self._waiters.popleft().future
            if not future.done():
                future.set_exception(Unavailable("the database is not available"))
                expired += 1
        if expired:
            self._say(
                "timeout",
                "database %r: no connection became free within %g s: %d of at most %s are open, all in use, %d wait\n"
                "    mend: hold none while you wait for something else, use `tx` in a transaction, or raise pool.max",
                self.name,
                self._timeout,
                len(self._sessions),
                self.most,
                len(self._waiters),
            )
        self._expiry = loop.call_at(self._waiters[0].deadline, self._expire) if self._waiters else None

    def _fail_waiters(self) -> None:
        while self._waiters:
            future = self._waiters.popleft().future
            if not future.done():
                future.set_exception(Unavailable("the database is not available"))

    def _say(self, what: str, message: str, *values: object) -> None:
        """A warning, not more often than every `QUIET` seconds."""
        now = asyncio.get_running_loop().time()
        if now >= self._silent_until.get(what, 0.0):
            self._silent_until[what] = now + QUIET
            logger.warning(message, *values)

    def _disown(self) -> None:
        """In a forked child: these connections are the parent's. They are kept, for a connection that is collected says
        farewell on a socket that the parent still uses."""
        self.is_forked = True
        _inherited.extend(self._sessions)
        self.free = []
        self._sessions = set()


class _Waiter:
    __slots__ = ("deadline", "future")

    def __init__(self, future: asyncio.Future[Session], deadline: float) -> None:
        self.future = future
        self.deadline = deadline


def _disown_all() -> None:
    for pool in list(_pools):
        pool._disown()


os.register_at_fork(after_in_child=_disown_all)
