"""Receives from the queue of one subscription."""

from __future__ import annotations

import asyncio
import hashlib
import math
import time
import weakref
from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from fastlane.errors import FastlaneError
from fastlane.pubsub.envelope import DeadLetter, Delivery
from fastlane.pubsub.provider import BoundSubscription, Source
from fastlane.pubsub.providers.aws.clients import POLL, Clients
from fastlane.pubsub.providers.aws.names import is_fifo
from fastlane.pubsub.providers.aws.queues import LONGEST, Queue, opened
from fastlane.pubsub.providers.aws.wire import Death, Framing, pack
from fastlane.resources.lock import MachineLock

__all__ = ["RECEIVES", "AwsSource", "Lease"]

GRACE = 1.0
"""Seconds that a cancelled receive waits for the answer of a poll that runs."""
SHORTEST_PAUSE = 0.01
LONGEST_PAUSE = 0.2
"""Seconds between two polls of an emulator, which must not be long."""
RECEIVES = 5
"""Most polls at the same time, while they come back full."""


class Lease(Struct, eq=False, weakref=True):
    """What deletes a message, and until when, by this machine's monotonic clock.

    SQS takes an old handle without a word, and moto deletes what another consumer has by now: a lease that has ended by
    our clock is lost, whatever SQS would say.
    """

    handle: str
    received: float
    until: float

    def seconds(self, wanted: float, now: float) -> int:
        """``wanted``, rounded up, and cut where SQS ends every lease: twelve hours after the receive."""
        return max(0, min(math.ceil(wanted), LONGEST - math.ceil(now - self.received)))


