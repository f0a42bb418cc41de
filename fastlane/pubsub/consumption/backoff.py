"""How long to wait before a broker is asked again."""

from __future__ import annotations

import random

__all__ = ["Backoff"]


class Backoff:
    """Doubles from ``least`` to ``most`` seconds; each time between half of that and all of it."""

    __slots__ = ("_least", "_most", "_next")

    def __init__(self, least: float = 0.1, most: float = 5.0) -> None:
        self._least = least
        self._most = most
        self._next = least

    def next(self) -> float:
        """Seconds until the next try."""
        delay = self._next
        self._next = min(self._most, 2 * delay)
        return delay * (0.5 + 0.5 * random.random())

    def reset(self) -> None:
        """It has worked."""
        self._next = self._least
