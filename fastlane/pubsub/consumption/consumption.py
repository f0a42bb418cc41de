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
from fastlane.pubsub.consumption.receiving import Receiving
from fastlane.pubsub.provider import BoundSubscription, Provider, Source
from fastlane.pubsub.topics.subscription import Subscription

__all__ = ["Consumption"]

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
        begin: Callable[[Sequence[Run]], object],
    ) -> None:
        self._subscription = subscription
        self._bound = bound
        self._provider = provider
        self._share = share
        self._clock = clock
        self._begin = begin
        self._health = Health(share=share)
        self._troubles = Troubles(bound.source, self._health)
        self._deadline = math.inf
        self._draining: asyncio.Task[None] | None = None
        self._opening: asyncio.Task[None]
        self._receiving: Receiving | None = None
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
        self._opening = asyncio.get_running_loop().create_task(self._open(), name=self._bound.source)

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
        self._leases = self._spawn(keeper.run)
        self._receiving = Receiving(
            self._source,
            self._provider.capabilities,
            custody,
            self._bell,
            self._clock,
            self._health,
            self._troubles,
            share=self._share,
            ordered=self._bound.topic.ordered,
            in_process=self._provider.in_process,
            spawn=self._spawn,
        )
        self._receiving.start()

    def _spawn(self, work: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
        return asyncio.get_running_loop().create_task(self._for_ever(work), name=self._bound.source)

    async def _for_ever(self, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                return await work()
            except Exception as error:  # a mistake of ours must end neither the receiving nor the leases
                logger.error("consuming %s failed; beginning again", self._bound.source, exc_info=error)
                await sleep(self._clock, 1.0)

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
        self._opening.cancel()
        await asyncio.wait([self._opening], timeout=_CANCELLED_RECEIVE)
        if self._receiving is not None:
            await self._receiving.stop(_CANCELLED_RECEIVE)
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
