from __future__ import annotations

import asyncio
import threading
import time
from datetime import UTC, datetime
from typing import Annotated, TypeVar

import pytest
from msgspec import Struct

from fastlane.errors import Unavailable
from fastlane.pubsub import Attribute, Batch, Message, MessageTooLarge, Reject, Retry
from fastlane.pubsub.consumption import consumption
from tests.conformance.stage import Stage

pytestmark = pytest.mark.anyio

T = TypeVar("T")


class Event(Struct):
    number: int
    key: str = ""
    country: Annotated[str, Attribute()] = "se"


def quick(stage: Stage, attempts: int | None = 10) -> Retry:
    least = stage.broker.least_backoff
    return Retry(min_backoff=least, max_backoff=4 * least, max_attempts=attempts)


def handled(stage: Stage, got: list[T]) -> list[T]:
    """What was handled, sorted: exactly, but where the broker may hand out one message twice, each once."""
    return sorted(set(got) if stage.broker.repeats else got)


async def test_a_message_arrives_with_all_that_is_known_of_it(stage: Stage) -> None:
    topic = stage.topic(Event)
    got: list[Message[Event]] = []

    @topic.subscribe("all")
    async def handle(message: Message[Event]) -> None:
        got.append(message)

    async with stage.running(topic) as app:
        before = datetime.now(UTC)
        identifier = await topic.publish(Event(1, country="Île-de-France ✓"), attributes={"trace": "a b=c;%"})
        await app.until(lambda: got)
        (message,) = got
        assert message.id == identifier
        assert message.value == Event(1, country="Île-de-France ✓")
        assert message.attributes == {"country": "Île-de-France ✓", "trace": "a b=c;%"}
        assert message.attempt == 1
        assert abs((message.published_at - before).total_seconds()) < 60
        assert message.published_at.tzinfo is not None
        assert message.broker_id
        await app.quiet()
        assert len(got) == 1


async def test_every_subscription_gets_every_message(stage: Stage) -> None:
    topic = stage.topic(Event)
    one: list[int] = []
    two: list[int] = []

    @topic.subscribe("one")
    async def first(event: Event) -> None:
        one.append(event.number)

    @topic.subscribe("two")
    def second(event: Event) -> None:  # in a thread
        assert threading.current_thread() is not threading.main_thread()
        two.append(event.number)

    async with stage.running(topic) as app:
        await topic.publish_many([Event(number) for number in range(50)])
        await app.until(lambda: len(set(one)) == 50 and len(set(two)) == 50, 3 * stage.broker.pace)
    assert handled(stage, one) == handled(stage, two) == list(range(50))


async def test_two_workers_share_the_messages_of_a_subscription(stage: Stage) -> None:
    if stage.broker.kind == "memory":
        pytest.skip("the broker in memory has one process")
    topic = stage.topic(Event)
    got: list[int] = []

    @topic.subscribe("shared")
    async def handle(event: Event) -> None:
        got.append(event.number)

    async with stage.running(topic, index=0, workers=2) as app, stage.running(topic, index=1, workers=2):
        await topic.publish_many([Event(number) for number in range(100)])
        await app.until(lambda: len(set(got)) == 100, 3 * stage.broker.pace)
        await app.quiet()
    assert handled(stage, got) == list(range(100))


async def test_a_failed_message_comes_again_with_backoff_and_its_attempts_count(stage: Stage) -> None:
    topic = stage.topic(Event)
    attempts: list[int] = []
    times: list[float] = []

    @topic.subscribe("flaky", retry=quick(stage))
    async def handle(message: Message[Event]) -> None:
        attempts.append(message.attempt)
        times.append(time.monotonic())
        if len(attempts) < 3:
            raise ValueError("not yet")

    async with stage.running(topic) as app:
        await topic.publish(Event(1))
        await app.until(lambda: len(attempts) == 3, 3 * stage.broker.pace)
        await app.quiet()
    assert attempts == [1, 2, 3]
    if stage.broker.kind != "memory":
        assert times[1] - times[0] >= stage.broker.least_backoff * 0.9
        assert times[2] - times[1] >= stage.broker.least_backoff * 1.8


