"""LISTEN: which subscriptions have got something. Whoever misses a ring looks by himself, a little later."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from fastlane.errors import Unavailable
from fastlane.sql.listening import Listener, Listening
from fastlane.sql.settings import ConnectionSettings

__all__ = ["CHANNEL", "Doorbell", "can_listen"]

CHANNEL: Final = "fastlane_pubsub"
PAUSE: Final = 1.0

logger = logging.getLogger("fastlane.pubsub")


def can_listen(settings: ConnectionSettings) -> bool:
    """Whether a session lasts: behind a pooler in transaction mode there has to be a way around it."""
    options = settings.current()
    return options.pooler is None or options.direct_url is not None


class Doorbell:
    """All bells of an event loop, on one connection.

    Attributes:
        listening: rings come; without it the bells' owners look more often.
    """

    def __init__(self, name: str, settings: Callable[[], ConnectionSettings]) -> None:
        self.listening = False
        self._name = name
        self._settings = settings
        self._bells: dict[int, set[asyncio.Event]] = {}
        self._keeper: asyncio.Task[None] | None = None
        self._line: Listening | None = None

    def add(self, subscription: int, bell: asyncio.Event) -> None:
        """Ring it whenever there may be something for the subscription."""
        self._bells.setdefault(subscription, set()).add(bell)
        if self._keeper is None:
            self._keeper = asyncio.get_running_loop().create_task(self._keep(), name=f"doorbell of {self._name}")

    def remove(self, subscription: int, bell: asyncio.Event) -> None:
        self._bells.get(subscription, set()).discard(bell)

    async def close(self) -> None:
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.cancel()
            await asyncio.wait([keeper], timeout=PAUSE)
        if self._line is not None:
            await self._line.close()

    async def _keep(self) -> None:
        settings = self._settings()
        if not can_listen(settings):
            logger.warning(
                "database %r is behind a pooler in transaction mode and has no direct_url: messages are looked for "
                "every quarter of a second, instead of being told of",
                self._name,
            )
            return
        self._line = Listening(self._name, settings)
        while True:
            try:
                async with Listener(self._line, CHANNEL) as notifications:
                    self.listening = True
                    self._ring_all()
                    async for notification in notifications:
                        if notification.missed:
                            self._ring_all()
                        else:
                            self._ring(notification.payload)
                    return
            except Unavailable:
                self.listening = False
                await asyncio.sleep(PAUSE)

    def _ring(self, payload: str) -> None:
        for number in payload.split(","):
            for bell in self._bells.get(int(number), ()) if number.isdecimal() else ():
                bell.set()

    def _ring_all(self) -> None:
        for bells in self._bells.values():
            for bell in bells:
                bell.set()
