"""USR2: a new supervisor, of perhaps a new Python and a new fastlane, beside this one and on the same sockets."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

from fastlane.supervisor.listeners import FIRST_ACTIVATED, Listener, activated_descriptors
from fastlane.supervisor.settings import Address

__all__ = ["PREDECESSOR", "inherited_addresses", "predecessor_of", "start_successor"]

PREDECESSOR = "FASTLANE_PREDECESSOR"
"""The variable that tells a new supervisor the process id of the old one."""


def start_successor(listeners: list[Listener]) -> int:
    """Start the command line of this process again, with the listeners as in socket activation; returns its id."""
    pid = os.fork()
    if pid:
        return pid
    try:
        # First out of the way of each other, then to their places; dup2 makes them inheritable.
        copies = [os.dup(listener.socket.fileno()) for listener in listeners]
        high = [_above(copy, FIRST_ACTIVATED + len(copies)) for copy in copies]
        for place, copy in enumerate(high, start=FIRST_ACTIVATED):
            os.dup2(copy, place)
        environment = {
            **os.environ,
            "LISTEN_FDS": str(len(high)),
            "LISTEN_PID": str(os.getpid()),
            PREDECESSOR: str(os.getppid()),
        }
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)
    finally:
        os._exit(127)


def _above(fd: int, least: int) -> int:
    import fcntl

    return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, least)


def predecessor_of(environment: Mapping[str, str]) -> int | None:
    """The supervisor that started this one by USR2, if it did."""
    text = environment.get(PREDECESSOR, "")
    return int(text) if text.isdecimal() else None


def inherited_addresses(environment: dict[str, str] | os._Environ[str]) -> tuple[Address, ...]:
    """The sockets that systemd or a predecessor left to this process; empty if none. Its children don't get them."""
    addresses = tuple(Address(fd=fd) for fd in activated_descriptors(environment, os.getpid()))
    for name in ("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", PREDECESSOR):
        environment.pop(name, None)
    return addresses
