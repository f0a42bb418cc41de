"""Whether a worker's event loop still turns, and whether the worker has lived long enough."""

from __future__ import annotations

from fastlane.supervisor.fleet import Worker
from fastlane.supervisor.scoreboard import Scoreboard

__all__ = ["Processes", "Watch"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class Processes(Protocol):
        """What is asked of the operating system."""

        def now(self) -> float: ...
        def run_state(self, pid: int) -> str: ...
        def resident_memory(self, pid: int) -> int: ...


class Watch:
    """Reads the scoreboard and ``/proc``; judges, and does nothing."""

    def __init__(self, system: Processes, board: Scoreboard) -> None:
        self._system = system
        self._board = board
        self._resumed = float("-inf")

    def stood_still(self) -> None:
        """The machine was paused: no heartbeat before now says anything."""
        self._resumed = self._system.now()

    def due(self, worker: Worker) -> float:
        """The time at which the worker is late unless it gives a heartbeat."""
        timeout = worker.generation.settings.timeout
        if timeout is None:
            return float("inf")
        return max(self._board.slot(worker.slot).heartbeat, self._resumed) + timeout

    def is_late(self, worker: Worker, now: float) -> bool:
        """Its event loop gave no heartbeat for ``timeout`` seconds."""
        return now >= self.due(worker)

    def description(self, worker: Worker, stack: str) -> str:
        """What the log says about a worker that is late. A stopped process is not blocked: it can't run."""
        seconds = self._system.now() - self._board.slot(worker.slot).heartbeat
        if self._system.run_state(worker.pid) in ("T", "t"):
            return f"{worker} has been stopped (SIGSTOP, or a debugger) for {seconds:.1f} s: replacing it"
        text = f"the event loop of {worker} has been blocked for {seconds:.1f} s: replacing it"
        return f"{text}\n{stack}" if stack else f"{text} (it gave no stack: it hangs in a system call or in C code)"

    def spent(self, worker: Worker, now: float) -> str:
        """Which limit the worker has reached, in words; empty if none."""
        requests = self._board.slot(worker.slot).requests
        if worker.request_limit is not None and requests >= worker.request_limit:
            return f"it answered {requests} requests (--max-requests)"
        if worker.lifetime is not None and worker.ready_at is not None and now - worker.ready_at >= worker.lifetime:
            return f"it is {now - worker.ready_at:.0f} s old (--max-lifetime)"
        if worker.memory_limit is not None:
            memory = self._system.resident_memory(worker.pid)
            if memory >= worker.memory_limit:
                return f"it uses {memory / 2**20:.0f} MiB (--max-rss)"
        return ""
