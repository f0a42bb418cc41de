"""Waiting for something to happen, without saying what."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

__all__ = ["Bell"]


class Bell:
    """Wakes everybody who waits; used on one event loop."""

    __slots__ = ("_sleepers",)

    def __init__(self) -> None:
        self._sleepers: list[asyncio.Future[None]] = []

    def ring(self) -> None:
        """Wake those who wait now."""
        if self._sleepers:
            sleepers, self._sleepers = self._sleepers, []
            for sleeper in sleepers:
                if not sleeper.done():
                    sleeper.set_result(None)

    async def wait(self) -> None:
        """Until it rings next."""
        sleeper: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers.append(sleeper)
        await sleeper

    async def until(self, condition: Callable[[], bool], deadline: float) -> bool:
        """Until ``condition()``, which is looked at whenever it rings; at the latest until ``deadline``, by the event
        loop's clock. Answers what the condition is then."""
        try:
            async with asyncio.timeout_at(deadline):
                while not condition():
                    await self.wait()
        except TimeoutError:
            return condition()
        return True
