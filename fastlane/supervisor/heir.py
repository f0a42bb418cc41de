"""The supervisor that USR2 starts beside this one."""

from __future__ import annotations

import logging

from fastlane.supervisor.crew import described
from fastlane.supervisor.machine import System

__all__ = ["Heir"]

logger = logging.getLogger("fastlane.supervisor")


class Heir:
    """There is none, or one: the operator ends the old one or the new one."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._pid: int | None = None

    def start(self) -> None:
        """Start it, unless there is one."""
        if self._pid is not None:
            logger.warning("SIGUSR2: there is a new supervisor already (pid %d)", self._pid)
            return
        self._pid = self._system.start_successor()
        if self._pid is None:
            logger.error("SIGUSR2: not possible as process 1, whose end would end the new supervisor, too")
        else:
            logger.info("SIGUSR2: a new supervisor (pid %d) starts beside this one; end one of them", self._pid)

    @property
    def assignments(self) -> list[str]:
        """What systemd must know when this supervisor stops: which process is the service from now on."""
        return [] if self._pid is None else [f"MAINPID={self._pid}"]

    def died(self, pid: int, status: int | None) -> bool:
        """Whether it was the heir that died."""
        if pid != self._pid:
            return False
        logger.warning("the new supervisor (pid %d) ended with %s; this one serves on", pid, described(status))
        self._pid = None
        return True
