"""The connections of one event loop: few, opened when they are needed, and again when they were lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

import asyncpg

from fastlane.pubsub.provider import BrokerUnavailable
from fastlane.pubsub.providers.postgres.faults import is_collision, translated
from fastlane.sql.driver import CONNECT_TIMEOUT
from fastlane.sql.failures import FAULTS
from fastlane.sql.settings import ConnectionSettings

__all__ = ["Links"]

CALL_SECONDS: Final = 15.0
COLLISIONS: Final = 5
CLOSE_SECONDS: Final = 1.0


class Links:
    """Calls run side by side, at most ``most`` of them; the others wait for their turn.

    Args:
        name: of the database.
        settings: how to connect; asked for each connection, as a password may change.
        most: connections.
    """

    def __init__(self, name: str, settings: Callable[[], ConnectionSettings], most: int) -> None:
        self.name = name
        self._settings = settings
        self._free: list[asyncpg.Connection] = []
        self._all: set[asyncpg.Connection] = set()
        self._turns = asyncio.Semaphore(most)
        self._closed = False

    async def value(self, query: str, *arguments: object) -> Any:
        """The first column of the first row of a query, which is one transaction.

        Raises:
            BrokerUnavailable: the server can't be reached, does not answer, or did not do it.
            BrokerForbidden: the role may not.
            ConfigurationError: the tables are missing.
        """
        rows = await self.rows(query, *arguments)
        return rows[0][0] if rows else None

    async def rows(self, query: str, *arguments: object) -> list[asyncpg.Record]:
        """All rows. Raises as `value`."""
        for attempt in range(COLLISIONS):
            try:
                return await self._call(query, arguments)
            except FAULTS as error:
                if not is_collision(error) or attempt == COLLISIONS - 1:
                    raise translated(error, self.name) from error
        raise AssertionError

    async def _call(self, query: str, arguments: tuple[object, ...]) -> list[asyncpg.Record]:
        async with self._turns:
            if self._closed:
                raise BrokerUnavailable(f"database {self.name!r}: closed")
            connection = self._free.pop() if self._free else None
            try:
                # PERF: one timeout for connecting and calling, asyncpg's own would cost a task.
                async with asyncio.timeout(CALL_SECONDS):
                    if connection is None or connection.is_closed():
                        connection = None
                        connection = await self._open()
                    rows: list[asyncpg.Record] = await connection.fetch(query, *arguments)
            except BaseException as error:
                # After a cancellation or a timeout its answer may still come.
                if connection is not None:
                    if isinstance(error, asyncpg.PostgresError) and not connection.is_closed():
                        self._free.append(connection)
                    else:
                        self._drop(connection)
                raise
            if self._closed:
                self._drop(connection)
            else:
                self._free.append(connection)
            return rows

    async def _open(self) -> asyncpg.Connection:
        settings = self._settings()
        arguments = settings.arguments()
        if not settings.pooler:
            # The functions count on it that each of their statements sees what was committed before it.
            own = arguments.get("server_settings", {})
            arguments["server_settings"] = {**own, "default_transaction_isolation": "read committed"}
        connection = await asyncpg.connect(**arguments, timeout=CONNECT_TIMEOUT)
        self._all.add(connection)
        return connection

    def _drop(self, connection: asyncpg.Connection) -> None:
        self._all.discard(connection)
        connection.terminate()

    async def close(self) -> None:
        """Bounded: what is in use is cut off."""
        self._closed = True
        free, self._free = self._free, []
        for connection in free:
            self._all.discard(connection)
            try:
                await connection.close(timeout=CLOSE_SECONDS)
            except FAULTS:
                connection.terminate()
        for connection in list(self._all):
            self._drop(connection)
