"""The embedded broker in one process."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Awaitable
from pathlib import Path
from typing import ClassVar

from fastlane.pubsub.capabilities import Capabilities
from fastlane.pubsub.provider import BoundSubscription, BrokerUnavailable, Provider
from fastlane.pubsub.providers.local.administrator import LocalAdministrator
from fastlane.pubsub.providers.local.database import Database
from fastlane.pubsub.providers.local.doorbell import Ringer, bell_directory, leave
from fastlane.pubsub.providers.local.housekeeping import Housekeeper
from fastlane.pubsub.providers.local.publisher import LocalPublisher
from fastlane.pubsub.providers.local.source import LocalSource
from fastlane.pubsub.providers.local.store import StoreOptions, make_directory
from fastlane.pubsub.providers.per_loop import PerLoop
from fastlane.resources.configuration import LocalOptions
from fastlane.resources.state import state_directory

__all__ = ["LocalProvider"]

FILE = "pubsub.db"
HOUSEKEEPER_PATIENCE = 5.0
NUDGE_EVERY = 250
"""Commits, of about four pages each, after which the WAL is worth a look."""


class _Shared:
    """A database with its ringer, shared by all that one event loop has open."""

    def __init__(self, options: StoreOptions, housekeeper: Housekeeper | None) -> None:
        self.bells: Path | None = None
        self._options = options
        self._ringer: Ringer | None = None
        self._housekeeper = housekeeper
        self._commits = 0
        self._touched: set[int] = set()
        self.database = Database(options, self._committed, self._answered)

    def find_bells(self) -> Path | None:
        """None: there are none to be had, now."""
        if self.bells is None:
            with contextlib.suppress(OSError):  # the store says what is wrong
                make_directory(Path(self._options.path))
            self.bells = bell_directory(self._options.path)
        return self.bells

    def _committed(self, subscriptions: set[int]) -> None:
        self._commits += 1
        if self._housekeeper is not None and self._commits % NUDGE_EVERY == 0:
            self._housekeeper.nudge()
        if subscriptions:
            self._touched |= subscriptions
            if self._ringer is not None:
                self._ringer.ring(subscriptions)

    def _answered(self) -> None:
        if not self._touched:
            return
        subscriptions, self._touched = self._touched, set()
        if self._ringer is None:
            bells = self.find_bells()
            if bells is None:
                return
            try:
                self._ringer = Ringer(bells)
            except OSError:
                return  # no file descriptor is left; the sources look for themselves
        self._ringer.ring_new(subscriptions)

    async def close(self) -> None:
        await self.database.close()
        if self._ringer is not None:
            self._ringer.close()
        if self.bells is not None:
            leave(self.bells)


class LocalProvider(Provider):
    """SQLite in WAL mode: one file, all processes of the machine, nothing to install.

    Each event loop that publishes or consumes has one connection, in a thread of its own; one more thread of each
    process keeps house where the process leads.
    """

    capabilities: ClassVar[Capabilities] = Capabilities(
        ordering=True,
        blocks_key=True,
        exactly_once=True,
        exact_attempts=True,
        ordered_delay=True,
        batch_size=500,
        loses='never; with durability = "normal" the last messages before a loss of power',
    )

    def __init__(self, name: str, options: LocalOptions) -> None:
        super().__init__(name, options)
        self._durability = options.durability
        self._path = options.path
        self._max_bytes = int(options.max_bytes)
        self._retention = float(options.retention)
        self._shared = PerLoop(self._make, self._close)
        self._housekeeper: Housekeeper | None = None

    async def open_publisher(self) -> LocalPublisher:
        shared, leave = self._shared.enter()
        return LocalPublisher(shared.database, leave)

    async def open_source(self, subscription: BoundSubscription) -> LocalSource:
        shared, leave = self._shared.enter()
        source = LocalSource(shared.database, subscription, shared.find_bells(), leave)
        try:
            with contextlib.suppress(BrokerUnavailable):
                await source.register()
        except BaseException:
            await source.close()
            raise
        return source

    async def open_administrator(self) -> LocalAdministrator:
        options = self._store_options()
        own = _Shared(options, None)
        return LocalAdministrator(options.path, own.database, own.close)

    def _store_options(self) -> StoreOptions:
        path = os.path.abspath(self._path) if self._path is not None else os.fspath(state_directory() / FILE)
        return StoreOptions(
            path=path, full=self._durability == "full", max_bytes=self._max_bytes, retention=self._retention
        )

    def _make(self) -> _Shared:
        options = self._store_options()
        if self._housekeeper is None:
            self._housekeeper = Housekeeper(options)
        return _Shared(options, self._housekeeper)

    def _close(self, shared: _Shared) -> Awaitable[None]:
        housekeeper = None
        if not self._shared:
            housekeeper, self._housekeeper = self._housekeeper, None
        return _end(shared, housekeeper)


async def _end(shared: _Shared, housekeeper: Housekeeper | None) -> None:
    if housekeeper is not None:
        housekeeper.stop()
    await shared.close()
    if housekeeper is not None:
        await asyncio.to_thread(housekeeper.join, HOUSEKEEPER_PATIENCE)
