"""A world without processes: the clock, the templates and the workers are what the test says."""

from __future__ import annotations

import signal
from collections.abc import Iterable

from fastlane.supervisor.machine import Died, Event, Mailed, Signalled, TemplateSaid
from fastlane.supervisor.scoreboard import DRAINING, READY, Scoreboard
from fastlane.supervisor.settings import Settings
from fastlane.supervisor.supervisor import Supervisor

__all__ = ["World"]


class World:
    """Implements `System`; `step` hands the supervisor what happened meanwhile."""

    def __init__(self, reread=None, capacity: int = 64, has_terminal: bool = False, **settings) -> None:
        self.board = Scoreboard(capacity)
        self.clock = 1000.0
        self.killed: list[tuple[int, int]] = []
        self.templates: dict[int, int] = {}
        self.ended_templates: list[int] = []
        self.orders: list[tuple[int, int, int, int]] = []
        """Generation, index, slot, order."""
        self.asked: list[int] = []
        self.stack_text = ""
        self.states: dict[int, str] = {}
        self.memory: dict[int, int] = {}
        self.has_stopped_listening = False
        self.told: list[str] = []
        self.shares = False
        self.successor: int | None = 555
        self._pid = 100
        self.settings = Settings(load="a:load", run="a:run", name="a:app", **settings)
        self.supervisor = Supervisor(self.settings, self, self.board, reread, has_terminal)
        self.supervisor._load(self.settings)

    # System

    def now(self) -> float:
        return self.clock

    def wait(self, seconds: float, workers: Iterable[int]) -> list[Event]:
        raise AssertionError("the test drives the supervisor itself")

    def start_template(self, generation: int, settings: Settings) -> int:
        self._pid += 1
        self.templates[generation] = self._pid
        return self._pid

    def order_worker(self, generation: int, index: int, slot: int, order: int) -> None:
        self.orders.append((generation, index, slot, order))

    def end_template(self, generation: int) -> None:
        self.ended_templates.append(generation)

    def kill(self, pid: int, number: int) -> None:
        self.killed.append((pid, number))

    def ask_stack(self, pid: int) -> None:
        self.asked.append(pid)

    def stack(self) -> str:
        return self.stack_text

    def run_state(self, pid: int) -> str:
        return self.states.get(pid, "S")

    def resident_memory(self, pid: int) -> int:
        return self.memory.get(pid, 0)

    def stop_listening(self) -> None:
        self.has_stopped_listening = True

    def shares_sockets(self) -> bool:
        return self.shares

    def start_successor(self) -> int | None:
        return self.successor

    def tell(self, *assignments: str) -> None:
        self.told += assignments

    # What happens

    def step(self, *events: Event) -> None:
        for event in events:
            self.supervisor.handle(event)
        self.supervisor.advance()

    def signal(self, number: int) -> None:
        self.step(Signalled(number))

    def load(self, generation: int = 1, threads: Iterable[str] = ()) -> None:
        self.step(TemplateSaid(generation, {"loaded": True, "threads": list(threads)}))

    def boots(self, doing: str, generation: int = 1) -> None:
        """The boot process says what it does."""
        self.step(TemplateSaid(generation, {"booting": doing}))

    def fail_load(self, generation: int, text: str = "broken", code: int = 4) -> None:
        self.step(TemplateSaid(generation, {"failed": text, "code": code}))

    def fork(self) -> list[int]:
        """The templates fork all that is ordered; the process ids."""
        pids = []
        orders, self.orders = self.orders, []
        for generation, _, slot, order in orders:
            self._pid += 1
            if self.board.slot(slot).begin(self._pid, generation, order):
                self.beat_slot(slot)
            pids.append(self._pid)
            self.step(TemplateSaid(generation, {"forked": self._pid, "slot": slot, "order": order}))
        return pids

    def beat_slot(self, slot: int) -> None:
        self.board.words[(slot + 1) * 40 + 3] = int(self.clock * 1e9)

    def beat(self, *but: int) -> None:
        """All workers give a heartbeat, except for some process ids."""
        for worker in self.supervisor.crew.fleet:
            if worker.pid not in but:
                self.beat_slot(worker.slot)

    def slot_of(self, pid: int) -> int:
        worker = self.supervisor.crew.fleet.by_pid(pid)
        assert worker is not None
        return worker.slot

    def ready(self, *pids: int) -> None:
        for pid in pids:
            slot = self.slot_of(pid)
            self.board.slot(slot).state = READY
            self.step(Mailed(slot, {"slot": slot, "ready": True}))

    def drains(self, pid: int) -> None:
        slot = self.slot_of(pid)
        self.board.slot(slot).state = DRAINING
        self.step(Mailed(slot, {"slot": slot, "draining": True}))

    def fails(self, pid: int, text: str, code: int = 3) -> None:
        slot = self.slot_of(pid)
        self.step(Mailed(slot, {"slot": slot, "failed": text, "code": code}), Died(pid, code))

    def die(self, *pids: int, status: int | None = 0) -> None:
        self.step(*(Died(pid, status) for pid in pids))

    def pass_time(self, seconds: float, *silent: int) -> None:
        """Time goes by, and all workers but some beat."""
        self.clock += seconds
        self.beat(*silent)
        self.step()

    def boot(self, generation: int = 1) -> list[int]:
        """Load a generation, fork its workers, and let them be ready."""
        self.load(generation)
        pids = self.fork()
        self.ready(*pids)
        return pids

    # What there is

    def termed(self) -> list[int]:
        return [pid for pid, number in self.killed if number == signal.SIGTERM]

    def shot(self) -> list[int]:
        return [pid for pid, number in self.killed if number == signal.SIGKILL]

    def serving(self) -> list[int]:
        return [worker.pid for worker in self.supervisor.crew.fleet.serving()]