async def test_after_the_last_attempt_it_is_among_the_dead_letters_and_can_be_replayed(stage: Stage) -> None:
    topic = stage.topic(Event)
    attempts: list[int] = []
    others: list[int] = []
    broken = True

    @topic.subscribe("broken", retry=quick(stage, 2))
    async def handle(message: Message[Event]) -> None:
        attempts.append(message.attempt)
        if broken:
            raise ValueError(f"no such\nuser: {message.value.number}")

    @topic.subscribe("other")
    async def other(event: Event) -> None:
        others.append(event.number)

    async with stage.running(topic) as app, app.administrator() as administrator:
        identifier = await topic.publish(Event(7), attributes={"trace": "x"})
        bound = app.bound(topic, "broken")
        await app.until(lambda: len(attempts) == 2, 3 * stage.broker.pace)
        letters = await dead_letters(stage, app, administrator, bound)
        (letter,) = letters
        assert letter.id == identifier
        assert (letter.reason, letter.attempt, letter.source) == ("attempts", 2, f"{topic.name}/broken")
        assert letter.error == "ValueError: no such user: 7"
        assert letter.attributes == {"country": "se", "trace": "x"}
        broken = False
        assert await administrator.replay(bound, None, 10) == 1
        await app.until(lambda: len(attempts) == 3, 3 * stage.broker.pace)
        await app.quiet()
        assert len(attempts) == 3
        assert attempts[2] == 1
        assert others == [7]


async def dead_letters(stage: Stage, app: object, administrator: object, bound: object) -> list[object]:
    end = time.monotonic() + 2 * stage.broker.pace
    while True:
        letters = list(await administrator.dead_letters(bound, 10))  # type: ignore[attr-defined]
        if letters or time.monotonic() > end:
            return letters
        await app.quiet(0.2)  # type: ignore[attr-defined]


async def test_what_is_rejected_is_dead_at_once_and_can_be_purged(stage: Stage) -> None:
    topic = stage.topic(Event)
    attempts: list[int] = []

    @topic.subscribe("picky", retry=quick(stage))
    async def handle(message: Message[Event]) -> None:
        attempts.append(message.attempt)
        raise Reject("not ours")

    async with stage.running(topic) as app, app.administrator() as administrator:
        await topic.publish(Event(1))
        await app.until(lambda: attempts)
        bound = app.bound(topic, "picky")
        (letter,) = await dead_letters(stage, app, administrator, bound)
        assert letter.reason == "rejected"
        assert "not ours" in letter.error
        assert await administrator.purge(bound, None, 10) == 1
        await app.quiet()
        assert list(await administrator.dead_letters(bound, 10)) == []
        assert attempts == [1]


async def test_what_can_not_be_decoded_is_tried_three_times_and_then_dead(stage: Stage) -> None:
    topic = stage.topic(Event)
    called: list[Event] = []

    @topic.subscribe("all", retry=quick(stage))
    async def handle(event: Event) -> None:
        called.append(event)

    async with stage.running(topic) as app, app.administrator() as administrator:
        await topic.publish(Event("seven"))  # type: ignore[arg-type]  # msgspec looks at types when it decodes
        letters: list[object] = []

        end = time.monotonic() + 6 * stage.broker.pace
        while not letters and time.monotonic() < end:
            await app.quiet(0.2)
            letters = list(await administrator.dead_letters(app.bound(topic, "all"), 10))
        (letter,) = letters
        assert (letter.reason, letter.attempt) == ("decode", 3)
        assert letter.payload == b'{"number":"seven","key":"","country":"se"}'
        assert called == []


async def test_a_handler_that_outlives_the_deadline_keeps_its_message(stage: Stage) -> None:
    topic = stage.topic(Event)
    attempts: list[int] = []
    done: list[int] = []

    @topic.subscribe("slow", ack_deadline=stage.broker.ack_deadline)
    async def handle(message: Message[Event]) -> None:
        attempts.append(message.attempt)
        await asyncio.sleep(stage.broker.longer)
        done.append(message.value.number)

    async with stage.running(topic) as app:
        await topic.publish(Event(1))
        await app.until(lambda: done, 60.0)
        await app.quiet(stage.broker.ack_deadline + 0.5)
    assert attempts == [1]
    assert done == [1]


async def test_one_that_computes_without_a_pause_does_so_too(stage: Stage) -> None:
    if stage.broker.kind == "memory":
        pytest.skip("the broker in memory lives on the event loop of the handlers")
    topic = stage.topic(Event)
    attempts: list[int] = []
    published = asyncio.Event()

    @topic.subscribe("computing", ack_deadline=stage.broker.ack_deadline)
    async def handle(message: Message[Event]) -> None:
        attempts.append(message.attempt)
        await published.wait()  # the broker's answer to that needs the event loop, too
        time.sleep(stage.broker.longer)  # the event loop stands still

    async with stage.running(topic) as app:
        await topic.publish(Event(1))
        published.set()
        await app.until(lambda: attempts, 60.0)
        await app.quiet(stage.broker.ack_deadline + 0.5)
    assert attempts == [1]


