"""The broker in memory, spoken to as the core speaks to any: leases, order, time that jumps."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from fastlane.pubsub.envelope import DeadLetter, Outgoing
from fastlane.pubsub.provider import (
    Administrator,
    BoundSubscription,
    BoundTopic,
    BrokerUnavailable,
    Publisher,
    PublishRefused,
    Source,
    Step,
)
from fastlane.pubsub.providers.memory import MemoryProvider
from fastlane.pubsub.providers.memory.clock import VirtualClock
from fastlane.resources.configuration import MemoryOptions


class Spoken:
    """A provider with one topic and one subscription."""

    def __init__(self, ordered: bool, exactly_once: bool) -> None:
        self.provider = MemoryProvider("memory", MemoryOptions())
        self.topic = BoundTopic(name="t", physical="t", ordered=ordered, exactly_once=exactly_once)
        self.subscription = BoundSubscription(
            name="s",
            physical="t-s",
            dead="t-s-dead",
            topic=self.topic,
            ack_deadline=30,
            max_attempts=10,
            max_backoff=600,
            timeout=600,
        )
        self.numbers = 0
        self.publisher: Publisher
        self.source: Source
        self.administrator: Administrator

    async def open(self) -> None:
        self.administrator = await self.provider.open_administrator()
        await self.administrator.provision([self.topic], [self.subscription])
        self.publisher = await self.provider.open_publisher()
        self.source = await self.provider.open_source(self.subscription)

    async def publish(self, text: str, key: str | None = None, delay: float = 0.0, dedupe_id: str = "") -> str:
        self.numbers += 1
        identifier = f"id-{self.numbers}"
        message = Outgoing(
            identifier, text.encode(), {"a": "b"}, key, datetime.now(UTC), delay, dedupe_id or identifier
        )
        (answer,) = await self.publisher.publish(self.topic, [message])
        assert isinstance(answer, str), answer
        return answer

    async def texts(self, limit: int = 10) -> list[str]:
        return [delivery.payload.decode() for delivery in await self.source.receive(limit)]

    async def nothing(self) -> bool:
        """Nothing is to be had now."""
        receiving = asyncio.create_task(self.source.receive(10))
        for _ in range(10):
            await asyncio.sleep(0)
        if receiving.done():
            return False
        receiving.cancel()
        await asyncio.wait([receiving])
        return True

    def letter(self, text: str = "x") -> DeadLetter:
        now = datetime.now(UTC)
        return DeadLetter("id-1", text.encode(), {}, None, now, "rejected", "no", "t/s", 1, now)


def speaking(test: Callable[[Spoken], Awaitable[None]], *, ordered: bool = False, exactly_once: bool = False) -> None:
    async def main() -> None:
        spoken = Spoken(ordered, exactly_once)
        await spoken.open()
        async with asyncio.timeout(20):
            await test(spoken)
        spoken.provider.broker.close()

    asyncio.run(main())


def test_a_message_is_delivered_with_all_that_is_known_about_it() -> None:
    async def test(spoken: Spoken) -> None:
        broker_id = await spoken.publish("a", "key")
        (delivery,) = await spoken.source.receive(5)
        assert (delivery.id, delivery.broker_id, delivery.payload) == ("id-1", broker_id, b"a")
        assert (delivery.attributes, delivery.ordering_key) == ({"a": "b"}, "key")
        assert (delivery.attempt, delivery.receives) == (1, 1)
        assert await spoken.administrator.backlog(spoken.subscription) == _backlog(in_flight=1)
        assert await spoken.source.ack([delivery]) == []
        assert await spoken.source.ack([delivery]) == [delivery]
        assert await spoken.administrator.backlog(spoken.subscription) == _backlog()

    speaking(test)


def _backlog(waiting: int = 0, in_flight: int = 0, dead: int = 0, paused: bool = False) -> Any:
    from fastlane.pubsub.provider import Backlog

    return Backlog(waiting, in_flight, dead, paused)


def test_what_a_handler_does_to_the_attributes_nobody_else_sees() -> None:
    async def test(spoken: Spoken) -> None:
        await spoken.publish("one")
        (first,) = await spoken.source.receive(1)
        assert isinstance(first.attributes, dict)
        first.attributes["a"] = "changed"
        await spoken.source.release([first])
        (second,) = await spoken.source.receive(1)
        assert second.attributes == {"a": "b"}

    speaking(test)


def test_a_receive_waits_for_the_first_message_and_takes_no_more_than_it_may() -> None:
    async def test(spoken: Spoken) -> None:
        receiving = asyncio.create_task(spoken.source.receive(2))
        await asyncio.sleep(0)
        for text in "abc":
            await spoken.publish(text)
        assert [one.payload for one in await receiving] == [b"a", b"b"]
        assert await spoken.texts() == ["c"]

    speaking(test)


def test_a_retry_comes_when_its_time_has_come_and_counts_as_the_next_attempt() -> None:
    async def test(spoken: Spoken) -> None:
        await spoken.publish("a")
        (delivery,) = await spoken.source.receive(1)
        await spoken.source.retry(delivery, 600)
        assert await spoken.nothing()
        assert spoken.provider.broker.clock.jump()
        (again,) = await spoken.source.receive(1)
        assert (again.attempt, again.receives) == (2, 2)

    speaking(test)


def test_what_is_released_comes_at_once_and_counts_as_no_attempt() -> None:
    async def test(spoken: Spoken) -> None:
        await spoken.publish("a")
        deliveries = await spoken.source.receive(1)
        await spoken.source.release(deliveries)
        (again,) = await spoken.source.receive(1)
        assert (again.attempt, again.receives) == (1, 2)

    speaking(test)


def test_a_lapsed_lease_gives_the_message_to_another_and_the_late_one_has_lost_it() -> None:
    async def test(spoken: Spoken) -> None:
        await spoken.publish("a")
        (first,) = await spoken.source.receive(1)
        assert spoken.provider.broker.clock.jump()
        (second,) = await spoken.source.receive(1)
        assert second.attempt == 2
        assert await spoken.source.extend([first], 30) == [first]
        assert await spoken.source.ack([first]) == [first]
        await spoken.source.retry(first, 0)
        await spoken.source.dead_letter(first, spoken.letter())
        assert await spoken.administrator.dead_letters(spoken.subscription, 10) == []
        assert await spoken.source.ack([second]) == []

    speaking(test)


def test_an_extended_lease_lasts() -> None:
    async def test(spoken: Spoken) -> None:
        await spoken.publish("a")
        (delivery,) = await spoken.source.receive(1)
        await spoken.publish("b", delay=40)
        assert await spoken.source.extend([delivery], 60) == []
        assert await spoken.source.extend([delivery], 60) == []
        spoken.provider.broker.clock.jump()  # the first lease would have ended
        spoken.provider.broker.clock.jump()
        assert await spoken.texts() == ["b"]

    speaking(test)


def test_a_closed_source_gives_back_what_it_had() -> None:
    async def test(spoken: Spoken) -> None:
        await spoken.publish("a")
        await spoken.source.receive(1)
        await spoken.source.close()
        await spoken.source.close()
        spoken.source = await spoken.provider.open_source(spoken.subscription)
        assert await spoken.texts() == ["a"]

    speaking(test)


def test_of_a_key_nothing_comes_before_the_message_in_front_of_it_is_done() -> None:
    async def test(spoken: Spoken) -> None:
        for text in ("a1", "a2", "b1"):
            await spoken.publish(text, text[0])
        first, other = await spoken.source.receive(10)
        assert (first.payload, other.payload) == (b"a1", b"b1")
        await spoken.source.retry(first, 60)
        assert await spoken.nothing()
        await spoken.source.ack([other])
        spoken.provider.broker.clock.jump()
        (again,) = await spoken.source.receive(10)
        assert (again.payload, again.attempt) == (b"a1", 2)
        await spoken.source.ack([again])
        assert await spoken.texts() == ["a2"]

    speaking(test, ordered=True)


def test_without_order_a_key_holds_nothing_back() -> None:
    async def test(spoken: Spoken) -> None:
        await spoken.publish("a1", "a")
        await spoken.publish("a2", "a")
        assert await spoken.texts() == ["a1", "a2"]

    speaking(test)


def test_a_delay_holds_a_message_back_and_those_of_its_key() -> None:
    async def test(spoken: Spoken) -> None:
        await spoken.publish("a1", "a", delay=3600)
        await spoken.publish("a2", "a")
        assert await spoken.nothing()
        spoken.provider.broker.clock.jump()
        assert await spoken.texts() == ["a1"]

    speaking(test, ordered=True)


def test_dead_letters_are_listed_replayed_and_purged() -> None:
    async def test(spoken: Spoken) -> None:
        for text in "ab":
            await spoken.publish(text)
            (delivery,) = await spoken.source.receive(1)
            await spoken.source.dead_letter(delivery, spoken.letter(text))
        first, second = await spoken.administrator.dead_letters(spoken.subscription, 10)
        assert (first.payload, second.payload) == (b"a", b"b")
        assert first.position != second.position
        assert await spoken.administrator.replay(spoken.subscription, None, 1) == 1
        (again,) = await spoken.source.receive(5)
        assert (again.id, again.payload, again.attempt) == ("id-1", b"a", 1)
        assert await spoken.administrator.purge(spoken.subscription, ["nobody"], 5) == 0
        assert await spoken.administrator.purge(spoken.subscription, ["id-1"], 5) == 1
        assert await spoken.administrator.dead_letters(spoken.subscription, 5) == []

    speaking(test)


def test_a_paused_subscription_hands_out_nothing() -> None:
    async def test(spoken: Spoken) -> None:
        await spoken.administrator.pause(spoken.subscription, True)
        await spoken.publish("a")
        assert await spoken.nothing()
        assert await spoken.administrator.backlog(spoken.subscription) == _backlog(waiting=1, paused=True)
        receiving = asyncio.create_task(spoken.texts())
        await asyncio.sleep(0)
        await spoken.administrator.pause(spoken.subscription, False)
        assert await receiving == ["a"]

    speaking(test)


def test_exactly_once_delivers_one_of_two_with_the_same_id() -> None:
    async def test(spoken: Spoken) -> None:
        one = await spoken.publish("a", dedupe_id="x")
        assert await spoken.publish("b", dedupe_id="x") == one
        assert await spoken.texts() == ["a"]
        spoken.provider.broker.clock.call_at(spoken.provider.broker.clock.time() + 301, list)
        spoken.provider.broker.clock.jump()
        spoken.provider.broker.clock.jump()
        assert await spoken.publish("c", dedupe_id="x") != one

    speaking(test, exactly_once=True)


def test_what_nobody_made_is_refused_and_planned() -> None:
    async def test(spoken: Spoken) -> None:
        provider = MemoryProvider("other", MemoryOptions())
        administrator = await provider.open_administrator()
        steps = [Step("create", "topic", "t"), Step("create", "subscription", "t-s")]
        assert await administrator.plan([spoken.topic], [spoken.subscription]) == steps
        publisher = await provider.open_publisher()
        message = Outgoing("1", b"", {}, None, datetime.now(UTC), 0.0, "1")
        (answer,) = await publisher.publish(spoken.topic, [message])
        assert isinstance(answer, PublishRefused)
        with pytest.raises(PublishRefused):
            await provider.open_source(spoken.subscription)
        assert await administrator.provision([spoken.topic], [spoken.subscription]) == steps
        assert await administrator.plan([spoken.topic], [spoken.subscription]) == []
        provider.broker.close()

    speaking(test)


def test_an_unreachable_broker_is_unavailable_to_everybody() -> None:
    async def test(spoken: Spoken) -> None:
        await spoken.publish("a")
        (delivery,) = await spoken.source.receive(1)
        spoken.provider.broker.reachable = False
        for call in (
            spoken.publisher.publish(spoken.topic, []),
            spoken.source.receive(1),
            spoken.source.ack([delivery]),
            spoken.source.retry(delivery, 1),
            spoken.source.release([delivery]),
            spoken.source.extend([delivery], 1),
            spoken.source.dead_letter(delivery, spoken.letter()),
            spoken.administrator.plan([], []),
            spoken.administrator.backlog(spoken.subscription),
            spoken.administrator.dead_letters(spoken.subscription, 1),
            spoken.administrator.replay(spoken.subscription, None, 1),
            spoken.administrator.purge(spoken.subscription, None, 1),
            spoken.administrator.pause(spoken.subscription, True),
        ):
            with pytest.raises(BrokerUnavailable):
                await call

    speaking(test)


def test_a_clock_passes_by_itself_and_jumps_to_its_next_call() -> None:
    async def main() -> None:
        clock = VirtualClock(asyncio.get_running_loop())
        rung: list[str] = []
        assert not clock.jump()
        start = clock.time()
        clock.call_at(start + 3600, rung.append, "late")
        cancelled = clock.call_at(start + 60, rung.append, "cancelled")
        soon = asyncio.Event()
        clock.call_at(start + 0.01, soon.set)
        cancelled.cancel()
        await asyncio.wait_for(soon.wait(), 5)
        assert rung == []
        assert clock.jump()
        await asyncio.sleep(0)
        assert rung == ["late"]
        assert 3600 <= clock.time() - start < 3700
        clock.call_at(clock.time() + 1, rung.append, "never")
        clock.close()
        assert not clock.jump()

    asyncio.run(main())
