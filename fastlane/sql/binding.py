"""What stands behind a declared database on one event loop."""

from __future__ import annotations

from fastlane.sql.inbox import Inbox
from fastlane.sql.listening import Listening
from fastlane.sql.pool import Pool
from fastlane.sql.settings import ConnectionSettings

__all__ = ["Bound"]


class Bound:
    """A database, opened.

    Attributes:
        settings: how to connect to it, on this or any other event loop.
        pool: its connections.
        listening: its LISTEN.
        inbox: which messages were handled.
    """

    __slots__ = ("inbox", "listening", "pool", "settings")

    def __init__(self, settings: ConnectionSettings, pool: Pool) -> None:
        self.settings = settings
        self.pool = pool
        self.inbox = Inbox(pool)
        self.listening = Listening(pool.name, settings)

    async def close(self, timeout: float) -> None:
        """Bounded by ``timeout`` and a few seconds more."""
        await self.listening.close()
        await self.inbox.close()
        await self.pool.close(timeout)
