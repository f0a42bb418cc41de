"""What becomes of a message: done, tried again, or dead."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable

import pytest

from fastlane.errors import ConfigurationError
from fastlane.pubsub.service import PubSubService
from fastlane.pubsub.topics.batch import Batch
from fastlane.pubsub.topics.filters import Filter
from fastlane.pubsub.topics.message import Message, Reject
from fastlane.pubsub.topics.retry import Retry
from fastlane.resources.configuration import ResourceConfiguration
from fastlane.resources.declaration import Place
from fastlane.resources.surroundings import Surroundings
from tests.pubsub.consumption.broker import Broker, VirtualClock, settle
from tests.pubsub.consumption.consuming import Event, consuming, event, run, topic


def test_a_handled_message_is_acknowledged() -> None:
    async def test() -> None:
        broker, things, seen = Broker(VirtualClock()), topic(), []

        @things.subscribe("seen")
        async def see(event: Event) -> None:
            seen.append(event.n)

        for n in range(250):
            broker.publish(event(n))
        async with consuming(things, broker) as consumers:
            await settle()
            assert seen == list(range(250))
            assert len(broker.acked) == 250
            health = consumers.health["things/seen"]
            assert (health.received, health.handled, health.held, health.running) == (250, 250, 0, 0)
        assert broker.closed == 1

    run(test)


def test_never_more_is_asked_for_than_may_run() -> None:
    async def test() -> None:
        broker, things = Broker(VirtualClock()), topic()
        going, running, most = asyncio.Event(), 0, 0

        @things.subscribe("seen", max_concurrency=7)
        async def see(event: Event) -> None:
            nonlocal running, most
            running += 1
            most = max(most, running)
            await going.wait()
            running -= 1

        for n in range(30):
            broker.publish(event(n))
        async with consuming(things, broker):
            await settle()
            assert len(broker.leased()) == running == 7
            going.set()
            await settle()
            assert most == 7
            assert len(broker.acked) == 30
            assert max(broker.limits) == 7

    run(test)


def test_a_failed_attempt_comes_again_after_its_backoff_and_at_last_to_the_dead_letters(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def test() -> None:
        clock = VirtualClock()
        broker, things, attempts = Broker(clock), topic(), []

        @things.subscribe("seen", retry=Retry(min_backoff=10, max_backoff=25, max_attempts=4))
        async def see(message: Message[Event]) -> None:
            attempts.append((clock.now - 1000, message.attempt, message.id))
            raise ValueError("no\nluck")

        published = broker.publish(event(1, "payload-canary"))
        async with consuming(things, broker) as consumers:
            await clock.advance(100)
            assert [attempt for _, attempt, _ in attempts] == [1, 2, 3, 4]
            assert {i for _, _, i in attempts} == {published}
            delays = [delay for _, delay in broker.delays]
            assert 10 <= delays[0] <= 12.5
            assert 20 <= delays[1] <= 25
            assert delays[2] == 25
            (letter,) = broker.dead
            assert letter.reason == "attempts"
            assert letter.error == "ValueError: no luck"
            assert letter.source == "things/seen"
            assert (letter.attempt, letter.id, letter.payload) == (4, published, event(1, "payload-canary"))
            assert broker.acked == []
            health = consumers.health["things/seen"]
            assert (health.failed, health.retried, health.dead) == (4, 3, 1)

    with caplog.at_level(logging.DEBUG, "fastlane.pubsub"):
        run(test)
    assert "payload-canary" not in caplog.text
    assert "Traceback" in caplog.text
    assert "handler of things/seen failed on attempt 1: message m1" in caplog.text
    assert "message m1 of things/seen is among the dead letters after attempt 4 (attempts)" in caplog.text


def test_without_max_attempts_it_comes_for_ever() -> None:
    async def test() -> None:
        clock = VirtualClock()
        broker, things, count = Broker(clock), topic(), 0

        @things.subscribe("seen", retry=Retry(min_backoff=1, max_backoff=1, max_attempts=None))
        async def see(event: Event) -> None:
            nonlocal count
            count += 1
            raise ValueError

        broker.publish(event(1))
        async with consuming(things, broker):
            await clock.advance(50.5)
            assert count == 51
            assert broker.dead == []

    run(test)


def test_reject_is_the_end_at_once() -> None:
    async def test() -> None:
        broker, things = Broker(VirtualClock()), topic()

        @things.subscribe("seen")
        async def see(event: Event) -> None:
            raise Reject("no such user" if event.n else "")

        broker.publish(event(0))
        broker.publish(event(1))
        async with consuming(things, broker):
            await settle()
            assert [(letter.reason, letter.error) for letter in broker.dead] == [
                ("rejected", "rejected"),
                ("rejected", "no such user"),
            ]

    run(test)


def test_poison_is_tried_three_times() -> None:
    async def test() -> None:
        clock = VirtualClock()
        broker, things = Broker(clock), topic()

        @things.subscribe("seen", retry=Retry(min_backoff=10, max_backoff=100, max_attempts=1))
        async def see(event: Event) -> None:
            raise AssertionError

        broker.publish(b'{"n": "secret"}')
        await settle()
        broker.publish(b"\xff")
        async with consuming(things, broker):
            await clock.advance(9)
            assert broker.dead == []
            await clock.advance(60)
            assert [(letter.reason, letter.attempt) for letter in broker.dead] == [("decode", 3), ("decode", 3)]
            errors = sorted(letter.error for letter in broker.dead)
            assert errors[0].startswith("DecodeError: ")
            assert errors[1] == "ValidationError: Expected `int`, got `str` - at `$.n`"

    run(test)


def test_a_message_that_kills_workers_is_not_started_for_ever() -> None:
    async def test() -> None:
        broker, things, seen = Broker(VirtualClock()), topic(), []

        @things.subscribe("seen", retry=Retry(max_attempts=3))
        async def see(event: Event) -> None:
            seen.append(event.n)

        broker.publish(event(1))
        broker.publish(event(2))
        broker.entries[1].receives = 16  # this is the 17th
        broker.entries[2].receives = 15
        async with consuming(things, broker):
            await settle()
            assert [letter.reason for letter in broker.dead] == ["delivery-limit"]
            assert seen == [2]

    run(test)


def test_a_handler_may_ask_for_another_attempt_and_when() -> None:
    async def test() -> None:
        clock = VirtualClock()
        broker, things, attempts = Broker(clock), topic(), []

        @things.subscribe("seen", retry=Retry(max_attempts=2))
        async def see(message: Message[Event]) -> None:
            attempts.append(message.attempt)
            message.retry(delay="3s")

        broker.publish(event(1))
        async with consuming(things, broker):
            await settle()
            assert broker.delays == [("m1", 3.0)]
            await clock.advance(4)
            assert attempts == [1, 2]
            assert broker.dead[0].error == "the handler asked for another attempt"

    run(test)


def test_delays_keep_to_what_the_broker_can() -> None:
    async def test() -> None:
        broker, things = Broker(VirtualClock()), topic()

        @things.subscribe("seen")
        async def see(message: Message[Event]) -> None:
            message.retry(delay=1.2 if message.value.n else 10_000)

        broker.publish(event(0))
        broker.publish(event(1))
        async with consuming(things, broker, max_backoff=600.0, whole_seconds=True):
            await settle()
            assert broker.delays == [("m1", 600), ("m2", 2)]

    run(test)


def test_what_a_filter_does_not_want_is_acknowledged_unseen() -> None:
    async def test() -> None:
        clock = VirtualClock()
        broker, things, seen = Broker(clock), topic(), []

        @things.subscribe("seen", filter={"country": "se"})
        async def see(event: Event) -> None:
            seen.append(event.n)

        for n, country in enumerate(["se", "no", "se"]):
            broker.publish(event(n), attributes={"country": country})
        broker.publish(b"no JSON", attributes={})
        async with consuming(things, broker) as consumers:
            await settle()
            assert seen == [0, 2]
            assert len(broker.acked) == 4
            assert consumers.health["things/seen"].filtered == 2

    run(test)


def test_a_filter_that_fails_is_a_failed_attempt(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        clock = VirtualClock()
        broker, things, seen = Broker(clock), topic(), []
        mood = "raise"

        def wants(text: str) -> bool:
            if mood == "raise":
                raise LookupError(text)
            return mood == "yes"

        @things.subscribe("seen", retry=Retry(min_backoff=1, max_backoff=1, max_attempts=3))
        async def see(event: Event) -> None:
            seen.append(event.n)

        things.subscriptions["seen"].filter = Filter({"a": wants}, Place("f.py", 1))
        async with consuming(things, broker):
            broker.publish(event(1), attributes={"a": "x"})
            await clock.advance(0.5)
            mood = "yes"
            await clock.advance(2)
            assert seen == [1]
            mood = "raise"
            broker.publish(event(2), attributes={"a": "x"})
            await clock.advance(5)
            assert [letter.reason for letter in broker.dead] == ["attempts"]
            assert "LookupError: x" in broker.dead[0].error

    run(test)
    assert "filter of things/seen failed" in caplog.text


def test_a_dead_letter_that_can_not_be_written_is_not_acknowledged(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        clock = VirtualClock()
        broker, things = Broker(clock), topic()

        @things.subscribe("seen", ack_deadline=30)
        async def see(event: Event) -> None:
            raise Reject("no")

        broker.broken["dead_letter"] = RuntimeError("no such queue")
        broker.publish(event(1))
        async with consuming(things, broker) as consumers:
            await clock.advance(300)
            assert broker.leased() == ["m1"]
            assert broker.extended.count("m1") > 20
            assert broker.calls.count("dead_letter") < 25
            assert consumers.health["things/seen"].held == 1
            del broker.broken["dead_letter"]
            await clock.advance(31)
            assert [letter.reason for letter in broker.dead] == ["rejected"]
            assert broker.entries == {}

    run(test)
    assert caplog.text.count("can't dead-letter: RuntimeError: no such queue") == 1
    assert "can dead-letter again" not in caplog.text  # that is information, no warning


def test_what_can_not_leave_bounds_what_is_received() -> None:
    async def test() -> None:
        clock = VirtualClock()
        broker, things = Broker(clock), topic()

        @things.subscribe("seen", max_concurrency=10)
        async def see(event: Event) -> None:
            raise Reject("no")

        broker.broken["dead_letter"] = RuntimeError("no such queue")
        for n in range(300):
            broker.publish(event(n))
        async with consuming(things, broker):
            await clock.advance(100)
            assert len(broker.leased()) == 120

    run(test)


def test_each_handler_has_a_context_and_a_named_task_of_its_own() -> None:
    import contextvars

    value = contextvars.ContextVar("value", default="none")

    async def test() -> None:
        broker, things, seen = Broker(VirtualClock()), topic(), []
        value.set("outside")

        @things.subscribe("seen")
        async def see(event: Event) -> None:
            task = asyncio.current_task()
            assert task is not None
            seen.append((value.get(), task.get_name()))
            value.set("mine")

        broker.publish(event(1))
        broker.publish(event(2))
        async with consuming(things, broker):
            await settle()
        assert seen == [("none", "things/seen"), ("none", "things/seen")]

    run(test)


class Memory:
    """Remembers what was handled, as a database does that implements `Once`."""

    def __init__(self) -> None:
        self.rows: set[tuple[str, str]] = set()

    def claim(self, source: str, message_id: str):  # type: ignore[no-untyped-def]
        from contextlib import asynccontextmanager

        @asynccontextmanager
        async def claim():  # type: ignore[no-untyped-def]
            yield (source, message_id) not in self.rows
            self.rows.add((source, message_id))

        return claim()


def test_once_runs_what_has_committed_no_second_time() -> None:
    async def test() -> None:
        clock = VirtualClock()
        broker, things, seen = Broker(clock), topic(), []

        @things.subscribe("seen", retry=Retry(min_backoff=1, max_backoff=1))
        async def see(event: Event) -> None:
            seen.append(event.n)
            if len(seen) == 1:
                raise ValueError

        memory = Memory()
        things.subscriptions["seen"].once = memory  # type: ignore[assignment]
        broker.publish(event(1))
        async with consuming(things, broker):
            await clock.advance(2)
            assert seen == [1, 1]
            assert memory.rows == {("things/seen", "m1")}
            broker.publish(event(1))
            broker.entries[2].id = "m1"
            await settle()
            assert seen == [1, 1]
            assert len(broker.acked) == 2

    run(test)


def test_once_that_can_not_be_kept_is_refused() -> None:
    async def test() -> None:
        things = topic()

        @things.subscribe("seen")
        async def see(event: Event) -> None: ...

        subscription = things.subscriptions["seen"]
        subscription.once = object()  # type: ignore[assignment]
        with pytest.raises(ConfigurationError, match="can't remember"):
            async with consuming(things, Broker(VirtualClock())):
                pass
        subscription.once = Memory()  # type: ignore[assignment]
        subscription.batch = Batch(5)
        with pytest.raises(ConfigurationError, match="takes batches"):
            async with consuming(things, Broker(VirtualClock())):
                pass

    run(test)


def test_a_share_of_zero_receives_nothing() -> None:
    async def test() -> None:
        broker, things = Broker(VirtualClock()), topic()

        @things.subscribe("seen")
        async def see(event: Event) -> None: ...

        async with consuming(things, broker, share=0) as consumers:
            await settle()
            assert broker.calls == []
            assert consumers.health == {}

    run(test)


def test_the_boot_refuses_a_once_that_can_not_be_kept() -> None:
    things = topic()

    @things.subscribe("seen")
    async def see(event: Event) -> None: ...

    things.subscriptions["seen"].once = object()  # type: ignore[assignment]
    service = PubSubService(ResourceConfiguration(), Surroundings(mode="test", embedded=True))
    (mistake,) = [mistake for mistake in service.check() if "once=" in mistake]
    assert "subscription 'things/seen'" in mistake
    assert "mend: " in mistake


async def wait_for(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(50):
        while not condition():
            await asyncio.sleep(0.001)


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


class Silent(Reject):
    def __init__(self) -> None:
        self.reason = ValueError("no text \ud800\0")  # type: ignore[assignment]


@pytest.mark.parametrize("threaded", [False, True])
@pytest.mark.parametrize(
    ("raised", "reason", "told"),
    [
        (Unspeakable, "attempts", "Unspeakable: (its text is missing: __str__ raised RuntimeError)"),
        (Silent, "rejected", "no text \N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}"),
        (lambda: ValueError("half \ud800"), "attempts", "ValueError: half \N{REPLACEMENT CHARACTER}"),
        (lambda: SystemExit(3), "attempts", "SystemExit: 3"),
        (KeyboardInterrupt, "attempts", "KeyboardInterrupt"),
        (GeneratorExit, "attempts", "GeneratorExit"),
        (asyncio.CancelledError, "attempts", "CancelledError"),
    ],
)
def test_whatever_a_handler_raises_is_a_failure_and_the_worker_goes_on(
    raised: Callable[[], BaseException], reason: str, told: str, threaded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A worker has a handler for it, and then Ctrl-C never raises.
    monkeypatch.setattr(signal, "getsignal", lambda _: signal.SIG_IGN)

    async def test() -> None:
        broker, things, seen = Broker(VirtualClock()), topic(), []

        def judge(event: Event) -> None:
            if event.n == 1:
                raise raised()
            seen.append(event.n)

        async def judge_in_task(event: Event) -> None:
            judge(event)

        things.subscribe("seen", retry=Retry(max_attempts=1))(judge if threaded else judge_in_task)
        broker.publish(event(1))
        async with consuming(things, broker) as consumers:
            await wait_for(lambda: len(broker.dead) == 1)
            assert [(letter.reason, letter.error) for letter in broker.dead] == [(reason, told)]
            broker.publish(event(2))
            await wait_for(lambda: len(broker.acked) == 1)
            assert seen == [2]
            assert consumers.health["things/seen"].running == 0

    run(test)


def test_a_batch_whose_mark_has_no_text_is_rejected_nevertheless() -> None:
    async def test() -> None:
        broker, things = Broker(VirtualClock()), topic()

        @things.subscribe("seen", batch=Batch(2, wait=1))
        async def see(messages: list[Message[Event]]) -> None:
            for message in messages:
                message.reject(Unspeakable())  # type: ignore[arg-type]

        broker.publish(event(1))
        broker.publish(event(2))
        async with consuming(things, broker):
            await settle()
            assert [letter.reason for letter in broker.dead] == ["rejected", "rejected"]
            assert not broker.acked

    run(test)


def test_ctrl_c_that_nobody_else_takes_ends_the_event_loop_and_is_no_success() -> None:
    broker, things = Broker(VirtualClock()), topic()

    @things.subscribe("seen")
    async def see(event: Event) -> None:
        raise KeyboardInterrupt

    async def test() -> None:
        broker.publish(event(1))
        async with consuming(things, broker):
            await settle()

    loop = asyncio.new_event_loop()  # `asyncio.run` takes SIGINT itself
    with pytest.raises(KeyboardInterrupt):
        loop.run_until_complete(test())
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    loop.run_until_complete(asyncio.wait(tasks))
    loop.close()
    assert not broker.acked
