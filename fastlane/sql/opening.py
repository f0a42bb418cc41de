"""Connections that are being opened: several at a time, and one while the server can't be reached."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable

import asyncpg

from fastlane.sql.driver import CONNECT_TIMEOUT, Plans, Session, open_session
from fastlane.sql.settings import ConnectionSettings, redacted
from fastlane.sql.sizing import MOST, Sharing, size_of

__all__ = ["Complaints", "Opening"]

logger = logging.getLogger("fastlane.sql")

FIRST_PAUSE, LONGEST_PAUSE = 0.05, 0.5
CLOSE_TIMEOUT = 2.0

LIMITS = """
SELECT current_setting('max_connections')::int,
       current_setting('superuser_reserved_connections')::int
         + coalesce(current_setting('reserved_connections', true)::int, 0),
       (SELECT rolconnlimit FROM pg_roles WHERE rolname = current_user),
       (SELECT datconnlimit FROM pg_database WHERE datname = current_database())
"""


class Complaints:
    """Warnings of which each kind is logged at most every ten seconds: an outage concerns every query."""

    QUIET = 10.0

    def __init__(self) -> None:
        self._silent_until: dict[str, float] = {}

    def warn(self, kind: str, message: str, *values: object) -> None:
        now = asyncio.get_running_loop().time()
        if now >= self._silent_until.get(kind, 0.0):
            self._silent_until[kind] = now + self.QUIET
            logger.warning(message, *values)


class Opening:
    """The attempts of a pool to connect.

    Args:
        name: of the database.
        settings: how to connect.
        plans: of the pool.
        most: connections of the pool at most; None: the first one asks the server.
        sharing: who else wants connections of that server.
        tells: log the size.
        arrived: called with each new connection.
        refused: called when an attempt failed.
        ended: called after each attempt.

    Attributes:
        most: see above; None as long as it isn't known.
    """

    def __init__(
        self,
        name: str,
        settings: ConnectionSettings,
        plans: Plans,
        *,
        most: int | None,
        sharing: Sharing,
        tells: bool,
        arrived: Callable[[Session], None],
        refused: Callable[[], None],
        ended: Callable[[], None],
    ) -> None:
        self.most = most
        self._name = name
        self._settings = settings
        self._plans = plans
        self._sharing = sharing
        self._tells = tells
        self._arrived = arrived
        self._refused = refused
        self._ended = ended
        self._complaints = Complaints()
        self._attempts: set[asyncio.Task[None]] = set()
        self._pause: asyncio.TimerHandle | None = None
        self._failures = 0
        self._closed = False

    def want(self, wanted: int, existing: int) -> None:
        """There should be ``wanted`` more connections than the ``existing`` ones: begin attempts, as far as there is
        room."""
        attempts = len(self._attempts)
        count = min(wanted - attempts, (self.most or 1) - existing - attempts)
        if self._failures:
            count = 0 if attempts or self._pause is not None else min(count, 1)
        for _ in range(0 if self._closed else count):
            task = asyncio.get_running_loop().create_task(self._attempt())
            self._attempts.add(task)
            task.add_done_callback(self._end)

    async def wait(self) -> None:
        """For the attempts that run. Bounded."""
        if self._attempts:
            await asyncio.wait(self._attempts, timeout=CONNECT_TIMEOUT)

    async def close(self) -> None:
        """Give up what was begun."""
        self._closed = True
        if self._pause is not None:
            self._pause.cancel()
        for task in list(self._attempts):
            task.cancel()
        if self._attempts:
            await asyncio.wait(self._attempts, timeout=CLOSE_TIMEOUT)

    def _end(self, task: asyncio.Task[None]) -> None:
        self._attempts.discard(task)
        self._ended()

    async def _attempt(self) -> None:
        try:
            session = await open_session(self._settings, self._plans)
            if self.most is None:
                await self._decide_size(session)
        except Exception as error:
            self._fail(error)
            return
        if self._failures:
            logger.info("database %r is back", self._name)
            self._failures = 0
        self._arrived(session)

    def _fail(self, error: Exception) -> None:
        pause = min(FIRST_PAUSE * 2**self._failures, LONGEST_PAUSE)
        self._failures = min(self._failures + 1, 10)
        self._complaints.warn(
            "refused",
            "database %r: no connection to %s: %s: %s; trying again every %.1f s at most",
            self._name,
            redacted(self._settings.current().url),
            type(error).__name__,
            error,
            LONGEST_PAUSE,
        )
        if not self._closed:
            loop = asyncio.get_running_loop()
            self._pause = loop.call_later(pause * random.uniform(0.8, 1.0), self._end_pause)
        self._refused()

    def _end_pause(self) -> None:
        self._pause = None
        self._ended()

    async def _decide_size(self, session: Session) -> None:
        try:
            limit, kept, of_role, of_database = await session.connection.fetchrow(LIMITS)
        except asyncpg.PostgresError as error:  # something that speaks PostgreSQL's protocol, and isn't one
            if not session.is_open():
                raise
            logger.warning("database %r does not tell how many connections it has: %s; at most %d of each worker",
                           self._name, error, MOST)  # fmt: skip
            self.most = MOST
            return
        except BaseException:
            session.terminate()
            raise
        limits = [of for of in (of_role, of_database) if of is not None and of >= 0]
        if limits and min(limits) < limit:
            limit, kept = min(limits), 0
        size = size_of(server=limit, kept=kept, sharing=self._sharing)
        self.most = size.most
        if not self._tells:
            return
        if size.short:
            logger.warning(
                "database %r: the server has too few connections for every worker: %s\n"
                "    mend: raise max_connections, start fewer workers, or put pgbouncer between (pooler)",
                self._name,
                size.arithmetic,
            )
        else:
            logger.info("database %r: at most %d connections of a worker: %s", self._name, size.most, size.arithmetic)
