"""What the tests of the local broker have in common: messages, bindings, and a provider with its parts open."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fastlane.pubsub.envelope import DeadLetter, Delivery, Outgoing
from fastlane.pubsub.provider import Administrator, BoundSubscription, BoundTopic, Publisher, Source
from fastlane.pubsub.providers.local import LocalProvider
from fastlane.pubsub.providers.local.store import Store, StoreOptions
from fastlane.resources.configuration import LocalOptions

__all__ = ["TOPIC", "Rig", "bound", "gathered", "letter", "opened", "outgoing", "payloads", "rigged", "topic"]

_numbers = itertools.count(1)


def topic(name: str = "orders", *, exactly_once: bool = False) -> BoundTopic:
    return BoundTopic(name=name, physical=name, exactly_once=exactly_once)


TOPIC = topic()


def outgoing(
    payload: bytes = b'{"n":1}',
    *,
    key: str | None = None,
    delay: float = 0.0,
    dedupe_id: str | None = None,
    attributes: dict[str, str] | None = None,
) -> Outgoing:
    identity = f"0190-{next(_numbers)}"
    return Outgoing(identity, payload, attributes or {}, key, datetime.now(UTC), delay, dedupe_id or identity)


def bound(name: str = "mail", *, of: BoundTopic = TOPIC, ack_deadline: float = 30.0) -> BoundSubscription:
    return BoundSubscription(
        name=name,
        physical=f"{of.physical}-{name}",
        dead=f"{of.physical}-{name}-dead",
        topic=of,
        ack_deadline=ack_deadline,
        max_attempts=3,
        max_backoff=10.0,
        timeout=60.0,
    )


def letter(delivery: Delivery, *, error: str = "ValueError: no") -> DeadLetter:
    return DeadLetter(
        delivery.id,
        delivery.payload,
        delivery.attributes,
        delivery.ordering_key,
        delivery.published_at,
        "attempts",
        error,
        "orders/mail",
        delivery.attempt,
        datetime.now(UTC),
    )


class Rig:
    """A provider and what was opened of it; all is closed with it."""

    def __init__(self, provider: LocalProvider, path: Path, stack: contextlib.AsyncExitStack) -> None:
        self.provider = provider
        self.path = path
        self._stack = stack

    async def publisher(self) -> Publisher:
        publisher = await self.provider.open_publisher()
        self._stack.push_async_callback(publisher.close)
        return publisher

    async def source(self, subscription: BoundSubscription | None = None) -> Source:
        source = await self.provider.open_source(subscription or bound())
        self._stack.push_async_callback(source.close)
        return source

    async def administrator(self) -> Administrator:
        administrator = await self.provider.open_administrator()
        self._stack.push_async_callback(administrator.close)
        return administrator


@contextlib.asynccontextmanager
async def rigged(path: Path, **options: Any) -> AsyncIterator[Rig]:
    file = path / "pubsub.db"
    async with contextlib.AsyncExitStack() as stack:
        yield Rig(LocalProvider("local", LocalOptions(path=str(file), **options)), file, stack)


async def gathered(source: Source, count: int, *, limit: int = 100) -> list[Delivery]:
    """The next ``count`` deliveries, within twenty seconds: before a usual lease of 30 s would end."""
    got: list[Delivery] = []
    async with asyncio.timeout(20):
        while len(got) < count:
            got += await source.receive(min(limit, count - len(got)))
    return got


@contextlib.contextmanager
def opened(path: Path, **options: Any) -> Any:
    """The file, as a thread of the broker has it."""
    known = {"full": True, "max_bytes": 1 << 30, "retention": 604_800.0}
    store = Store(StoreOptions(path=str(path), **(known | options)))
    try:
        yield store
    finally:
        store.close()


def payloads(deliveries: Sequence[Delivery]) -> list[bytes]:
    return [delivery.payload for delivery in deliveries]
