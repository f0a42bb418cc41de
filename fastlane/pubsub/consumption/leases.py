"""Keeping what is held: leases are extended long before they end, for as long as somebody needs the message."""

from __future__ import annotations

import asyncio

from fastlane.pubsub.clock import Clock, sleep
from fastlane.pubsub.consumption.backoff import Backoff
from fastlane.pubsub.consumption.custody import Custody
from fastlane.pubsub.consumption.health import Health, Troubles
from fastlane.pubsub.consumption.held import Held
from fastlane.pubsub.provider import Source

__all__ = ["LeaseKeeper"]


class LeaseKeeper:
    """Extends every lease of a subscription, many with one call, and with one timer.

    It looks every third of ``ack_deadline``, and extends what is older than a sixth: a lease is never older than half
    of its time when it is extended first, and a handler that is quick costs nothing.

    Args:
        custody: of what is extended; it is told what was lost, and whose time has passed while the broker could not be
            reached.
    """

    __slots__ = ("_ack_deadline", "_clock", "_custody", "_health", "_source", "_troubles")

    def __init__(
        self,
        source: Source,
        ack_deadline: float,
        clock: Clock,
        health: Health,
        troubles: Troubles,
        custody: Custody,
    ) -> None:
        self._source = source
        self._ack_deadline = ack_deadline
        self._clock = clock
        self._health = health
        self._troubles = troubles
        self._custody = custody

    async def run(self) -> None:
        """Until it is cancelled."""
        interval = self._ack_deadline / 3
        backoff = Backoff(interval / 8, interval / 2)
        while True:
            await sleep(self._clock, interval)
            backoff.reset()
            while not await self.extend():
                await sleep(self._clock, backoff.next())

    async def extend(self) -> bool:
        """Extend what has to be. Answers whether the broker has answered."""
        now = self._clock.time()
        young = now - self._ack_deadline / 6
        due = [held for held in self._custody.held if held.leased_at <= young and not held.lost]
        if not due:
            return True
        sent = [held.delivery for held in due]
        try:
            async with asyncio.timeout(max(1.0, self._ack_deadline / 3)):
                lost = await self._source.extend(sent, self._ack_deadline)
        except Exception as error:
            self._troubles.failed("extend leases", error)
            over = self._clock.time() - self._ack_deadline
            lapsed = [held for held in due if held.leased_at <= over and held.stage == "waiting"]
            if lapsed:
                self._custody.drop(lapsed)
            return False
        self._troubles.worked("extend leases")
        missing = {id(delivery) for delivery in lost} if lost else ()
        gone: list[Held] = []
        for held, delivery in zip(due, sent, strict=True):
            if held.delivery is not delivery:
                continue  # it has come again meanwhile, with a new lease
            if id(delivery) in missing:
                gone.append(held)
            else:
                held.leased_at = now
        self._health.extended += len(due) - len(gone)
        if gone:
            self._custody.lose(gone)
        return True