class AwsSource(Source):
    """Polls with a client of its own, so that polls never take the connections of acknowledgements.

    Args:
        emulated: it is not AWS that answers. moto (5.2) does not notice that nobody waits for a long poll any more: it
            leased what came next to the poll of a worker that had stopped or died. There polls are short. And it looks
            which groups of a FIFO queue are in flight when a receive begins, not when it finds something, and hands out
            the last message first of several leases of a group that end together. There receives of FIFO queues bring
            one message, and are one at a time on this machine.
    """

    def __init__(self, subscription: BoundSubscription, clients: Clients, *, emulated: bool = False) -> None:
        self._subscription = subscription
        self._clients = clients
        self._lease = math.ceil(subscription.ack_deadline)
        self._leases: weakref.WeakValueDictionary[str, Lease] = weakref.WeakValueDictionary()
        self._emulated = emulated
        self._waiting = False
        self._turn: MachineLock | None = None
        if emulated and is_fifo(subscription.physical):
            digest = hashlib.sha256(subscription.physical.encode()).hexdigest()[:16]
            self._turn = MachineLock(f"sqs-{digest}")

    async def open(self) -> None:
        self._polls = await self._clients.open("sqs", read_timeout=POLL + 10, connections=RECEIVES + 1, tries=1)
        calls = await self._clients.open("sqs", read_timeout=10, connections=32)
        self._queue = Queue(calls, self._subscription.physical)
        self._dead = Queue(calls, self._subscription.dead)

    async def receive(self, limit: int) -> Sequence[Delivery]:
        poll = asyncio.ensure_future(self._poll(limit))
        try:
            return await asyncio.shield(poll)
        except asyncio.CancelledError:
            await self._abandon(poll)
            raise

    async def ack(self, deliveries: Sequence[Delivery]) -> Sequence[Delivery]:
        held, lost = _held(deliveries)
        if held:
            gone = await self._queue.delete([delivery.lease.handle for delivery in held])
            lost += [held[position] for position in sorted(gone)]
        return lost

    async def retry(self, delivery: Delivery, delay: float) -> None:
        await self._change([delivery], delay)

    async def release(self, deliveries: Sequence[Delivery]) -> None:
        await self._change(deliveries, 0)

    async def extend(self, deliveries: Sequence[Delivery], seconds: float) -> Sequence[Delivery]:
        return await self._change(deliveries, seconds)

    async def dead_letter(self, delivery: Delivery, letter: DeadLetter) -> None:
        death = Death(letter.reason, letter.error[:1000], letter.source, letter.attempt, letter.died_at)
        framing = Framing(letter.id, letter.published_at, letter.ordering_key, death=death)
        # A group of its own: a reader of a FIFO queue gets nothing behind a message of a group that it holds.
        await self._dead.send(
            pack(letter.payload, letter.attributes, framing),
            group=delivery.broker_id,
            deduplication=delivery.broker_id,
        )
        await self.ack([delivery])

    async def close(self) -> None:
        await self._clients.close()

    async def _poll(self, limit: int) -> list[Delivery]:
        end = time.monotonic() + POLL
        while True:
            messages = await self._receive(limit, max(0, math.ceil(end - time.monotonic())))
            now = time.monotonic()
            due: list[Delivery] = []
            early: list[tuple[str, int]] = []
            for message in messages:
                delivery, rest = self._delivery(message, now)
                if rest > 0:
                    early.append((delivery.lease.handle, delivery.lease.seconds(rest, now + 1)))
                else:
                    due.append(delivery)
            if early:
                # Put off once, to when they are due. Where that fails they come again when their lease has ended.
                try:
                    await self._queue.change(early)
                except FastlaneError:
                    if not due:
                        raise
            if due or not messages or now >= end:
                return due

    async def _receive(self, limit: int, wait: int) -> list[dict[str, Any]]:
        if not self._emulated:
            return await self._queue.receive(self._polls, limit, wait=wait, lease=self._lease)
        messages = await self._look(limit)
        if messages or self._waiting:
            return messages  # one that waits is enough
        end = time.monotonic() + wait
        # moto looks at every message of a FIFO queue.
        pause = SHORTEST_PAUSE if self._turn is None else LONGEST_PAUSE / 2
        self._waiting = True
        try:
            while not messages and time.monotonic() < end:
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
                messages = await self._look(limit)
        finally:
            self._waiting = False
        return messages

    async def _look(self, limit: int) -> list[dict[str, Any]]:
        """What there is at an emulator."""
        if self._turn is None:
            return await self._queue.receive(self._polls, limit, wait=0, lease=self._lease)
        await self._turn.acquire(POLL)
        try:
            return await self._queue.receive(self._polls, 1, wait=0, lease=self._lease)
        finally:
            self._turn.release()

    async def _abandon(self, poll: asyncio.Future[list[Delivery]]) -> None:
        """What SQS hands out to a poll that nobody waits for would be away until its lease ends."""
        try:
            async with asyncio.timeout(GRACE):
                await self.release(await asyncio.shield(poll))
        except (TimeoutError, FastlaneError):
            pass
        finally:
            poll.cancel()
            await asyncio.wait([poll])

    async def _change(self, deliveries: Sequence[Delivery], wanted: float) -> list[Delivery]:
        held, lost = _held(deliveries)
        if held:
            now = time.monotonic()
            seconds = [delivery.lease.seconds(wanted, now) for delivery in held]
            leases = [(delivery.lease.handle, n) for delivery, n in zip(held, seconds, strict=True)]
            gone = await self._queue.change(leases)
            for position, delivery in enumerate(held):
                if position in gone:
                    lost.append(delivery)
                else:
                    delivery.lease.until = now + seconds[position]
        return lost

    def _delivery(self, message: dict[str, Any], now: float) -> tuple[Delivery, float]:
        """The message, and in how many seconds it is due; not positive: now."""
        payload, attributes, framing = opened(message)
        receives = int(message.get("Attributes", {}).get("ApproximateReceiveCount", 1))
        # One of the receives of a delayed message was to put it off.
        attempt = receives if framing.not_before is None else max(1, receives - 1)
        lease = Lease(message["ReceiptHandle"], now, now + self._lease)
        if (before := self._leases.get(message["MessageId"])) is not None:
            before.until = 0.0  # SQS's clock was earlier than ours
        self._leases[message["MessageId"]] = lease
        delivery = Delivery(
            id=framing.id,
            broker_id=message["MessageId"],
            payload=payload,
            attributes=attributes,
            ordering_key=framing.key,
            published_at=framing.published_at,
            attempt=attempt,
            receives=receives,
            lease=lease,
        )
        return delivery, 0.0 if framing.not_before is None else framing.not_before - time.time()


def _held(deliveries: Sequence[Delivery]) -> tuple[list[Delivery], list[Delivery]]:
    """Those whose lease has not ended, and the others."""
    now = time.monotonic()
    held: list[Delivery] = []
    lost: list[Delivery] = []
    for delivery in deliveries:
        (held if delivery.lease.until > now else lost).append(delivery)
    return held, lost
