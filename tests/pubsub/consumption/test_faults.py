"""A broker that comes and goes."""

from __future__ import annotations

import asyncio
import logging

import pytest

from fastlane.pubsub.consumption.backoff import Backoff
from fastlane.pubsub.consumption.bell import Bell
from fastlane.pubsub.consumption.health import one_line
from fastlane.pubsub.provider import BrokerUnavailable
from fastlane.pubsub.topics.retry import Retry
from tests.pubsub.consumption.broker import Broker, VirtualClock, settle
from tests.pubsub.consumption.consuming import Event, consuming, event, run, topic


def test_receiving_begins_again_after_any_error_and_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        clock = VirtualClock()
        broker, things, seen = Broker(clock), topic(), []

        @things.subscribe("seen")
        async def see(event: Event) -> None:
            seen.append(event.n)

        broker.broken["open"] = BrokerUnavailable("no route")
        async with consuming(things, broker) as consumers:
            await clock.advance(60)
            assert 12 < broker.calls.count("open") < 40
            assert consumers.health["things/seen"].reachable is False
            broker.broken["receive"] = KeyError("a mistake")
            del broker.broken["open"]
            await clock.advance(60)
            assert 12 < broker.calls.count("receive") < 40
            del broker.broken["receive"]
            broker.publish(event(1))
            await clock.advance(6)
            assert seen == [1]
            health = consumers.health["things/seen"]
            assert health.reachable is True
            assert health.errors > 24

    with caplog.at_level(logging.INFO, "fastlane.pubsub"):
        run(test)
    lines = [record.getMessage() for record in caplog.records]
    assert lines == [
        "subscription things/seen can't open: BrokerUnavailable: no route; trying again",
        "subscription things/seen can open again",
        "subscription things/seen can't receive: KeyError: 'a mistake'; trying again",
        "subscription things/seen can receive again",
    ]
    assert [record.exc_info is not None for record in caplog.records] == [False, False, True, False]


def test_a_retry_that_fails_is_made_again_and_is_due_when_it_was() -> None:
    async def test() -> None:
        clock = VirtualClock()
        broker, things = Broker(clock), topic()

        @things.subscribe("seen", retry=Retry(min_backoff=60, max_backoff=60))
        async def see(event: Event) -> None:
            raise ValueError

        broker.broken["retry"] = BrokerUnavailable("gone")
        broker.publish(event(1))
        async with consuming(things, broker):
            await clock.advance(45)
            assert "m1" in broker.extended
            del broker.broken["retry"]
            await clock.advance(31)
            assert broker.delays[0][1] <= 15

    run(test)


def test_a_retry_that_is_refused_is_left_to_its_lease() -> None:
    async def test() -> None:
        clock = VirtualClock()
        broker, things, starts = Broker(clock), topic(), 0

        @things.subscribe("seen", ack_deadline=30)
        async def see(event: Event) -> None:
            nonlocal starts
            starts += 1
            if starts == 1:
                raise ValueError

        broker.broken["retry"] = ValueError("a mistake")
        broker.publish(event(1))
        async with consuming(things, broker):
            await clock.advance(10)
            assert broker.calls.count("retry") == 5
            assert starts == 1
            await clock.advance(60)
            assert starts == 2
            assert broker.acked == ["m1"]

    run(test)


def test_a_dead_letter_whose_lease_is_lost_is_left_to_who_has_it() -> None:
    async def test() -> None:
        clock = VirtualClock()
        broker, things = Broker(clock, order="loose"), topic(ordered=True)

        @things.subscribe("seen", retry=Retry(max_attempts=1), max_concurrency=5)
        async def see(event: Event) -> None:
            raise ValueError

        broker.broken["dead_letter"] = BrokerUnavailable("gone")
        broker.publish(event(1), key="k")
        broker.publish(event(2), key="k")
        async with consuming(things, broker) as consumers:
            await settle()
            head = broker.entries[1]
            head.token, head.holder, head.leased_until = -1, None, 1e9
            await clock.advance(60)
            assert broker.dead == []
            assert broker.released == ["m2"]
            assert consumers.health["things/seen"].held == 0

    run(test)


