"""How long to wait before the next attempt to connect."""

from __future__ import annotations

import random

__all__ = ["Backoff"]

FIRST = 0.05
MOST = 2.0


class Backoff:
    """50 ms, doubling up to two seconds, each shortened by a random half at most: many workers don't come at once."""

    def __init__(self) -> None:
        self._next = FIRST

    def reset(self) -> None:
        """A connection was had."""
        self._next = FIRST

    def delay(self) -> float:
        """Seconds, a longer time after each call."""
        delay, self._next = self._next, min(self._next * 2, MOST)
        return delay * random.uniform(0.5, 1.0)
