"""What time it is for leases, backoff and timeouts.

An event loop is a clock as it stands. A broker in this very process may bring one of its own, so that a test need not
wait: time then passes when the test says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

__all__ = ["Clock", "Timer", "sleep"]


class Timer(Protocol):
    """A call that is going to be made."""

    def cancel(self) -> None:
        """Don't make it. Does nothing when it has been made or cancelled."""


class Clock(Protocol):
    """The part of an event loop that knows the time; used on one event loop."""

    def time(self) -> float:
        """Seconds since some moment; never goes backwards."""

    def call_at(self, when: float, callback: Callable[..., object], *args: Any) -> Timer:
        """Call ``callback(*args)`` on the event loop once it is ``when``; soon where that has passed."""


async def sleep(clock: Clock, duration: float) -> None:
    """Wait ``duration`` seconds of ``clock``."""
    woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    timer = clock.call_at(clock.time() + duration, _wake, woken)
    try:
        await woken
    finally:
        timer.cancel()


def _wake(woken: asyncio.Future[None]) -> None:
    if not woken.done():
        woken.set_result(None)
