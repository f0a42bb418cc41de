"""Asking the broker for messages: one receive after the other, and several side by side while it has plenty."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from fastlane.pubsub.capabilities import Capabilities
from fastlane.pubsub.clock import Clock, sleep
from fastlane.pubsub.consumption.backoff import Backoff
from fastlane.pubsub.consumption.bell import Bell
from fastlane.pubsub.consumption.custody import Custody
from fastlane.pubsub.consumption.health import Health, Troubles
from fastlane.pubsub.envelope import Delivery
from fastlane.pubsub.provider import Source

__all__ = ["Receiving"]

_MOST_PER_RECEIVE = 1000
_LONGEST_RECEIVE = 120.0
_EMPTY_PAUSE = 0.05
_SOON = 0.001
"""Seconds at most that handlers which end at once are waited for, before less is asked for than the last time."""


class Receiving:
    """Never asks for more than the custody has room for. Used on the consuming event loop.

    Where there is no order it begins with one receive at a time. Behind one that came back full there are as many side
    by side as the broker can and there is room for; each that brings less than half of what it asked for is not made
    again, until one is left. So a queue that is nearly empty costs no more requests than it has to.

    Args:
        share: how many handlers may run at the same time.
        custody: takes what was received.
        bell: rings when there may be room again.
        in_process: the broker's time is not the event loop's: a receive may take for ever.
        spawn: runs something in a task, again and again while it fails.
    """

    def __init__(
        self,
        source: Source,
        capabilities: Capabilities,
        custody: Custody,
        bell: Bell,
        clock: Clock,
        health: Health,
        troubles: Troubles,
        *,
        share: int,
        ordered: bool,
        in_process: bool,
        spawn: Callable[[Callable[[], Awaitable[None]]], asyncio.Task[None]],
    ) -> None:
        self._source = source
        self._custody = custody
        self._bell = bell
        self._clock = clock
        self._health = health
        self._troubles = troubles
        self._spawn = spawn
        # A source has time limits of its own; this is for one that has forgotten them.
        self._longest = None if in_process else _LONGEST_RECEIVE
        self._in_process = in_process
        self._limit = capabilities.receive_limit or _MOST_PER_RECEIVE
        if ordered:
            self._limit = capabilities.ordered_limit or self._limit
            self._least = self._most = max(1, min(share, capabilities.ordered_receives))
            self._beside = 1
        else:
            self._least, self._most = 1, max(1, min(capabilities.receives, custody.room(0) // self._limit))
            # Beside others only a whole one: permits that come back one by one would make a request each.
            self._beside = self._limit
        self._asked = 0
        self._stopped = False
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Begin."""
        self._add(self._least)

    async def stop(self, timeout: float) -> None:
        """Cancel what is under way, and wait for what it does then, ``timeout`` seconds at most."""
        self._stopped = True
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=timeout)

    async def _receive(self) -> None:
        custody = self._custody
        backoff = Backoff()
        loop = asyncio.get_running_loop()
        limit, waited = 1, False
        while not self._stopped:
            room = custody.room(self._asked)
            if room < (self._beside if self._asked else 1):
                await self._bell.wait()
                continue
            if room < limit and not waited and not self._in_process:
                # PERF: else what is free while some begin or end is asked for at once, the rest by the next request,
                # and so on for ever: 64 and 36, 92 and 8. With gcp, where a request costs as much as thirty messages,
                # 6,011 came in up to 135 requests; so they come in 70 to 87.
                waited = True
                await self._bell.until(partial(self._has_room, limit), loop.time() + _SOON)
                continue
            waited = False
            limit = min(room, self._limit)
            began = loop.time()
            deliveries = await self._receive_some(limit)
            if deliveries is None:
                if self._one_less():
                    return
                await sleep(self._clock, backoff.next())
                continue
            backoff.reset()
            if deliveries:
                custody.admit(deliveries)
            if len(deliveries) == self._limit:
                self._add(self._most - len(self._tasks))
            elif len(deliveries) < limit / 2 and self._one_less():
                return
            if deliveries:
                await asyncio.sleep(0)  # a source that always has something must not keep the others waiting
            elif loop.time() - began < _EMPTY_PAUSE:
                await asyncio.sleep(_EMPTY_PAUSE)  # it should have waited itself

    def _has_room(self, limit: int) -> bool:
        return self._stopped or self._custody.room(self._asked) >= limit

    async def _receive_some(self, limit: int) -> Sequence[Delivery] | None:
        """None: that did not work."""
        self._asked += limit
        try:
            async with asyncio.timeout(self._longest):
                deliveries = await self._source.receive(limit)
        except Exception as error:
            self._health.reachable = False
            self._troubles.failed("receive", error)
            return None
        finally:
            self._asked -= limit
        self._health.reachable = True
        self._troubles.worked("receive")
        return deliveries

    def _add(self, count: int) -> None:
        for _ in range(0 if self._stopped else count):
            self._tasks.add(self._spawn(self._receive))

    def _one_less(self) -> bool:
        """Whether this task is to end: there are more than there have to be."""
        if len(self._tasks) <= self._least:
            return False
        task = asyncio.current_task()
        assert task is not None
        self._tasks.discard(task)
        self._bell.ring()  # who had not enough room beside this one
        return True
