"""A declared database."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, TypeVarTuple

from fastlane.errors import CompileError, ConfigurationError
from fastlane.resources.declaration import Kind, NotBound, Place, Resource
from fastlane.sql.errors import ForkedPool
from fastlane.sql.inbox import Joined, claimed, current
from fastlane.sql.listening import Listener
from fastlane.sql.queries import Queries
from fastlane.sql.source import Source
from fastlane.sql.transactions import Isolation, Transaction, begin

if TYPE_CHECKING:
    from fastlane.sql.binding import Bound  # noqa: F401  # in the name of the base class
    from fastlane.sql.pool import Pool
    from fastlane.sql.settings import ConnectionSettings

__all__ = ["Database"]

R = TypeVar("R")
Ts = TypeVarTuple("Ts")

# Nothing of such a transaction has happened: serialization failure, deadlock, a plan that a new schema made invalid.
REPEATABLE = ("40001", "40P01")
FIRST_PAUSE, LONGEST_PAUSE = 0.01, 1.0

OWN_NAME = "fastlane"
LONGEST_CHANNEL = 63


class Database(Resource["Bound"], Queries):
    """A PostgreSQL database, declared by name. Which one it is, the configuration says when the app boots.

    Args:
        name: kebab-case, at most 30 characters.
        migrations: the directory of its migrations, relative to the file that declares it; None: another tool's.

    Attributes:
        told: how to connect, as this process was told before anything was bound.

    Example:
        >>> db = Database("blog", migrations="migrations")
        >>> post = await db.fetch_optional(Post, "SELECT id, title FROM posts WHERE id = $1", id)
    """

    kind: ClassVar[Kind] = "database"

    def __init__(self, name: str, *, migrations: str | None = "migrations") -> None:
        place = Place.of_caller()
        if name == OWN_NAME:
            raise CompileError(
                f"a database can't be called {name!r}: so its ledger of migrations calls the framework's own tables",
                mend="call it by what is in it, such as Database('shop')",
                file=place.file,
                line=place.line,
            )
        super().__init__(name, place)
        self.migrations = migrations
        self.told: ConnectionSettings | None = None

    @property
    def _source(self) -> Source:
        # PERF: `binding`, in place: 0.1 µs of each query.
        try:
            pool = self._bindings[asyncio.get_running_loop()].pool
        except (KeyError, RuntimeError):
            pool = self._pool()
        if current.get() is None:
            return pool
        joined = claimed(pool)
        return pool if joined is None else joined._source

    @property
    def settings(self) -> ConnectionSettings:
        """How to connect, for connections of one's own on this or another event loop: `driver.connect`."""
        return self.binding.settings

    @property
    def known_settings(self) -> ConnectionSettings:
        """The same, also where nothing is bound: in another thread of a process where it is, and in the boot process.

        Raises:
            NotBound: nothing has decided yet which database it is.
        """
        try:
            return self.binding.settings
        except NotBound:
            known = [self.told, *(bound.settings for bound in list(self._bindings.values()))]
            for settings in known:
                if settings is not None:
                    return settings
            raise

    @property
    def dsn(self) -> str:
        """Its url with the password, for an ORM: ``postgresql://user:password@host:port/name``."""
        return self.binding.settings.dsn

    def acquire(self) -> AbstractAsyncContextManager[Any]:
        """The connection of asyncpg itself: ``async with db.acquire() as connection:``.

        For the block alone; then its settings, locks and listeners are reset, and an open transaction is rolled back.
        """
        return self._pool().acquire()

    def transaction(self, *, isolation: Isolation | None = None, readonly: bool = False) -> Transaction:
        """``async with db.transaction() as tx:`` commits at the end; an exception that leaves the block rolls back.

        Args:
            isolation: ``read committed``, ``repeatable read`` or ``serializable``; default: the server's, which is read
                committed unless somebody changed it. For the latter two there is `transact`, which begins again.
            readonly: whatever writes is refused.

        Raises:
            ValueError: no such isolation; or one is asked for in the handler of a subscription with ``once=``, where
                this is a part of the transaction that the handler runs in.
        """
        joined = None if current.get() is None else claimed(self._pool())
        if joined is not None:
            if isolation not in (None, "read committed") or readonly:
                raise ValueError(
                    f"database {self.name!r}: this handler runs in a read committed transaction already (once=)\n"
                    '    mend: leave out isolation= and readonly=, and give transact isolation="read committed"; '
                    "where two collide the message is tried again"
                )
            return Joined(joined)
        return Transaction(self._pool, begin(isolation, readonly))

    async def transact(
        self,
        function: Callable[[Transaction, *Ts], Awaitable[R]],
        *arguments: *Ts,
        isolation: Isolation = "serializable",
        max_attempts: int | None = 3,
    ) -> R:
        """Run ``await function(tx, *arguments)`` in a transaction, and once more where it collides with another.

        Args:
            function: may run several times: it does nothing that a rollback can't undo.
            isolation: see `transaction`.
            max_attempts: counting the first; None: for ever.

        Raises:
            asyncpg.SerializationError, asyncpg.DeadlockDetectedError: the last attempt collided, too.
        """
        if max_attempts is not None and max_attempts < 1:
            raise ValueError(f"max_attempts: at least 1, or None for ever; not {max_attempts}")
        attempt = 1
        while True:
            try:
                async with self.transaction(isolation=isolation) as tx:
                    return await function(tx, *arguments)
            except Exception as error:
                if not _is_repeatable(error) or attempt == max_attempts:
                    raise
            await asyncio.sleep(min(FIRST_PAUSE * 2 ** min(attempt, 10), LONGEST_PAUSE) * random.uniform(0.5, 1.5))
            attempt += 1

    def claim(self, source: str, message_id: str) -> AbstractAsyncContextManager[bool]:
        """What ``once=db`` of a subscription does around each handler. One claim is one transaction.

        Entering remembers the message, and answers whether it was not remembered already; where another one is just
        being handled it waits for the end of that. Inside, in this task, queries on the database and its
        ``transaction()`` belong to the transaction; ``acquire()``, and tasks that are started, do not. Leaving commits;
        an exception or a cancellation undoes both.

        Args:
            source: the subscription, ``topic/subscription``.
            message_id: kept for two weeks.
        """
        return self.binding.inbox.claim(source, message_id)

    def listen(self, channel: str) -> Listener:
        """Notifications of a channel: ``async with db.listen("jobs") as notifications:``, then ``async for``.

        All listeners of a worker share a connection, which is opened again when it is lost: `Notification.missed`.

        Raises:
            ConfigurationError: the url is a pooler in transaction mode, and there is no ``direct_url`` beside it.
            ValueError: PostgreSQL can't have such a channel: its name has 1 to 63 bytes.
        """
        if not 0 < len(channel.encode()) <= LONGEST_CHANNEL or "\0" in channel:
            # It would break the connection of all listeners, or never hear anything: the server cuts a longer one off.
            raise ValueError(f"a channel's name has 1 to {LONGEST_CHANNEL} bytes; got {channel!r}")
        bound = self.binding
        if not bound.settings.has_sessions:
            raise ConfigurationError(
                f"database {self.name!r}: LISTEN needs a session, and a pooler in transaction mode has none\n"
                f"    mend: give [sql.databases.{self.name}] a direct_url, which leads around the pooler"
            )
        return Listener(bound.listening, channel)

    def _pool(self) -> Pool:
        try:
            return self.binding.pool
        except NotBound:
            # A forked child has no running loop, or another one.
            if any(bound.pool.is_forked for bound in self._bindings.values()):
                raise ForkedPool(self.name) from None
            raise


def _is_repeatable(error: BaseException | None) -> bool:
    """Whether a transaction that failed so may be run again. A user's own exception may have come of it."""
    seen = 0
    while error is not None and seen < 10:
        if getattr(error, "sqlstate", None) in REPEATABLE or type(error).__name__ == "InvalidCachedStatementError":
            return True
        error = error.__cause__
        seen += 1
    return False
