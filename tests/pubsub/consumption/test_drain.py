"""Stopping: nothing new, what runs may end, and the rest is handed back without having failed."""

from __future__ import annotations

import asyncio

import pytest

from fastlane.pubsub.consumption import consumption
from fastlane.pubsub.provider import BrokerUnavailable, PublishRefused
from fastlane.pubsub.topics.batch import Batch
from fastlane.pubsub.topics.message import Message, Reject
from fastlane.pubsub.topics.retry import Retry
from tests.pubsub.consumption.broker import Broker, VirtualClock, settle
from tests.pubsub.consumption.consuming import Event, consuming, event, run, topic


def test_what_runs_may_end_and_is_acknowledged() -> None:
    async def test() -> None:
        clock = VirtualClock()
        broker, things, going, seen = Broker(clock), topic(), asyncio.Event(), []

        @things.subscribe("seen", max_concurrency=2)
        async def see(event: Event) -> None:
            seen.append(event.n)
            await going.wait()

        for n in range(5):
            broker.publish(event(n))
        async with consuming(things, broker) as consumers:
            await settle()
            draining = asyncio.create_task(consumers.drain(10))
            await settle()
            await clock.advance(100)  # and is extended for as long
            assert len(broker.leased()) == 2
            going.set()
            await draining
            assert broker.acked == ["m1", "m2"]
            assert seen == [0, 1]
            assert broker.leased() == []
            assert broker.closed == 1

    run(test)


def test_at_the_deadline_handlers_are_cancelled_and_have_not_failed() -> None:
    async def test() -> None:
        broker, things, cleaned = Broker(VirtualClock()), topic(), []

        @things.subscribe("seen", retry=Retry(max_attempts=1))
        async def see(event: Event) -> None:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cleaned.append(event.n)
                if event.n:
                    raise ValueError("closing failed") from None

        for n in range(2):
            broker.publish(event(n))
        async with consuming(things, broker) as consumers:
            await settle()
            await consumers.drain(0.01)
            assert cleaned == [0, 1]
            assert broker.released == ["m1", "m2"]
            assert [entry.attempt for entry in broker.entries.values()] == [0, 0]
            assert broker.dead == []
            assert consumers.health["things/seen"].failed == 0

    run(test)


def test_a_handler_that_does_not_end_is_left_behind() -> None:
    async def test() -> None:
        broker, things, going = Broker(VirtualClock()), topic(), asyncio.Event()

        @things.subscribe("seen")
        async def see(event: Event) -> None:
            while not going.is_set():
                try:
                    await going.wait()
                except asyncio.CancelledError:
                    pass

        broker.publish(event(1))
        async with consuming(things, broker) as consumers:
            await settle()
            began = asyncio.get_running_loop().time()
            await consumers.drain(0.01)
            assert asyncio.get_running_loop().time() - began < 20
            assert broker.released == ["m1"]
            going.set()
            await settle()
            assert broker.acked == []

    run(test)


def test_what_a_drain_waits_for_beyond_its_time_is_over_before_the_supervisor_kills() -> None:
    assert consumption._CANCELLED_HANDLER + 2 * consumption._LAST_CALLS < 2


def test_what_the_broker_refuses_to_dead_letter_is_handed_back_by_the_drain_in_time() -> None:
    async def test() -> None:
        broker, things = Broker(VirtualClock()), topic()
        broker.broken["dead_letter"] = PublishRefused("too big")

        @things.subscribe("seen")
        async def see(event: Event) -> None:
            raise Reject("never")

        broker.publish(event(1))
        async with consuming(things, broker) as consumers:
            await settle()
            assert consumers.health["things/seen"].held == 1
            began = asyncio.get_running_loop().time()
            await consumers.drain(0.01)
            assert asyncio.get_running_loop().time() - began < 20
            assert broker.released == ["m1"]
            assert not broker.acked

    run(test)


