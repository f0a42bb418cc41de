"""Receiving from the file."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from fastlane.pubsub.envelope import DeadLetter, Delivery
from fastlane.pubsub.provider import BoundSubscription, Source
from fastlane.pubsub.providers.local import claims, registry
from fastlane.pubsub.providers.local.claims import Claim, Claimed, Extension, Held, Lease, Return
from fastlane.pubsub.providers.local.database import Database
from fastlane.pubsub.providers.local.doorbell import Bell

__all__ = ["LocalSource"]

logger = logging.getLogger("fastlane.pubsub")

POLL = 0.25
PATIENCE = 5.0
GIVE_BACK_PATIENCE = 1.0


class LocalSource(Source):
    """One subscription. What it hands out and nobody answered for is handed out again when it closes.

    Args:
        database: of this event loop.
        subscription: as bound.
        bells: the directory of the doorbells; None: there is none.
        release: gives the database back.
    """

    def __init__(
        self,
        database: Database,
        subscription: BoundSubscription,
        bells: Path | None,
        release: Callable[[], Awaitable[None]],
    ) -> None:
        self._database = database
        self._subscription = subscription
        self._bells = bells
        self._known: int | None = None
        self._release = release
        self._loop = asyncio.get_running_loop()
        self._rung = asyncio.Event()
        self._leases: dict[int, Lease] = {}
        self._closed = False
        # "A confirmed ack is final" also where the power fails; at-least-once does not pay for that.
        self._durable = subscription.topic.exactly_once
        self._bell: Bell | None = None

    async def register(self) -> None:
        """Make sure that the file knows the subscription. From here on, what is published waits for it.

        Raises:
            BrokerUnavailable: not now; `receive` tries again.
        """
        if self._known is not None:
            return
        self._known = await self._database.submit(registry.register, self._subscription)
        if self._bells is not None and not self._closed:
            try:
                self._bell = Bell(self._bells, self._known, self._rung)
            except OSError as error:
                source = self._subscription.source
                logger.warning("%s: no doorbell (%s): messages arrive up to 250 ms later", source, error)

    @property
    def _number(self) -> int:
        assert self._known is not None, "nothing was received yet"
        return self._known

    async def receive(self, limit: int) -> Sequence[Delivery]:
        await self.register()
        end = self._loop.time() + PATIENCE
        while not self._closed:
            self._rung.clear()
            claimed = await self._claim(limit)
            if claimed.deliveries:
                self._leases.update((delivery.lease.token, delivery.lease) for delivery in claimed.deliveries)
                return claimed.deliveries
            left = end - self._loop.time()
            if left <= 0:
                break
            # One millisecond more: a message is due when its millisecond has begun.
            wait = POLL if claimed.wait is None else claimed.wait + 0.001
            timer = self._loop.call_later(min(POLL, left, wait), self._rung.set)
            try:
                await self._rung.wait()
            finally:
                timer.cancel()
        return ()

    async def ack(self, deliveries: Sequence[Delivery]) -> Sequence[Delivery]:
        if not deliveries:
            return ()
        lost = await self._database.submit(claims.ack, Held(self._number, _leases(deliveries)), durable=self._durable)
        self._forget(deliveries)
        if any(delivery.ordering_key is not None for delivery in deliveries):
            self._rung.set()
        return _those(deliveries, lost)

    async def retry(self, delivery: Delivery, delay: float) -> None:
        await self._give_back([delivery], delay, unstarted=False)

    async def release(self, deliveries: Sequence[Delivery]) -> None:
        if deliveries:
            await self._give_back(deliveries, None, unstarted=True)

    async def extend(self, deliveries: Sequence[Delivery], seconds: float) -> Sequence[Delivery]:
        if not deliveries:
            return ()
        lost = await self._database.submit(claims.extend, Extension(self._number, _leases(deliveries), seconds))
        for token in lost:
            self._leases.pop(token, None)
        return _those(deliveries, lost)

    async def dead_letter(self, delivery: Delivery, letter: DeadLetter) -> None:
        await self._database.submit(claims.bury, claims.Burial(self._number, delivery.lease, letter), durable=True)
        self._forget([delivery])

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._rung.set()
        if self._bell is not None:
            self._bell.close()
        try:
            if self._leases:
                rest = Return(self._number, list(self._leases.values()), None, unstarted=False)
                await self._database.submit(claims.give_back, rest)
        finally:
            await self._release()

    async def _claim(self, limit: int) -> Claimed:
        asked = Claim(self._number, limit, self._subscription.ack_deadline)
        answer = self._database.submit(claims.claim, asked)
        try:
            return await asyncio.shield(answer)
        except asyncio.CancelledError:
            # It may be on its way to the disk already: what it brings goes back at once.
            given_back = self._loop.create_task(self._give_back_claimed(answer))
            await asyncio.wait([given_back], timeout=GIVE_BACK_PATIENCE)
            raise

    async def _give_back_claimed(self, answer: asyncio.Future[Claimed]) -> None:
        try:
            claimed = await answer
            if claimed.deliveries:
                await self._give_back(claimed.deliveries, None, unstarted=True)
        except Exception as error:
            logger.warning("%s: not given back, its lease will lapse: %s", self._subscription.source, error)

    async def _give_back(self, deliveries: Sequence[Delivery], delay: float | None, *, unstarted: bool) -> None:
        back = Return(self._number, _leases(deliveries), delay, unstarted)
        await self._database.submit(claims.give_back, back)
        self._forget(deliveries)
        self._rung.set()  # the next time to look has changed

    def _forget(self, deliveries: Sequence[Delivery]) -> None:
        for delivery in deliveries:
            self._leases.pop(delivery.lease.token, None)


def _leases(deliveries: Sequence[Delivery]) -> list[Lease]:
    return [delivery.lease for delivery in deliveries]


def _those(deliveries: Sequence[Delivery], tokens: set[int]) -> Sequence[Delivery]:
    return [delivery for delivery in deliveries if delivery.lease.token in tokens] if tokens else ()
