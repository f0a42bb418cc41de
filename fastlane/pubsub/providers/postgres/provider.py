"""A broker in a declared database, as one process sees it."""

from __future__ import annotations

import asyncio
import contextlib
import difflib
from collections.abc import Callable
from typing import ClassVar, Final

from fastlane.errors import ConfigurationError
from fastlane.pubsub.capabilities import Capabilities
from fastlane.pubsub.provider import BoundSubscription, BrokerUnavailable, Provider
from fastlane.pubsub.providers.per_loop import PerLoop
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
        self._stations = PerLoop(self._make, Station.close)
        self._identity: str | None = None

    async def open_publisher(self) -> PostgresPublisher:
        station, leave = self._stations.enter()
        return PostgresPublisher(station.links, leave)

    async def open_source(self, subscription: BoundSubscription) -> PostgresSource:
        station, leave = self._stations.enter()
        source = PostgresSource(station.links, station.doorbell, subscription, leave)
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
            self._identity = await self._stations.here().links.value("SELECT fastlane.identity()")
        assert self._identity is not None
        return self._identity

    @property
    def _settings(self) -> ConnectionSettings:
        # The consuming event loop has no binding of its own; the boot process has none at all.
        return self.database.known_settings

    def _make(self) -> Station:
        settings = self._settings
        return Station(self.database.name, lambda: settings)
