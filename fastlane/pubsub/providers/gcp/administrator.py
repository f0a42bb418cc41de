"""The command line's and the boot process's view of Pub/Sub."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Sequence

from fastlane.errors import FastlaneError
from fastlane.pubsub.envelope import DeadLetter
from fastlane.pubsub.provider import Administrator, Backlog, BoundSubscription, BoundTopic, Step
from fastlane.pubsub.providers.gcp.failures import Answered, told
from fastlane.pubsub.providers.gcp.names import short, subscription_path, topic_path
from fastlane.pubsub.providers.gcp.provisioning import Provisioning
from fastlane.pubsub.providers.gcp.publisher import Published
from fastlane.pubsub.providers.gcp.pulling import Pulling
from fastlane.pubsub.providers.gcp.rest import Rest
from fastlane.pubsub.providers.gcp.wire import Framing, Received, pack, unpack

__all__ = ["AMONG_DEAD", "GcpAdministrator"]

SCAN = 10_000
"""Dead letters that are looked through for certain ids."""
BATCH = 100
_EMPTY = 3
_PAUSE = 0.2
AMONG_DEAD = "CloudPubSubDeadLetterSource"
"""How the attributes begin that Pub/Sub adds to a message that its own policy has moved."""


class GcpAdministrator(Administrator):
    """Pub/Sub tells nobody how many messages wait: that is in Cloud Monitoring, minutes later."""

    def __init__(self, rest: Rest) -> None:
        self._rest = rest

    async def plan(self, topics: Sequence[BoundTopic], subscriptions: Sequence[BoundSubscription]) -> Sequence[Step]:
        return [gap.step async for gap in Provisioning(self._rest).gaps(topics, subscriptions)]

    async def provision(
        self, topics: Sequence[BoundTopic], subscriptions: Sequence[BoundSubscription]
    ) -> Sequence[Step]:
        done: list[Step] = []
        async for gap in Provisioning(self._rest).gaps(topics, subscriptions):
            await gap.mend()
            done.append(gap.step)
        return done

    async def backlog(self, subscription: BoundSubscription) -> Backlog:
        return Backlog(waiting=None, in_flight=None, dead=None, paused=None)

    async def dead_letters(self, subscription: BoundSubscription, limit: int) -> Sequence[DeadLetter]:
        async with _Taken(self._rest, subscription) as taken:
            await taken.take(None, limit)
            return [letter for _, letter in taken.sorted()]

    async def replay(self, subscription: BoundSubscription, ids: Sequence[str] | None, limit: int) -> int:
        """Published to the topic, for that subscription alone: see `wire.FOR`."""
        topic = topic_path(self._rest.project, subscription.topic.physical)
        target = short(subscription_path(self._rest.project, subscription.physical))
        done = 0
        async with _Taken(self._rest, subscription) as taken:
            await taken.take(ids, limit)
            for ack_id, letter in taken.sorted():
                framing = Framing(letter.id, letter.published_at)
                packed = pack(
                    letter.payload,
                    letter.attributes,
                    framing,
                    ordering_key=letter.ordering_key,
                    meant_for=target,
                )
                try:
                    await self._rest.call("POST", f"{topic}:publish", {"messages": [packed]}, Published)
                except Answered as answered:
                    raise told(f"topic {subscription.topic.physical}", answered) from None
                await taken.remove([ack_id])
                done += 1
        return done

    async def purge(self, subscription: BoundSubscription, ids: Sequence[str] | None, limit: int) -> int:
        async with _Taken(self._rest, subscription) as taken:
            await taken.take(ids, limit)
            ack_ids = [ack_id for ack_id, _ in taken.sorted()]
            await taken.remove(ack_ids)
            return len(ack_ids)

    async def close(self) -> None:
        await self._rest.close()


class _Taken:
    """Dead letters under a lease. What is not removed is given back at the end."""

    def __init__(self, rest: Rest, subscription: BoundSubscription) -> None:
        self._pulling = Pulling(rest, subscription.dead)
        self._subscription = subscription
        self._held: dict[str, DeadLetter] = {}
        self._others: list[str] = []

    async def __aenter__(self) -> _Taken:
        return self

    async def __aexit__(self, *_: object) -> None:
        # Where it fails, they come back when the lease has ended.
        with contextlib.suppress(FastlaneError):
            await self._pulling.modify([*self._held, *self._others], 0)

    async def take(self, ids: Iterable[str] | None, limit: int) -> None:
        """Up to ``limit`` of those with ``ids``, the message's or the position, or of all."""
        wanted = None if ids is None else set(ids)
        seen: set[str] = set()
        empty = 0
        while len(self._held) < limit and len(seen) < SCAN and empty < _EMPTY and (wanted is None or wanted):
            room = BATCH if wanted is not None else min(limit - len(self._held), BATCH)
            received = await self._pulling.pull(room, at_once=True)
            if not received:
                # An answer at once may be empty though there is something.
                empty += 1
                await asyncio.sleep(_PAUSE)
                continue
            empty = 0
            for one in received:
                letter = self._letter(one)
                chosen = wanted is None or not wanted.isdisjoint((letter.id, letter.position))
                if letter.position in seen or not chosen or len(self._held) >= limit:
                    self._others.append(one.ack_id)
                else:
                    self._held[one.ack_id] = letter
                    if wanted is not None:
                        wanted -= {letter.id, letter.position}
                seen.add(letter.position)

    def sorted(self) -> list[tuple[str, DeadLetter]]:
        """Ack ids and letters, the oldest first."""
        return sorted(self._held.items(), key=lambda held: (held[1].died_at, held[1].published_at, held[1].id))

    async def remove(self, ack_ids: Sequence[str]) -> None:
        await self._pulling.acknowledge(ack_ids)
        for ack_id in ack_ids:
            del self._held[ack_id]

    def _letter(self, received: Received) -> DeadLetter:
        unpacked = unpack(received.message)
        framing = unpacked.framing
        death = framing.death
        if death is not None:
            reason, error, source = death.reason, death.error, death.source
            attempt, died_at = death.attempt, death.died_at
        else:
            # Pub/Sub's own policy has moved it, the back-stop.
            reason, error, source = "delivery-limit", "", self._subscription.source
            count = unpacked.attributes.get(f"{AMONG_DEAD}DeliveryCount", "")
            attempt = int(count) if count.isdecimal() else 1
            died_at = received.message.publish_time
        return DeadLetter(
            id=framing.id,
            payload=unpacked.payload,
            attributes={k: v for k, v in unpacked.attributes.items() if not k.startswith(AMONG_DEAD)},
            ordering_key=framing.key,
            published_at=framing.published_at,
            reason=reason,
            error=error,
            source=source,
            attempt=attempt,
            died_at=died_at,
            position=received.message.message_id,
        )
