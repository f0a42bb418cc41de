"""Receiving: rows that are claimed, whoever else claims at the same time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from secrets import randbits
from typing import Final

import msgspec
from msgspec import Struct

from fastlane.pubsub.envelope import DeadLetter, Delivery
from fastlane.pubsub.provider import BoundSubscription, BrokerUnavailable, Source
from fastlane.pubsub.providers.postgres.doorbell import Doorbell
from fastlane.pubsub.providers.postgres.links import Links
from fastlane.pubsub.providers.postgres.publisher import FAR

__all__ = ["Lease", "PostgresSource"]

logger = logging.getLogger("fastlane.pubsub")

REGISTER: Final = """
WITH known AS (SELECT id FROM fastlane.pubsub_subscription WHERE name = $1),
topic AS (
    INSERT INTO fastlane.pubsub_topic (name) SELECT $2 WHERE NOT EXISTS (SELECT FROM known) ON CONFLICT DO NOTHING
),
made AS (
    INSERT INTO fastlane.pubsub_subscription (name, topic) SELECT $1, $2 WHERE NOT EXISTS (SELECT FROM known)
    ON CONFLICT DO NOTHING RETURNING id
)
SELECT id FROM known UNION ALL SELECT id FROM made
"""
CLAIM: Final = "SELECT * FROM fastlane.pubsub_claim($1, $2, $3, $4)"
ACK: Final = "SELECT fastlane.pubsub_ack($1, $2, $3)"
GIVE_BACK: Final = "SELECT fastlane.pubsub_give_back($1, $2, $3, $4, $5)"
EXTEND: Final = "SELECT fastlane.pubsub_extend($1, $2, $3, $4)"
BURY: Final = "SELECT fastlane.pubsub_bury($1, $2, $3, $4, $5, $6, $7, $8)"

POLL: Final = 0.25
POLL_LISTENING: Final = 1.0
PATIENCE: Final = 5.0
GIVE_BACK_PATIENCE: Final = 1.0
MOST: Final = 500

_attributes = msgspec.json.Decoder(dict[str, str])


class Lease(Struct, frozen=True):
    """What a `Delivery` keeps for us."""

    seq: int
    token: int


class PostgresSource(Source):
    """One subscription. What it hands out and nobody answered for is handed out again when it closes.

    Args:
        links: of this event loop.
        doorbell: of this event loop.
        subscription: as bound.
        release: gives both back.
    """

    def __init__(
        self,
        links: Links,
        doorbell: Doorbell,
        subscription: BoundSubscription,
        release: Callable[[], Awaitable[None]],
    ) -> None:
        self._links = links
        self._doorbell = doorbell
        self._subscription = subscription
        self._release = release
        self._known: int | None = None
        self._loop = asyncio.get_running_loop()
        self._rung = asyncio.Event()
        self._leases: dict[Lease, None] = {}
        self._closed = False

    async def register(self) -> int:
        """Make sure that the database knows the subscription. From here on, what is published waits for it."""
        if self._known is None:
            one = self._subscription
            number = None
            while number is None:  # None: another has just made it, and this statement could not see it yet
                number = await self._links.value(REGISTER, one.physical, one.topic.physical)
            self._known = number
            if not self._closed:
                self._doorbell.add(number, self._rung)
        return self._known

    async def receive(self, limit: int) -> Sequence[Delivery]:
        await self.register()
        end = self._loop.time() + PATIENCE
        while not self._closed:
            self._rung.clear()
            deliveries, due = await self._claim(min(limit, MOST))
            if deliveries:
                self._leases.update((delivery.lease, None) for delivery in deliveries)
                return deliveries
            left = end - self._loop.time()
            if left <= 0:
                break
            # A follower that another worker has made ready is not told of: NOTIFY at every acknowledgement would keep
            # the commits of all others waiting.
            poll = POLL_LISTENING if self._doorbell.listening and not self._subscription.topic.ordered else POLL
            timer = self._loop.call_later(max(0.002, min(poll, left, poll if due is None else due)), self._rung.set)
            try:
                await self._rung.wait()
            finally:
                timer.cancel()
        return ()

    async def ack(self, deliveries: Sequence[Delivery]) -> Sequence[Delivery]:
        if not deliveries:
            return ()
        done = set(await self._links.value(ACK, *self._held(deliveries)))
        self._forget(deliveries)
        if any(delivery.ordering_key is not None for delivery in deliveries):
            self._rung.set()
        return [delivery for delivery in deliveries if delivery.lease.token not in done]

    async def retry(self, delivery: Delivery, delay: float) -> None:
        await self._give_back([delivery], delay, unstarted=False)

    async def release(self, deliveries: Sequence[Delivery]) -> None:
        if deliveries:
            await self._give_back(deliveries, 0.0, unstarted=True)

    async def extend(self, deliveries: Sequence[Delivery], seconds: float) -> Sequence[Delivery]:
        if not deliveries:
            return ()
        held = set(await self._links.value(EXTEND, *self._held(deliveries), min(seconds, FAR)))
        lost = [delivery for delivery in deliveries if delivery.lease.token not in held]
        self._forget(lost)
        return lost

    async def dead_letter(self, delivery: Delivery, letter: DeadLetter) -> None:
        lease: Lease = delivery.lease
        await self._links.value(
            BURY,
            await self.register(),
            lease.seq,
            lease.token,
            _text(letter.reason),
            _text(letter.error),
            letter.source,
            letter.attempt,
            letter.died_at,
        )
        self._forget([delivery])
        self._rung.set()

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._rung.set()
        if self._known is not None:
            self._doorbell.remove(self._known, self._rung)
        try:
            if self._leases and self._known is not None:
                leases = list(self._leases)
                seqs, tokens = [lease.seq for lease in leases], [lease.token for lease in leases]
                async with asyncio.timeout(GIVE_BACK_PATIENCE):
                    await self._links.value(GIVE_BACK, self._known, seqs, tokens, 0.0, False)
        except (BrokerUnavailable, TimeoutError) as error:
            logger.warning("%s: not given back, its leases will lapse: %s", self._subscription.source, error)
        finally:
            await self._release()

    async def _claim(self, limit: int) -> tuple[list[Delivery], float | None]:
        answer = self._loop.create_task(self._ask(limit))
        try:
            return await asyncio.shield(answer)
        except asyncio.CancelledError:
            # The server may have done it already: what it brings goes back at once.
            given_back = self._loop.create_task(self._give_back_claimed(answer))
            await asyncio.wait([given_back], timeout=GIVE_BACK_PATIENCE)
            raise

    async def _ask(self, limit: int) -> tuple[list[Delivery], float | None]:
        """Deliveries; without any, in how many seconds there will be some, as far as it is known."""
        base = randbits(61) + 1
        rows = await self._links.rows(CLAIM, self._known, limit, self._subscription.ack_deadline, base)
        if len(rows) == 1 and rows[0][0] is None:
            return [], rows[0][8]
        return [
            Delivery(
                id=identifier,
                broker_id=str(seq),
                payload=body,
                attributes={} if attributes == "{}" else _attributes.decode(attributes),
                ordering_key=key,
                published_at=published_at,
                attempt=attempt,
                receives=receives,
                lease=Lease(seq, base + seq),
            )
            for seq, identifier, key, published_at, attempt, receives, attributes, body, _ in rows
        ], None

    async def _give_back_claimed(self, answer: asyncio.Task[tuple[list[Delivery], float | None]]) -> None:
        try:
            deliveries, _ = await answer
            if deliveries:
                await self._give_back(deliveries, 0.0, unstarted=True)
        except Exception as error:
            logger.warning("%s: not given back, its lease will lapse: %s", self._subscription.source, error)

    async def _give_back(self, deliveries: Sequence[Delivery], delay: float, *, unstarted: bool) -> None:
        await self._links.value(GIVE_BACK, *self._held(deliveries), min(delay, FAR), unstarted)
        self._forget(deliveries)
        self._rung.set()  # the next time to look has changed

    def _held(self, deliveries: Sequence[Delivery]) -> tuple[int | None, list[int], list[int]]:
        leases: list[Lease] = sorted((delivery.lease for delivery in deliveries), key=lambda lease: lease.seq)
        return self._known, [lease.seq for lease in leases], [lease.token for lease in leases]

    def _forget(self, deliveries: Sequence[Delivery]) -> None:
        for delivery in deliveries:
            self._leases.pop(delivery.lease, None)


def _text(text: str) -> str:
    return text.encode("utf-8", "replace").decode().replace("\x00", "\N{REPLACEMENT CHARACTER}")
