"""One subscription in one worker: receive as much as may run, keep it leased, and in the end hand back what is left.

    receive ─► custody ─permit─► handling, on the worker's event loop ─► custody ─► settlement: ack, retry, dead letter
                  └────────────── leases are extended all the way ──────────────────────┘

All of this but the handling is on the consuming event loop.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from fastlane.pubsub.clock import Clock, sleep
from fastlane.pubsub.consumption.backoff import Backoff
from fastlane.pubsub.consumption.bell import Bell
from fastlane.pubsub.consumption.custody import Custody
from fastlane.pubsub.consumption.health import Health, Troubles, logger
from fastlane.pubsub.consumption.held import Run
from fastlane.pubsub.consumption.leases import LeaseKeeper
from fastlane.pubsub.envelope import Delivery
from fastlane.pubsub.provider import BoundSubscription, Provider, Source
from fastlane.pubsub.topics.subscription import Subscription

__all__ = ["Consumption"]

_MOST_PER_RECEIVE = 1000
_LONGEST_RECEIVE = 120.0
_EMPTY_PAUSE = 0.05

# Seconds that a drain waits at most for each of its steps, beside the time that it was given. The supervisor kills a
# worker two seconds after that, and the app's own lifespan has to end before.
_CANCELLED_RECEIVE = 2.0
_CANCELLED_HANDLER = 0.5
_LAST_CALLS = 0.5
_CLOSE = 5.0


class Consumption:
    """Consumes a subscription. Used on the consuming event loop.

    Args:
        share: how many handlers may run at the same time in this worker, at least 1.
        clock: of leases, backoff and batches.
        begin: takes runs to the handlers. They come back through `ended`.
    """

    def __init__(
        self,
        subscription: Subscription[Any],
        bound: BoundSubscription,
        provider: Provider,
        share: int,
        clock: Clock,
        begin: Callable[[Run], object],
    ) -> None:
        capabilities = provider.capabilities
        ordered = bound.topic.ordered
        self._subscription = subscription
        self._bound = bound
        self._provider = provider
        self._share = share
        self._clock = clock
        self._begin = begin
        self._most_per_receive = min((ordered and capabilities.ordered_limit) or _MOST_PER_RECEIVE, _MOST_PER_RECEIVE)
        self._receives = max(1, min(share, capabilities.ordered_receives)) if ordered else 1
        self._health = Health(share=share)
        self._troubles = Troubles(bound.source, self._health)
        self._asked = 0
        self._deadline = math.inf
        self._draining: asyncio.Task[None] | None = None
        self._receiving: list[asyncio.Task[None]] = []
        self._leases: asyncio.Task[None]
        self._source: Source
        self._custody: Custody | None = None
        self._bell = Bell()

    @property
    def health(self) -> Health:
        """The counters. Any thread may ask."""
        if self._custody is not None:
            self._health.running = self._custody.running
            self._health.held = self._custody.count
        return self._health

    def start(self) -> None:
        """Begin to receive, as soon as the source can be opened."""
        self._receiving.append(asyncio.get_running_loop().create_task(self._open(), name=self._bound.source))

    def ended(self, runs: deque[Run]) -> None:
        """The handlers are done with these."""
        assert self._custody is not None
        self._custody.ended(runs)

    async def _open(self) -> None:
        backoff = Backoff()
        while True:
            try:
                self._source = await self._provider.open_source(self._bound)
                break
            except Exception as error:
                self._health.reachable = False
                self._troubles.failed("open", error)
                await sleep(self._clock, backoff.next())
        self._troubles.worked("open")
        custody = self._custody = Custody(
            self._subscription,
            self._bound,
            self._provider.capabilities,
            self._source,
            self._share,
            self._clock,
            self._health,
            self._troubles,
            self._begin,
            self._bell.ring,
        )
        keeper = LeaseKeeper(self._source, self._bound.ack_deadline, self._clock, self._health, self._troubles, custody)
        loop = asyncio.get_running_loop()
        self._leases = loop.create_task(self._for_ever(keeper.run), name=f"{self._bound.source} leases")
        for _ in range(self._receives):
            receiving = self._for_ever(self._receive)
            self._receiving.append(loop.create_task(receiving, name=f"{self._bound.source} receive"))

    async def _for_ever(self, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                return await work()
            except Exception as error:  # a mistake of ours must end neither the receiving nor the leases
                logger.error("consuming %s failed; beginning again", self._bound.source, exc_info=error)
                await sleep(self._clock, 1.0)

    # Receiving

    async def _receive(self) -> None:
        custody, source = self._custody, self._source
        assert custody is not None
        backoff = Backoff()
        loop = asyncio.get_running_loop()
        # A source has time limits of its own; this is for one that has forgotten them.
        longest = None if self._provider.in_process else _LONGEST_RECEIVE
        while self._draining is None:
            limit = min(custody.room(self._asked), self._most_per_receive)
            if limit < 1:
                await self._bell.wait()
                continue
            began = loop.time()
            self._asked += limit
            deliveries: Sequence[Delivery] | None = None
            try:
                async with asyncio.timeout(longest):
                    deliveries = await source.receive(limit)
            except Exception as error:
                self._health.reachable = False
                self._troubles.failed("receive", error)
            finally:
                self._asked -= limit
            if deliveries is None:
                await sleep(self._clock, backoff.next())
                continue
            backoff.reset()
            self._health.reachable = True
            self._troubles.worked("receive")
            if deliveries:
                custody.admit(deliveries)
                await asyncio.sleep(0)  # a source that always has something must not keep the others waiting
            elif loop.time() - began < _EMPTY_PAUSE:
                await asyncio.sleep(_EMPTY_PAUSE)  # it should have waited itself

    # Draining

    async def drain(self, timeout: float, cancel: Callable[[], object], abandon: Callable[[], object]) -> None:
        """Stop receiving, hand back what has not started, wait for what runs, and close the source.

        It goes on to its end when this is cancelled. A second call shortens the time of the first.

        Args:
            timeout: seconds until ``cancel`` is called, which cancels the handlers; ``abandon`` is called a second
                later, and gives up those that go on nevertheless.
        """
        loop = asyncio.get_running_loop()
        self._deadline = min(self._deadline, loop.time() + timeout)
        if self._draining is None:
            self._draining = loop.create_task(self._drain(cancel, abandon), name=f"{self._bound.source} drain")
        self._bell.ring()
        await asyncio.shield(self._draining)

    async def _drain(self, cancel: Callable[[], object], abandon: Callable[[], object]) -> None:
        loop = asyncio.get_running_loop()
        if self._custody is not None:
            self._custody.draining = True
        for task in self._receiving:
            task.cancel()
        await asyncio.wait(self._receiving, timeout=_CANCELLED_RECEIVE)
        custody = self._custody
        if custody is None:
            return
        custody.hand_back()

        def over() -> bool:
            return (custody.empty and not custody.running) or loop.time() >= self._deadline

        await self._bell.until(over, self._deadline)
        if not custody.empty or custody.running:
            cancel()
            # Where nothing runs it is the broker that does not take what it is told.
            if not await self._bell.until(lambda: custody.empty, loop.time() + _CANCELLED_HANDLER) and custody.running:
                abandon()
                await self._bell.until(lambda: custody.empty, loop.time() + _LAST_CALLS)
        custody.hand_back_all()
        await self._bell.until(lambda: not custody.settlement.busy, loop.time() + _LAST_CALLS)
        custody.settlement.give_up()
        self._leases.cancel()
        try:
            async with asyncio.timeout(_CLOSE):
                await self._source.close()
        except Exception as error:
            self._troubles.failed("close", error, "leaving it")
