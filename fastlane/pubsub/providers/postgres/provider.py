"""A broker in a declared database, as one process sees it."""

from __future__ import annotations

import asyncio
import contextlib
import difflib
import threading
from collections.abc import Awaitable, Callable
from typing import ClassVar, Final

from fastlane.errors import ConfigurationError
from fastlane.pubsub.capabilities import Capabilities
from fastlane.pubsub.provider import BoundSubscription, BrokerUnavailable, Provider
from fastlane.pubsub.providers.postgres.administrator import PostgresAdministrator
from fastlane.pubsub.providers.postgres.doorbell import Doorbell
from fastlane.pubsub.providers.postgres.housekeeping import keep_house
from fastlane.pubsub.providers.postgres.links import Links
from fastlane.pubsub.providers.postgres.publisher import PostgresPublisher
from fastlane.pubsub.providers.postgres.source import PostgresSource
from fastlane.resources.configuration import PostgresOptions
from fastlane.resources.declaration import declared_resources
from fastlane.sql import Database
from fastlane.sql.settings import ConnectionSettings

__all__ = ["PostgresProvider"]

CONNECTIONS: Final = 2
"""Of an event loop: one publishes or claims while the other waits for the disk. One more listens."""


class Station:
    """What one event loop has open, shared by all who use the provider there."""

    def __init__(self, database: str, settings: Callable[[], ConnectionSettings]) -> None:
        self.users = 0
        self.links = Links(database, settings, CONNECTIONS)
        self.doorbell = Doorbell(database, settings)
        self._housekeeping = asyncio.get_running_loop().create_task(
            keep_house(self.links), name=f"housekeeping of {database}"
        )

    async def close(self) -> None:
        self._housekeeping.cancel()
        await asyncio.wait([self._housekeeping], timeout=1.0)
        await self.doorbell.close()
        await self.links.close()


class PostgresProvider(Provider):
    """Rows that are claimed with SKIP LOCKED, and NOTIFY that wakes who waits for some.

    Raises:
        ConfigurationError: no such database is declared.
    """

    capabilities: ClassVar[Capabilities] = Capabilities(
        ordering=True,
        blocks_key=True,
        exactly_once=True,
        exact_attempts=True,
        ordered_delay=True,
        batch_size=500,
        loses="never; with synchronous_commit = off on the server the last messages before its crash",
    )
    extra: ClassVar[str] = "postgres"

    def __init__(self, name: str, options: PostgresOptions) -> None:
        super().__init__(name, options)
        databases = declared_resources(Database)
        if options.database not in databases:
            close = difflib.get_close_matches(options.database, databases, 1)
            meant = f"did you mean {close[0]!r}? Else " if close else ""
            listed = ", ".join(databases) or "there is none yet"
            raise ConfigurationError(
                f"[providers.{name}] database = {options.database!r}: no such database is declared\n"
                f"    mend: {meant}name a declared Database ({listed}), or declare it"
            )
        self.database = databases[options.database]
        self._guard = threading.Lock()
        self._stations: dict[asyncio.AbstractEventLoop, Station] = {}
        self._identity: str | None = None

    async def open_publisher(self) -> PostgresPublisher:
        station = self._enter()
        return PostgresPublisher(station.links, self._leaver(station))

    async def open_source(self, subscription: BoundSubscription) -> PostgresSource:
        station = self._enter()
        source = PostgresSource(station.links, station.doorbell, subscription, self._leaver(station))
        try:
            with contextlib.suppress(BrokerUnavailable):
                await source.register()
        except BaseException:
            await source.close()
            raise
        return source

    async def open_administrator(self) -> PostgresAdministrator:
        settings = self._settings
        return PostgresAdministrator(Links(self.database.name, lambda: settings, 1))

    async def database_identity(self) -> str:
        if self._identity is None:
            station = self._stations[asyncio.get_running_loop()]
            self._identity = await station.links.value("SELECT fastlane.identity()")
        assert self._identity is not None
        return self._identity

    @property
    def _settings(self) -> ConnectionSettings:
        # The consuming event loop has no binding of its own; the boot process has none at all.
        return self.database.known_settings

    def _enter(self) -> Station:
        loop = asyncio.get_running_loop()
        with self._guard:
            station = self._stations.get(loop)
            if station is None:
                settings = self._settings
                station = self._stations[loop] = Station(self.database.name, lambda: settings)
            station.users += 1
            return station

    def _leaver(self, station: Station) -> Callable[[], Awaitable[None]]:
        left = False

        async def leave() -> None:
            nonlocal left
            if left:
                return
            left = True
            with self._guard:
                station.users -= 1
                if station.users:
                    return
                del self._stations[asyncio.get_running_loop()]
            await station.close()

        return leave
