"""From one event loop to another, many at a time."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

__all__ = ["Hop"]

T = TypeVar("T")


class Hop(Generic[T]):
    """One direction between two event loops, in order. What comes while the other side is busy arrives with one call.

    Args:
        loop: of those who receive.
        arrive: called there with everything that is waiting; it empties the deque. It must not raise.
        threaded: `put` is called in other threads than the loop's.

    An event loop that is closed takes nothing more: what is put is dropped.
    """

    __slots__ = ("_arrive", "_call", "_loop", "_under_way", "_waiting")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, arrive: Callable[[deque[T]], object], *, threaded: bool
    ) -> None:
        self._waiting: deque[T] = deque()
        self._arrive = arrive
        self._loop = loop
        self._call = loop.call_soon_threadsafe if threaded else loop.call_soon
        self._under_way = False

    def put(self, item: T) -> None:
        """Send one. May be called in any thread."""
        self._waiting.append(item)
        if not self._under_way:
            self._send()

    def put_all(self, items: Iterable[T]) -> None:
        """Send several."""
        self._waiting.extend(items)
        if not self._under_way:
            self._send()

    def _send(self) -> None:
        # PERF: a call into the other thread writes to a file descriptor, so there is one for all that the other side
        # has not seen yet. Two threads that find the flag down at once call twice, which does no harm.
        self._under_way = True
        try:
            self._call(self._take)
        except RuntimeError:
            if not self._loop.is_closed():
                raise
            self._waiting.clear()

    def _take(self) -> None:
        # The flag goes down first: an item that is put from here on is in the deque, or calls again.
        self._under_way = False
        if self._waiting:
            self._arrive(self._waiting)
