"""How many receives there are side by side, and what they ask for."""

from __future__ import annotations

import asyncio

import pytest

from fastlane.pubsub.consumption import receiving
from fastlane.pubsub.provider import BrokerUnavailable
from fastlane.pubsub.topics.batch import Batch
from tests.pubsub.consumption.broker import Broker, VirtualClock, settle
from tests.pubsub.consumption.consuming import Event, consuming, event, run, topic


def waiting(broker: Broker) -> int:
    """Receives that the broker has not answered."""
    return len(broker._changed)


async def publish(broker: Broker, count: int) -> None:
    for n in range(count):
        broker.publish(event(n))
    await settle()


def test_behind_a_full_receive_several_are_made_at_once_until_they_bring_less_than_half() -> None:
    async def test() -> None:
        broker, things = Broker(VirtualClock()), topic()

        @things.subscribe("seen", max_concurrency=20)
        async def see(event: Event) -> None: ...

        async with consuming(things, broker, receive_limit=4, receives=3):
            await settle()
            assert waiting(broker) == 1
            for count, then in ((1, 1), (3, 1), (4, 3), (3, 3), (1, 2), (2, 2), (1, 1), (1, 1), (4, 3)):
                await publish(broker, count)
                assert waiting(broker) == then
            assert set(broker.limits) == {4}
        assert waiting(broker) == 0

    run(test)


def test_receives_ask_for_no_more_than_there_is_room_for_and_beside_others_for_whole_ones() -> None:
    async def test() -> None:
        broker, things, going = Broker(VirtualClock()), topic(), asyncio.Event()
        running = most = 0

        @things.subscribe("seen", max_concurrency=9)
        async def see(event: Event) -> None:
            nonlocal running, most
            running += 1
            most = max(most, running)
            await going.wait()
            running -= 1

        async with consuming(things, broker, receive_limit=4, receives=5) as consumers:
            await publish(broker, 4)
            assert waiting(broker) == 1  # of nine permits four are taken, four asked for
            await publish(broker, 20)
            assert broker.limits == [4, 4, 1]
            assert (running, waiting(broker)) == (9, 0)
            going.set()
            await settle()
            assert consumers.health["things/seen"].handled == 24
            assert most == 9

    run(test)


def test_a_broker_that_is_away_is_asked_by_one_receive() -> None:
    async def test() -> None:
        clock = VirtualClock()
        broker, things, seen = Broker(clock), topic(), []

        @things.subscribe("seen", max_concurrency=20)
        async def see(event: Event) -> None:
            seen.append(event.n)

        async with consuming(things, broker, receive_limit=4, receives=5):
            await publish(broker, 4)
            assert waiting(broker) == 5
            broker.calls.clear()
            broker.broken["receive"] = BrokerUnavailable("no route")
            broker.poke()
            await clock.advance(60)
            assert 16 < broker.calls.count("receive") < 45
            del broker.broken["receive"]
            await publish(broker, 1)
            await clock.advance(6)
            assert (len(seen), waiting(broker)) == (5, 1)

    run(test)


def test_what_comes_when_a_batch_has_taken_the_last_permit_is_kept_under_its_lease() -> None:
    async def test() -> None:
        clock = VirtualClock()
        broker, things, going, batches = Broker(clock), topic(), asyncio.Event(), []

        @things.subscribe("seen", max_concurrency=1, ack_deadline=30, batch=Batch(size=8, wait=1))
        async def see(events: list[Event]) -> None:
            batches.append(len(events))
            await going.wait()

        async with consuming(things, broker, receive_limit=4, receives=5):
            await publish(broker, 4)
            await clock.advance(1.1)
            assert (batches, waiting(broker)) == ([4], 1)  # the receive was made when there was room
            await publish(broker, 4)
            await clock.advance(100)
            assert [entry.receives for entry in broker.entries.values()] == [1] * 8
            going.set()
            await clock.advance(2)
            assert (batches, broker.entries) == ([4, 4], {})

    run(test)


def test_what_is_free_while_handlers_begin_or_end_is_not_asked_for_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiving, "_SOON", 30.0)

    async def test() -> None:
        broker, things, done = Broker(), topic(), asyncio.Event()
        handled = 0
        ended: list[Event] = []

        @things.subscribe("seen", max_concurrency=10)
        async def see(event: Event) -> None:
            nonlocal handled
            handled += 1
            if handled == 1:
                publish_some(20)
            await asyncio.sleep(0.01)  # what it does: the others are still at it when more could be asked for
            ended.append(event)
            if len(ended) == 26:
                done.set()

        def publish_some(count: int) -> None:
            for n in range(count):
                broker.publish(event(n))

        publish_some(6)
        async with consuming(things, broker):
            await done.wait()
        assert broker.limits == [10, 10, 10]

    run(test)


def test_handlers_that_take_their_time_are_not_waited_for() -> None:
    async def test() -> None:
        broker, things, both = Broker(), topic(), asyncio.Event()
        running = 0

        @things.subscribe("seen", max_concurrency=10)
        async def see(event: Event) -> None:
            nonlocal running
            running += 1
            if running == 1:
                broker.publish(b'{"n": 1}')
            else:
                both.set()
            await both.wait()

        broker.publish(event(0))
        async with consuming(things, broker, drain=5.0):
            await both.wait()
        assert broker.limits == [10, 9]

    run(test)