def test_followers_wait_for_their_head_and_go_back_in_order() -> None:
    async def test() -> None:
        broker, things, going, seen = Broker(VirtualClock(), order="loose"), topic(ordered=True), asyncio.Event(), []

        @things.subscribe("seen")
        async def see(event: Event) -> None:
            seen.append((event.key, event.n))
            await going.wait()
            if event.key == "b":
                raise ValueError

        for n in range(3):
            broker.publish(event(n, "a"), key="a")
            broker.publish(event(n, "b"), key="b")
        async with consuming(things, broker) as consumers:
            await settle()
            draining = asyncio.create_task(consumers.drain(10))
            await settle()
            assert broker.released == []
            going.set()
            await draining
            assert seen == [("a", 0), ("b", 0)]
            assert broker.acked == ["m1"]
            assert [m for m in broker.released if m in ("m3", "m5")] == ["m3", "m5"]
            assert [m for m in broker.released if m in ("m2", "m4", "m6")] == ["m2", "m4", "m6"]

    run(test)


def test_a_head_in_its_backoff_goes_back_with_those_behind_it() -> None:
    async def test() -> None:
        clock = VirtualClock()
        broker, things = Broker(clock, order="loose"), topic(ordered=True)

        @things.subscribe("seen", retry=Retry(min_backoff=100))
        async def see(event: Event) -> None:
            raise ValueError

        for n in range(3):
            broker.publish(event(n), key="k")
        async with consuming(things, broker) as consumers:
            await clock.advance(1)
            await consumers.drain(5)
            assert broker.released == ["m1", "m2", "m3"]

    run(test)


def test_a_cancelled_head_goes_back_before_those_behind_it() -> None:
    async def test() -> None:
        broker, things = Broker(VirtualClock(), order="loose"), topic(ordered=True)

        @things.subscribe("seen")
        async def see(event: Event) -> None:
            await asyncio.Event().wait()

        for n in range(3):
            broker.publish(event(n), key="k")
        async with consuming(things, broker) as consumers:
            await settle()
            await consumers.drain(0)
            assert broker.released == ["m1", "m2", "m3"]

    run(test)


def test_a_batch_that_is_forming_goes_back() -> None:
    async def test() -> None:
        broker, things = Broker(VirtualClock()), topic()

        @things.subscribe("seen", batch=Batch(10, wait=60))
        async def see(events: list[Event]) -> None:
            raise AssertionError

        for n in range(3):
            broker.publish(event(n))
        async with consuming(things, broker) as consumers:
            await settle()
            assert len(broker.leased()) == 3
            await consumers.drain(1)
            assert broker.released == ["m1", "m2", "m3"]

    run(test)


def test_what_was_received_while_the_drain_began_goes_back() -> None:
    async def test() -> None:
        broker, things, arrived = Broker(VirtualClock()), topic(), asyncio.Event()
        receive = broker.receive

        async def answer_in_spite_of_cancellation(limit, holder):  # type: ignore[no-untyped-def]
            try:
                return await receive(limit, holder)
            except asyncio.CancelledError:
                broker.publish(event(1))
                arrived.set()
                return await receive(limit, holder)

        broker.receive = answer_in_spite_of_cancellation  # type: ignore[method-assign]

        @things.subscribe("seen")
        async def see(event: Event) -> None:
            raise AssertionError

        async with consuming(things, broker) as consumers:
            await settle()
            await consumers.drain(1)
            assert arrived.is_set()
            assert broker.released == ["m1"]

    run(test)


def test_while_the_broker_is_away_the_drain_ends_all_the_same() -> None:
    async def test() -> None:
        clock = VirtualClock()
        broker, things, going = Broker(clock), topic(), asyncio.Event()

        @things.subscribe("seen")
        async def see(event: Event) -> None:
            if event.n == 0:
                raise Reject("no")
            if event.n == 1:
                raise ValueError
            if event.n == 3:
                await going.wait()

        for call in ("ack", "retry", "dead_letter", "release", "close"):
            broker.broken[call] = BrokerUnavailable("gone")
        for n in range(4):
            broker.publish(event(n))
        async with consuming(things, broker) as consumers:
            await settle()
            began = asyncio.get_running_loop().time()
            await consumers.drain(0.1)
            assert asyncio.get_running_loop().time() - began < 20
            assert broker.acked == broker.dead == []

    run(test)


def test_before_the_source_is_open_there_is_nothing_to_hand_back() -> None:
    async def test() -> None:
        broker, things = Broker(VirtualClock()), topic()

        @things.subscribe("seen")
        async def see(event: Event) -> None: ...

        broker.broken["open"] = BrokerUnavailable("gone")
        async with consuming(things, broker) as consumers:
            await settle()
            await consumers.drain(5)
            await consumers.drain(5)
            assert broker.closed == 0
            assert consumers.health["things/seen"].reachable is False

    run(test)


