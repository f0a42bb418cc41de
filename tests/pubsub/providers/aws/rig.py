"""A topic with subscriptions on a running moto."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from aiobotocore.session import get_session

from fastlane.pubsub.envelope import DeadLetter, Delivery, Outgoing
from fastlane.pubsub.provider import Administrator, BoundSubscription, BoundTopic, Publisher, Source
from fastlane.pubsub.providers.aws import AwsProvider
from fastlane.pubsub.providers.aws.clients import Clients
from fastlane.pubsub.providers.aws.source import AwsSource
from fastlane.resources.configuration import AwsOptions

__all__ = ["Rig", "bare", "bound_subscription", "bound_topic", "letter", "outgoing", "rigged"]


def bound_topic(name: str = "signups", *, ordered: bool = False, exactly_once: bool = False) -> BoundTopic:
    fifo = ".fifo" if ordered or exactly_once else ""
    return BoundTopic(name=name, physical=name + fifo, ordered=ordered, exactly_once=exactly_once)


def bound_subscription(topic: BoundTopic, name: str = "mail", **changes: Any) -> BoundSubscription:
    provider = AwsProvider("aws", AwsOptions())
    physical = provider.default_subscription_name(
        topic.name, name, ordered=topic.ordered, exactly_once=topic.exactly_once
    )
    values: dict[str, Any] = {
        "name": name,
        "physical": physical,
        "dead": provider.default_dead_name(physical),
        "topic": topic,
        "ack_deadline": 30.0,
        "max_attempts": 10,
        "max_backoff": 600.0,
        "timeout": 600.0,
    }
    return BoundSubscription(**values | changes)


def outgoing(payload: bytes = b'{"n":1}', **changes: Any) -> Outgoing:
    identity = str(uuid.uuid4())
    values: dict[str, Any] = {
        "id": identity,
        "payload": payload,
        "attributes": {},
        "ordering_key": None,
        "published_at": datetime.now(UTC),
        "delay": 0.0,
        "dedupe_id": changes.get("id", identity),
    }
    return Outgoing(**values | changes)


def letter(delivery: Delivery, **changes: Any) -> DeadLetter:
    values: dict[str, Any] = {
        "id": delivery.id,
        "payload": delivery.payload,
        "attributes": delivery.attributes,
        "ordering_key": delivery.ordering_key,
        "published_at": delivery.published_at,
        "reason": "attempts",
        "error": "ValueError: no",
        "source": "signups/mail",
        "attempt": delivery.attempt,
        "died_at": datetime.now(UTC),
    }
    return DeadLetter(**values | changes)


class Rig:
    """What is open: one publisher, an administrator, and a source for each subscription."""

    def __init__(self, provider: AwsProvider, topic: BoundTopic, subscriptions: Sequence[BoundSubscription]) -> None:
        self.provider = provider
        self.topic = topic
        self.subscriptions = subscriptions
        self.publisher: Publisher
        self.administrator: Administrator
        self.sources: list[Source] = []

    @property
    def subscription(self) -> BoundSubscription:
        return self.subscriptions[0]

    @property
    def source(self) -> Source:
        return self.sources[0]

    async def publish(self, *messages: Outgoing) -> Sequence[str | Exception]:
        return await self.publisher.publish(self.topic, messages)

    async def receive(self, count: int = 1, source: Source | None = None) -> list[Delivery]:
        """Exactly so many, in as many receives as that takes.

        One message may be handed out to two polls at the same moment: SQS says so of standard queues, and moto takes no
        lock between looking and marking. It counts once, with its latest lease, which is the one that holds.
        """
        got: dict[str, Delivery] = {}
        while len(got) < count:
            for delivery in await (source or self.source).receive(count - len(got)):
                got[delivery.id] = delivery
        return list(got.values())

    async def dead_letters(self) -> Sequence[DeadLetter]:
        return await self.administrator.dead_letters(self.subscription, 100)


@asynccontextmanager
async def rigged(
    options: AwsOptions, topic: BoundTopic | None = None, *subscriptions: BoundSubscription
) -> AsyncIterator[Rig]:
    """Provisions; by default a plain topic with one subscription. The sources do as they do at AWS."""
    topic = topic or bound_topic()
    provider = AwsProvider("aws", options)
    rig = Rig(provider, topic, subscriptions or [bound_subscription(topic)])
    async with AsyncExitStack() as stack:
        rig.administrator = await provider.open_administrator()
        stack.push_async_callback(rig.administrator.close)
        await rig.administrator.provision([topic], rig.subscriptions)
        rig.publisher = await provider.open_publisher()
        stack.push_async_callback(rig.publisher.close)
        for subscription in rig.subscriptions:
            source = AwsSource(subscription, Clients("aws", options), emulated=False)
            rig.sources.append(source)
            stack.push_async_callback(source.close)
            await source.open()
        yield rig


@asynccontextmanager
async def bare(options: AwsOptions, service: str) -> AsyncIterator[Any]:
    """A client without fastlane."""
    async with get_session().create_client(
        service,
        region_name=options.region,
        endpoint_url=options.endpoint_url,
        aws_access_key_id="other",
        aws_secret_access_key="other",
    ) as client:
        yield client
