"""From settings to a running supervisor, and back to an exit code."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable

from fastlane.supervisor.failure import BootFailure
from fastlane.supervisor.kernel import raise_descriptor_limit, set_title
from fastlane.supervisor.listeners import Listener, open_listeners
from fastlane.supervisor.machine import Machine
from fastlane.supervisor.pid_file import PidFile
from fastlane.supervisor.privileges import resolve_account
from fastlane.supervisor.responder import Responder
from fastlane.supervisor.scoreboard import Scoreboard
from fastlane.supervisor.settings import Settings
from fastlane.supervisor.succession import inherited_addresses, predecessor_of
from fastlane.supervisor.systemd import Notifier

__all__ = ["serve"]

logger = logging.getLogger("fastlane.supervisor")


def serve(settings: Settings, reread: Callable[[], Settings] | None = None) -> int:
    """See `fastlane.supervisor.run`."""
    predecessor = predecessor_of(os.environ)
    inherited = inherited_addresses(os.environ)
    pid_file = PidFile(settings.pid_file, predecessor) if settings.pid_file is not None else None
    responder = Responder(time.monotonic)
    try:
        resolve_account(settings.user, settings.group)
        if pid_file is not None:
            pid_file.write()
        listeners = open_listeners(inherited or settings.addresses, settings.backlog)
        _open_responder(responder, settings, listeners, predecessor is not None)
    except BootFailure as failure:
        logger.error("%s", failure)
        if pid_file is not None:
            pid_file.remove()
        return failure.exit_code
    if predecessor is not None:
        listeners = [listener.succeed() for listener in listeners]
    raise_descriptor_limit()
    # Room for the old and the new generation of a reload, several times over: draining workers keep their slots.
    board = Scoreboard(max(64, settings.workers * 8))
    notifier = Notifier(os.environ, os.getpid())
    machine = Machine(listeners, board, predecessor, notifier, pid_file, responder)
    try:
        template = machine.start_template(1, settings)
        # PERF: the template imports the application meanwhile, so that these 10 ms don't count.
        from fastlane.supervisor.supervisor import Supervisor

        set_title(f"fastlane: supervisor of {settings.name}")
        logger.info("%s", _announcement(settings, listeners))
        for listener in responder.listeners:
            logger.info("health and metrics on %s", listener.url())
        return Supervisor(settings, machine, board, reread, _has_terminal(), template).run()
    finally:
        machine.close()


def _announcement(settings: Settings, listeners: list[Listener]) -> str:
    urls = ", ".join(listener.url(settings.scheme) for listener in listeners)
    count = f"{settings.workers} worker{'' if settings.workers == 1 else 's'}"
    where = f"on {urls} with {count}" if urls else f"with {count}, listening nowhere"
    source = "" if settings.configuration is None else f", configured by {settings.configuration}"
    return f"starting {settings.name} {where}{source} (pid {os.getpid()})"


def _open_responder(responder: Responder, settings: Settings, listeners: list[Listener], succeeds: bool) -> None:
    """Open the health port and the control socket. A predecessor has them still: then as soon as it is gone."""
    health = () if settings.health is None else (settings.health,)
    control = () if settings.control is None else (settings.control,)
    if succeeds:
        responder.open_later((*health, *control))
        return
    try:
        responder.open(health)
    except BootFailure:
        for listener in listeners:
            listener.close()
            listener.remove()
        raise
    try:
        responder.open(control)
    except BootFailure as failure:
        logger.warning("there is no control socket: %s; it is tried again every second", failure)
        responder.open_later(control)  # of a server that still drains, as likely as not


def _has_terminal() -> bool:
    """Whether this process has a controlling terminal."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True
