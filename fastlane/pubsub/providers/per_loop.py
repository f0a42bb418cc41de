"""What a provider has open on each event loop, shared by its publisher and its sources there."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

__all__ = ["PerLoop"]

T = TypeVar("T")


class PerLoop(Generic[T]):
    """One ``T`` per event loop: made when the first one on the loop enters, closed when the last one has left.

    A worker has two loops in two threads, one that publishes and one that consumes, so a lock guards who enters and
    leaves; ``make`` and ``close`` are called under it.

    Args:
        make: makes one, on the running event loop.
        close: called with it on the same loop; what it answers is awaited when the lock is free again.
    """

    def __init__(self, make: Callable[[], T], close: Callable[[T], Awaitable[None]]) -> None:
        self._make = make
        self._close = close
        self._guard = threading.Lock()
        self._open: dict[asyncio.AbstractEventLoop, T] = {}
        self._users: dict[asyncio.AbstractEventLoop, int] = {}

    def __len__(self) -> int:
        """Event loops on which somebody is inside."""
        return len(self._open)

    def here(self) -> T:
        """What is open on the running event loop.

        Raises:
            KeyError: nobody is inside.
        """
        return self._open[asyncio.get_running_loop()]

    def enter(self) -> tuple[T, Callable[[], Awaitable[None]]]:
        """What is open on the running event loop, and how to leave: to be awaited there; the second time it does
        nothing."""
        loop = asyncio.get_running_loop()
        with self._guard:
            if loop not in self._open:
                self._open[loop] = self._make()
                self._users[loop] = 0
            self._users[loop] += 1
            return self._open[loop], self._leaver(loop)

    def _leaver(self, loop: asyncio.AbstractEventLoop) -> Callable[[], Awaitable[None]]:
        left = False

        async def leave() -> None:
            nonlocal left
            if left:
                return
            left = True
            with self._guard:
                self._users[loop] -= 1
                if self._users[loop]:
                    return
                del self._users[loop]
                closed = self._close(self._open.pop(loop))
            await closed

        return leave
