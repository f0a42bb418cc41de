"""The connections of a pool: a free list, those who wait, and what becomes of a connection that comes back.

Taking a connection is ``list.pop``, giving it back ``list.append``: last in, first out, so that few connections are hot
and the others grow old and are closed. Who finds none waits in a bounded queue, first come, first served.

While the server can't be reached one attempt runs at a time, with pauses of up to half a second. Who waits learns the
result of the next attempt: a request fails soon, and the first one after the server's return succeeds.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import weakref

from fastlane.errors import Unavailable
from fastlane.resources.configuration import PoolOptions
from fastlane.sql.driver import Plans, Session
from fastlane.sql.errors import ForkedPool
from fastlane.sql.opening import Complaints, Opening
from fastlane.sql.settings import ConnectionSettings
from fastlane.sql.sizing import MOST, Sharing
from fastlane.sql.waiting import Waiting

__all__ = ["Reserve"]

CLOSE_TIMEOUT = 2.0

_reserves: weakref.WeakSet[Reserve] = weakref.WeakSet()
_inherited: list[Session] = []


class Reserve:
    """Connections to one database, on one event loop.

    Args:
        name: of the database.
        settings: how to connect.
        options: least and most connections, how long to wait for one, when an idle one is closed.
        sharing: who else wants connections; decides the size where ``options.max`` doesn't.
        tells: logs its size (one of many workers does).

    Attributes:
        free: connections that nobody uses.
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
        self.is_forked = False
        self._options = options = options or PoolOptions()
        self._sessions: set[Session] = set()
        self._waiting = Waiting(float(options.acquire_timeout), self._complain_of_waiting)
        self._queue = self._waiting.queue
        self._opening = Opening(
            name,
            settings,
            Plans(),
            most=options.max or (MOST if settings.pooler else None),
            sharing=sharing or Sharing(),
            tells=tells,
            arrived=self._arrived,
            refused=self._refused,
            ended=self._want,
        )
        self._complaints = Complaints()
        self._menders: set[asyncio.Task[None]] = set()
        self._clock: asyncio.TimerHandle | None = None
        self._tick = 0
        self._closing = False
        self._returned = asyncio.Event()
        _reserves.add(self)

    @property
    def most(self) -> int | None:
        """Connections at most; None until the first one told what the server has."""
        return self._opening.most

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
        if self._waiting.is_full:
            self._complaints.warn(
                "queue", "database %r: %d wait for a connection, more may not", self.name, len(self._queue)
            )
            raise Unavailable("the database is not available")
        waiter = self._waiting.join()
        if len(self._sessions) != self._opening.most:
            self._want()
        try:
            return await waiter.future
        except asyncio.CancelledError:
            session = self._waiting.leave(waiter)
            if session is not None:
                self.release(session)
            raise

    def release(self, session: Session) -> None:
        """Give back a connection that is well."""
        if not session.usable or not session.is_open():
            self.drop(session)
            return
        if not self._waiting.hand(session):
            session.tick = self._tick
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

    # Opening and closing

    async def open(self, *, warm: bool) -> None:
        """On the running loop.

        Args:
            warm: wait for the first connection, so that no request does, and that the log says at once what is wrong. A
                server that can't be reached is no error here: it may come back.
        """
        self._clock = asyncio.get_running_loop().call_later(self._period, self._grow_old)
        self._want(at_least=1 if warm else 0)
        if warm:
            await self._opening.wait()

    async def close(self, timeout: float = 5.0) -> None:
        """Refuse new queries at once, wait ``timeout`` seconds for those that run, and end the rest."""
        if self._closing:
            return
        self._closing = True
        if self._clock is not None:
            self._clock.cancel()
        self._waiting.close()
        for session in self._sessions:
            session.usable = False  # so that none finds its way back into the list
        await self._opening.close()
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
        """Open as many connections as are missing."""
        if not self._closing and not self.is_forked:
            missing = max(self._options.min, at_least) - len(self._sessions)
            self._opening.want(max(len(self._queue), missing), len(self._sessions))

    def _arrived(self, session: Session) -> None:
        session.connection.add_termination_listener(lambda _: self._gone(session))
        self._sessions.add(session)
        if self._closing:
            session.usable = False
        self.release(session)

    def _refused(self) -> None:
        if not self._sessions:  # else one of those will be given back
            self._waiting.fail()

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

    def _complain_of_waiting(self) -> None:
        self._complaints.warn(
            "timeout",
            "database %r: no connection became free within %g s: %d of at most %s are open, all in use, %d wait\n"
            "    mend: hold none while you wait for something else, use `tx` in a transaction, or raise pool.max",
            self.name,
            self._options.acquire_timeout,
            len(self._sessions),
            self.most,
            len(self._queue),
        )

    def disown(self) -> None:
        """In a forked child: these connections are the parent's. They are kept, for a connection that is collected says
        farewell on a socket that the parent still uses."""
        self.is_forked = True
        _inherited.extend(self._sessions)
        self.free = []
        self._sessions = set()


def _disown_all() -> None:
    for reserve in list(_reserves):
        reserve.disown()


os.register_at_fork(after_in_child=_disown_all)
