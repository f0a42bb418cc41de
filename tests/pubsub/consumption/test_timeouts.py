"""Handlers that take too long."""

from __future__ import annotations

import asyncio

import pytest

from fastlane.pubsub.topics.batch import Batch
from fastlane.pubsub.topics.retry import Retry
from tests.pubsub.consumption.broker import Broker, VirtualClock, settle
from tests.pubsub.consumption.consuming import Event, consuming, event, run, topic


def test_at_its_timeout_a_handler_is_cancelled_and_has_failed(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        clock = VirtualClock()
        broker, things, cleaned = Broker(clock), topic(), []

        @things.subscribe("seen", timeout=60, retry=Retry(max_attempts=1))
        async def see(event: Event) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                cleaned.append(event.n)

        broker.publish(event(1))
        async with consuming(things, broker) as consumers:
            await clock.advance(30)
            broker.publish(event(2))
            await clock.advance(29)
            assert cleaned == []
            await clock.advance(2)
            assert cleaned == [1]
            await clock.advance(31)
            assert cleaned == [1, 2]
            assert [letter.error for letter in broker.dead] == ["took more than its timeout of 60 s"] * 2
            assert consumers.health["things/seen"].running == 0

    run(test)
    assert "handler of things/seen was cancelled after its timeout of 60 s: message m1" in caplog.text


def test_what_a_cancelled_handler_returns_is_no_success() -> None:
    async def test() -> None:
        clock = VirtualClock()
        broker, things = Broker(clock), topic()

        @things.subscribe("seen", timeout=60, retry=Retry(max_attempts=1))
        async def see(event: Event) -> None:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if event.n:
                    raise ValueError from None

        broker.publish(event(0))
        broker.publish(event(1))
        async with consuming(things, broker):
            await clock.advance(61)
            assert broker.acked == []
            assert [letter.error for letter in broker.dead] == ["took more than its timeout of 60 s"] * 2

    run(test)


def test_a_handler_that_can_not_be_cancelled_is_given_up_and_keeps_its_permit(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        clock = VirtualClock()
        broker, things, going, seen = Broker(clock), topic(), asyncio.Event(), []

        @things.subscribe("seen", timeout=60, max_concurrency=2, retry=Retry(min_backoff=1, max_backoff=1))
        async def see(event: Event) -> None:
            seen.append(event.n)
            while event.n == 1 and not going.is_set():
                try:
                    await going.wait()
                except asyncio.CancelledError:
                    pass

        broker.publish(event(1))
        async with consuming(things, broker) as consumers:
            await clock.advance(61)
            assert broker.delays == []
            await clock.advance(5)
            assert [name for name, _ in broker.delays] == ["m1"]
            health = consumers.health["things/seen"]
            assert (health.abandoned, health.running, health.failed) == (1, 1, 1)
            await clock.advance(2)
            assert seen == [1, 1]
            assert consumers.health["things/seen"].running == 2
            broker.publish(event(2))
            await settle()
            assert seen == [1, 1]  # both places are taken
            going.set()
            await settle()
            assert seen == [1, 1, 2]
            assert broker.acked == ["m1", "m2"]
            assert consumers.health["things/seen"].running == 0

    run(test)
    assert "goes on after its timeout of 60 s though it was cancelled: message m1 is tried again" in caplog.text


def test_an_abandoned_head_does_not_block_its_key_for_ever() -> None:
    async def test() -> None:
        clock = VirtualClock()
        broker, things, going, seen = Broker(clock, order="loose"), topic(ordered=True), asyncio.Event(), []

        @things.subscribe("seen", timeout=60, retry=Retry(min_backoff=1, max_backoff=1, max_attempts=2))
        async def see(event: Event) -> None:
            seen.append(event.n)
            while event.n == 1 and not going.is_set():
                try:
                    await going.wait()
                except asyncio.CancelledError:
                    pass

        broker.publish(event(1), key="k")
        broker.publish(event(2), key="k")
        async with consuming(things, broker) as consumers:
            await clock.advance(140)
            assert seen == [1, 1, 2]
            assert [letter.id for letter in broker.dead] == ["m1"]
            assert broker.acked == ["m2"]
            assert consumers.health["things/seen"].running == 2
            going.set()
            await settle()
            assert consumers.health["things/seen"].running == 0

    run(test)


def test_a_batch_has_one_time_for_all() -> None:
    async def test() -> None:
        clock = VirtualClock()
        broker, things = Broker(clock), topic()

        @things.subscribe("seen", timeout=60, batch=Batch(3, wait=1), retry=Retry(max_attempts=1))
        async def see(events: list[Event]) -> None:
            await asyncio.Event().wait()

        for n in range(3):
            broker.publish(event(n))
        async with consuming(things, broker):
            await clock.advance(61)
            assert sorted(letter.id for letter in broker.dead) == ["m1", "m2", "m3"]

    run(test)


def test_a_task_that_somebody_cancels_before_it_began_is_handed_back_at_its_timeout() -> None:
    async def test() -> None:
        clock = VirtualClock()
        broker, things, seen = Broker(clock), topic(), []

        @things.subscribe("seen", timeout=60)
        async def see(event: Event) -> None:
            seen.append(event.n)

        broker.publish(event(1))
        async with consuming(things, broker):
            for _ in range(40):
                await asyncio.sleep(0)
                for task in asyncio.all_tasks():
                    if task.get_coro().__qualname__ == "Handling._call_one":  # type: ignore[union-attr]
                        task.cancel()
                        break
                else:
                    continue
                break
            await clock.advance(30)
            first = list(seen)
            await clock.advance(31)
            assert first + seen in ([1], [1, 1])  # where tasks are eager it had begun, and ended
            assert broker.acked == ["m1"]

    run(test)