@pytest.mark.parametrize("threaded", [False, True])
def test_a_drained_worker_leaves_everything_to_the_next(threaded: bool) -> None:
    async def test() -> None:
        broker, things, seen = Broker(None if threaded else VirtualClock()), topic(), set()
        enough = asyncio.Event()

        @things.subscribe("seen", max_concurrency=20)
        async def see(event: Event) -> None:
            await asyncio.sleep(0)
            seen.add(event.n)
            if len(seen) > 50 or len(seen) == 200:
                enough.set()

        for n in range(200):
            broker.publish(event(n))
        async with consuming(things, broker) as consumers:
            await enough.wait()
            await consumers.drain(5)
        assert broker.leased() == []
        assert len(broker.acked) + len(broker.entries) == 200
        enough.clear()
        async with consuming(things, broker, drain=5):
            while len(seen) < 200:
                await asyncio.sleep(0.001)
        assert len(broker.acked) == len(set(broker.acked)) == 200

    run(test)


@pytest.mark.parametrize("threaded", [False, True])
def test_a_drain_that_is_cancelled_is_finished_by_the_close(threaded: bool) -> None:
    async def test() -> None:
        broker, things, started = Broker(None if threaded else VirtualClock()), topic(), asyncio.Event()

        @things.subscribe("seen", max_concurrency=1)
        async def see(event: Event) -> None:
            started.set()
            await asyncio.Event().wait()

        broker.publish(event(1))
        async with consuming(things, broker) as consumers:
            await started.wait()
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(consumers.drain(60), 0.05)
            assert broker.released == []
            began = asyncio.get_running_loop().time()
            await consumers.close()
            assert asyncio.get_running_loop().time() - began < 20  # not the 60 s of the drain
            assert broker.released == ["m1"]
            assert broker.closed == 1

    run(test)


def test_what_can_not_be_begun_has_failed() -> None:
    async def test() -> None:
        clock = VirtualClock()
        broker, things = Broker(clock), topic()

        @things.subscribe("seen", retry=Retry(max_attempts=1))
        def see(event: Event) -> None: ...

        async with consuming(things, broker) as consumers:
            await settle()
            consumers._consumers["things/seen"].handling.close()  # as when no thread can be started
            broker.publish(event(1))
            while not broker.dead:
                await asyncio.sleep(0.001)
            assert [letter.reason for letter in broker.dead] == ["attempts"]
            assert consumers.health["things/seen"].running == 0

    run(test)


def test_a_task_that_ends_with_its_event_loop_has_not_failed(caplog: pytest.LogCaptureFixture) -> None:
    broker, things = Broker(VirtualClock()), topic()
    tasks = []

    @things.subscribe("seen")
    async def see(event: Event) -> None:
        tasks.append(asyncio.current_task())
        await asyncio.Event().wait()

    async def test() -> None:
        broker.publish(event(1))
        async with consuming(things, broker):
            await settle()
            tasks[0].get_coro().close()
            tasks.clear()

    run(test)
    assert "failed" not in caplog.text


def test_a_key_that_is_closed_is_handed_back_by_the_drain() -> None:
    async def test() -> None:
        clock = VirtualClock()
        broker, things, seen = Broker(clock, order="groups"), topic(ordered=True), []

        @things.subscribe("seen", retry=Retry(min_backoff=0, max_backoff=0))
        async def see(message: Message[Event]) -> None:
            seen.append((message.value.n, message.attempt))
            if message.attempt == 1:
                raise ValueError

        broker.gate["release"] = asyncio.Event()
        broker.publish(event(1, "k"), key="k")
        broker.publish(event(2, "k"), key="k")
        async with consuming(things, broker) as consumers:
            await clock.advance(1)
            assert seen == [(1, 1)]  # it has come again, and waits for the second to be back at the broker
            assert broker.entries[1].receives == 2
            draining = asyncio.create_task(consumers.drain(5))
            await settle()
            broker.gate["release"].set()
            await draining
            assert broker.released == ["m2", "m1"]

    run(test)
