"""How long a worker's answers took."""

from __future__ import annotations

from bisect import bisect_left

from fastlane.supervisor.scoreboard import LATENCY_BOUNDS

__all__ = ["Latencies"]


class Latencies:
    """A worker's histogram: ``counts`` by `LATENCY_BOUNDS`, and the sum in seconds."""

    __slots__ = ("counts", "seconds")

    def __init__(self) -> None:
        self.counts = [0] * (len(LATENCY_BOUNDS) + 1)
        self.seconds = 0.0

    def add(self, seconds: float) -> None:
        """One answer took so long."""
        self.counts[bisect_left(LATENCY_BOUNDS, seconds)] += 1
        self.seconds += seconds
