"""What the tests of NSQ have in common: messages, bindings, and a provider with its parts open."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fastlane.pubsub.envelope import DeadLetter, Delivery, Outgoing
from fastlane.pubsub.provider import Administrator, BoundSubscription, BoundTopic, BrokerUnavailable, Publisher, Source
from fastlane.pubsub.providers.nsq import NsqProvider
from fastlane.resources.configuration.providers import NsqOptions
from tests.servers.nsq import Nsqd

__all__ = [
    "TOPIC",
    "Rig",
    "bound_subscription",
    "eventually",
    "gather_messages",
    "letter",
    "longest_pause",
    "options_of",
    "outgoing",
    "rigged",
]

_NOISE = 0.2
_numbers = itertools.count(1)
TOPIC = BoundTopic(name="orders", physical="orders")


def outgoing(payload: bytes = b'{"n":1}', *, attributes: dict[str, str] | None = None, delay: float = 0.0) -> Outgoing:
    identity = f"0190-{next(_numbers)}"
    return Outgoing(identity, payload, attributes or {}, None, datetime.now(UTC), delay, identity)


def bound_subscription(name: str = "mail", *, ack_deadline: float = 30.0) -> BoundSubscription:
    return BoundSubscription(
        name=name,
        physical=f"orders-{name}",
        dead=f"orders-{name}-dead",
        topic=TOPIC,
        ack_deadline=ack_deadline,
        max_attempts=3,
        max_backoff=10.0,
        timeout=60.0,
    )


def letter(delivery: Delivery, *, error: str = "ValueError: no", died_at: datetime | None = None) -> DeadLetter:
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
        died_at or datetime.now(UTC),
    )


def options_of(*servers: Nsqd, **options: Any) -> NsqOptions:
    return NsqOptions(
        nsqd=[server.address for server in servers], nsqd_http=[server.http_address for server in servers], **options
    )


class Rig:
    """A provider and what was opened of it; all is closed with it."""

    def __init__(self, provider: NsqProvider, stack: contextlib.AsyncExitStack) -> None:
        self.provider = provider
        self._stack = stack

    async def publisher(self) -> Publisher:
        publisher = await self.provider.open_publisher()
        self._stack.push_async_callback(publisher.close)
        return publisher

    async def source(self, subscription: BoundSubscription | None = None) -> Source:
        source = await self.provider.open_source(subscription or bound_subscription())
        self._stack.push_async_callback(source.close)
        return source

    async def administrator(self) -> Administrator:
        administrator = await self.provider.open_administrator()
        self._stack.push_async_callback(administrator.close)
        return administrator


@contextlib.asynccontextmanager
async def rigged(options: NsqOptions, *subscriptions: BoundSubscription, heartbeat: float = 5.0) -> AsyncIterator[Rig]:
    """With the topic and these subscriptions provisioned; without any, nothing is."""
    provider = NsqProvider("events", options)
    provider.heartbeat = heartbeat
    provider.lookup_interval = 0.2
    async with contextlib.AsyncExitStack() as stack:
        rig = Rig(provider, stack)
        if subscriptions:
            await (await rig.administrator()).provision([TOPIC], subscriptions)
        yield rig


async def eventually(ask: Callable[[], Awaitable[Any]], wanted: Any, *, within: float = 30.0) -> None:
    """That an answer becomes what it should be."""
    deadline = asyncio.get_running_loop().time() + within
    while (got := await ask()) != wanted:
        assert asyncio.get_running_loop().time() < deadline, f"{got!r}, expected {wanted!r}"
        await asyncio.sleep(0.02)


async def gather_messages(
    source: Source, count: int, *, within: float = 40.0, acknowledge: bool = True
) -> list[Delivery]:
    """So many messages, or more."""
    got: list[Delivery] = []
    async with asyncio.timeout(within):
        while len(got) < count:
            try:
                some: Sequence[Delivery] = await source.receive(100)
            except BrokerUnavailable:
                await asyncio.sleep(0.05)
                continue
            if acknowledge:
                await source.ack(some)
            got += some
    return got


def _queued() -> float:
    """For how many seconds this thread was ready to run and none of the cores was free, where Linux tells it."""
    try:
        return int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return 0.0


class _Metronome:
    """A thread that does nothing but wake up: where it is late, too, not the event loop but the process stood still."""

    step = 0.005

    def __init__(self) -> None:
        self._due = time.monotonic() + self.step
        self._late: list[tuple[float, float]] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)
        self._thread.start()

    def late(self, since: float, until: float) -> float:
        """For how many seconds of that time it was late."""
        due = self._due  # before what is late already: it may just be added to that, and is better seen twice
        late = [(due, until), *self._late]
        return sum(max(0.0, min(end, until) - max(begin, since)) for begin, end in late)

    def end(self) -> None:
        self._ended.set()
        self._thread.join()

    def _beat(self) -> None:
        while not self._ended.wait(self.step):
            now = time.monotonic()
            if now - self._due > self.step:
                self._late.append((self._due, now))
            self._due = now + self.step


@contextlib.asynccontextmanager
async def longest_pause() -> AsyncIterator[Callable[[], float]]:
    """Measures for how long the event loop did nothing else, in seconds.

    Other tests share this machine's cores. So a pause in which the loop's thread computed counts by its CPU time. One
    in which it stood still counts without the time for which others had the cores, or no thread of this process had
    one (its machine may be stopped for a while, too), and `_NOISE` of it is the machine's. What is left of earlier
    tests is kept from the collector.
    """
    step = 0.005
    worst = 0.0

    async def watch() -> None:
        nonlocal worst
        while True:
            due, computed, queued = time.monotonic() + step, time.thread_time(), _queued()
            await asyncio.sleep(step)
            now = time.monotonic()
            elsewhere = max(_queued() - queued, metronome.late(due, now))
            worst = max(worst, time.thread_time() - computed, now - due - elsewhere - _NOISE)

    gc.collect()
    gc.freeze()
    metronome = _Metronome()
    task = asyncio.create_task(watch())
    try:
        yield lambda: worst
    finally:
        task.cancel()
        await asyncio.wait([task])
        metronome.end()
        gc.unfreeze()
