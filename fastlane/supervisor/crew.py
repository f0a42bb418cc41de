"""The workers, one by one: ordered, watched, drained, killed, counted out."""

from __future__ import annotations

import logging
import signal

from fastlane.supervisor.backoff import Backoff
from fastlane.supervisor.fleet import Fleet, Generation, Loading, Phase, Worker
from fastlane.supervisor.ledger import Ledger
from fastlane.supervisor.machine import System
from fastlane.supervisor.scoreboard import DRAINING, READY, Scoreboard
from fastlane.supervisor.watch import Watch

__all__ = ["CUT_OFF", "Crew", "described"]

CUT_OFF = 2.0
"""Seconds beyond its own deadline in which a worker cuts off what still runs and ends its lifespan."""
_STACK = 0.5
"""Seconds that a blocked worker has to write its stack."""
_STRANGERS = 64
"""Deaths of unknown processes that are remembered: the template's word of a worker's birth may come after its death."""

logger = logging.getLogger("fastlane.supervisor")


class Crew:
    """Keeps as many workers of a generation as it is told, and knows nothing of reloads or of the server's end."""

    def __init__(self, system: System, board: Scoreboard) -> None:
        self.fleet = Fleet(board.capacity)
        self.backoff = Backoff()
        self.watch = Watch(system, board)
        self.ledger = Ledger(board)
        self._system = system
        self._board = board
        self._not_before: dict[int, float] = {}
        self._orders = 0
        self._strangers: dict[int, int | None] = {}

    def due(self) -> float:
        """The next time at which `advance` or `fill` may have something to do."""
        times = [worker.deadline for worker in self.fleet]
        times += [self.watch.due(worker) for worker in self.fleet if worker.phase is Phase.READY]
        times += self._not_before.values()
        now = self._system.now()
        return min((time for time in times if time > now), default=float("inf"))

    def start_anew(self, late: float) -> None:
        """The machine stood still for ``late`` seconds: they don't count."""
        self.watch.stood_still()
        for worker in self.fleet:
            worker.deadline += late

    def forgive(self) -> None:
        """New code: what the old one did wrong does not count."""
        self.backoff = Backoff()
        self._not_before.clear()

    # How many

    def fill(self, generation: Generation, count: int) -> None:
        """Order the workers 0 to ``count`` - 1 that are missing, unless they crashed a moment ago."""
        if generation.loading is not Loading.LOADED:
            return
        held = {worker.index for worker in self.fleet.serving(generation)}
        for index in range(count):
            if index not in held and self._may_start(index):
                self._order(generation, index)

    def shrink(self, generation: Generation, count: int) -> None:
        """Drain the workers from ``count`` on."""
        for worker in self.fleet.serving(generation):
            if worker.index >= count:
                self.drain(worker, "fewer workers are wanted")

    def recycle(self, generation: Generation) -> None:
        """Replace one worker that is beyond a limit: its successor first, and one worker at a time."""
        if generation.loading is not Loading.LOADED or any(worker.replaces for worker in self.fleet):
            return
        for worker in self.fleet.ready(generation):
            reason = self.watch.spent(worker, self._system.now())
            if reason and self._may_start(worker.index):
                logger.info("replacing %s: %s", worker, reason)
                self._order(generation, worker.index, replaces=worker)
                return

    def _may_start(self, index: int) -> bool:
        return self._system.now() >= self._not_before.get(index, float("-inf"))

    def _order(self, generation: Generation, index: int, replaces: Worker | None = None) -> None:
        now = self._system.now()
        slot = self.fleet.free_slot()
        if slot is None:
            logger.error("no slot is free for another worker: %d are starting, serving or draining", len(self.fleet))
            self._not_before[index] = now + 1.0
            return
        self._not_before.pop(index, None)
        self._orders += 1
        self._board.slot(slot).order(self._orders)
        deadline = now + generation.settings.boot_timeout
        self.fleet.add(Worker(index, slot, generation, self._orders, now, deadline, replaces))
        self._system.order_worker(generation.number, index, slot, self._orders)

    # Birth and death

    def born(self, slot: int, order: int, pid: int) -> tuple[Worker, int | None] | None:
        """The template forked a worker. If that is dead already, returns it and its status, for `died`."""
        worker = self.fleet.at(slot)
        if worker is None or worker.order != order:
            return None
        worker.pid = pid
        if pid in self._strangers:
            return worker, self._strangers.pop(pid)
        return None

    def find(self, pid: int, status: int | None) -> Worker | None:
        """The worker with this process id; if there is none, the death is remembered for `born`."""
        worker = self.fleet.by_pid(pid)
        if worker is None:
            self._strangers[pid] = status
            while len(self._strangers) > _STRANGERS:
                del self._strangers[next(iter(self._strangers))]
        return worker

    def bury(self, worker: Worker) -> None:
        """It is dead: keep its totals, and free its slot."""
        self.ledger.retire(worker)
        self._board.slot(worker.slot).clear()
        self.fleet.remove(worker)

    def replace_dead(self, worker: Worker, status: int | None) -> None:
        """It died unasked: say so, and let `fill` start another when the backoff allows."""
        self.ledger.restart(worker)
        now = self._system.now()
        lived = now - worker.ready_at if worker.ready_at is not None else 0.0
        delay = self.backoff.died(now, lived)
        self._not_before[worker.index] = now + delay
        then = f"starting another in {delay:.1f} s" if delay else "starting another"
        if worker.report:
            logger.error("%s failed, %s: %s", worker, then, worker.report)
        elif worker.phase is Phase.KILLED:
            logger.warning("%s was killed, %s", worker, then)
        else:
            how = described(status)
            logger.error("%s ended with %s, %.1f s after it was ready; %s", worker, how, lived, then)

    def disown(self, generation: Generation) -> None:
        """The template is gone: take back the orders that it had not confirmed."""
        for worker in self.fleet:
            if worker.generation is generation and not worker.pid:
                self.take_back(worker)
                self.fleet.remove(worker)

    def take_back(self, worker: Worker) -> None:
        """Its birth was not confirmed, and must not happen any more; if it has happened, the worker is killed."""
        pid = self._board.slot(worker.slot).take_back()
        if pid:
            self._system.kill(pid, signal.SIGKILL)

    # Life

    def advance(self, worker: Worker) -> None:
        """Compare what the worker does with what it should do by now."""
        now = self._system.now()
        state = self._board.slot(worker.slot).state
        if worker.phase is Phase.STARTING:
            self._advance_starting(worker, state, now)
        elif worker.phase is Phase.READY and state == DRAINING:
            logger.info("%s drains: somebody told it to", worker)
            worker.phase = Phase.DRAINING
            worker.reason = "it was told to"
            worker.deadline = now + self._longest_drain(worker)
        elif worker.phase is Phase.READY and self.watch.is_late(worker, now):
            self._system.ask_stack(worker.pid)
            worker.phase = Phase.SUSPECT
            worker.deadline = now + _STACK
        elif worker.phase is Phase.SUSPECT and now >= worker.deadline:
            self._judge(worker, now)
        elif worker.phase is Phase.DRAINING and now >= worker.deadline:
            logger.warning("%s still runs after its time: killing it", worker)
            self.kill(worker, worker.reason)

    def _advance_starting(self, worker: Worker, state: int, now: float) -> None:
        if state in (READY, DRAINING):
            worker.phase = Phase.READY
            worker.ready_at = now
            worker.deadline = float("inf")
            if worker.replaces is not None and worker.replaces.serves:
                self.drain(worker.replaces, f"{worker} is ready")
            worker.replaces = None
        elif now >= worker.deadline:
            bound = worker.generation.settings.boot_timeout
            worker.report = f"{worker} was not ready within --boot-timeout {bound:g} s"
            self.kill(worker, "")

    def _judge(self, worker: Worker, now: float) -> None:
        stack = self._system.stack()
        if self.watch.is_late(worker, now):
            logger.error("%s", self.watch.description(worker, stack))
            self.kill(worker, "")
        else:
            logger.warning("the event loop of %s was blocked, and turns again\n%s", worker, stack)
            worker.phase = Phase.READY
            worker.deadline = float("inf")

    def _longest_drain(self, worker: Worker) -> float:
        settings = worker.generation.settings
        return settings.graceful_timeout + settings.idle_timeout + CUT_OFF

    def drain(self, worker: Worker, reason: str, deadline: float | None = None) -> None:
        """Let it finish what it has, until ``deadline``. One that is not ready has nothing to finish."""
        worker.reason = reason
        if worker.phase is Phase.STARTING:
            self.kill(worker, reason)
        elif worker.phase is not Phase.KILLED:
            worker.phase = Phase.DRAINING
            worker.deadline = self._system.now() + self._longest_drain(worker) if deadline is None else deadline
            self._system.kill(worker.pid, signal.SIGTERM)

    def kill(self, worker: Worker, reason: str) -> None:
        """End it now. Without a reason it counts as a crash."""
        worker.reason = reason
        worker.phase = Phase.KILLED
        worker.deadline = float("inf")
        if worker.pid:
            self._system.kill(worker.pid, signal.SIGKILL)


def described(status: int | None) -> str:
    """How a process ended, in words."""
    if status is None:
        return "an unknown status"
    if status < 0:
        return signal.Signals(-status).name if -status in set(signal.Signals) else f"signal {-status}"
    return f"exit code {status}"
