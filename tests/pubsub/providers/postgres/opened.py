"""The provider on a database, without an app."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from fastlane.pubsub.envelope import DeadLetter, Delivery, Outgoing
from fastlane.pubsub.provider import BoundSubscription, BoundTopic, Publisher, Source
from fastlane.pubsub.providers.postgres import PostgresProvider
from fastlane.pubsub.providers.postgres.doorbell import Doorbell
from fastlane.pubsub.publishing.identifiers import uuid7
from fastlane.resources.configuration import DatabaseOptions, PostgresOptions
from fastlane.sql import Database
from fastlane.sql.settings import ConnectionSettings

__all__ = ["ORDERED", "PLAIN", "Broker", "broker", "letter", "message", "subscription"]

PLAIN = BoundTopic(name="plain", physical="plain", exactly_once=True)
ORDERED = BoundTopic(name="ordered", physical="ordered", ordered=True)
_numbers = itertools.count(1)


def message(key: str | None = None, *, delay: float = 0.0, dedupe_id: str | None = None) -> Outgoing:
    identifier = uuid7()
    return Outgoing(
        identifier, b"%d" % next(_numbers), {"a": "b"}, key, datetime.now(UTC), delay, dedupe_id or identifier
    )


def subscription(topic: BoundTopic, name: str = "all", ack_deadline: float = 30.0) -> BoundSubscription:
    physical = f"{topic.physical}-{name}"
    return BoundSubscription(
        name=name,
        physical=physical,
        dead=f"{physical}-dead",
        topic=topic,
        ack_deadline=ack_deadline,
        max_attempts=None,
        max_backoff=600.0,
        timeout=600.0,
    )


def letter(delivery: Delivery, reason: str = "rejected", error: str = "why") -> DeadLetter:
    return DeadLetter(
        id=delivery.id,
        payload=delivery.payload,
        attributes=delivery.attributes,
        ordering_key=delivery.ordering_key,
        published_at=delivery.published_at,
        reason=reason,
        error=error,
        source="plain/all",
        attempt=delivery.attempt,
        died_at=datetime.now(UTC),
    )


class Broker:
    """What a test has open."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.provider = PostgresProvider("broker", PostgresOptions(database=database.name))
        self.publisher: Publisher
        self._sources: list[Source] = []

    async def publish(self, topic: BoundTopic, messages: Sequence[Outgoing]) -> Sequence[str | Exception]:
        return await self.publisher.publish(topic, messages)

    async def source(self, one: BoundSubscription) -> Source:
        source = await self.provider.open_source(one)
        self._sources.append(source)
        return source

    @property
    def doorbell(self) -> Doorbell:
        return self.provider._stations.here().doorbell

    async def provider_backlog(
        self, topic: BoundTopic = PLAIN
    ) -> tuple[int | None, int | None, int | None, bool | None]:
        administrator = await self.provider.open_administrator()
        backlog = await administrator.backlog(subscription(topic))
        await administrator.close()
        return backlog.waiting, backlog.in_flight, backlog.dead, backlog.paused

    async def close(self) -> None:
        for source in self._sources:
            await source.close()
        await self.publisher.close()


@asynccontextmanager
async def broker(url: str, **options: Any) -> AsyncIterator[Broker]:
    database = Database("queue", migrations=None)
    settings = DatabaseOptions(url=url, **options)
    database.told = ConnectionSettings(lambda: settings)
    opened = Broker(database)
    opened.publisher = await opened.provider.open_publisher()
    try:
        yield opened
    finally:
        await opened.close()
