"""How much may wait for a broker's answer: messages and bytes, and a queue of those who want in."""

from __future__ import annotations

import asyncio
from collections import deque

from fastlane.errors import Unavailable

__all__ = ["Room"]


class Room:
    """Taken message by message, in the order of asking. Used on one event loop.

    Args:
        most, most_bytes: that are in at the same time. One that is larger than all the room goes in alone.

    Attributes:
        count: messages that are in.
    """

    def __init__(self, most: int, most_bytes: int) -> None:
        self.count = 0
        self._most = most
        self._most_bytes = most_bytes
        self._bytes = 0
        # Let in, and not run since: nobody may overtake them.
        self._entering = 0
        self._queue: deque[tuple[asyncio.Future[None], int]] = deque()
        self._loop = asyncio.get_running_loop()
        self._closed = False
        self._empty: asyncio.Future[None] | None = None

    def enter(self, size: int) -> bool:
        """Take room at once. Answers False where there is none, or others stand before.

        Raises:
            Unavailable: it is closed.
        """
        if self._closed:
            raise Unavailable("no message is taken any more: the app stops")
        held = self._bytes + size
        if self._queue or self._entering or self.count >= self._most or (held > self._most_bytes and self.count):
            return False
        self.count += 1
        self._bytes = held
        return True

    async def wait(self, size: int, deadline: float) -> None:
        """Take room when there is some.

        Raises:
            Unavailable: there was none until ``deadline``, by the event loop's time.
        """
        waiter: asyncio.Future[None] = self._loop.create_future()
        self._queue.append((waiter, size))
        timer = self._loop.call_at(deadline, self._turn_away, waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._entering -= 1
                self.leave(1, size)  # let in, and cancelled in the same moment
            self._admit()  # whoever stood behind it may fit
            raise
        finally:
            timer.cancel()
        self._entering -= 1
        if self._queue:
            self._admit()

    def leave(self, count: int, size: int) -> None:
        """Give back what ``count`` messages took."""
        self.count -= count
        self._bytes -= size
        if self._queue:
            self._admit()
        if self._empty is not None and not self.count and not self._empty.done():
            self._empty.set_result(None)

    async def close(self, timeout: float) -> None:
        """Let nobody in any more, and wait until everybody has left, ``timeout`` seconds at most."""
        self._closed = True
        if self.count:
            self._empty = self._loop.create_future()
            await asyncio.wait((self._empty,), timeout=timeout)

    def _fits(self, size: int) -> bool:
        return self.count < self._most and (self._bytes + size <= self._most_bytes or self.count == 0)

    def _turn_away(self, waiter: asyncio.Future[None]) -> None:
        if not waiter.done():
            waiter.set_exception(Unavailable("too many messages wait to be published"))
            self._admit()

    def _admit(self) -> None:
        while self._queue:
            waiter, size = self._queue[0]
            if not waiter.done():
                if not self._fits(size):
                    return
                self.count += 1
                self._bytes += size
                self._entering += 1
                waiter.set_result(None)
            self._queue.popleft()
