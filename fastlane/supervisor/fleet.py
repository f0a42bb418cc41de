"""The processes that the supervisor knows: generations of code, and the workers of each."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum

from fastlane.supervisor.settings import Settings

__all__ = ["Fleet", "Generation", "Loading", "Phase", "Worker"]


class Loading(Enum):
    """How far a generation's template is."""

    IMPORTING = "importing"
    BOOTING = "booting"
    """It has imported the application, and its boot process runs."""
    LOADED = "loaded"
    LOST = "lost"
    """It died; another is started after a while."""


class Phase(Enum):
    """What the supervisor expects of a worker."""

    STARTING = "starting"
    READY = "ready"
    SUSPECT = "suspect"
    """Its loop gave no heartbeat in time, and it has been asked for its stack."""
    DRAINING = "draining"
    KILLED = "killed"


@dataclass(slots=True, eq=False)
class Generation:
    """One version of the code and of the settings, with the template that holds it."""

    number: int
    settings: Settings
    template: int
    deadline: float
    """When the template must have loaded; later, when another is started in place of a lost one."""
    loading: Loading = Loading.IMPORTING
    doing: str = ""
    """What its boot process was doing when it was last heard of."""


@dataclass(slots=True, eq=False)
class Worker:
    """One worker, from the order to its death. ``pid`` is 0 until the template has forked it."""

    index: int
    slot: int
    generation: Generation
    order: int
    ordered_at: float
    deadline: float
    """When it must be ready; or have written its stack; or be gone."""
    replaces: Worker | None = None
    pid: int = 0
    phase: Phase = Phase.STARTING
    ready_at: float | None = None
    report: str = ""
    """Why it ends, in its own words."""
    report_code: int = 3
    reason: str = ""
    """Why the supervisor ends it; empty if nobody asked it to."""
    request_limit: int | None = field(init=False, default=None)
    memory_limit: int | None = field(init=False, default=None)
    lifetime: float | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        settings = self.generation.settings
        # Each draws limits of its own, so that workers that were born together do not end together.
        if settings.max_requests is not None:
            self.request_limit = max(1, int(settings.max_requests * _lowered()))
        if settings.max_rss is not None:
            self.memory_limit = int(settings.max_rss * _lowered())
        if settings.max_lifetime is not None:
            self.lifetime = settings.max_lifetime * _lowered()

    @property
    def serves(self) -> bool:
        """It takes connections, or will soon."""
        return self.phase in (Phase.STARTING, Phase.READY, Phase.SUSPECT)

    def __str__(self) -> str:
        return f"worker {self.index} (pid {self.pid})" if self.pid else f"worker {self.index}"


class Fleet:
    """All workers, by the slot that they hold."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._workers: dict[int, Worker] = {}

    def __iter__(self) -> Iterator[Worker]:
        return iter(list(self._workers.values()))

    def __len__(self) -> int:
        return len(self._workers)

    def free_slot(self) -> int | None:
        """A slot that nobody holds."""
        return next((slot for slot in range(self._capacity) if slot not in self._workers), None)

    def add(self, worker: Worker) -> None:
        self._workers[worker.slot] = worker

    def remove(self, worker: Worker) -> None:
        del self._workers[worker.slot]

    def at(self, slot: int) -> Worker | None:
        return self._workers.get(slot)

    def by_pid(self, pid: int) -> Worker | None:
        return next((worker for worker in self._workers.values() if worker.pid == pid), None)

    def serving(self, generation: Generation | None = None) -> list[Worker]:
        """Those that take connections or will soon; of one generation, or of all."""
        return [
            worker
            for worker in self._workers.values()
            if worker.serves and (generation is None or worker.generation is generation)
        ]

    def ready(self, generation: Generation | None = None) -> list[Worker]:
        """Those that take connections now."""
        return [worker for worker in self.serving(generation) if worker.phase is not Phase.STARTING]


def _lowered() -> float:
    """From 0.9 to 1, evenly."""
    return 1.0 - int.from_bytes(os.urandom(4)) / 2**32 / 10
