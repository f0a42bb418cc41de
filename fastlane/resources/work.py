"""How much a process has done beside requests: numbers for the metrics of its server."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Work"]


class Work(NamedTuple):
    """Of this process since it started.

    Attributes:
        handled: messages whose handler succeeded.
        failed: attempts that failed.
        dead: messages that went to the dead letters.
        running: handlers of messages that run.
        outgoing: messages that no broker has confirmed yet.
        unreachable: subscriptions whose broker can't be reached at the moment.
    """

    handled: int
    failed: int
    dead: int
    running: int
    outgoing: int
    unreachable: int
