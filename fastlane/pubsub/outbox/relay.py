"""Carries the outbox of one database to one broker: read, publish, delete what the broker has confirmed.

A crash between the last two publishes the last batch of a topic again: of a key a suffix is repeated, and nothing comes
before what was committed before it.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Final

from fastlane.errors import FastlaneError
from fastlane.pubsub.envelope import Outgoing
from fastlane.pubsub.outbox.insertion import CONFIRM, READ, outgoing_of
from fastlane.pubsub.provider import BoundTopic, BrokerUnavailable, Provider, Publisher, PublishRefused
from fastlane.pubsub.providers.postgres.links import Links

__all__ = ["Relay"]

logger = logging.getLogger("fastlane.pubsub")

ROWS: Final = 500
LEASE: Final = timedelta(seconds=10)
RENEW_SECONDS: Final = 3.0
PUBLISH_SECONDS: Final = 20.0
TAKE_SECONDS: Final = 1.0
AWAKE: Final = timedelta(seconds=4)
AWAKE_POLL_SECONDS: Final = 0.01
POLL_SECONDS: Final = 1.0
REQUESTS: Final = 4
"""Of a topic without order, side by side."""
FIRST_BACKOFF: Final = 0.1
LONGEST_BACKOFF: Final = 5.0

PENDING: Final = """
SELECT t FROM unnest($1::text[]) AS t WHERE EXISTS (SELECT FROM fastlane.outbox o WHERE o.topic = t)
"""
TAKE: Final = """
INSERT INTO fastlane.outbox_lease AS lease (topic, owner, lease_until, awake_until)
SELECT t, $2, clock_timestamp() + $3::interval, clock_timestamp() + $4::interval
FROM unnest($1::text[]) AS t ORDER BY t
ON CONFLICT (topic) DO UPDATE
SET owner = excluded.owner, lease_until = excluded.lease_until, awake_until = excluded.awake_until
WHERE lease.owner = excluded.owner OR lease.lease_until < clock_timestamp() RETURNING topic
"""
RELEASE: Final = (
    "UPDATE fastlane.outbox_lease SET lease_until = clock_timestamp(), awake_until = '-infinity' WHERE owner = $1"
)
BURY: Final = """
WITH gone AS (DELETE FROM fastlane.outbox WHERE seq = $1 RETURNING *)
INSERT INTO fastlane.outbox_dead (seq, topic, id, key, published_at, due_at, dedupe_id, attributes, body, error)
SELECT seq, topic, id, key, published_at, due_at, dedupe_id, attributes, body, $2 FROM gone
"""

Row = tuple[int, Outgoing]


class Relay:
    """Used on one event loop.

    Args:
        links: to the database.
        provider: of the broker.
        topics: what it carries, by name.
        owner: names this process in the leases. Whoever has the same name takes over at once: it must be sure that the
            other one is dead.

    Attributes:
        woken: set it when there may be something; without it the relay looks once a second, or every few milliseconds
            where there was something a moment ago: then nobody wakes it.
    """

    def __init__(self, links: Links, provider: Provider, topics: Mapping[str, BoundTopic], owner: str) -> None:
        self.woken = asyncio.Event()
        self._links = links
        self._provider = provider
        self._topics = topics
        self._owner = owner
        self._publisher: Publisher | None = None
        self._asked: set[str] = set()
        self._held: set[str] = set()
        self._carrying = False
        self._held_until = 0.0
        self._taken = -TAKE_SECONDS
        self._awake_until = 0.0
        self._backoff = 0.0
        self._trouble: Exception | None = None
        self._troubled = False
        self._stopped = False

    def stop(self) -> None:
        """Confirm what is being published, and end. Whoever is in a hurry cancels `run`."""
        self._stopped = True
        self.woken.set()

    async def run(self) -> None:
        """Carry until `stop`."""
        renewing = asyncio.get_running_loop().create_task(self._renew())
        try:
            while not self._stopped:
                self.woken.clear()
                carried = await self._turn()
                if self._stopped or (carried and not self._backoff):
                    continue
                await self._wait(self._pause())
        finally:
            renewing.cancel()
            await self._leave()

    def _pause(self) -> float:
        if self._backoff:
            return self._backoff * random.uniform(0.5, 1.0)
        is_awake = asyncio.get_running_loop().time() < self._awake_until
        return AWAKE_POLL_SECONDS if is_awake else POLL_SECONDS

    async def _wait(self, pause: float) -> None:
        try:
            async with asyncio.timeout(pause):
                await self.woken.wait()
                # Where the broker is in trouble, a new row is no reason to try it earlier.
                while self._backoff and not self._stopped:
                    self.woken.clear()
                    await self.woken.wait()
        except TimeoutError:
            pass

    async def _leave(self) -> None:
        try:
            async with asyncio.timeout(1.0):
                if self._held:
                    await self._links.rows(RELEASE, self._owner)
                if self._publisher is not None:
                    await self._publisher.close()
        except (FastlaneError, TimeoutError) as error:
            logger.debug("the outbox of %r was left in a hurry: %s", self._links.name, error)

    # The lease

    async def _take(self, topics: Sequence[str]) -> None:
        """Own them for a while, as far as nobody else does."""
        asked = asyncio.get_running_loop().time()
        rows = await self._links.rows(TAKE, list(topics), self._owner, LEASE, AWAKE)
        self._asked = set(topics)
        self._held = {row[0] for row in rows}
        self._taken = asked
        self._held_until = asked + LEASE.total_seconds() - 1.0
        if rows:
            # A little longer than the rows say: who has read that it is awake may commit a little later.
            self._awake_until = asyncio.get_running_loop().time() + AWAKE.total_seconds() + 0.2

    async def _renew(self) -> None:
        """While a broker takes its time."""
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            if self._carrying and self._held:
                try:
                    await self._take(sorted(self._held))
                except Exception as error:
                    logger.debug("the lease of the outbox of %r was not renewed: %s", self._links.name, error)

    def _owns(self, topic: str) -> bool:
        return topic in self._held and asyncio.get_running_loop().time() < self._held_until

    # Carrying

    async def _turn(self) -> bool:
        """Some of what there is. Answers whether there may be more at once."""
        try:
            pending = [row[0] for row in await self._links.rows(PENDING, list(self._topics))]
            now = asyncio.get_running_loop().time()
            if not pending:
                if now >= self._awake_until:
                    self._held = set()
                self._well()
                return False
            if now > self._taken + TAKE_SECONDS or not self._asked.issuperset(pending):
                await self._take(pending)
            if self._publisher is None and self._held:
                self._publisher = await self._provider.open_publisher()
            self._trouble = None
            self._carrying = True
            carried = [await self._carry(name) for name in pending if name in self._held]
        except asyncio.CancelledError:
            raise
        except Exception as error:  # a mistake of ours must not end it
            self._trouble = error
            carried = []
        finally:
            self._carrying = False
        if self._trouble is None:
            self._well()
        else:
            self._complain(self._trouble)
        return any(carried)

    async def _carry(self, name: str) -> bool:
        topic = self._topics[name]
        rows = [outgoing_of(row) for row in await self._links.rows(READ, name, ROWS)]
        batches = self._batches(rows)
        carried = False
        for start in range(0, len(batches), 1 if topic.ordered else REQUESTS):
            if self._stopped or not self._owns(name):
                return False
            together = batches[start : start + (1 if topic.ordered else REQUESTS)]
            answers = await asyncio.gather(*(self._publish(topic, batch) for batch in together))
            done: list[int] = []
            for batch, answer in zip(together, answers, strict=True):
                done += await self._judge(topic, batch, answer)
            if done:
                await self._links.rows(CONFIRM, done)
                carried = True
            if self._trouble is not None:
                break
        return carried

    def _batches(self, rows: Sequence[Row]) -> list[list[Row]]:
        """As large as the broker takes them."""
        able = self._provider.capabilities
        batches: list[list[Row]] = []
        size = 0
        for row in rows:
            size += row[1].size
            if not batches or len(batches[-1]) >= able.batch_size or size > able.batch_bytes:
                batches.append([])
                size = row[1].size
            batches[-1].append(row)
        return batches

    async def _publish(self, topic: BoundTopic, batch: Sequence[Row]) -> Sequence[str | Exception]:
        assert self._publisher is not None
        try:
            async with asyncio.timeout(PUBLISH_SECONDS):
                answers = await self._publisher.publish(topic, [message for _, message in batch])
        except TimeoutError:
            return [BrokerUnavailable("no answer in time")] * len(batch)
        except Exception as error:
            return [error] * len(batch)
        return answers

    async def _judge(self, topic: BoundTopic, batch: Sequence[Row], answers: Sequence[str | Exception]) -> list[int]:
        """Bury what was refused for good. Answers the numbers of what was confirmed."""
        done: list[int] = []
        stopped: set[str] = set()
        for (seq, message), answer in zip(batch, answers, strict=True):
            if isinstance(answer, str):
                done.append(seq)
            elif not isinstance(answer, PublishRefused):
                self._trouble = answer
            # What came behind a refused one of its key was not taken because of that: it is tried again.
            elif message.ordering_key is None or message.ordering_key not in stopped:
                await self._bury(topic, seq, message, answer)
            if not isinstance(answer, str) and message.ordering_key is not None:
                stopped.add(message.ordering_key)
        return done

    async def _bury(self, topic: BoundTopic, seq: int, message: Outgoing, error: Exception) -> None:
        logger.error(
            "topic %r: the broker refuses message %s from the outbox of %r for good; it is in fastlane.outbox_dead: %s",
            topic.name,
            message.id,
            self._links.name,
            error,
        )
        text = str(error).encode("utf-8", "replace").decode().replace("\x00", "\N{REPLACEMENT CHARACTER}")
        await self._links.rows(BURY, seq, text[:2000])

    def _complain(self, trouble: Exception) -> None:
        if not self._troubled:
            logger.warning(
                "the outbox of %r waits: provider %r: %s: %s",
                self._links.name,
                self._provider.name,
                type(trouble).__name__,
                trouble,
            )
        self._troubled = True
        self._backoff = min(LONGEST_BACKOFF, self._backoff * 2 or FIRST_BACKOFF)

    def _well(self) -> None:
        if self._troubled:
            logger.warning("the outbox of %r goes on (provider %r)", self._links.name, self._provider.name)
        self._troubled = False
        self._backoff = 0.0