async def test_no_more_handlers_run_than_may(stage: Stage) -> None:
    topic = stage.topic(Event)
    running = most = 0
    done: set[int] = set()
    full = asyncio.Event()

    @topic.subscribe("bounded", max_concurrency=3)
    async def handle(event: Event) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        if running == 3:
            full.set()
        await full.wait()
        await asyncio.sleep(0.02)
        running -= 1
        done.add(event.number)

    async with stage.running(topic) as app:
        await topic.publish_many([Event(number) for number in range(30)])
        await app.until(full.is_set)
        await app.until(lambda: len(done) == 30, 3 * stage.broker.pace)
    assert most == 3


async def test_filters_look_at_attributes(stage: Stage) -> None:
    topic = stage.topic(Event)
    swedish: list[int] = []
    either: list[int] = []

    @topic.subscribe("swedish", filter={"country": "se"})
    async def handle_swedish(event: Event) -> None:
        swedish.append(event.number)

    @topic.subscribe("either", filter={"country": ["no", "fi"]})
    async def handle_either(event: Event) -> None:
        either.append(event.number)

    async with stage.running(topic) as app:
        countries = ["se", "no", "fi", "dk"]
        await topic.publish_many([Event(number, country=countries[number % 4]) for number in range(20)])
        await app.until(lambda: len(set(swedish)) >= 5 and len(set(either)) >= 10, 3 * stage.broker.pace)
        await app.quiet()
    assert handled(stage, swedish) == [0, 4, 8, 12, 16]
    assert handled(stage, either) == [number for number in range(20) if number % 4 in (1, 2)]


async def test_a_batch_handler_takes_lists_and_marks_each(stage: Stage) -> None:
    topic = stage.topic(Event)
    batches: list[int] = []
    done: list[int] = []

    @topic.subscribe("batched", batch=Batch(size=10, wait=0.2), retry=quick(stage))
    async def handle(messages: list[Message[Event]]) -> None:
        batches.append(len(messages))
        for message in messages:
            if message.value.number == 3 and message.attempt == 1:
                message.retry()
            elif message.value.number == 4:
                message.reject("never")
            else:
                done.append(message.value.number)

    async with stage.running(topic) as app, app.administrator() as administrator:
        await topic.publish_many([Event(number) for number in range(20)])
        await app.until(lambda: len(set(done)) >= 19, 3 * stage.broker.pace)
        letters = await dead_letters(stage, app, administrator, app.bound(topic, "batched"))
        assert handled(stage, [(letter.payload, letter.reason) for letter in letters]) == [
            (b'{"number":4,"key":"","country":"se"}', "rejected")
        ]
    assert handled(stage, done) == [number for number in range(20) if number != 4]
    assert max(batches) <= 10
    assert max(batches) > 1


async def test_an_exception_retries_the_whole_batch(stage: Stage) -> None:
    topic = stage.topic(Event)
    batches: list[list[int]] = []

    @topic.subscribe("batched", batch=Batch(size=5, wait=0.3), retry=quick(stage))
    async def handle(events: list[Event]) -> None:
        batches.append(sorted(event.number for event in events))
        if len(batches) == 1:
            raise ValueError

    async with stage.running(topic) as app:
        await topic.publish_many([Event(number) for number in range(3)])
        await app.until(lambda: {n for batch in batches[1:] for n in batch} == {0, 1, 2}, 3 * stage.broker.pace)
        await app.quiet()
    # Those of the first batch twice, and those that came too late for it once.
    assert sorted(number for batch in batches for number in batch) == sorted([0, 1, 2, *batches[0]])


async def test_a_delayed_message_waits(stage: Stage) -> None:
    topic = stage.topic(Event)
    times: dict[int, float] = {}

    @topic.subscribe("all")
    async def handle(event: Event) -> None:
        times[event.number] = time.monotonic()

    async with stage.running(topic) as app:
        started = time.monotonic()
        await topic.publish(Event(1), delay=3)
        await topic.publish(Event(2))
        await app.until(lambda: len(times) == 2, 2 * stage.broker.pace)
    if stage.broker.kind != "memory":
        assert times[1] - started >= 2.9
        assert times[2] - started < times[1] - started


async def test_a_delay_beyond_the_broker_s_is_refused(stage: Stage) -> None:
    longest = stage.broker.capabilities.max_delay
    if longest is None:
        pytest.skip("it has none")
    topic = stage.topic(Event)
    async with stage.running(topic, consume=False):
        with pytest.raises(ValueError, match="delay"):
            await topic.publish(Event(1), delay=longest + 1)


