"""A consumed subscription of the tiny broker, in virtual time or with its real thread."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from fastlane.pubsub.consumption import Consumers
from fastlane.pubsub.provider import BoundSubscription, BoundTopic
from fastlane.pubsub.topics.subscription import Subscription
from fastlane.pubsub.topics.topic import Topic
from tests.pubsub.consumption.broker import Broker, TinyProvider


class Event(msgspec.Struct):
    n: int
    key: str = ""


def event(n: int, key: str = "") -> bytes:
    return msgspec.json.encode(Event(n, key))


def topic(*, ordered: bool = False) -> Topic[Event]:
    return Topic("things", Event, order_by="key" if ordered else None)


def bound(subscription: Subscription[Any]) -> BoundSubscription:
    return BoundSubscription(
        name=subscription.name,
        physical=subscription.name,
        dead=f"{subscription.name}-dead",
        topic=BoundTopic(name=subscription.topic.name, physical="things", ordered=subscription.ordered),
        ack_deadline=subscription.ack_deadline,
        max_attempts=subscription.retry.max_attempts,
        max_backoff=subscription.retry.max_backoff,
        timeout=subscription.timeout,
    )


@asynccontextmanager
async def consuming(
    on: Topic[Any], broker: Broker, *, share: int | None = None, drain: float = 0.0, **changes: Any
) -> AsyncIterator[Consumers]:
    """Consume the only subscription of a topic; drained and closed at the end."""
    (subscription,) = on.subscriptions.values()
    broker.ack_deadline = subscription.ack_deadline
    consumers = Consumers()
    permits = subscription.max_concurrency if share is None else share
    try:
        await consumers.consume(subscription, bound(subscription), TinyProvider(broker, **changes), permits)
        yield consumers
    finally:
        await consumers.drain(drain)
        await consumers.close()


def run(test: Callable[[], Coroutine[Any, Any, None]], limit: float = 60.0) -> None:
    """Run a test in an event loop of its own, for ``limit`` seconds at most."""
    asyncio.run(asyncio.wait_for(test(), limit))
