"""The order of a key: nothing starts before everything earlier has succeeded, or is dead."""

from __future__ import annotations

import asyncio

import pytest

from fastlane.pubsub.provider import BrokerUnavailable
from fastlane.pubsub.topics.message import Message, Reject
from fastlane.pubsub.topics.retry import Retry
from tests.pubsub.consumption.broker import Broker, Order, VirtualClock, settle
from tests.pubsub.consumption.consuming import Event, consuming, event, run, topic

ORDERS: list[Order] = ["heads", "groups", "loose"]


@pytest.mark.parametrize("order", ORDERS)
def test_a_failed_head_blocks_its_key_and_no_other(order: Order) -> None:
    async def test() -> None:
        clock = VirtualClock()
        broker, things, log = Broker(clock, order=order), topic(ordered=True), []

        @things.subscribe("seen", retry=Retry(min_backoff=10, max_backoff=10, max_attempts=3))
        async def see(message: Message[Event]) -> None:
            log.append((message.value.key, message.value.n, message.attempt))
            if message.value.key == "a" and message.value.n == 0 and message.attempt < 3:
                raise ValueError

        for n in range(3):
            for key in "ab":
                broker.publish(event(n, key), key=key)
        async with consuming(things, broker):
            await settle()
            await clock.advance(5)
            assert [entry for entry in log if entry[0] == "b"] == [("b", 0, 1), ("b", 1, 1), ("b", 2, 1)]
            assert [entry for entry in log if entry[0] == "a"] == [("a", 0, 1)]
            await clock.advance(30)
            assert [entry for entry in log if entry[0] == "a"] == [
                ("a", 0, 1),
                ("a", 0, 2),
                ("a", 0, 3),
                ("a", 1, 1),
                ("a", 2, 1),
            ]
            assert broker.entries == {}

    run(test)


@pytest.mark.parametrize("order", ORDERS)
def test_the_next_starts_only_when_the_head_is_among_the_dead_letters(order: Order) -> None:
    async def test() -> None:
        clock = VirtualClock()
        broker, things, log = Broker(clock, order=order), topic(ordered=True), []

        @things.subscribe("seen", retry=Retry(min_backoff=1, max_backoff=1, max_attempts=2))
        async def see(event: Event) -> None:
            log.append(event.n)
            if event.n == 0:
                raise ValueError
            if event.n == 1:
                raise Reject("no")

        for n in range(3):
            broker.publish(event(n, "k"), key="k")
        broker.broken["dead_letter"] = BrokerUnavailable("gone")
        async with consuming(things, broker):
            await clock.advance(40)
            assert log == [0, 0]
            broker.broken.clear()
            await clock.advance(31)
            assert log == [0, 0, 1, 2]
            assert [letter.reason for letter in broker.dead] == ["attempts", "rejected"]

    run(test)


@pytest.mark.parametrize("order", ORDERS)
def test_poison_blocks_its_key_until_it_is_dead(order: Order) -> None:
    async def test() -> None:
        clock = VirtualClock()
        broker, things, log = Broker(clock, order=order), topic(ordered=True), []

        @things.subscribe("seen", retry=Retry(min_backoff=1, max_backoff=1))
        async def see(event: Event) -> None:
            log.append(event.n)

        broker.publish(b"!", key="k")
        broker.publish(event(1, "k"), key="k")
        async with consuming(things, broker):
            await clock.advance(1.9)
            assert log == []
            await clock.advance(2)
            assert log == [1]
            assert [(letter.reason, letter.attempt) for letter in broker.dead] == [("decode", 3)]

    run(test)


def test_a_head_that_waits_here_keeps_its_followers_leased_and_no_permit() -> None:
    async def test() -> None:
        clock = VirtualClock()
        broker, things, log = Broker(clock, order="loose"), topic(ordered=True), []

        @things.subscribe("seen", max_concurrency=1, retry=Retry(min_backoff=100, max_backoff=100))
        async def see(message: Message[Event]) -> None:
            log.append((message.value.key, message.value.n))
            if message.value.key == "a" and message.attempt == 1:
                raise ValueError

        for n in range(2):
            broker.publish(event(n, "a"), key="a")
        broker.publish(event(0, "b"), key="b")
        async with consuming(things, broker) as consumers:
            await clock.advance(90)
            assert log == [("a", 0), ("b", 0)]
            assert broker.leased() == ["m1", "m2"]
            assert broker.extended.count("m2") > 5
            assert consumers.health["things/seen"].running == 0
            await clock.advance(20)
            # Of the second, the attempt that failed was its first, and it is postponed by itself.
            assert log == [("a", 0), ("b", 0), ("a", 0), ("a", 1)]

    run(test)