async def test_the_size_of_a_message_is_bounded_before_it_is_sent(stage: Stage) -> None:
    class Text(Struct):
        text: str

    topic = stage.topic(Text)
    got: list[int] = []

    @topic.subscribe("all")
    async def handle(event: Text) -> None:
        got.append(len(event.text))

    async with stage.running(topic) as app:
        with pytest.raises(MessageTooLarge):
            await topic.publish(Text("x" * 262_144))
        await topic.publish(Text(""))
        await topic.publish(Text("å" * 130_000))
        await app.until(lambda: sorted(got) == [0, 130_000], 2 * stage.broker.pace)


async def test_any_text_survives(stage: Stage) -> None:
    class Text(Struct):
        text: str

    topic = stage.topic(Text)
    got: list[str] = []

    @topic.subscribe("all")
    async def handle(event: Text) -> None:
        got.append(event.text)

    texts = ["", "\x00\x01\x1f", "\ufffe\uffff", "</a>&", "\U0001f600", "\r\n\t", '"\\"', "\x7f\x85\u2028"]
    async with stage.running(topic) as app:
        await topic.publish_many([Text(text) for text in texts])
        await app.until(lambda: len(set(got)) == len(texts))
    assert handled(stage, got) == sorted(texts)


async def test_drain_finishes_what_runs_and_hands_back_the_rest_without_an_attempt(stage: Stage) -> None:
    if stage.broker.kind == "memory":
        pytest.skip("the broker in memory ends with its app")
    topic = stage.topic(Event)
    started: list[int] = []
    done: list[int] = []
    attempts: list[int] = []
    slow = True

    @topic.subscribe("all", max_concurrency=4, ack_deadline=30)
    async def handle(message: Message[Event]) -> None:
        started.append(message.value.number)
        attempts.append(message.attempt)
        if slow:
            await asyncio.sleep(1.0)
        done.append(message.value.number)

    async with stage.running(topic) as app:
        await topic.publish_many([Event(number) for number in range(12)])
        await app.until(lambda: len(started) >= 4)
        await app.drain(10.0)
        assert sorted(done) == sorted(started)
        first = len(set(done))
    slow = False
    async with stage.running(topic) as app:
        # Not after the lease of 30 s: what was not started was handed back.
        await app.until(lambda: len(set(done)) == 12, stage.broker.pace)
        await app.quiet()
    assert handled(stage, done) == list(range(12))
    assert first < 12
    if stage.broker.capabilities.exact_attempts:
        assert set(attempts) == {1}


async def test_drain_cancels_at_its_end_and_hands_back(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    if stage.broker.kind == "memory":
        pytest.skip("the broker in memory ends with its app")
    # A worker has half a second for its last calls, which a broker on a busy machine may take.
    monkeypatch.setattr(consumption, "_LAST_CALLS", 10.0)
    topic = stage.topic(Event)
    started: list[int] = []
    done: list[int] = []
    stuck = True

    @topic.subscribe("all", ack_deadline=30, retry=quick(stage, 1))
    async def handle(event: Event) -> None:
        started.append(event.number)
        if stuck:
            await asyncio.sleep(60)
        done.append(event.number)

    async with stage.running(topic) as app:
        await topic.publish(Event(1))
        await app.until(lambda: started)
        began = time.monotonic()
        await app.drain(0.3)
        assert time.monotonic() - began < 20  # not the 60 s of the handler
    stuck = False
    async with stage.running(topic) as app:
        await app.until(lambda: done)  # a shutdown is no failure: max_attempts=1 was not reached
    assert done == [1]


async def test_publishing_waits_for_a_broker_that_is_away_and_consuming_goes_on_when_it_is_back(stage: Stage) -> None:
    topic = stage.topic(Event)
    got: list[int] = []

    @topic.subscribe("all")
    async def handle(event: Event) -> None:
        got.append(event.number)

    async with stage.running(topic, publish_timeout=60) as app:
        await topic.publish(Event(1))
        await app.until(lambda: got == [1])
        async with stage.broker.away():
            publishing = [asyncio.ensure_future(topic.publish(Event(number))) for number in range(2, 6)]
            await asyncio.sleep(1.0)
            assert not any(task.done() for task in publishing)
        await asyncio.gather(*publishing)
        await app.until(lambda: set(got) == {1, 2, 3, 4, 5}, 40)


async def test_a_publish_that_is_not_confirmed_in_time_is_unavailable(stage: Stage) -> None:
    topic = stage.topic(Event)
    async with stage.running(topic, consume=False, publish_timeout=1):
        async with stage.broker.away():
            began = time.monotonic()
            with pytest.raises(Unavailable):
                await topic.publish(Event(1))
            assert 0.5 < time.monotonic() - began < 9  # not the 10 s of a usual publish
        end = time.monotonic() + 2 * stage.broker.pace
        while True:
            try:
                await topic.publish(Event(2))
                break
            except Unavailable:
                assert time.monotonic() < end, "it does not come back"
