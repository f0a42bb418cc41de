"""How long to wait before a crashed worker is started again."""

from __future__ import annotations

__all__ = ["Backoff"]


class Backoff:
    """Doubles from ``first`` to ``longest`` seconds while workers die soon after they were started.

    All workers of the server share it, so that a crash loop costs the same whatever their number. A worker that lived
    for ``healthy`` seconds is restarted at once, and its death says nothing about the next one's.
    """

    def __init__(self, first: float = 0.1, longest: float = 30.0, healthy: float = 5.0) -> None:
        self._first = first
        self._longest = longest
        self._healthy = healthy
        self._delay = 0.0
        self._last = float("-inf")

    def died(self, now: float, lived: float) -> float:
        """A worker died that nobody had told to; returns the seconds to wait before its successor starts."""
        if lived >= self._healthy:
            return 0.0
        if now - self._last > max(2 * self._delay, 2 * self._healthy):
            self._delay = 0.0
        self._last = now
        self._delay = min(self._longest, self._delay * 2) if self._delay else self._first
        return self._delay
