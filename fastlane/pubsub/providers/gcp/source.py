"""Receives from one subscription."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Sequence

from msgspec import Struct

from fastlane.errors import FastlaneError
from fastlane.pubsub.envelope import DeadLetter, Delivery
from fastlane.pubsub.provider import BoundSubscription, Source
from fastlane.pubsub.providers.gcp.failures import Answered, told
from fastlane.pubsub.providers.gcp.names import dead_topic, short
from fastlane.pubsub.providers.gcp.publisher import Published
from fastlane.pubsub.providers.gcp.pulling import LONGEST, Pulling
from fastlane.pubsub.providers.gcp.rest import Rest
from fastlane.pubsub.providers.gcp.wire import Death, Framing, Received, Unpacked, pack, unpack

__all__ = ["GcpSource", "Lease"]

GRACE = 1.0
"""Seconds that a cancelled receive waits for the answer of a pull that runs."""
LONG = 20.0
"""Seconds until a receive that asked again and again answers without any."""
SHORTEST_PAUSE = 0.01
LONGEST_PAUSE = 0.2
MOST_COUNTED = 50_000


class Lease(Struct, eq=False, gc=False):
    """What acknowledges a message, and until when, by this machine's monotonic clock.

    Pub/Sub takes an id whose lease has ended without a word, unless it is exactly-once.

    Attributes:
        count: how often this source has seen the message.
    """

    ack_id: str
    until: float
    count: int


class GcpSource(Source):
    """Pulls, with ordering keys where the topic has them.

    Args:
        at_once: ask for what there is, and ask again. Google holds a pull until something comes. So does the emulator,
            for 89 s, but it does not notice that nobody waits any more: each time, what came next was leased to the
            pull of a worker that had stopped or died.
    """

    def __init__(self, subscription: BoundSubscription, rest: Rest, *, at_once: bool) -> None:
        self._rest = rest
        self._pulling = Pulling(rest, subscription.physical)
        self._short = short(self._pulling.path)
        self._dead = dead_topic(rest.project, subscription.dead)
        self._ordered = subscription.topic.ordered
        # The last of each message that was not acknowledged, by Pub/Sub's id.
        self._leases: dict[str, Lease] = {}
        self._lease = math.ceil(subscription.ack_deadline)
        self._at_once = at_once
        self._acknowledged = asyncio.Event()

    async def receive(self, limit: int) -> Sequence[Delivery]:
        end = time.monotonic() + LONG
        pause = SHORTEST_PAUSE
        while True:
            pull = asyncio.ensure_future(self._pull(1 if self._ordered else limit))
            try:
                due, empty = await asyncio.shield(pull)
            except asyncio.CancelledError:
                await self._abandon(pull)
                raise
            if due:
                return due
            if empty:
                if not self._at_once or time.monotonic() > end:
                    return []
                pause = SHORTEST_PAUSE if await self._woken(pause) else min(2 * pause, LONGEST_PAUSE)

    async def ack(self, deliveries: Sequence[Delivery]) -> Sequence[Delivery]:
        held, lost = _held(deliveries)
        if held:
            gone = await self._pulling.acknowledge([delivery.lease.ack_id for delivery in held])
            for delivery in held:
                if delivery.lease.ack_id in gone:
                    lost.append(delivery)
                else:
                    self._leases.pop(delivery.broker_id, None)
            self._acknowledged.set()
            self._acknowledged.clear()
        return lost

    async def retry(self, delivery: Delivery, delay: float) -> None:
        await self._change([delivery], delay)

    async def release(self, deliveries: Sequence[Delivery]) -> None:
        await self._change(deliveries, 0)

    async def extend(self, deliveries: Sequence[Delivery], seconds: float) -> Sequence[Delivery]:
        return await self._change(deliveries, seconds)

    async def dead_letter(self, delivery: Delivery, letter: DeadLetter) -> None:
        death = Death(letter.reason, letter.error[:1000], letter.source, letter.attempt, letter.died_at)
        framing = Framing(letter.id, letter.published_at, key=letter.ordering_key, death=death)
        packed = pack(letter.payload, letter.attributes, framing)
        try:
            await self._rest.call("POST", f"{self._dead}:publish", {"messages": [packed]}, Published)
        except Answered as answered:
            raise told(f"topic {short(self._dead)}", answered) from None
        await self.ack([delivery])

    async def close(self) -> None:
        await self._rest.close()

    async def _pull(self, limit: int) -> tuple[list[Delivery], bool]:
        """What is due, and whether there was nothing else either."""
        received = await self._pulling.pull(limit, at_once=self._at_once)
        now, clock = time.monotonic(), time.time()
        due: list[Delivery] = []
        others: list[str] = []
        early: dict[int, list[str]] = {}
        for one in received:
            unpacked = unpack(one.message)
            due_at = unpacked.framing.not_before
            if unpacked.meant_for is not None and unpacked.meant_for != self._short:
                others.append(one.ack_id)
            elif due_at is not None and due_at > clock:
                early.setdefault(min(math.ceil(due_at - clock), LONGEST), []).append(one.ack_id)
            else:
                due.append(self._delivery(one, unpacked, now))
        if others or early:
            await self._put_aside(others, early)
        return due, not received

    async def _woken(self, pause: float) -> bool:
        """Whether something was acknowledged meanwhile: behind it the next message of its key may wait.

        Where there are no keys nothing does. To ask again then brought nothing, or two or three messages, at the price
        of thirty: that is what a request costs the emulator.
        """
        if not self._ordered:
            await asyncio.sleep(pause)
            return False
        try:
            async with asyncio.timeout(pause):
                return await self._acknowledged.wait()
        except TimeoutError:
            return False

    def _delivery(self, received: Received, unpacked: Unpacked, now: float) -> Delivery:
        broker_id = received.message.message_id
        lease = self._leased(broker_id, received.ack_id, now)
        receives = received.delivery_attempt or lease.count
        # Of a delayed message one delivery was to put it off; those are counted where Pub/Sub counts.
        put_off = bool(received.delivery_attempt and unpacked.framing.not_before is not None)
        return Delivery(
            id=unpacked.framing.id,
            broker_id=broker_id,
            payload=unpacked.payload,
            attributes=unpacked.attributes,
            ordering_key=unpacked.framing.key,
            published_at=unpacked.framing.published_at,
            attempt=max(1, receives - put_off),
            receives=receives,
            lease=lease,
        )

    def _leased(self, broker_id: str, ack_id: str, now: float) -> Lease:
        """Pub/Sub counts only where there is a native dead letter policy; elsewhere what this source has seen."""
        # PERF: one dict, that forgets what is acknowledged: 0.4 µs. Leases in a WeakValueDictionary, and counts beside
        # them, cost 2.2 (3.11).
        lease = Lease(ack_id, now + self._lease, 1)
        before = self._leases.pop(broker_id, None)
        if before is not None:
            before.until = 0.0  # Pub/Sub's clock was earlier than ours
            lease.count += before.count
        self._leases[broker_id] = lease
        if len(self._leases) > MOST_COUNTED:
            del self._leases[next(iter(self._leases))]
        return lease

    async def _put_aside(self, others: list[str], early: dict[int, list[str]]) -> None:
        """Where it fails they come again when their lease has ended."""
        calls = [self._pulling.modify(ids, seconds) for seconds, ids in early.items()]
        if others:
            calls.append(self._pulling.acknowledge(others))
        await asyncio.gather(*calls, return_exceptions=True)

    async def _abandon(self, pull: asyncio.Future[tuple[list[Delivery], bool]]) -> None:
        """What a pull that nobody waits for leases would be away until the lease ends."""
        try:
            async with asyncio.timeout(GRACE):
                due, _ = await asyncio.shield(pull)
                await self.release(due)
        except (TimeoutError, FastlaneError):
            pass
        finally:
            pull.cancel()
            await asyncio.wait([pull])

    async def _change(self, deliveries: Sequence[Delivery], wanted: float) -> list[Delivery]:
        # 0 is "at once", and hands out the followers of an ordered key before it.
        seconds = min(max(math.ceil(wanted), 1 if self._ordered else 0), LONGEST)
        held, lost = _held(deliveries)
        if held:
            now = time.monotonic()
            gone = await self._pulling.modify([delivery.lease.ack_id for delivery in held], seconds)
            for delivery in held:
                if delivery.lease.ack_id in gone:
                    lost.append(delivery)
                else:
                    delivery.lease.until = now + seconds
        return lost


def _held(deliveries: Sequence[Delivery]) -> tuple[list[Delivery], list[Delivery]]:
    """Those whose lease has not ended, and the others."""
    now = time.monotonic()
    held: list[Delivery] = []
    lost: list[Delivery] = []
    for delivery in deliveries:
        (held if delivery.lease.until > now else lost).append(delivery)
    return held, lost
