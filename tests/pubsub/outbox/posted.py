"""Topics and a database, opened as the runtime opens them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from fastlane.pubsub.service import PubSubService
from fastlane.resources.configuration import DatabaseOptions, PoolOptions, ResourceConfiguration
from fastlane.resources.surroundings import Mode, Surroundings
from fastlane.sql import Database
from fastlane.sql.binding import Bound
from fastlane.sql.pool import Pool
from fastlane.sql.settings import ConnectionSettings

__all__ = ["bound", "serving", "until"]


@asynccontextmanager
async def bound(database: Database, url: str, *, most: int = 5) -> AsyncIterator[Database]:
    options = DatabaseOptions(url=url)
    settings = ConnectionSettings(lambda: options)
    one = Bound(settings, Pool(database.name, settings, PoolOptions(max=most)))
    database.bind(one)
    await one.pool.open(warm=False)
    try:
        yield database
    finally:
        database.unbind()
        await one.close(2)


@asynccontextmanager
async def serving(
    mode: Mode = "test", *, start: bool = True, prepare: bool = True, **document: Any
) -> AsyncIterator[PubSubService]:
    configuration = msgspec.convert(document, ResourceConfiguration)
    service = PubSubService(configuration, Surroundings(mode=mode, boot_timeout=30.0))
    assert list(service.check()) == []
    try:
        if prepare:
            service.receive(await service.prepare())
        await service.open()
        if start:
            await service.start()
        yield service
        await service.drain(5.0)
    finally:
        await service.close()


async def until(condition: Callable[[], object] | Callable[[], Awaitable[object]], seconds: float = 40.0) -> None:
    end = time.monotonic() + seconds
    while True:
        answer = condition()
        if isinstance(answer, Awaitable):
            answer = await answer
        if answer:
            return
        assert time.monotonic() < end, f"it did not happen within {seconds:g} s"
        await asyncio.sleep(0.01)
