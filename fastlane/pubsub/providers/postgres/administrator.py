"""What the boot process and the command line ask of the database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from fastlane.pubsub.envelope import DeadLetter
from fastlane.pubsub.provider import Administrator, Backlog, BoundSubscription, BoundTopic, Step
from fastlane.pubsub.providers.postgres.links import Links

__all__ = ["PostgresAdministrator"]

CHUNK: Final = 500
FIND: Final = "SELECT id FROM fastlane.pubsub_subscription WHERE name = $1"
BACKLOG: Final = """
SELECT (SELECT count(*) FROM fastlane.pubsub_delivery d WHERE d.subscription = s.id),
    (SELECT count(*) FROM fastlane.pubsub_delivery d
     WHERE d.subscription = s.id AND d.visible_at > clock_timestamp() AND d.token <> 0),
    (SELECT count(*) FROM fastlane.pubsub_dead x WHERE x.subscription = s.id), s.paused
FROM fastlane.pubsub_subscription s WHERE s.name = $1
"""
DEAD: Final = """
SELECT x.id, x.body, x.attributes, x.key, x.published_at, x.reason, x.error, x.source, x.attempt, x.died_at, x.position
FROM fastlane.pubsub_dead x JOIN fastlane.pubsub_subscription s ON s.id = x.subscription
WHERE s.name = $1 ORDER BY x.position LIMIT $2
"""
PURGE: Final = """
WITH gone AS (DELETE FROM fastlane.pubsub_dead WHERE position IN (
    SELECT x.position FROM fastlane.pubsub_dead x
    WHERE x.subscription = $1 AND ($2::text[] IS NULL OR x.id = ANY ($2)) ORDER BY x.position LIMIT $3
) RETURNING 1) SELECT count(*)::integer FROM gone
"""
REPLAY: Final = "SELECT fastlane.pubsub_replay($1, $2, $3)"
TOPIC: Final = "INSERT INTO fastlane.pubsub_topic (name) VALUES ($1) ON CONFLICT DO NOTHING"
SUBSCRIPTION: Final = """
INSERT INTO fastlane.pubsub_subscription AS known (name, topic) VALUES ($1, $2)
ON CONFLICT (name) DO UPDATE SET topic = excluded.topic WHERE known.topic <> excluded.topic
"""
PAUSE: Final = """
WITH changed AS (UPDATE fastlane.pubsub_subscription SET paused = $2 WHERE name = $1 RETURNING id)
SELECT pg_notify('fastlane_pubsub', id::text) FROM changed
"""


class PostgresAdministrator(Administrator):
    """On a connection of its own.

    Args:
        links: closed with it.
    """

    def __init__(self, links: Links) -> None:
        self._links = links

    async def plan(self, topics: Sequence[BoundTopic], subscriptions: Sequence[BoundSubscription]) -> Sequence[Step]:
        known = {row[0] for row in await self._links.rows("SELECT name FROM fastlane.pubsub_topic")}
        there = dict(
            tuple(row) for row in await self._links.rows("SELECT name, topic FROM fastlane.pubsub_subscription")
        )
        steps = [Step("create", "topic", topic.physical) for topic in topics if topic.physical not in known]
        for one in subscriptions:
            detail = f"of topic {one.topic.physical}"
            if one.physical not in there:
                steps.append(Step("create", "subscription", one.physical, detail))
            elif there[one.physical] != one.topic.physical:
                steps.append(Step("change", "subscription", one.physical, f"{detail}, not of {there[one.physical]}"))
        return steps

    async def provision(
        self, topics: Sequence[BoundTopic], subscriptions: Sequence[BoundSubscription]
    ) -> Sequence[Step]:
        steps = await self.plan(topics, subscriptions)
        if steps:
            for topic in topics:
                await self._links.rows(TOPIC, topic.physical)
            for one in subscriptions:
                await self._links.rows(SUBSCRIPTION, one.physical, one.topic.physical)
        return steps

    async def backlog(self, subscription: BoundSubscription) -> Backlog:
        rows = await self._links.rows(BACKLOG, subscription.physical)
        if not rows:
            return Backlog(0, 0, 0, False)
        total, in_flight, dead, paused = rows[0]
        return Backlog(total - in_flight, in_flight, dead, paused)

    async def dead_letters(self, subscription: BoundSubscription, limit: int) -> Sequence[DeadLetter]:
        return [
            DeadLetter(
                id=identifier,
                payload=body,
                attributes=msgspec.json.decode(attributes, type=dict[str, str]),
                ordering_key=key,
                published_at=published_at,
                reason=reason,
                error=error,
                source=source,
                attempt=attempt,
                died_at=died_at,
                position=str(position),
            )
            for (
                identifier,
                body,
                attributes,
                key,
                published_at,
                reason,
                error,
                source,
                attempt,
                died_at,
                position,
            ) in await self._links.rows(DEAD, subscription.physical, limit)
        ]

    async def replay(self, subscription: BoundSubscription, ids: Sequence[str] | None, limit: int) -> int:
        return await self._in_chunks(REPLAY, subscription, ids, limit)

    async def purge(self, subscription: BoundSubscription, ids: Sequence[str] | None, limit: int) -> int:
        return await self._in_chunks(PURGE, subscription, ids, limit)

    async def pause(self, subscription: BoundSubscription, paused: bool) -> None:
        if await self._links.value(FIND, subscription.physical) is None:
            await self.provision([subscription.topic], [subscription])
        await self._links.rows(PAUSE, subscription.physical, paused)

    async def close(self) -> None:
        await self._links.close()

    async def _in_chunks(
        self, query: str, subscription: BoundSubscription, ids: Sequence[str] | None, limit: int
    ) -> int:
        """No transaction is long: those who publish to the same keys wait for it."""
        number = await self._links.value(FIND, subscription.physical)
        done = 0
        while number is not None and done < limit:
            wanted = min(CHUNK, limit - done)
            count: int = await self._links.value(query, number, None if ids is None else list(ids), wanted)
            done += count
            if count < wanted:
                break
        return done
