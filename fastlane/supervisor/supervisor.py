"""The supervisor's decisions: what a signal means, which generation serves, and when all of it ends.

It does no system call of its own: `System` does, so that every decision is tested without a process.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from fastlane.supervisor.crew import CUT_OFF, Crew, described
from fastlane.supervisor.fleet import Generation, Loading, Phase, Worker
from fastlane.supervisor.heir import Heir
from fastlane.supervisor.herald import Herald
from fastlane.supervisor.insight import Insight
from fastlane.supervisor.logs import reopen_logs
from fastlane.supervisor.machine import Died, Event, Mailed, Signalled, System, TemplateSaid
from fastlane.supervisor.responder import Asked
from fastlane.supervisor.scoreboard import Scoreboard
from fastlane.supervisor.settings import Settings

__all__ = ["Supervisor"]

_LATE = 1.0
"""Seconds: if the supervisor's own loop is later than that, the machine stood still, and every deadline starts anew."""

logger = logging.getLogger("fastlane.supervisor")


class Supervisor:
    """Runs from `run` to an exit code.

    Args:
        settings: replaced at HUP by what ``reread`` answers.
        system: the world.
        board: where the workers write.
        reread: see `fastlane.supervisor.run`.
        has_terminal: WINCH is ignored then, because resizing a terminal sends it.
        template: the process id of the first template, if it has been started already.
    """

    def __init__(
        self,
        settings: Settings,
        system: System,
        board: Scoreboard,
        reread: Callable[[], Settings] | None = None,
        has_terminal: bool = False,
        template: int | None = None,
    ) -> None:
        self.settings = settings
        self.target = settings.workers
        self.crew = Crew(system, board)
        self._insight = Insight(self.crew, board, system)
        self.serving: Generation | None = None
        """The generation that answers; None until a worker of the first one is ready."""
        self.coming: Generation | None = None
        """The generation that is to replace it."""
        self.exit_code: int | None = None
        self._ending: int | None = None
        """The exit code, once it is decided that everything ends."""
        self._end_deadline = float("inf")
        self._kept = 0
        """How many workers the old generation is to have while a new one comes."""
        self._generations = 0
        self._herald = Herald(system, board)
        self._heir = Heir(system)
        self._system = system
        self._board = board
        self._reread = reread
        self._has_terminal = has_terminal
        self._template = template

    def run(self) -> int:
        """Serve until there is an exit code."""
        self._board.awaited = self.target
        self._load(self.settings, self._template)
        while self.exit_code is None:
            before = self._system.now()
            seconds = max(0.0, min(self._due(), before + 1.0) - before)
            events = self._system.wait(seconds, [worker.pid for worker in self.crew.fleet if worker.pid])
            late = self._system.now() - before - seconds
            if late > _LATE:
                self._start_deadlines_anew(late)
            for event in events:
                self.handle(event)
            self.advance()
        return self.exit_code

    def handle(self, event: Event) -> None:
        """Take note of one event; `advance` then acts."""
        match event:
            case Signalled(number):
                self._signalled(number)
            case Mailed(slot, message):
                worker = self.crew.fleet.at(slot)
                if worker is not None and "failed" in message:
                    worker.report, worker.report_code = message["failed"], message["code"]
            case TemplateSaid(number, message):
                generation = self._generation(number)
                if generation is not None:
                    self._template_said(generation, message)
            case Died(pid, status):
                self._died(pid, status)
            case Asked(path, is_local, reply):
                reply(self._insight.answer(path, is_local, self.settings))

    def advance(self) -> None:
        """Compare what is with what should be, and do what is missing."""
        for worker in self.crew.fleet:
            self.crew.advance(worker)
            if worker.phase is Phase.KILLED and not worker.pid:
                self.crew.take_back(worker)
                self._worker_died(worker, None)
        if self._ending is not None:
            self._advance_end(self._ending)
            return
        for generation in (self.coming, self.serving):
            if generation is not None and self._system.now() >= generation.deadline:
                self._template_late(generation)
        if self.coming is not None:
            self._roll(self.coming)
        if self.serving is not None and self.coming is None:
            self.crew.fill(self.serving, self.target)
            self.crew.shrink(self.serving, self.target)
            self.crew.recycle(self.serving)
            if len(self.crew.fleet.ready(self.serving)) >= self.target:
                self._herald.complete(self.serving, self.target)

    # Time

    def _due(self) -> float:
        deadlines = [generation.deadline for generation in (self.coming, self.serving) if generation is not None]
        return min(self.crew.due(), self._end_deadline, *deadlines)

    def _start_deadlines_anew(self, late: float) -> None:
        logger.warning("this machine stood still for %.1f s: every deadline starts anew", late)
        self.crew.start_anew(late)
        self._end_deadline += late
        for generation in (self.coming, self.serving):
            if generation is not None:
                generation.deadline += late

    # Signals

    def _signalled(self, number: int) -> None:
        if number == signal.SIGQUIT or (number == signal.SIGINT and self._ending is not None):
            logger.info("%s: ending at once", signal.Signals(number).name)
            self._end(128 + number)
        elif self._ending is not None:
            return
        elif number in (signal.SIGTERM, signal.SIGINT):
            self._stop(number)
        elif number == signal.SIGHUP:
            self._reload()
        elif number == signal.SIGUSR1:
            reopen_logs()
            for worker in self.crew.fleet:
                if worker.pid:
                    self._system.kill(worker.pid, signal.SIGUSR1)
        elif number == signal.SIGUSR2:
            self._heir.start()
        elif number == signal.SIGTTIN:
            self._resize(self.target + 1)
        elif number == signal.SIGTTOU:
            self._resize(max(1, self.target - 1))
        elif number == signal.SIGWINCH and not self._has_terminal:
            self._resize(0)

    def _resize(self, target: int) -> None:
        logger.info("%d workers instead of %d", target, self.target)
        self.target = target

    def _stop(self, number: int) -> None:
        bound = self.settings.drain_delay + self.settings.graceful_timeout
        self._ending = 0
        self._end_deadline = self._system.now() + bound + CUT_OFF
        self._board.shared = self._system.shares_sockets()
        self._board.stopping = True
        self._herald.stopping(number, bound, self._heir)
        self._end_templates()
        self._system.stop_listening()
        for worker in self.crew.fleet:
            self.crew.drain(worker, "the server stops", self._end_deadline)

    def _end(self, code: int) -> None:
        """Kill everything, and leave with ``code`` when it is gone."""
        self._ending = code
        self._end_deadline = self._system.now() + CUT_OFF
        self._end_templates()
        for worker in self.crew.fleet:
            self.crew.kill(worker, "the server ends")

    def _end_templates(self) -> None:
        for generation in (self.coming, self.serving):
            if generation is not None:
                self._end_template(generation)

    def _advance_end(self, code: int) -> None:
        if len(self.crew.fleet) == 0 or self._system.now() >= self._end_deadline + CUT_OFF:
            self.exit_code = code
        elif self._system.now() >= self._end_deadline:
            for worker in self.crew.fleet:
                self.crew.kill(worker, "the server ends")

    def _reload(self) -> None:
        settings = self.settings
        if self._reread is not None:
            try:
                settings = replace(self._reread(), addresses=self.settings.addresses)
            except Exception as error:
                logger.error("SIGHUP: not reloading, the configuration can't be used: %s", error)
                return
        if self.coming is not None:
            self._abandon(self.coming, "a newer reload")
        self.settings = settings
        self._kept = self.target
        self.target = settings.workers
        self.crew.forgive()
        self._load(settings)
        self._herald.reloading(settings.name, self._generations)

    # Generations

    def _generation(self, number: int) -> Generation | None:
        return next((one for one in (self.coming, self.serving) if one is not None and one.number == number), None)

    def _load(self, settings: Settings, template: int | None = None) -> None:
        self._generations += 1
        deadline = self._system.now() + settings.boot_timeout
        if template is None:
            template = self._system.start_template(self._generations, settings)
        self.coming = Generation(self._generations, settings, template, deadline)

    def _template_said(self, generation: Generation, message: dict[str, Any]) -> None:
        if "loaded" in message:
            generation.loading = Loading.LOADED
            generation.deadline = float("inf")
            if message["threads"]:
                logger.warning(
                    "%s started threads while it was imported, which do not exist in the workers: %s. "
                    "Start them in the lifespan, or serve with --no-preload",
                    generation.settings.name,
                    ", ".join(message["threads"]),
                )
        elif "booting" in message:
            generation.loading = Loading.BOOTING
            generation.doing = message["booting"]
            generation.deadline = self._system.now() + generation.settings.boot_timeout
        elif "failed" in message:
            self._generation_failed(generation, message["failed"], message["code"])
        elif "forked" in message:
            dead = self.crew.born(message["slot"], message["order"], message["forked"])
            if dead is not None:
                self._worker_died(*dead)

    def _template_late(self, generation: Generation) -> None:
        settings = generation.settings
        if generation.loading is Loading.LOST:
            generation.template = self._system.start_template(generation.number, settings)
            generation.loading = Loading.IMPORTING
            generation.deadline = self._system.now() + settings.boot_timeout
        else:
            text = f"{settings.name} was not imported within --boot-timeout {settings.boot_timeout:g} s"
            if generation.loading is Loading.BOOTING:
                doing = f"the boot process of {settings.name} was {generation.doing}"
                text = f"{doing}, and not done with it within --boot-timeout {settings.boot_timeout:g} s"
            self._generation_failed(generation, text, 3)

    def _end_template(self, generation: Generation) -> None:
        if generation.loading is not Loading.LOST:
            self._system.end_template(generation.number)
            generation.loading = Loading.LOST
            generation.deadline = float("inf")
            self.crew.disown(generation)

    def _generation_failed(self, generation: Generation, text: str, code: int) -> None:
        """Its code can't be loaded, or its workers can't start, or its template died."""
        if generation is self.serving:
            self._end_template(generation)
            delay = self.crew.backoff.died(self._system.now(), 0.0)
            generation.deadline = self._system.now() + delay
            logger.error("importing %s again in %.1f s: %s", generation.settings.name, delay, text)
        elif self.serving is None:
            logger.error("%s", text)
            self._end(code)
        else:
            logger.error("the new version can't start, the old one keeps serving: %s", text)
            self._abandon(generation, "its generation failed")
            self.settings = self.serving.settings
            self.target = self.settings.workers

    def _abandon(self, generation: Generation, reason: str) -> None:
        self.coming = None
        self._end_template(generation)
        for worker in self.crew.fleet:
            if worker.generation is generation and worker.serves:
                self.crew.drain(worker, reason)

    def _roll(self, coming: Generation) -> None:
        """Bring the new generation up beside the old one: new workers are ready before old ones drain."""
        fleet, serving = self.crew.fleet, self.serving
        ready = len(fleet.ready(coming))
        if serving is None:
            self.crew.fill(coming, self.target)
            if ready or (self.target == 0 and coming.loading is Loading.LOADED):
                self.serving, self.coming = coming, None
            return
        old = fleet.serving(serving)
        kept = min(self.target, self._kept)
        if len(old) + ready < kept:
            self.crew.fill(serving, kept - ready)
        if coming.loading is not Loading.LOADED:
            return
        if ready >= self.target:
            surplus = len(old)
        else:
            surplus = ready + len(old) - self.target if len(fleet.serving(coming)) == ready else 0
        for worker in sorted(old, key=lambda worker: -worker.index)[: max(0, surplus)]:
            self.crew.drain(worker, f"generation {coming.number} is ready")
        room = self.target + (self.settings.surge or self.target) - len(fleet.serving(serving))
        self.crew.fill(coming, min(self.target, max(ready, room)))
        if ready >= self.target:
            logger.info("generation %d serves, the workers of generation %d drain", coming.number, serving.number)
            self._end_template(serving)
            self.serving, self.coming = coming, None

    # Deaths

    def _died(self, pid: int, status: int | None) -> None:
        for generation in (self.coming, self.serving):
            if generation is not None and generation.template == pid:
                if generation.loading is not Loading.LOST:
                    text = f"the process that imports it (pid {pid}) ended with {described(status)}"
                    self._generation_failed(generation, f"{generation.settings.name}: {text}", 4)
                return
        if self._heir.died(pid, status):
            return
        worker = self.crew.find(pid, status)
        if worker is not None:
            self._worker_died(worker, status)

    def _worker_died(self, worker: Worker, status: int | None) -> None:
        self.crew.bury(worker)
        if worker.reason or self._ending is not None:
            logger.debug("%s ended with %s: %s", worker, described(status), worker.reason)
        elif worker.ready_at is None and worker.generation is self.coming:
            text = worker.report or f"{worker} ended with {described(status)} before it was ready"
            self._generation_failed(worker.generation, text, worker.report_code)
        elif worker.phase is not Phase.DRAINING:
            self.crew.replace_dead(worker, status)
