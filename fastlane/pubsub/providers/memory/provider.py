"""The broker in memory, as a provider."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, ClassVar

from fastlane.pubsub.capabilities import Capabilities
from fastlane.pubsub.envelope import DeadLetter, Delivery, Outgoing
from fastlane.pubsub.provider import (
    Administrator,
    Backlog,
    BoundSubscription,
    BoundTopic,
    Provider,
    Publisher,
    Source,
    Step,
)
from fastlane.pubsub.providers.memory.broker import Broker
from fastlane.pubsub.providers.memory.clock import VirtualClock
from fastlane.pubsub.providers.memory.queue import Lease

__all__ = ["MemoryProvider"]

IDLE = 5.0
"""Seconds after which a receive answers that there is nothing."""


class MemoryProvider(Provider):
    """Keeps everything that a broker promises, and forgets it with the process."""

    capabilities: ClassVar[Capabilities] = Capabilities(
        ordering=True,
        blocks_key=True,
        exactly_once=True,
        exact_attempts=True,
        ordered_delay=True,
        loses="at the end of the process",
    )
    in_process: ClassVar[bool] = True

    def __init__(self, name: str, options: Any) -> None:
        super().__init__(name, options)
        self._broker: Broker | None = None

    @property
    def broker(self) -> Broker:
        """Made on the event loop that asks first."""
        if self._broker is None:
            clock = VirtualClock(asyncio.get_running_loop())
            self._broker, self.clock = Broker(clock), clock
        return self._broker

    async def open_publisher(self) -> Publisher:
        return _Publisher(self.broker)

    async def open_source(self, subscription: BoundSubscription) -> Source:
        return _Source(self.broker, subscription)

    async def open_administrator(self) -> Administrator:
        return _Administrator(self.broker)


class _Publisher(Publisher):
    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def publish(self, topic: BoundTopic, messages: Sequence[Outgoing]) -> Sequence[str | Exception]:
        self._broker.check()
        return [self._broker.publish(topic, message) for message in messages]


class _Source(Source):
    def __init__(self, broker: Broker, subscription: BoundSubscription) -> None:
        self._broker = broker
        self._queue = broker.queue(subscription)
        self._queue.consumers += 1
        self._closed = False
        self._leases: set[Lease] = set()

    async def receive(self, limit: int) -> Sequence[Delivery]:
        self._broker.check()
        found = self._queue.take(limit)
        if not found:
            await self._queue.arrival(IDLE)
            self._broker.check()
            found = self._queue.take(limit)
        self._leases.update(delivery.lease for delivery in found)
        return found

    async def ack(self, deliveries: Sequence[Delivery]) -> Sequence[Delivery]:
        self._broker.check()
        self._forget(deliveries)
        return [delivery for delivery in deliveries if not self._queue.done(delivery.lease)]

    async def retry(self, delivery: Delivery, delay: float) -> None:
        self._broker.check()
        self._forget([delivery])
        self._queue.retry(delivery.lease, delay)

    async def release(self, deliveries: Sequence[Delivery]) -> None:
        self._broker.check()
        self._forget(deliveries)
        for delivery in deliveries:
            self._queue.release(delivery.lease)

    async def extend(self, deliveries: Sequence[Delivery], seconds: float) -> Sequence[Delivery]:
        self._broker.check()
        return [delivery for delivery in deliveries if not self._queue.extend(delivery.lease, seconds)]

    async def dead_letter(self, delivery: Delivery, letter: DeadLetter) -> None:
        self._broker.check()
        self._forget([delivery])
        self._queue.bury(delivery.lease, letter)

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._queue.consumers -= 1
            for lease in self._leases:
                self._queue.retry(lease, 0.0)
            self._leases.clear()

    def _forget(self, deliveries: Sequence[Delivery]) -> None:
        self._leases.difference_update(delivery.lease for delivery in deliveries)


class _Administrator(Administrator):
    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def plan(self, topics: Sequence[BoundTopic], subscriptions: Sequence[BoundSubscription]) -> Sequence[Step]:
        self._broker.check()
        steps = [Step("create", "topic", topic.physical) for topic in topics if not self._broker.has_topic(topic)]
        return steps + [
            Step("create", "subscription", one.physical)
            for one in subscriptions
            if one.physical not in self._broker.queues
        ]

    async def provision(
        self, topics: Sequence[BoundTopic], subscriptions: Sequence[BoundSubscription]
    ) -> Sequence[Step]:
        steps = await self.plan(topics, subscriptions)
        for topic in topics:
            self._broker.create_topic(topic)
        for subscription in subscriptions:
            self._broker.create_queue(subscription)
        return steps

    async def backlog(self, subscription: BoundSubscription) -> Backlog:
        self._broker.check()
        return self._broker.queue(subscription).backlog()

    async def dead_letters(self, subscription: BoundSubscription, limit: int) -> Sequence[DeadLetter]:
        self._broker.check()
        return self._broker.queue(subscription).dead[:limit]

    async def replay(self, subscription: BoundSubscription, ids: Sequence[str] | None, limit: int) -> int:
        self._broker.check()
        queue = self._broker.queue(subscription)
        letters = queue.exhume(ids, limit)
        self._broker.replay(queue, letters)
        return len(letters)

    async def purge(self, subscription: BoundSubscription, ids: Sequence[str] | None, limit: int) -> int:
        self._broker.check()
        return len(self._broker.queue(subscription).exhume(ids, limit))

    async def pause(self, subscription: BoundSubscription, paused: bool) -> None:
        self._broker.check()
        self._broker.queue(subscription).paused = paused
