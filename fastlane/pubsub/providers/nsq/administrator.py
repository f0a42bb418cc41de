"""What boot and the command line ask: over HTTP where nsqd has an endpoint for it, else as a consumer."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

from msgspec import Struct

from fastlane.pubsub.envelope import DeadLetter, Outgoing
from fastlane.pubsub.provider import Administrator, Backlog, BoundSubscription, BoundTopic, Step
from fastlane.pubsub.providers.nsq.address import Security
from fastlane.pubsub.providers.nsq.discovery import Directory
from fastlane.pubsub.providers.nsq.envelope import seal
from fastlane.pubsub.providers.nsq.graveyard import MOST, Found, exhumed
from fastlane.pubsub.providers.nsq.http import Http
from fastlane.pubsub.providers.nsq.names import DEAD_CHANNEL, check, replay_name
from fastlane.pubsub.providers.nsq.pool import Pool

__all__ = ["NsqAdministrator"]


class _Wanted(Struct, frozen=True):
    """A topic, or a channel with its topic."""

    what: str
    topic: str
    channel: str | None = None

    def step(self, where: Sequence[str]) -> Step:
        place = ", ".join(where)
        if self.channel is None:
            return Step("create", self.what, self.topic, f"topic on {place}")
        if self.what == "subscription":
            return Step("create", self.what, self.channel, f"channel of the topic {self.topic} on {place}")
        return Step("create", self.what, self.topic, f"topic with the channel {self.channel} on {place}")


class NsqAdministrator(Administrator):
    """Args:
    nsqd_http: of each nsqd; empty: nsqlookupd knows them.
    """

    def __init__(
        self,
        nsqd_http: Sequence[str],
        *,
        directory: Directory,
        http: Http,
        pool: Pool,
        security: Security,
        heartbeat: float,
    ) -> None:
        self._nsqd_http = nsqd_http
        self._directory, self._http, self._pool = directory, http, pool
        self._security, self._heartbeat = security, heartbeat

    # --- topics and channels

    async def plan(self, topics: Sequence[BoundTopic], subscriptions: Sequence[BoundSubscription]) -> Sequence[Step]:
        return [wanted.step(where) for wanted, where in (await self._missing(topics, subscriptions)).items()]

    async def provision(
        self, topics: Sequence[BoundTopic], subscriptions: Sequence[BoundSubscription]
    ) -> Sequence[Step]:
        """A topic or channel that is there already is no error for nsqd."""
        missing = await self._missing(topics, subscriptions)
        for wanted, where in missing.items():
            for address in where:
                await self._http.post(address, "/topic/create", {"topic": wanted.topic})
                if wanted.channel is not None:
                    query = {"topic": wanted.topic, "channel": wanted.channel}
                    await self._http.post(address, "/channel/create", query)
        return [wanted.step(where) for wanted, where in missing.items()]

    async def _missing(
        self, topics: Sequence[BoundTopic], subscriptions: Sequence[BoundSubscription]
    ) -> dict[_Wanted, list[str]]:
        """What is missing, and on which nsqd."""
        wanted = list(_wanted(topics, subscriptions))
        missing: dict[_Wanted, list[str]] = {}
        for address, stats in (await self._stats({})).items():
            for each in wanted:
                channels = stats.get(each.topic)
                if channels is None or (each.channel is not None and each.channel not in channels.channels):
                    missing.setdefault(each, []).append(address)
        return {each: missing[each] for each in wanted if each in missing}

    async def backlog(self, subscription: BoundSubscription) -> Backlog:
        replay = replay_name(subscription.physical)
        waiting = in_flight = 0
        paused: list[bool] = []
        for stats in (await self._stats({})).values():
            for topic in (subscription.topic.physical, replay):
                there = stats.get(topic)
                channel = there.channels.get(subscription.physical) if there is not None else None
                if there is not None and channel is not None:
                    waiting += channel["depth"] + channel["deferred_count"] + there.depth
                    in_flight += channel["in_flight_count"]
                    if topic != replay:
                        paused.append(channel["paused"])
        dead = sum(await self._dead(subscription, ("depth", "deferred_count", "in_flight_count")))
        return Backlog(waiting, in_flight, dead, bool(paused) and all(paused))

    async def pause(self, subscription: BoundSubscription, paused: bool) -> None:
        path = "/channel/pause" if paused else "/channel/unpause"
        for address in await self._addresses():
            for topic in (subscription.topic.physical, replay_name(subscription.physical)):
                await self._http.post(address, path, {"topic": topic, "channel": subscription.physical})

    async def _addresses(self) -> Sequence[str]:
        return self._nsqd_http or await self._directory.http_addresses()

    async def _stats(self, query: dict[str, str]) -> dict[str, dict[str, _Topic]]:
        """Of each nsqd: its topics."""
        addresses = await self._addresses()
        query = {"format": "json", "include_clients": "false", "include_mem": "false"} | query
        answers = await asyncio.gather(*(self._http.get(address, "/stats", query) for address in addresses))
        return {address: _topics(answer) for address, answer in zip(addresses, answers, strict=True)}

    # --- dead letters

    async def _dead(self, subscription: BoundSubscription, counts: Sequence[str]) -> list[int]:
        """How many dead letters each nsqd has."""
        result = []
        for stats in (await self._stats({"topic": subscription.dead})).values():
            topic = stats.get(subscription.dead)
            if topic is not None:
                channel = topic.channels.get(DEAD_CHANNEL, {})
                result.append(topic.depth + sum(channel.get(count, 0) for count in counts))
        return result

    @contextlib.asynccontextmanager
    async def _found(self, subscription: BoundSubscription) -> AsyncIterator[list[Found]]:
        """The dead letters, held until the end of the block."""
        places = set(await self._directory.all()) | await self._directory.producers(subscription.dead)
        expected = sum(min(MOST, count) for count in await self._dead(subscription, ("depth",)))
        async with exhumed(
            subscription.dead, sorted(places), expected, security=self._security, heartbeat=self._heartbeat
        ) as found:
            yield found

    async def dead_letters(self, subscription: BoundSubscription, limit: int) -> Sequence[DeadLetter]:
        async with self._found(subscription) as found:
            return [each.letter for each in found[:limit]]

    async def replay(self, subscription: BoundSubscription, ids: Sequence[str] | None, limit: int) -> int:
        async with self._found(subscription) as found:
            chosen = _chosen(found, ids, limit)
            letters = list(chosen.values())
            bodies = [seal(_revived(each[0].letter)) for each in letters]
            outcomes = await self._pool.publish(replay_name(subscription.physical), bodies)
            failure = None
            for each, outcome in zip(letters, outcomes, strict=True):
                if outcome is None:
                    _remove(each)
                else:
                    failure = outcome
            if failure is not None:
                raise failure
            return len(letters)

    async def purge(self, subscription: BoundSubscription, ids: Sequence[str] | None, limit: int) -> int:
        async with self._found(subscription) as found:
            chosen = _chosen(found, ids, limit)
            for each in chosen.values():
                _remove(each)
            return len(chosen)

    async def close(self) -> None:
        await self._pool.close()
        await self._http.close()


class _Topic(Struct, frozen=True):
    depth: int
    channels: dict[str, dict[str, Any]]


def _topics(answer: Any) -> dict[str, _Topic]:
    """Of an answer of ``/stats``."""
    return {
        topic["topic_name"]: _Topic(
            topic["depth"], {channel["channel_name"]: channel for channel in topic["channels"] or ()}
        )
        for topic in (answer or {}).get("topics") or ()
    }


def _wanted(topics: Sequence[BoundTopic], subscriptions: Sequence[BoundSubscription]) -> Iterator[_Wanted]:
    for topic in topics:
        yield _Wanted("topic", check(topic.physical, f"the topic {topic.name!r}"))
    for subscription in subscriptions:
        what = f"the subscription {subscription.source!r}"
        channel = check(subscription.physical, what)
        yield _Wanted("subscription", check(subscription.topic.physical, what), channel)
        yield _Wanted("dead letters", check(subscription.dead, f"the dead letters of {what}"), DEAD_CHANNEL)
        yield _Wanted("replays", replay_name(channel), channel)


def _chosen(found: Sequence[Found], ids: Sequence[str] | None, limit: int) -> dict[str, list[Found]]:
    """id → where it stands: twice, when nobody knew whether it had got there."""
    wanted = None if ids is None else set(ids)
    chosen: dict[str, list[Found]] = {}
    for each in found:
        identity = each.letter.id
        if identity in chosen:
            chosen[identity].append(each)
        elif len(chosen) < limit and (wanted is None or identity in wanted):
            chosen[identity] = [each]
    return chosen


def _remove(found: Sequence[Found]) -> None:
    for each in found:
        each.remove()


def _revived(letter: DeadLetter) -> Outgoing:
    return Outgoing(
        letter.id, letter.payload, letter.attributes, letter.ordering_key, letter.published_at, 0.0, letter.id
    )
