"""A time that passes like any other, and can be made to jump."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable
from typing import Any

from fastlane.pubsub.clock import Timer

__all__ = ["VirtualClock"]


class _Call:
    """A call that is going to be made."""

    __slots__ = ("arguments", "callback")

    def __init__(self, callback: Callable[..., object], arguments: tuple[Any, ...]) -> None:
        self.callback: Callable[..., object] | None = callback
        self.arguments = arguments

    def cancel(self) -> None:
        self.callback = None
        self.arguments = ()


class VirtualClock:
    """The event loop's time, and what `jump` has skipped.

    Attributes:
        rings: calls made so far; a test of whether anything goes on.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._skipped = 0.0
        self._numbers = itertools.count()
        self._calls: list[tuple[float, int, _Call]] = []
        self._timer: asyncio.TimerHandle | None = None
        self.rings = 0

    def time(self) -> float:
        """Seconds since some moment."""
        return self._loop.time() + self._skipped

    def call_at(self, when: float, callback: Callable[..., object], *args: Any) -> Timer:
        """Call ``callback(*args)`` once it is ``when``."""
        call = _Call(callback, args)
        heapq.heappush(self._calls, (when, next(self._numbers), call))
        self._arm()
        return call

    def jump(self, when: float | None = None) -> bool:
        """To ``when``, or the next call that waits. Answers False where there is none."""
        when = self._next() if when is None else when
        if when is None:
            return False
        self._skipped += max(0.0, when - self.time())
        self._ring()
        return True

    def close(self) -> None:
        """Make no call any more."""
        self._calls.clear()
        self._arm()

    def _next(self) -> float | None:
        while self._calls and self._calls[0][2].callback is None:
            heapq.heappop(self._calls)
        return self._calls[0][0] if self._calls else None

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        when = self._next()
        if when is not None:
            self._timer = self._loop.call_at(when - self._skipped, self._ring)

    def _ring(self) -> None:
        # A float that was added to and subtracted from is a little less than it was.
        now = self.time() + 1e-6
        while (when := self._next()) is not None and when <= now:
            _, _, call = heapq.heappop(self._calls)
            if call.callback is not None:
                self.rings += 1
                self._loop.call_soon(call.callback, *call.arguments)
        self._arm()
