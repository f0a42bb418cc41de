"""A declared database, bound to a server for the length of a block."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from fastlane.resources.configuration import DatabaseOptions, PoolOptions
from fastlane.sql import Database
from fastlane.sql.binding import Bound
from fastlane.sql.pool import Pool
from fastlane.sql.settings import ConnectionSettings

__all__ = ["SECONDS", "eventually", "opened"]

SECONDS = 30.0
"""How long anything is waited for that happens at once where nobody else loads the machine."""


@asynccontextmanager
async def opened(
    url: str | DatabaseOptions, *, most: int = 5, least: int = 0, acquire_timeout: float = SECONDS, idle: float = 60.0
) -> AsyncIterator[Database]:
    """The database ``blog`` at ``url``, on the running loop."""
    options = url if isinstance(url, DatabaseOptions) else DatabaseOptions(url=url)
    settings = ConnectionSettings(lambda: options)
    pool = Pool("blog", settings, PoolOptions(min=least, max=most, acquire_timeout=acquire_timeout, idle=idle))
    database = Database("blog")
    bound = Bound(settings, pool)
    database.bind(bound)
    await pool.open(warm=False)
    try:
        yield database
    finally:
        database.unbind()
        await bound.close(2)


async def eventually(holds: Callable[[], bool] | Callable[[], Awaitable[bool]], seconds: float = SECONDS) -> None:
    """Wait until something holds, at most so long."""
    async with asyncio.timeout(seconds):
        while True:
            answer = holds()
            if answer if isinstance(answer, bool) else await answer:
                return
            await asyncio.sleep(0.01)
