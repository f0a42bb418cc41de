"""What the server says about itself: alive, ready, the table of its workers, and metrics."""

from __future__ import annotations

import json
from typing import TypedDict

from fastlane.supervisor.crew import Crew
from fastlane.supervisor.exposition import exposed
from fastlane.supervisor.fleet import Phase, Worker
from fastlane.supervisor.machine import System
from fastlane.supervisor.responder import Answer
from fastlane.supervisor.scoreboard import READY, Scoreboard
from fastlane.supervisor.settings import Settings

__all__ = ["Insight", "Row"]

_FRESH_SECONDS = 2.0
"""A worker whose event loop has not turned for so long answers nobody now."""
_STATES = {
    Phase.STARTING: "starting",
    Phase.READY: "ready",
    Phase.SUSPECT: "blocked",
    Phase.DRAINING: "draining",
    Phase.KILLED: "ending",
}


class Row(TypedDict):
    """One worker. Times are seconds, sizes bytes; ``requests`` are its own, ``restarts`` those of its place, and
    ``work`` is what its slot says."""

    worker: int
    pid: int
    generation: int
    state: str
    age: float
    connections: int
    in_flight: int
    requests: int
    rss: int
    restarts: int
    work: dict[str, int]


class Insight:
    """Reads the scoreboard, and nothing that could make it wait."""

    def __init__(self, crew: Crew, board: Scoreboard, system: System) -> None:
        self._crew = crew
        self._board = board
        self._system = system

    def answer(self, path: str, is_local: bool, settings: Settings) -> Answer:
        """The answer to ``GET path``. The table of workers is for the control socket only."""
        if path == "/healthz":
            return Answer(200, "alive\n")
        if path == "/readyz":
            reason = self.unready()
            return Answer(503, f"not ready: {reason}\n") if reason else Answer(200, "ready\n")
        if path == "/metrics":
            text = exposed(self.rows(), self._crew.ledger, self._board, not self.unready(), settings.metrics)
            return Answer(200, text, "text/plain; version=0.0.4; charset=utf-8")
        if path == "/status" and is_local:
            return Answer(200, json.dumps(self.status(settings)) + "\n", "application/json")
        return Answer(404, "there is /healthz, /readyz and /metrics\n")

    def unready(self) -> str:
        """Why the server should get no requests; empty if it should: a worker takes them, and its checks agree."""
        if self._board.stopping:
            return "stopping"
        serving = [worker for worker in self._crew.fleet if self._takes_requests(worker)]
        if not serving:
            return "no worker is ready"
        if all(self._board.slot(worker.slot).refuses for worker in serving):
            return "the application's checks fail"
        return ""

    def _takes_requests(self, worker: Worker) -> bool:
        slot = self._board.slot(worker.slot)
        is_turning = self._system.now() - slot.heartbeat < _FRESH_SECONDS
        return worker.phase is Phase.READY and slot.state == READY and is_turning

    def status(self, settings: Settings) -> dict[str, object]:
        """The server and its workers, for `fastlane status`."""
        reason = self.unready()
        return {"name": settings.name, "ready": not reason, "reason": reason, "workers": self.rows()}

    def rows(self) -> list[Row]:
        """The workers that live, by index and age."""
        rows = [self._row(worker) for worker in self._crew.fleet if worker.pid]
        return sorted(rows, key=lambda row: (row["worker"], -row["age"]))

    def _row(self, worker: Worker) -> Row:
        slot = self._board.slot(worker.slot)
        state = _STATES[worker.phase]
        if state == "ready" and slot.refuses:
            state = "refusing"
        return Row(
            worker=worker.index,
            pid=worker.pid,
            generation=worker.generation.number,
            state=state,
            age=round(self._system.now() - worker.ordered_at, 1),
            connections=slot.connections,
            in_flight=slot.in_flight,
            requests=slot.requests,
            rss=self._system.resident_memory(worker.pid),
            restarts=self._crew.ledger.of(worker.index).restarts,
            work=slot.work,
        )
