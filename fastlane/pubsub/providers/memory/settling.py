"""``await app.settle()``: until every message that a test has caused is handled, without waiting for any backoff."""

from __future__ import annotations

import asyncio
import weakref
from typing import Final

from fastlane.pubsub.providers.memory.broker import Broker

__all__ = ["enlist", "settle"]

CALM: Final = 25
"""Turns of the event loop without anything new, after which nothing more is expected: between a message and its
handler, and between its end and the acknowledgement, there are a handful."""

_brokers: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, weakref.WeakSet[Broker]] = weakref.WeakKeyDictionary()


def enlist(broker: Broker) -> None:
    """`settle` on the running loop is about this broker, too."""
    _brokers.setdefault(asyncio.get_running_loop(), weakref.WeakSet()).add(broker)


async def settle(timeout: float = 30.0) -> None:
    """Answers when no message of the brokers in memory can be handled any more.

    Each is acknowledged or dead, waits on a paused subscription, or has nobody who consumes it. Backoff, delays and the
    wait of batches are jumped over; handlers that run are waited for.

    Args:
        timeout: real seconds.

    Raises:
        TimeoutError: messages are left; the text names them.
    """
    loop = asyncio.get_running_loop()
    brokers = list(_brokers.get(loop, ()))
    deadline = loop.time() + timeout
    while True:
        await _calm(brokers, deadline)
        late = loop.time() >= deadline
        owing = [broker for broker in brokers if broker.owing or any(busy() for busy in broker.busy)]
        if not owing:
            return
        if late:
            raise TimeoutError("\n".join([f"there are messages after {timeout:g} s:", *map(_described, owing)]))
        if not sum(broker.jump() for broker in owing):
            await asyncio.sleep(0.001)


async def _calm(brokers: list[Broker], deadline: float) -> None:
    """Until nothing happens by itself, and nothing runs."""
    loop = asyncio.get_running_loop()
    turns, before = 0, -1
    while turns < CALM and loop.time() < deadline:
        busy = any(busy() for broker in brokers for busy in broker.busy)
        # A handler that runs may wait for anything in the world: a turn without a pause would burn the processor.
        await asyncio.sleep(0.001 if busy and turns else 0)
        now = sum(broker.changes + broker.clock.rings for broker in brokers)
        turns = turns + 1 if now == before and not busy else int(busy)
        before = now


def _described(broker: Broker) -> str:
    lines = [
        f"    {queue.subscription.source}: {len(queue)}, such as {stored.message.id} in attempt {stored.attempt}"
        for queue in broker.queues.values()
        for stored in list(queue.waiting)[:1]
    ]
    return "\n".join(lines) or "    a publish that is not confirmed"
