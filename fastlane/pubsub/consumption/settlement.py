"""Telling the broker what became of messages, again and again until it has understood."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any, TypeAlias

from fastlane.pubsub.clock import Clock, sleep
from fastlane.pubsub.consumption.backoff import Backoff
from fastlane.pubsub.consumption.health import Health, Troubles, logger, one_line
from fastlane.pubsub.consumption.held import Held
from fastlane.pubsub.envelope import DeadLetter, Delivery
from fastlane.pubsub.provider import BoundSubscription, BrokerUnavailable, Source

__all__ = ["Settlement"]

Then: TypeAlias = Callable[[Held, bool], object]
"""What is done when a message has left. False: it did not, and comes again once its lease has lapsed."""

_MISTAKES = 5
"""How often a call is made that fails, though the broker is reachable, before the lease is left to lapse."""


class Settlement:
    """Acknowledges, returns, and dead-letters. Used on the consuming event loop.

    Args:
        acknowledged: called with each message that was acknowledged, and whether that counts: False where its lease was
            lost before.
        quiet: called when something has left, or has come to its end.
        full: so many acknowledgements make a request, and don't wait for another one to be answered; None: they do.

    Attributes:
        leaving: on their way back to the broker, or to the dead letters; their leases have to be extended.
    """

    def __init__(
        self,
        bound: BoundSubscription,
        source: Source,
        clock: Clock,
        health: Health,
        troubles: Troubles,
        acknowledged: Callable[[Held, bool], object],
        quiet: Callable[[], object],
        full: int | None = None,
    ) -> None:
        self.leaving: set[Held] = set()
        self._bound = bound
        self._source = source
        self._clock = clock
        self._health = health
        self._troubles = troubles
        self._acknowledged = acknowledged
        self._quiet = quiet
        self._acknowledge: list[Held] = []
        self._full = math.inf if full is None else full
        self._calls = 0
        self._starting = False
        self._troubled = 0
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def busy(self) -> bool:
        """Something is on its way."""
        return bool(self._acknowledge or self._tasks)

    def give_up(self) -> list[Held]:
        """End everything that is under way. Answers what has not left; the leases of what is unacknowledged lapse."""
        for task in self._tasks:
            task.cancel()
        self._acknowledge.clear()
        return list(self.leaving)

    # Acknowledging

    def acknowledge(self, held: Held) -> None:
        """It is done for good. All that is acknowledged while a call is under way goes with the next one, which waits
        for that unless it is full."""
        self._acknowledge.append(held)
        if not self._calls or len(self._acknowledge) >= self._full:
            self._call()

    def _call(self) -> None:
        # While the broker takes nothing the calls under way take along what there is.
        if not self._starting and not (self._calls and self._troubled):
            self._starting = True
            self._calls += 1
            self._spawn(self._flush())

    async def _flush(self) -> None:
        self._starting = False
        try:
            while self._acknowledge and (self._calls == 1 or len(self._acknowledge) >= self._full):
                batch, self._acknowledge = self._acknowledge, []
                await self._acknowledge_all(batch)
        finally:
            self._calls -= 1

    async def _acknowledge_all(self, batch: list[Held]) -> None:
        backoff, mistakes = Backoff(), 0
        while True:
            # A message that comes again meanwhile brings a new lease, and is acknowledged with that.
            sent = [held.delivery for held in batch]
            try:
                lost = await self._source.ack(sent)
                break
            except Exception as error:
                self._troubles.failed("acknowledge", error)
                if not isinstance(error, BrokerUnavailable):
                    mistakes += 1
                    if mistakes >= _MISTAKES:
                        return await self._acknowledge_alone(batch)
                self._troubled += 1
                try:
                    await sleep(self._clock, backoff.next())
                finally:
                    self._troubled -= 1
                # Whatever was done meanwhile goes along.
                if not mistakes:
                    batch += self._acknowledge
                    self._acknowledge = []
        self._troubles.worked("acknowledge")
        self._confirm(batch, sent, lost)
        return None

    async def _acknowledge_alone(self, batch: list[Held]) -> None:
        """One of them makes the call fail: the others shall not suffer for it."""
        for held in batch:
            sent = [held.delivery]
            try:
                lost = await self._source.ack(sent)
            except Exception as error:
                logger.error(
                    "message %s of %s can't be acknowledged, and will come again: %s",
                    held.delivery.id,
                    self._bound.source,
                    one_line(error),
                )
                lost = sent
            self._confirm([held], sent, lost)

    def _confirm(self, batch: list[Held], sent: list[Delivery], lost: Sequence[Delivery]) -> None:
        missing = {id(delivery) for delivery in lost} if lost else ()
        acknowledged = self._acknowledged
        lapsed: list[str] = []
        for held, delivery in zip(batch, sent, strict=True):
            if held.delivery is not delivery:
                self.acknowledge(held)
            elif missing and id(delivery) in missing:
                lapsed.append(delivery.id)
                self._health.lost -= held.lost  # it was counted when that was found
                acknowledged(held, False)
            else:
                acknowledged(held, True)
        if lapsed:
            self._troubles.lost(lapsed, "of handled messages, which may be handled again")
        self._quiet()

    # Leaving

    def retry(self, held: Held, delay: float, then: Then) -> None:
        """Hand it out again after ``delay`` seconds; ``then`` the broker knows."""
        due = self._clock.time() + delay

        async def call() -> None:
            await self._source.retry(held.delivery, max(0.0, due - self._clock.time()))

        self._leave(held, "return a message", call, then, for_ever=False)

    def dead_letter(self, held: Held, reason: str, error: str, then: Then) -> None:
        """Put it among the dead letters, however long that takes; ``then`` it is there."""
        delivery = held.delivery
        letter = DeadLetter(
            id=delivery.id,
            payload=delivery.payload,
            attributes=delivery.attributes,
            ordering_key=delivery.ordering_key,
            published_at=delivery.published_at,
            reason=reason,
            error=error,
            source=self._bound.source,
            attempt=held.attempt,
            died_at=datetime.now(UTC),
        )

        async def call() -> None:
            await self._source.dead_letter(held.delivery, letter)
            self._health.dead += 1
            logger.error(
                "message %s of %s is among the dead letters after attempt %d (%s): %s",
                letter.id,
                letter.source,
                letter.attempt,
                reason,
                error,
            )

        self._leave(held, "dead-letter", call, then, for_ever=True)

    def release(self, messages: Sequence[Held], then: Callable[[], object]) -> None:
        """Hand them out again at once. Of one key they are in order. ``then`` the broker has them, or their leases are
        over."""
        self._health.released += len(messages)
        self._spawn(self._release(messages, then))

    async def _release(self, messages: Sequence[Held], then: Callable[[], object]) -> None:
        backoff = Backoff()
        deliveries = [held.delivery for held in messages]
        for _ in range(_MISTAKES):
            try:
                await self._source.release(deliveries)
            except Exception as error:
                self._troubles.failed("release", error)
                await sleep(self._clock, backoff.next())
            else:
                self._troubles.worked("release")
                then()
                return
        # Their leases lapse, which is the same, only later.
        over = max(held.leased_at for held in messages) + self._bound.ack_deadline
        self._clock.call_at(over, then)

    def _leave(
        self,
        held: Held,
        verb: str,
        call: Callable[[], Awaitable[None]],
        then: Then,
        *,
        for_ever: bool,
    ) -> None:
        self.leaving.add(held)
        held.stage = "settling"
        self._spawn(self._send(held, verb, call, then, for_ever))

    async def _send(
        self,
        held: Held,
        verb: str,
        call: Callable[[], Awaitable[None]],
        then: Then,
        for_ever: bool,
    ) -> None:
        backoff, mistakes = Backoff(most=30.0), 0
        left = True
        try:
            while True:
                try:
                    await call()
                    self._troubles.worked(verb)
                    break
                except Exception as error:
                    self._troubles.failed(verb, error)
                    if not for_ever and not isinstance(error, BrokerUnavailable):
                        mistakes += 1
                    if held.lost or mistakes >= _MISTAKES:
                        left = False
                        break
                await sleep(self._clock, backoff.next())
        finally:
            self.leaving.discard(held)
        then(held, left)

    def _spawn(self, coroutine: Any) -> None:
        task = asyncio.get_running_loop().create_task(coroutine, name=self._bound.source)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        self._quiet()
