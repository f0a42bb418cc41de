"""Handlers that take many messages at once."""

from __future__ import annotations

import asyncio

import pytest

from fastlane.pubsub.topics.batch import Batch
from fastlane.pubsub.topics.message import Message, Reject
from fastlane.pubsub.topics.retry import Retry
from tests.pubsub.consumption.broker import Broker, VirtualClock, settle
from tests.pubsub.consumption.consuming import Event, consuming, event, run, topic


def test_a_batch_is_full_or_has_waited() -> None:
    async def test() -> None:
        clock = VirtualClock()
        broker, things, batches = Broker(clock), topic(), []

        @things.subscribe("seen", batch=Batch(3, wait=2))
        async def see(events: list[Event]) -> None:
            batches.append([event.n for event in events])

        for n in range(7):
            broker.publish(event(n))
        async with consuming(things, broker):
            await settle()
            assert batches == [[0, 1, 2], [3, 4, 5]]
            await clock.advance(1.9)
            assert len(batches) == 2
            broker.publish(event(7))
            await clock.advance(0.2)
            assert batches[2:] == [[6, 7]]
            assert len(broker.acked) == 8
            await clock.advance(10)
            assert len(batches) == 3

    run(test)


def test_max_concurrency_counts_batches() -> None:
    async def test() -> None:
        clock = VirtualClock()
        broker, things, batches, going = Broker(clock), topic(), [], asyncio.Event()

        @things.subscribe("seen", batch=Batch(10, wait=1), max_concurrency=2)
        async def see(events: list[Event]) -> None:
            batches.append(len(events))
            await going.wait()

        for n in range(55):
            broker.publish(event(n))
        async with consuming(things, broker) as consumers:
            await clock.advance(5)
            assert batches == [10, 10]
            assert consumers.health["things/seen"].running == 2
            going.set()
            await clock.advance(5)
            assert sum(batches) == 55
            assert len(broker.acked) == 55

    run(test)


def test_an_exception_is_everybodys_and_a_poison_is_its_own() -> None:
    async def test() -> None:
        clock = VirtualClock()
        broker, things, batches = Broker(clock), topic(), []

        @things.subscribe("seen", batch=Batch(3, wait=1), retry=Retry(min_backoff=1, max_backoff=1, max_attempts=2))
        async def see(messages: list[Message[Event]]) -> None:
            batches.append([(message.value.n, message.attempt) for message in messages])
            messages[0].reject("an exception counts more")
            raise ValueError("all of it")

        broker.publish(event(1))
        broker.publish(b"!")
        broker.publish(event(2))
        async with consuming(things, broker) as consumers:
            await clock.advance(20)
            assert batches == [[(1, 1), (2, 1)], [(1, 2), (2, 2)]]
            reasons = sorted((letter.id, letter.reason, letter.attempt) for letter in broker.dead)
            assert reasons == [("m1", "attempts", 2), ("m2", "decode", 3), ("m3", "attempts", 2)]
            assert consumers.health["things/seen"].running == 0

    run(test)


def test_each_message_may_be_marked() -> None:
    async def test() -> None:
        clock = VirtualClock()
        broker, things, seen = Broker(clock), topic(), []

        @things.subscribe("seen", batch=Batch(4, wait=1))
        async def see(messages: list[Message[Event]]) -> None:
            for message in messages:
                seen.append((message.value.n, message.attempt))
                if message.value.n == 1 and message.attempt == 1:
                    message.retry(delay=5)
                if message.value.n == 2 and message.attempt == 1:
                    message.retry()
                if message.value.n == 3:
                    message.reject("bad\nnews")

        for n in range(4):
            broker.publish(event(n))
        async with consuming(things, broker):
            await clock.advance(1)
            assert broker.acked == ["m1"]
            assert broker.delays[0] == ("m2", 5.0)
            assert broker.delays[1][0] == "m3"
            assert broker.delays[1][1] >= 10
            assert [(letter.reason, letter.error) for letter in broker.dead] == [("rejected", "bad news")]
            await clock.advance(30)
            assert seen[4:] == [(1, 2), (2, 2)]

    run(test)


def test_reject_ends_the_whole_batch() -> None:
    async def test() -> None:
        broker, things = Broker(VirtualClock()), topic()

        @things.subscribe("seen", batch=Batch(2, wait=1))
        def see(events: list[Event]) -> None:
            raise Reject("all of them")

        broker.publish(event(1))
        broker.publish(event(2))
        async with consuming(things, broker):
            while len(broker.dead) < 2:
                await asyncio.sleep(0.001)
            assert {letter.reason for letter in broker.dead} == {"rejected"}

    run(test)


def test_a_batch_of_poison_calls_nobody() -> None:
    async def test() -> None:
        clock = VirtualClock()
        broker, things = Broker(clock), topic()

        @things.subscribe("seen", batch=Batch(2, wait=1), retry=Retry(min_backoff=1, max_backoff=1))
        async def see(events: list[Event]) -> None:
            raise AssertionError

        broker.publish(b"!")
        broker.publish(b"?")
        async with consuming(things, broker) as consumers:
            await clock.advance(20)
            assert [letter.reason for letter in broker.dead] == ["decode", "decode"]
            assert consumers.health["things/seen"].running == 0

    run(test)


@pytest.mark.parametrize("order", ["heads", "groups", "loose"])
def test_of_a_key_there_is_one_message_in_a_batch(order: str) -> None:
    async def test() -> None:
        clock = VirtualClock()
        broker, things, batches = Broker(clock, order=order), topic(ordered=True), []  # type: ignore[arg-type]

        @things.subscribe("seen", batch=Batch(10, wait=1), retry=Retry(min_backoff=1, max_backoff=1))
        async def see(messages: list[Message[Event]]) -> None:
            batches.append(sorted(message.value.key + str(message.value.n) for message in messages))
            if len(batches) == 1:
                raise ValueError

        for n in range(3):
            for key in "ab":
                broker.publish(event(n, key), key=key)
        async with consuming(things, broker):
            await clock.advance(30)
            assert batches == [["a0", "b0"], ["a0", "b0"], ["a1", "b1"], ["a2", "b2"]]

    run(test)