def test_followers_are_bounded() -> None:
    async def test() -> None:
        clock = VirtualClock()
        broker, things, going = Broker(clock, order="loose"), topic(ordered=True), asyncio.Event()

        @things.subscribe("seen", max_concurrency=10)
        async def see(event: Event) -> None:
            await going.wait()

        for n in range(500):
            broker.publish(event(n, "k"), key="k")
        async with consuming(things, broker):
            await settle()
            assert len(broker.leased()) == 120
            going.set()
            for _ in range(50):
                await settle()
            assert broker.acked == [f"m{n + 1}" for n in range(500)]

    run(test)


def test_a_lost_head_takes_its_followers_along() -> None:
    async def test() -> None:
        clock = VirtualClock()
        broker, things, going, log = Broker(clock, order="loose"), topic(ordered=True), asyncio.Event(), []

        @things.subscribe("seen")
        async def see(event: Event) -> None:
            log.append(event.n)
            await going.wait()

        for n in range(3):
            broker.publish(event(n, "k"), key="k")
        async with consuming(things, broker):
            await settle()
            head = broker.entries[1]
            head.token, head.holder, head.leased_until = -1, None, 1e9  # somebody else has it
            await clock.advance(11)
            assert broker.released == ["m2", "m3"]
            going.set()
            await settle()
            assert log == [0]
            del broker.entries[1]
            broker.poke()
            await settle()
            assert log == [0, 1, 2]

    run(test)


def test_a_lost_head_that_comes_again_is_the_same_head() -> None:
    async def test() -> None:
        clock = VirtualClock()
        broker, things, going, log = Broker(clock, order="loose"), topic(ordered=True), asyncio.Event(), []

        @things.subscribe("seen")
        async def see(event: Event) -> None:
            log.append(event.n)
            await going.wait()

        for n in range(3):
            broker.publish(event(n, "k"), key="k")
        async with consuming(things, broker):
            await settle()
            for n in range(1, 4):
                broker.revoke(f"m{n}")
            await settle()
            going.set()
            await settle()
            assert log == [0, 1, 2]
            assert broker.acked == ["m1", "m2", "m3"]

    run(test)


def test_messages_without_a_key_have_no_order() -> None:
    async def test() -> None:
        clock = VirtualClock()
        broker, things, going, log = Broker(clock, order="loose"), topic(ordered=True), asyncio.Event(), []

        @things.subscribe("seen", retry=Retry(min_backoff=1, max_backoff=1, max_attempts=1))
        async def see(event: Event) -> None:
            log.append(event.n)
            await going.wait()

        for n in range(3):
            broker.publish(event(n))
        async with consuming(things, broker):
            await settle()
            assert log == [0, 1, 2]
            going.set()

    run(test)


def test_one_pull_takes_what_the_broker_can_keep_in_order_and_several_run_where_it_allows() -> None:
    async def test() -> None:
        clock = VirtualClock()
        broker, things, going, log = Broker(clock, order="groups"), topic(ordered=True), asyncio.Event(), []

        @things.subscribe("seen", max_concurrency=5)
        async def see(event: Event) -> None:
            log.append(event.key)
            await going.wait()

        async with consuming(things, broker, ordered_limit=1, ordered_receives=3):
            await settle()
            assert broker.calls.count("receive") == 3
            for key in "abcdefg":
                broker.publish(event(0, key), key=key)
            await settle()
            assert sorted(log) == list("abcde")
            assert set(broker.limits) == {1}
            going.set()
            await settle()
            assert sorted(log) == list("abcdefg")

    run(test)


@pytest.mark.parametrize("order", ORDERS)
def test_a_filter_and_a_message_that_kills_workers_keep_the_order(order: Order) -> None:
    async def test() -> None:
        clock = VirtualClock()
        broker, things, log = Broker(clock, order=order), topic(ordered=True), []
        broken = True

        def wants(text: str) -> bool:
            if broken:
                raise LookupError
            return text != "no"

        @things.subscribe("seen", filter={"a": wants}, retry=Retry(min_backoff=5, max_backoff=5, max_attempts=5))
        async def see(event: Event) -> None:
            log.append(event.n)

        for n, text in enumerate(["yes", "no", "yes", "yes"]):
            broker.publish(event(n, "k"), key="k", attributes={"a": text})
        broker.entries[3].receives = 50
        async with consuming(things, broker):
            await settle()
            assert log == []
            broken = False
            await clock.advance(30)
            assert log == [0, 3]
            assert [letter.reason for letter in broker.dead] == ["delivery-limit"]
            assert broker.entries == {}

    run(test)
