"""What is held stays held, and what was lost is not handled needlessly."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from fastlane.pubsub.consumption.health import Health
from fastlane.pubsub.consumption.table import Table
from fastlane.pubsub.envelope import Delivery
from fastlane.pubsub.provider import BrokerUnavailable
from fastlane.pubsub.topics.batch import Batch
from fastlane.pubsub.topics.message import Message
from fastlane.pubsub.topics.retry import Retry
from tests.pubsub.consumption.broker import EPOCH, Broker, VirtualClock, settle
from tests.pubsub.consumption.consuming import Event, consuming, event, run, topic


def test_the_lease_follows_the_handler() -> None:
    async def test() -> None:
        clock = VirtualClock()
        broker, things, going, starts = Broker(clock), topic(), asyncio.Event(), 0

        @things.subscribe("seen", ack_deadline=30)
        async def see(event: Event) -> None:
            nonlocal starts
            starts += 1
            await going.wait()

        broker.publish(event(1))
        async with consuming(things, broker) as consumers:
            await clock.advance(200)
            assert starts == 1
            assert broker.calls.count("extend") == 20
            assert consumers.health["things/seen"].extended == 20
            going.set()
            await settle()
            assert broker.acked == ["m1"]

    run(test)


def test_a_quick_handler_costs_no_extension() -> None:
    async def test() -> None:
        clock = VirtualClock()
        broker, things = Broker(clock), topic()

        @things.subscribe("seen")
        async def see(event: Event) -> None: ...

        async with consuming(things, broker):
            for n in range(20):
                broker.publish(event(n))
                await clock.advance(5)
            assert len(broker.acked) == 20
            assert "extend" not in broker.calls

    run(test)


def test_leases_are_extended_many_at_once() -> None:
    async def test() -> None:
        clock = VirtualClock()
        broker, things, going = Broker(clock), topic(), asyncio.Event()

        @things.subscribe("seen", max_concurrency=50)
        async def see(event: Event) -> None:
            await going.wait()

        for n in range(50):
            broker.publish(event(n))
        async with consuming(things, broker):
            await clock.advance(10.5)
            assert broker.calls.count("extend") == 1
            assert len(broker.extended) == 50

    run(test)


def test_an_acknowledgement_that_fails_is_made_again_while_the_lease_is_kept(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        clock = VirtualClock()
        broker, things, starts = Broker(clock), topic(), 0

        @things.subscribe("seen", max_concurrency=1)
        async def see(event: Event) -> None:
            nonlocal starts
            starts += 1

        broker.broken["ack"] = BrokerUnavailable("gone")
        for n in range(3):
            broker.publish(event(n))
        async with consuming(things, broker) as consumers:
            await clock.advance(100)
            assert starts == 3  # the permit is free again, the messages are not lost from sight
            assert consumers.health["things/seen"].held == 3
            del broker.broken["ack"]
            await clock.advance(6)
            assert broker.acked == ["m1", "m2", "m3"]
            assert starts == 3

    run(test)
    assert caplog.text.count("can't acknowledge: BrokerUnavailable: gone") == 1


def test_one_acknowledgement_that_is_refused_does_not_keep_the_others(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        clock = VirtualClock()
        broker, things = Broker(clock), topic()
        enter = broker.enter

        @things.subscribe("seen")
        async def see(event: Event) -> None: ...

        ack = broker.ack

        async def refuse(deliveries):  # type: ignore[no-untyped-def]
            if any(delivery.id == "m2" for delivery in deliveries):
                await enter("ack")
                raise ValueError("m2 is cursed")
            return await ack(deliveries)

        broker.ack = refuse  # type: ignore[method-assign]
        for n in range(3):
            broker.publish(event(n))
        async with consuming(things, broker) as consumers:
            await clock.advance(20)
            assert broker.acked == ["m1", "m3"]
            assert consumers.health["things/seen"].held == 0

    run(test)
    assert "message m2 of things/seen can't be acknowledged, and will come again: ValueError" in caplog.text


def test_a_message_that_comes_again_while_it_is_handled_brings_its_new_lease(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        clock = VirtualClock()
        broker, things, going, starts = Broker(clock), topic(), asyncio.Event(), 0

        @things.subscribe("seen", max_concurrency=2)
        async def see(event: Event) -> None:
            nonlocal starts
            starts += 1
            await going.wait()

        broker.publish(event(1))
        async with consuming(things, broker) as consumers:
            await settle()
            broker.revoke("m1")
            await settle()
            assert broker.entries[1].receives == 2
            going.set()
            await settle()
            assert starts == 1
            assert broker.acked == ["m1"]
            assert consumers.health["things/seen"].lost == 1

    run(test)
    assert caplog.text == ""


def test_an_acknowledgement_under_way_is_repeated_with_the_new_lease() -> None:
    async def test() -> None:
        clock = VirtualClock()
        broker, things, starts = Broker(clock), topic(), 0

        @things.subscribe("seen", max_concurrency=2)
        async def see(event: Event) -> None:
            nonlocal starts
            starts += 1

        broker.gate["ack"] = asyncio.Event()
        broker.publish(event(1))
        async with consuming(things, broker) as consumers:
            await settle()
            broker.revoke("m1")
            await settle()
            broker.gate["ack"].set()
            await settle()
            assert broker.acked == ["m1"]
            assert starts == 1
            assert consumers.health["things/seen"].held == 0

    run(test)


def test_a_running_message_that_is_lost_is_told_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        clock = VirtualClock()
        broker, things, going = Broker(clock), topic(), asyncio.Event()

        @things.subscribe("seen", max_concurrency=1)
        async def see(event: Event) -> None:
            await going.wait()

        broker.publish(event(1))
        async with consuming(things, broker) as consumers:
            await settle()
            broker.entries[1].token = -1  # somebody else has it
            broker.entries[1].leased_until = 1e9
            await clock.advance(11)
            assert consumers.health["things/seen"].lost == 1
            going.set()
            await settle()
            assert broker.acked == []
            health = consumers.health["things/seen"]
            assert (health.lost, health.held, health.running) == (1, 0, 0)

    run(test)
    assert "1 leases were lost of running messages, which may be handled twice: m1" in caplog.text
    assert "1 leases were lost of handled messages, which may be handled again: m1" in caplog.text


def test_a_lost_message_that_fails_is_left_to_who_has_it() -> None:
    async def test() -> None:
        clock = VirtualClock()
        broker, things, going = Broker(clock), topic(), asyncio.Event()

        @things.subscribe("seen", max_concurrency=1, retry=Retry(max_attempts=1))
        async def see(event: Event) -> None:
            await going.wait()
            raise ValueError

        broker.publish(event(1))
        async with consuming(things, broker) as consumers:
            await settle()
            broker.entries[1].token = -1
            broker.entries[1].leased_until = 1e9
            await clock.advance(11)
            going.set()
            await settle()
            assert broker.dead == []
            assert "retry" not in broker.calls
            assert consumers.health["things/seen"].held == 0

    run(test)


def test_what_has_not_started_and_was_lost_is_dropped_in_silence(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        clock = VirtualClock()
        broker, things, going, seen = Broker(clock, order="loose"), topic(ordered=True), asyncio.Event(), []

        @things.subscribe("seen", max_concurrency=10)
        async def see(event: Event) -> None:
            seen.append(event.n)
            await going.wait()

        for n in range(4):
            broker.publish(event(n), key="k")
        async with consuming(things, broker):
            await settle()
            assert seen == [0]
            broker.entries[2].token = -1  # the second has gone elsewhere: those behind it must follow
            broker.entries[2].leased_until = 1e9
            broker.entries[2].holder = None
            await clock.advance(11)
            assert broker.released == ["m3", "m4"]
            going.set()
            await settle()
            assert seen == [0]
            del broker.entries[2]  # done there
            broker.poke()
            await settle()
            assert seen == [0, 2, 3]

    run(test)
    assert caplog.text == ""


def test_while_the_broker_is_away_what_has_not_started_lapses_and_what_runs_goes_on() -> None:
    async def test() -> None:
        clock = VirtualClock()
        broker, things, going, seen = Broker(clock, order="loose"), topic(ordered=True), asyncio.Event(), []

        @things.subscribe("seen")
        async def see(event: Event) -> None:
            seen.append(event.n)
            await going.wait()

        for n in range(3):
            broker.publish(event(n), key="k")
        async with consuming(things, broker) as consumers:
            await settle()
            broker.broken["extend"] = broker.broken["ack"] = BrokerUnavailable("gone")
            broker.broken["receive"] = broker.broken["release"] = BrokerUnavailable("gone")
            await clock.advance(40)
            assert consumers.health["things/seen"].held == 1
            going.set()
            await settle()
            assert seen == [0]
            broker.broken.clear()
            broker.poke()
            await clock.advance(10)
            assert seen == [0, 1, 2]  # the first had been handled, which is remembered
            assert broker.entries == {}

    run(test)


def test_two_messages_with_one_id_of_the_broker_are_two_messages() -> None:
    async def test() -> None:
        clock = VirtualClock()
        broker, things, seen = Broker(clock), topic(), []
        delivery = broker._delivery

        def one_id(entry):  # type: ignore[no-untyped-def]
            made = delivery(entry)
            made.broker_id = "same"
            return made

        broker._delivery = one_id  # type: ignore[method-assign]
        going = asyncio.Event()

        @things.subscribe("seen", retry=Retry(min_backoff=1, max_backoff=1))
        async def see(message: Message[Event]) -> None:
            seen.append(message.value.n)
            await going.wait()

        broker.publish(event(1))
        broker.publish(event(2))
        async with consuming(things, broker) as consumers:
            await clock.advance(50)
            assert seen == [1, 2]
            going.set()
            await settle()
            assert sorted(broker.acked) == ["m1", "m2"]
            assert consumers.health["things/seen"].held == 0

    run(test)


def test_a_message_that_is_lost_before_it_starts_is_not_started() -> None:
    async def test() -> None:
        broker, things, seen = Broker(), topic(), []
        started, checked = asyncio.Event(), threading.Event()

        @things.subscribe("seen", ack_deadline=3, max_concurrency=5)
        async def see(message: Message[Event]) -> None:
            seen.append((message.value.n, message.attempt))
            if message.value.n == 0:
                started.set()
                # While this event loop is busy another message arrives here, and is lost again.
                broker.publish(event(1))
                end = time.monotonic() + 20
                while broker.leased() != ["m1", "m2"] and time.monotonic() < end:
                    time.sleep(0.002)
                with broker.lock:
                    taken = broker.entries[2]
                    taken.token, taken.leased_until = -1, 1e18
                while consumers.health["things/seen"].lost == 0 and time.monotonic() < end:
                    time.sleep(0.002)
                checked.set()

        async with consuming(things, broker, drain=1) as consumers:
            broker.publish(event(0))  # not before: the handler asks for the consumers, and an eager one is quick
            await started.wait()
            while broker.acked != ["m1"] or consumers.health["things/seen"].running:
                await asyncio.sleep(0.002)
            assert checked.is_set()
            assert seen == [(0, 1)]
            assert consumers.health["things/seen"].held == 0

    run(test)


def test_a_message_of_a_batch_that_is_lost_before_it_starts_is_left_out() -> None:
    async def test() -> None:
        broker, things, seen = Broker(), topic(), []

        @things.subscribe("seen", ack_deadline=3, max_concurrency=1, batch=Batch(2, wait=0.01))
        async def see(events: list[Event]) -> None:
            seen.append([event.n for event in events])

        async with consuming(things, broker, drain=1) as consumers:
            await asyncio.sleep(0.05)
            broker.publish(event(0))
            broker.publish(event(1))
            end = time.monotonic() + 20
            while len(broker.leased()) < 2 and time.monotonic() < end:
                time.sleep(0.002)
            time.sleep(0.05)
            with broker.lock:
                taken = broker.entries[2]
                taken.token, taken.leased_until = -1, 1e18
            while consumers.health["things/seen"].lost == 0 and time.monotonic() < end:
                time.sleep(0.002)
            while broker.acked != ["m1"]:
                await asyncio.sleep(0.002)
            assert seen == [[0]]

    run(test)


def test_a_message_that_comes_again_while_its_lease_is_extended_has_the_new_one() -> None:
    async def test() -> None:
        clock = VirtualClock()
        broker, things, going = Broker(clock), topic(), asyncio.Event()

        @things.subscribe("seen", max_concurrency=2)
        async def see(event: Event) -> None:
            await going.wait()

        broker.gate["extend"] = asyncio.Event()
        broker.publish(event(1))
        async with consuming(things, broker) as consumers:
            await clock.advance(11)
            broker.revoke("m1")
            await settle()
            broker.gate["extend"].set()
            await settle()
            going.set()
            await settle()
            assert broker.acked == ["m1"]
            assert consumers.health["things/seen"].lost == 1

    run(test)


def test_of_handled_messages_that_were_lost_a_thousand_are_remembered() -> None:
    table = Table(Health())
    for n in range(1001):
        held = table.enter(Delivery(f"m{n}", f"b{n}", b"", {}, None, EPOCH, 1, 1, None), 0.0)
        assert held is not None
        assert held.stage == "waiting"
        table.forget(held)
        table.remember(held)
    again = [table.enter(Delivery(f"m{n}", f"b{n}", b"", {}, None, EPOCH, 2, 2, None), 0.0) for n in (0, 1, 1000)]
    assert [held.stage for held in again if held is not None] == ["waiting", "done", "done"]
