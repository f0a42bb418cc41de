"""What the log and systemd are told of the server as a whole."""

from __future__ import annotations

import logging
import signal

from fastlane.supervisor.fleet import Generation
from fastlane.supervisor.heir import Heir
from fastlane.supervisor.machine import System
from fastlane.supervisor.scoreboard import Scoreboard

__all__ = ["Herald"]

logger = logging.getLogger("fastlane.supervisor")


class Herald:
    """Says each thing once."""

    def __init__(self, system: System, board: Scoreboard) -> None:
        self._system = system
        self._board = board
        self._is_complete = False
        """All workers of the current generation were ready, and everybody has been told so."""

    def complete(self, generation: Generation, target: int) -> None:
        """All ``target`` workers of the generation are ready: said at the start, and once after each reload."""
        if self._is_complete:
            return
        self._is_complete = True
        self._board.awaited = 0
        text = f"{target} worker{'' if target == 1 else 's'}"
        logger.info("ready, %s", text)
        self._system.tell("READY=1", f"STATUS=generation {generation.number}, {text}")

    def reloading(self, name: str, generation: int) -> None:
        """A new generation is being imported."""
        self._is_complete = False
        self._system.tell("RELOADING=1", f"MONOTONIC_USEC={int(self._system.now() * 1e6)}")
        logger.info("SIGHUP: importing %s, generation %d", name, generation)

    def stopping(self, number: int, bound: float, heir: Heir) -> None:
        """The signal ``number`` ends the server within ``bound`` seconds; ``heir`` may be the service from now on."""
        logger.info("%s: stopping, within %g s", signal.Signals(number).name, bound)
        self._system.tell(*heir.assignments, "STOPPING=1")
