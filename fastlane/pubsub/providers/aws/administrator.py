"""The command line's and the boot process's view of SNS and SQS."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from typing import Any

from fastlane.errors import FastlaneError
from fastlane.pubsub.envelope import DeadLetter
from fastlane.pubsub.provider import Administrator, Backlog, BoundSubscription, BoundTopic, Step
from fastlane.pubsub.providers.aws.clients import Clients
from fastlane.pubsub.providers.aws.provisioning import Provisioning
from fastlane.pubsub.providers.aws.queues import BATCH, Queue, opened, parts
from fastlane.pubsub.providers.aws.wire import Framing, datetime_of, pack

__all__ = ["AwsAdministrator"]

LEASE = 120
"""Seconds for which dead letters that are looked at are invisible to others, if nobody gives them back earlier."""
SCAN = 10_000
"""Dead letters that are looked through for certain ids."""
_EMPTY = 2


class AwsAdministrator(Administrator):
    """One client each for SNS and SQS."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients

    async def open(self) -> None:
        self._sns = await self._clients.open("sns", read_timeout=10, connections=4)
        self._sqs = await self._clients.open("sqs", read_timeout=10, connections=8)

    async def plan(self, topics: Sequence[BoundTopic], subscriptions: Sequence[BoundSubscription]) -> Sequence[Step]:
        provisioning = Provisioning(self._sns, self._sqs, await self._clients.account())
        return [gap.step async for gap in provisioning.gaps(topics, subscriptions)]

    async def provision(
        self, topics: Sequence[BoundTopic], subscriptions: Sequence[BoundSubscription]
    ) -> Sequence[Step]:
        provisioning = Provisioning(self._sns, self._sqs, await self._clients.account())
        done: list[Step] = []
        async for gap in provisioning.gaps(topics, subscriptions):
            await gap.mend()
            done.append(gap.step)
        return done

    async def backlog(self, subscription: BoundSubscription) -> Backlog:
        """Delayed messages that a consumer has put off count as leased: SQS can't tell them apart."""
        waiting, leased = await Queue(self._sqs, subscription.physical).depth()
        dead = sum(await Queue(self._sqs, subscription.dead).depth())
        return Backlog(waiting=waiting, in_flight=leased, dead=dead, paused=None)

    async def dead_letters(self, subscription: BoundSubscription, limit: int) -> Sequence[DeadLetter]:
        async with _Taken(Queue(self._sqs, subscription.dead), subscription) as taken:
            await taken.take(None, limit)
            return [letter for _, letter in taken.sorted()]

    async def replay(self, subscription: BoundSubscription, ids: Sequence[str] | None, limit: int) -> int:
        target = Queue(self._sqs, subscription.physical)
        done = 0
        async with _Taken(Queue(self._sqs, subscription.dead), subscription) as taken:
            await taken.take(ids, limit)
            for handle, letter in taken.sorted():
                framing = Framing(letter.id, letter.published_at, letter.ordering_key)
                await target.send(
                    pack(letter.payload, letter.attributes, framing),
                    group=letter.ordering_key or letter.id,
                    # The id of the message itself would be taken for a duplicate; this one is the same in a second try.
                    deduplication=letter.position,
                )
                await taken.remove([handle])
                done += 1
        return done

    async def purge(self, subscription: BoundSubscription, ids: Sequence[str] | None, limit: int) -> int:
        async with _Taken(Queue(self._sqs, subscription.dead), subscription) as taken:
            await taken.take(ids, limit)
            handles = [handle for handle, _ in taken.sorted()]
            await taken.remove(handles)
            return len(handles)

    async def close(self) -> None:
        await self._clients.close()


class _Taken:
    """Dead letters under a lease. What is not removed is given back at the end."""

    def __init__(self, queue: Queue, subscription: BoundSubscription) -> None:
        self._queue = queue
        self._subscription = subscription
        self._held: dict[str, DeadLetter] = {}
        self._others: list[str] = []

    async def __aenter__(self) -> _Taken:
        return self

    async def __aexit__(self, *_: object) -> None:
        # Where it fails, they come back when the lease has ended.
        with contextlib.suppress(FastlaneError):
            for handles in parts([*self._held, *self._others], BATCH):
                await self._queue.change([(handle, 0) for handle in handles])

    async def take(self, ids: Iterable[str] | None, limit: int) -> None:
        """Up to ``limit`` of those with ``ids``, the message's or the position, or of all."""
        wanted = None if ids is None else set(ids)
        seen: set[str] = set()
        empty = 0
        while len(self._held) < limit and len(seen) < SCAN and empty < _EMPTY and (wanted is None or wanted):
            room = BATCH if wanted is not None else limit - len(self._held)
            messages = await self._queue.receive(self._queue.client, room, wait=1, lease=LEASE)
            empty = 0 if messages else empty + 1
            for message in messages:
                letter = self._letter(message)
                chosen = wanted is None or not wanted.isdisjoint((letter.id, letter.position))
                if letter.position in seen or not chosen or len(self._held) >= limit:
                    self._others.append(message["ReceiptHandle"])
                else:
                    self._held[message["ReceiptHandle"]] = letter
                    if wanted is not None:
                        wanted -= {letter.id, letter.position}
                seen.add(letter.position)

    def sorted(self) -> list[tuple[str, DeadLetter]]:
        """Handles and letters, the oldest first."""
        return sorted(self._held.items(), key=lambda held: (held[1].died_at, held[1].published_at, held[1].id))

    async def remove(self, handles: Sequence[str]) -> None:
        for part in parts(list(handles), BATCH):
            await self._queue.delete(part)
            for handle in part:
                del self._held[handle]

    def _letter(self, message: dict[str, Any]) -> DeadLetter:
        payload, attributes, framing = opened(message)
        death = framing.death
        system = message.get("Attributes", {})
        # Without ours SQS's redrive policy has moved it, the back-stop.
        return DeadLetter(
            id=framing.id,
            payload=payload,
            attributes=attributes,
            ordering_key=framing.key,
            published_at=framing.published_at,
            reason="delivery-limit" if death is None else death.reason,
            error="" if death is None else death.error,
            source=self._subscription.source if death is None else death.source,
            attempt=int(system.get("ApproximateReceiveCount", 1)) if death is None else death.attempt,
            died_at=datetime_of(system.get("SentTimestamp")) if death is None else death.died_at,
            position=message["MessageId"],
        )
