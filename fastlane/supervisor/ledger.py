"""What workers that are gone have done, so that the totals of the tree never go down."""

from __future__ import annotations

from dataclasses import dataclass, field

from fastlane.supervisor.fleet import Worker
from fastlane.supervisor.scoreboard import LATENCY_BOUNDS, Scoreboard

__all__ = ["WORK_TOTALS", "Ledger", "Tally"]

WORK_TOTALS = ("handled", "failed", "dead")
"""What of a worker's work outlives it; the rest is how things are."""


@dataclass(slots=True)
class Tally:
    """Of all workers that have had the same index, without those that live.

    Attributes:
        requests: answered.
        restarts: deaths that nobody asked for: crashes, and workers that were killed because they hung.
        latencies, latency_sum: as a `Slot` has them.
        work: the totals among what a `Slot` has under that name.
    """

    requests: int = 0
    restarts: int = 0
    latencies: list[int] = field(default_factory=lambda: [0] * (len(LATENCY_BOUNDS) + 1))
    latency_sum: float = 0.0
    work: dict[str, int] = field(default_factory=dict)


class Ledger:
    """A tally for each index that there ever was."""

    def __init__(self, board: Scoreboard) -> None:
        self._board = board
        self._tallies: dict[int, Tally] = {}

    def of(self, index: int) -> Tally:
        """The tally of this index."""
        return self._tallies.setdefault(index, Tally())

    @property
    def tallies(self) -> list[tuple[int, Tally]]:
        """All of them, by index."""
        return sorted(self._tallies.items())

    def retire(self, worker: Worker) -> None:
        """The worker is dead: add what its slot says, before the slot is cleared."""
        slot, tally = self._board.slot(worker.slot), self.of(worker.index)
        tally.requests += slot.requests
        tally.latency_sum += slot.latency_sum
        for name, count in slot.work.items():
            if name in WORK_TOTALS:
                tally.work[name] = tally.work.get(name, 0) + count
        tally.latencies = [before + more for before, more in zip(tally.latencies, slot.latencies, strict=True)]

    def restart(self, worker: Worker) -> None:
        """The worker died unasked."""
        self.of(worker.index).restarts += 1