def test_a_release_that_fails_is_left_to_its_lease(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        clock = VirtualClock()
        broker, things = Broker(clock, order="groups"), topic(ordered=True)

        @things.subscribe("seen", retry=Retry(min_backoff=1, max_backoff=1))
        async def see(event: Event) -> None:
            raise ValueError

        broker.broken["release"] = BrokerUnavailable("gone")
        broker.publish(event(1), key="k")
        broker.publish(event(2), key="k")
        async with consuming(things, broker):
            await clock.advance(10)
            assert broker.calls.count("release") == 5
            assert broker.entries[1].receives == 2  # it has come again, and waits until nothing can overtake it
            del broker.broken["release"]
            await clock.advance(100)
            assert [letter.id for letter in broker.dead] == ["m1", "m2"]

    run(test)
    assert "can't release: BrokerUnavailable: gone; trying again" in caplog.text


def test_a_source_that_answers_at_once_without_anything_is_not_asked_all_the_time() -> None:
    async def test() -> None:
        broker, things = Broker(VirtualClock()), topic()

        async def nothing(limit, holder):  # type: ignore[no-untyped-def]
            broker.calls.append("receive")
            return []

        broker.receive = nothing  # type: ignore[method-assign]

        @things.subscribe("seen")
        async def see(event: Event) -> None: ...

        async with consuming(things, broker):
            await asyncio.sleep(0.22)
            assert broker.calls.count("receive") < 8

    run(test)


def test_a_mistake_of_ours_does_not_end_the_receiving(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fastlane.pubsub.consumption.custody import Custody

    async def test() -> None:
        clock = VirtualClock()
        broker, things, seen = Broker(clock), topic(), []

        @things.subscribe("seen")
        async def see(event: Event) -> None:
            seen.append(event.n)

        admit, judge = Custody.admit, Custody._judge

        def stumble(self, deliveries):  # type: ignore[no-untyped-def]
            monkeypatch.setattr(Custody, "admit", admit)
            raise RuntimeError("stumbled")

        def slip(self, held, released):  # type: ignore[no-untyped-def]
            monkeypatch.setattr(Custody, "_judge", judge)
            raise RuntimeError("slipped")

        monkeypatch.setattr(Custody, "admit", stumble)
        monkeypatch.setattr(Custody, "_judge", slip)
        broker.publish(event(1))
        async with consuming(things, broker):
            await clock.advance(2)
            broker.publish(event(2))
            broker.publish(event(3))
            await settle()
            assert seen == [2, 3]
            assert broker.acked == ["m3"]
            await clock.advance(40)
            assert seen == [2, 3, 1]

    run(test)
    assert "consuming things/seen failed; beginning again" in caplog.text
    assert "the outcome of a handler of things/seen" in caplog.text


def test_backoff_doubles_up_to_its_most_and_begins_anew() -> None:
    backoff = Backoff(1, 4)
    for least, most in ((0.5, 1), (1, 2), (2, 4), (2, 4)):
        assert least <= backoff.next() <= most
    backoff.reset()
    assert backoff.next() <= 1


def test_an_exception_is_one_bounded_line() -> None:
    assert one_line(ValueError("a\n  b")) == "ValueError: a b"
    assert one_line(ValueError()) == "ValueError"
    assert len(one_line(ValueError("x" * 10_000))) == 500


def test_a_bell_wakes_who_waits_and_gives_up_in_time() -> None:
    async def test() -> None:
        bell, loop = Bell(), asyncio.get_running_loop()
        gone = asyncio.create_task(bell.wait())
        waiting = asyncio.create_task(bell.wait())
        await asyncio.sleep(0)
        gone.cancel()
        bell.ring()
        await waiting
        bell.ring()
        assert await bell.until(lambda: True, loop.time()) is True
        assert await bell.until(lambda: False, loop.time() + 0.01) is False

    run(test)


def test_an_acknowledgement_that_hangs_does_not_hold_up_those_that_fill_a_request() -> None:
    async def test() -> None:
        broker, things, answer = Broker(VirtualClock()), topic(), asyncio.Event()

        @things.subscribe("seen", max_concurrency=20)
        async def see(event: Event) -> None: ...

        async with consuming(things, broker, receive_limit=4, receives=3):
            broker.gate["ack"] = answer
            broker.publish(event(0))
            await settle()
            del broker.gate["ack"]
            for n in range(1, 5):
                broker.publish(event(n))
            await settle()
            assert broker.acked == ["m2", "m3", "m4", "m5"]
            for n in range(5, 8):
                broker.publish(event(n))
            await settle()
            assert len(broker.acked) == 4  # less than a request waits for the one that is under way
            answer.set()
            await settle()
            assert sorted(broker.acked) == [f"m{n}" for n in range(1, 9)]
            assert broker.calls.count("ack") == 3

    run(test)


def test_a_broker_that_takes_no_acknowledgement_is_asked_with_all_of_them_at_once() -> None:
    async def test() -> None:
        clock = VirtualClock()
        broker, things = Broker(clock), topic()

        @things.subscribe("seen", max_concurrency=20)
        async def see(event: Event) -> None: ...

        async with consuming(things, broker, receive_limit=4, receives=3):
            broker.broken["ack"] = BrokerUnavailable("no route")
            for n in range(40):
                broker.publish(event(n))
            await clock.advance(60)
            assert 12 < broker.calls.count("ack") < 60
            del broker.broken["ack"]
            await clock.advance(6)
            assert broker.calls.count("ack") < 64
            assert (len(broker.acked), broker.entries) == (40, {})

    run(test)
