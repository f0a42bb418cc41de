"""The queue of those that wait for a connection: first come, first served, bounded in length and in time."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from fastlane.errors import Unavailable

if TYPE_CHECKING:
    from fastlane.sql.driver import Session

__all__ = ["MOST_WAITERS", "Waiter", "Waiting"]

MOST_WAITERS = 1000


class Waiter:
    """One that waits, until a moment of the loop's clock."""

    __slots__ = ("deadline", "future")

    def __init__(self, future: asyncio.Future[Session], deadline: float) -> None:
        self.future = future
        self.deadline = deadline


class Waiting:
    """Those that wait. One timer for all: everybody has the same patience, so that the first in the queue is the first
    to expire.

    Args:
        timeout: seconds of patience.
        expired: called when some have waited too long.

    Attributes:
        queue: the waiters. Some may be done: cancelled in this very moment.
    """

    def __init__(self, timeout: float, expired: Callable[[], None]) -> None:
        self.queue: deque[Waiter] = deque()
        self._timeout = timeout
        self._expired = expired
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_full(self) -> bool:
        return len(self.queue) >= MOST_WAITERS

    def join(self) -> Waiter:
        """Stand at the end. Its future gets a connection, or Unavailable."""
        loop = asyncio.get_running_loop()
        waiter = Waiter(loop.create_future(), loop.time() + self._timeout)
        self.queue.append(waiter)
        if self._timer is None:
            self._timer = loop.call_at(waiter.deadline, self._expire)
        return waiter

    def leave(self, waiter: Waiter) -> Session | None:
        """It was cancelled. Answers the connection that came to it together with that."""
        future = waiter.future
        if future.done() and not future.cancelled() and future.exception() is None:
            return future.result()
        if waiter in self.queue:
            self.queue.remove(waiter)
        return None

    def hand(self, session: Session) -> bool:
        """Give a connection to the first. False: nobody waits."""
        queue = self.queue
        while queue:
            future = queue.popleft().future
            if not future.done():
                future.set_result(session)
                return True
        return False

    def fail(self) -> None:
        """Nobody in the queue will get a connection."""
        while self.queue:
            _fail(self.queue.popleft())

    def close(self) -> None:
        """The same, and for good."""
        self.fail()
        if self._timer is not None:
            self._timer.cancel()

    def _expire(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        failed = False
        while self.queue and (self.queue[0].future.done() or self.queue[0].deadline <= now):
            failed |= _fail(self.queue.popleft())
        if failed:
            self._expired()
        self._timer = loop.call_at(self.queue[0].deadline, self._expire) if self.queue else None


def _fail(waiter: Waiter) -> bool:
    if waiter.future.done():
        return False
    waiter.future.set_exception(Unavailable("the database is not available"))
    return True
