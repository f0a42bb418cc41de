"""The outgoing buffer: batches, retries, bounds, order, cancellation, and the end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from random import Random
from typing import Any

import pytest

from fastlane.errors import Unavailable
from fastlane.pubsub.capabilities import Capabilities
from fastlane.pubsub.envelope import Outgoing
from fastlane.pubsub.provider import BoundTopic, BrokerUnavailable, Publisher, PublishRefused
from fastlane.pubsub.publishing.dispatcher import MOST, Dispatcher
from fastlane.pubsub.publishing.identifiers import uuid7
from fastlane.pubsub.publishing.lanes import Lane, lane_of
from fastlane.resources.configuration import PubSubOptions

CAPABILITIES = Capabilities(
    ordering=True, blocks_key=True, exactly_once=True, exact_attempts=True, ordered_delay=True, batch_size=10
)
ANSWERS = Callable[[Sequence[Outgoing]], Sequence[str | Exception]]


class Gated(Publisher):
    """Confirms what it is told to, when it is told to."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.seen: list[Outgoing] = []
        self.running = 0
        self.most_running = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.arrived = asyncio.Event()
        self.closed = False
        self.answers: list[ANSWERS] = []

    async def publish(self, topic: BoundTopic, messages: Sequence[Outgoing]) -> Sequence[str | Exception]:
        self.calls.append([message.payload.decode() for message in messages])
        self.seen += messages
        self.running += 1
        self.most_running = max(self.running, self.most_running)
        self.arrived.set()
        try:
            await self.gate.wait()
        finally:
            self.running -= 1
        if self.answers:
            return self.answers.pop(0)(messages)
        return [f"broker-{message.id}" for message in messages]

    async def close(self) -> None:
        self.closed = True


def unavailable(messages: Sequence[Outgoing]) -> Sequence[str | Exception]:
    raise BrokerUnavailable("10.0.0.7 does not answer")


def message(text: str, key: str | None = None) -> Outgoing:
    identifier = uuid7()
    return Outgoing(identifier, text.encode(), {}, key, datetime.now(UTC), 0.0, identifier)


def running(
    test: Callable[[Gated, Dispatcher, Lane], Awaitable[None]], *, ordered: bool = False, **options: Any
) -> None:
    async def main() -> None:
        publisher = Gated()
        dispatcher = Dispatcher("events", publisher, CAPABILITIES, PubSubOptions(**options))
        lane = lane_of(BoundTopic(name="t", physical="t", ordered=ordered))
        async with asyncio.timeout(60):
            await test(publisher, dispatcher, lane)
            await dispatcher.close()
        assert dispatcher.outgoing == 0
        assert publisher.closed

    asyncio.run(main())


async def turns(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def test_a_lone_message_goes_at_once_and_alone() -> None:
    async def test(publisher: Gated, dispatcher: Dispatcher, lane: Lane) -> None:
        await dispatcher.publish(lane, message("a"))
        await dispatcher.publish(lane, message("b"))
        assert publisher.calls == [["a"], ["b"]]

    running(test)


def test_what_is_published_while_a_request_is_under_way_goes_together() -> None:
    async def test(publisher: Gated, dispatcher: Dispatcher, lane: Lane) -> None:
        publisher.gate.clear()
        tasks = [asyncio.create_task(dispatcher.publish(lane, message("0")))]
        await turns()
        tasks += [asyncio.create_task(dispatcher.publish(lane, message(str(n)))) for n in range(1, 8)]
        await turns()
        publisher.gate.set()
        await asyncio.gather(*tasks)
        assert publisher.calls == [["0"], ["1", "2", "3", "4", "5", "6", "7"]]

    running(test)


@pytest.mark.parametrize("ordered", [False, True])
def test_what_is_published_in_one_turn_goes_together_again_and_again(ordered: bool) -> None:
    async def test(publisher: Gated, dispatcher: Dispatcher, lane: Lane) -> None:
        async def again_and_again(name: str) -> None:
            for number in range(5):
                await dispatcher.publish(lane, message(f"{name}{number}", name))

        await asyncio.gather(*(again_and_again(name) for name in "abcdefgh"))
        # The first to be woken does not go ahead of the others.
        assert publisher.calls == [[f"{name}{number}" for name in "abcdefgh"] for number in range(5)]

    running(test, ordered=ordered)


def test_full_batches_do_not_wait_for_anybody() -> None:
    async def test(publisher: Gated, dispatcher: Dispatcher, lane: Lane) -> None:
        tasks = [asyncio.create_task(dispatcher.publish(lane, message(str(n)))) for n in range(64)]
        await asyncio.gather(*tasks)
        assert sorted(len(call) for call in publisher.calls) == [4, 10, 10, 10, 10, 10, 10]

    running(test)


def test_a_publish_that_is_cancelled_in_its_turn_is_not_sent_and_those_that_came_along_are() -> None:
    async def test(publisher: Gated, dispatcher: Dispatcher, lane: Lane) -> None:
        first, second = (asyncio.create_task(dispatcher.publish(lane, message(text))) for text in "ab")
        await asyncio.sleep(0)
        first.cancel()
        await second
        assert first.cancelled()
        third = asyncio.create_task(dispatcher.publish(lane, message("c")))
        await asyncio.sleep(0)
        third.cancel()
        await asyncio.wait([third])
        assert dispatcher.outgoing == 0
        await dispatcher.publish(lane, message("d"))
        assert publisher.calls == [["b"], ["d"]]

    running(test)


def test_batches_are_bounded_and_several_are_under_way() -> None:
    async def test(publisher: Gated, dispatcher: Dispatcher, lane: Lane) -> None:
        publisher.gate.clear()
        task = asyncio.create_task(dispatcher.publish_many(lane, [message(str(n)) for n in range(500)]))
        await turns()
        assert publisher.running == MOST
        publisher.gate.set()
        await task
        assert {len(call) for call in publisher.calls} == {10}
        assert publisher.most_running == MOST

    running(test)


def test_a_batch_is_bounded_in_bytes() -> None:
    async def test(publisher: Gated, dispatcher: Dispatcher, lane: Lane) -> None:
        large = "x" * (3 * 1024 * 1024)
        await dispatcher.publish_many(lane, [message(large), message(large), message("y")])
        assert [len(call) for call in publisher.calls] == [1, 2]

    running(test, max_outgoing_bytes="100MiB")


def test_the_same_message_is_sent_again_until_the_broker_takes_it(caplog: pytest.LogCaptureFixture) -> None:
    async def test(publisher: Gated, dispatcher: Dispatcher, lane: Lane) -> None:
        publisher.answers = [unavailable, unavailable]
        await dispatcher.publish(lane, message("a"))
        assert publisher.calls == [["a"]] * 3
        assert len({id(one) for one in publisher.seen}) == 1

    with caplog.at_level(logging.WARNING, "fastlane.pubsub"):
        running(test)
    first, last = caplog.messages
    assert first == "provider 'events' does not take messages, trying again: 10.0.0.7 does not answer"
    assert last == "provider 'events' takes messages again"


def test_only_what_failed_is_sent_again() -> None:
    async def test(publisher: Gated, dispatcher: Dispatcher, lane: Lane) -> None:
        publisher.answers = [lambda messages: ["1", BrokerUnavailable("busy"), "3"]]
        await dispatcher.publish_many(lane, [message("a"), message("b"), message("c")])
        assert publisher.calls == [["a", "b", "c"], ["b"]]

    running(test)


def test_what_the_broker_refuses_is_told_at_once() -> None:
    async def test(publisher: Gated, dispatcher: Dispatcher, lane: Lane) -> None:
        publisher.answers = [lambda messages: [PublishRefused("no such topic")]] * 2
        with pytest.raises(PublishRefused, match="no such topic"):
            await dispatcher.publish(lane, message("a"))
        with pytest.raises(PublishRefused, match="no such topic"):
            await dispatcher.publish_many(lane, [message("b")])
        assert publisher.calls == [["a"], ["b"]]

    running(test)


def test_of_several_the_first_failure_is_told_and_the_others_are_sent() -> None:
    async def test(publisher: Gated, dispatcher: Dispatcher, lane: Lane) -> None:
        publisher.answers = [lambda messages: ["1", PublishRefused("one"), PublishRefused("two"), "4"]]
        with pytest.raises(PublishRefused, match="one"):
            await dispatcher.publish_many(lane, [message(text) for text in "abcd"])

    running(test)


def test_a_mistake_of_the_provider_reaches_the_caller() -> None:
    async def test(publisher: Gated, dispatcher: Dispatcher, lane: Lane) -> None:
        publisher.answers = [lambda messages: [], lambda messages: [ZeroDivisionError("bug")]]
        with pytest.raises(RuntimeError, match="0 answers for 2 messages"):
            await dispatcher.publish_many(lane, [message("a"), message("b")])
        with pytest.raises(ZeroDivisionError):
            await dispatcher.publish(lane, message("c"))

    running(test)


def test_after_the_timeout_it_is_unavailable_and_the_client_learns_nothing_of_the_broker() -> None:
    async def test(publisher: Gated, dispatcher: Dispatcher, lane: Lane) -> None:
        publisher.answers = [unavailable] * 1000
        with pytest.raises(Unavailable) as caught:
            await dispatcher.publish(lane, message("a"))
        assert caught.value.detail == "a message could not be published in time"
        assert str(caught.value.__cause__) == "10.0.0.7 does not answer"
        with pytest.raises(Unavailable):
            await dispatcher.publish_many(lane, [message("b"), message("c")])
        publisher.answers = []

    running(test, publish_timeout=0.2)


def test_each_of_several_has_a_timeout_of_its_own() -> None:
    async def test(publisher: Gated, dispatcher: Dispatcher, lane: Lane) -> None:
        loop = asyncio.get_running_loop()
        publisher.gate.clear()

        async def waited(text: str, pause: float) -> float:
            await asyncio.sleep(pause)
            began = loop.time()
            with pytest.raises(Unavailable):
                await dispatcher.publish(lane, message(text))
            return loop.time() - began

        pauses = [0.0, 0.0, 0.05, 0.15]
        took = await asyncio.gather(*(waited(str(number), pause) for number, pause in enumerate(pauses)))
        assert all(0.49 < each < 10 for each in took), took
        publisher.gate.set()
        await dispatcher.publish(lane, message("after"))

    running(test, publish_timeout=0.5)


@pytest.mark.parametrize("ordered", [False, True])
def test_a_request_that_hangs_ends_with_the_timeout_and_the_lane_goes_on(ordered: bool) -> None:
    async def test(publisher: Gated, dispatcher: Dispatcher, lane: Lane) -> None:
        publisher.gate.clear()
        with pytest.raises(Unavailable):
            await dispatcher.publish(lane, message("a", "k"))
        with pytest.raises(Unavailable):
            await dispatcher.publish_many(lane, [message("b", "k"), message("c", "k")])
        publisher.gate.set()
        await dispatcher.publish(lane, message("d", "k"))
        assert publisher.calls == [["a"], ["b", "c"], ["d"]]

    running(test, ordered=ordered, publish_timeout=0.5)


def test_publishing_waits_while_too_much_is_outgoing() -> None:
    async def test(publisher: Gated, dispatcher: Dispatcher, lane: Lane) -> None:
        publisher.gate.clear()
        tasks = [asyncio.create_task(dispatcher.publish(lane, message(str(n)))) for n in range(6)]
        await turns()
        assert dispatcher.outgoing == 3
        assert sum(map(len, publisher.calls)) == 3
        publisher.gate.set()
        await asyncio.gather(*tasks)
        assert [text for call in publisher.calls for text in call] == ["0", "1", "2", "3", "4", "5"]

    running(test, max_outgoing=3)


def test_bytes_are_bounded_too_and_one_that_is_larger_than_the_room_goes_alone() -> None:
    async def test(publisher: Gated, dispatcher: Dispatcher, lane: Lane) -> None:
        publisher.gate.clear()
        tasks = [asyncio.create_task(dispatcher.publish(lane, message("x" * n))) for n in (60, 60, 500)]
        await turns()
        assert dispatcher.outgoing == 1
        publisher.gate.set()
        await asyncio.gather(*tasks)
        assert [len(call[0]) for call in publisher.calls] == [60, 60, 500]

    running(test, max_outgoing_bytes=100)


def test_who_finds_no_room_in_time_is_turned_away() -> None:
    async def test(publisher: Gated, dispatcher: Dispatcher, lane: Lane) -> None:
        publisher.gate.clear()
        first = asyncio.create_task(dispatcher.publish(lane, message("a")))
        await turns()
        waiting = asyncio.create_task(dispatcher.publish_many(lane, [message("b"), message("c")]))
        with pytest.raises(Unavailable):
            await first
        with pytest.raises(Unavailable, match="too many messages wait"):
            await waiting
        publisher.gate.set()
        await dispatcher.publish(lane, message("d"))

    running(test, max_outgoing=1, publish_timeout=0.5)


def test_a_cancelled_wait_for_room_gives_its_place_away() -> None:
    async def test(publisher: Gated, dispatcher: Dispatcher, lane: Lane) -> None:
        publisher.gate.clear()
        tasks = [asyncio.create_task(dispatcher.publish(lane, message(str(n)))) for n in range(3)]
        await turns()
        tasks[1].cancel()
        publisher.gate.set()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert publisher.calls == [["0"], ["2"]]

    running(test, max_outgoing=1)


def test_a_wait_for_room_that_is_cancelled_when_it_is_let_in_gives_the_room_back() -> None:
    async def test(publisher: Gated, dispatcher: Dispatcher, lane: Lane) -> None:
        publisher.gate.clear()
        first, second = (asyncio.create_task(dispatcher.publish(lane, message(text))) for text in "ab")
        await turns()
        publisher.gate.set()
        while not first.done():
            await asyncio.sleep(0)
        second.cancel()
        await asyncio.wait([second])
        await dispatcher.publish(lane, message("c"))

    running(test, max_outgoing=1)


def test_nobody_overtakes_who_was_let_in_and_did_not_run_yet() -> None:
    async def test(publisher: Gated, dispatcher: Dispatcher, lane: Lane) -> None:
        publisher.gate.clear()
        first, second = (asyncio.create_task(dispatcher.publish(lane, message(text, "k"))) for text in "ab")
        third: list[asyncio.Task[None]] = []
        # It runs in the very turn in which the room of the first one is given to the second.
        first.add_done_callback(lambda done: third.append(_started(dispatcher.publish(lane, message("c", "k")))))
        await turns()
        publisher.gate.set()
        await asyncio.gather(first, second)
        await asyncio.gather(*third)
        assert [text for call in publisher.calls for text in call] == ["a", "b", "c"]

    running(test, ordered=True, max_outgoing=1)


def _started(coroutine: Any) -> asyncio.Task[None]:
    task: asyncio.Task[None] = asyncio.create_task(coroutine)
    return task


def test_a_key_is_sent_in_order_one_request_at_a_time_and_keys_side_by_side() -> None:
    async def test(publisher: Gated, dispatcher: Dispatcher, lane: Lane) -> None:
        publisher.gate.clear()
        tasks = [
            asyncio.create_task(dispatcher.publish(lane, message(f"{key}{n}", key))) for n in range(3) for key in "ab"
        ]
        await turns()
        assert publisher.calls == [["a0", "a1", "a2", "b0", "b1", "b2"]]
        tasks += [asyncio.create_task(dispatcher.publish(lane, message(text, text[0]))) for text in ("a3", "c0")]
        await turns()
        assert publisher.calls[1:] == [["c0"]]
        publisher.gate.set()
        await asyncio.gather(*tasks)
        assert publisher.calls[2:] == [["a3"]]

    running(test, ordered=True)


def test_behind_a_failure_the_key_waits_and_other_keys_do_not() -> None:
    async def test(publisher: Gated, dispatcher: Dispatcher, lane: Lane) -> None:
        publisher.answers = [lambda messages: [BrokerUnavailable("busy")] * 2]
        first = asyncio.create_task(dispatcher.publish_many(lane, [message("a0", "a"), message("a1", "a")]))
        await publisher.arrived.wait()
        await turns()
        later = asyncio.create_task(dispatcher.publish(lane, message("a2", "a")))
        await dispatcher.publish(lane, message("b0", "b"))
        assert publisher.calls == [["a0", "a1"], ["b0"]]
        await asyncio.gather(first, later)
        assert publisher.calls[2:] == [["a0", "a1"], ["a2"]]

    running(test, ordered=True)


def test_a_key_with_more_than_a_batch_keeps_its_order() -> None:
    async def test(publisher: Gated, dispatcher: Dispatcher, lane: Lane) -> None:
        texts = [f"{key}{n:02}" for key in "abc" for n in range(25)]
        await dispatcher.publish_many(lane, [message(text, text[0]) for text in texts])
        sent = [text for call in publisher.calls for text in call]
        assert sorted(sent) == texts
        for key in "abc":
            of_key = [text for text in sent if text[0] == key]
            assert of_key == sorted(of_key)
        assert all(len(call) <= 10 for call in publisher.calls)

    running(test, ordered=True)


@pytest.mark.parametrize("ordered", [False, True])
def test_a_cancelled_publish_that_waits_is_not_sent_and_the_lane_goes_on(ordered: bool) -> None:
    async def test(publisher: Gated, dispatcher: Dispatcher, lane: Lane) -> None:
        publisher.gate.clear()
        tasks = [asyncio.create_task(dispatcher.publish(lane, message("0", "k")))]
        await turns()
        if not ordered:  # the requests of a topic that may run side by side
            tasks += [asyncio.create_task(dispatcher.publish(lane, message("x", "k"))) for _ in range(3)]
            for _ in range(3):
                await turns()
        waiting = asyncio.create_task(dispatcher.publish_many(lane, [message("1", "k"), message("2", "k")]))
        waiting.cancel()
        last = asyncio.create_task(dispatcher.publish(lane, message("3", "k")))
        await turns()
        waiting.cancel()
        publisher.gate.set()
        await asyncio.gather(*tasks, last)
        sent = [text for call in publisher.calls for text in call]
        assert sent[0] == "0"
        assert sent[-1] == "3"
        assert "1" not in sent

    running(test, ordered=ordered)


@pytest.mark.parametrize("ordered", [False, True])
def test_a_cancelled_publish_under_way_does_not_hold_the_key(ordered: bool) -> None:
    async def test(publisher: Gated, dispatcher: Dispatcher, lane: Lane) -> None:
        publisher.gate.clear()
        first = asyncio.create_task(dispatcher.publish(lane, message("a", "k")))
        await turns()
        first.cancel()
        await asyncio.wait([first])
        assert first.cancelled()
        # Of an ordered topic the request goes on: the next of its key has to wait for what becomes of it.
        assert publisher.running == int(ordered)
        second = asyncio.create_task(dispatcher.publish(lane, message("b", "k")))
        await turns()
        publisher.gate.set()
        await second
        assert publisher.calls == [["a"], ["b"]]

    running(test, ordered=ordered)


def test_a_cancelled_publish_whose_request_hangs_frees_its_key_after_the_timeout() -> None:
    async def test(publisher: Gated, dispatcher: Dispatcher, lane: Lane) -> None:
        publisher.gate.clear()
        first = asyncio.create_task(dispatcher.publish_many(lane, [message("a", "k")]))
        await turns()
        first.cancel()
        await asyncio.wait([first])
        while publisher.running:
            await asyncio.sleep(0.01)
        publisher.gate.set()
        await dispatcher.publish(lane, message("b", "k"))

    running(test, ordered=True, publish_timeout=0.5)


def test_the_timeout_of_several_starts_anew_with_each_that_is_confirmed() -> None:
    async def test(publisher: Gated, dispatcher: Dispatcher, lane: Lane) -> None:
        async def slow(topic: BoundTopic, messages: Sequence[Outgoing]) -> Sequence[str | Exception]:
            await asyncio.sleep(0.3)
            return ["id"] * len(messages)

        publisher.publish = slow  # type: ignore[method-assign]
        await dispatcher.publish_many(lane, [message(str(n), "k") for n in range(50)])

    running(test, ordered=True, publish_timeout=1)


def test_closing_waits_for_what_is_under_way_and_lets_nothing_in() -> None:
    async def test(publisher: Gated, dispatcher: Dispatcher, lane: Lane) -> None:
        publisher.gate.clear()
        tasks = [asyncio.create_task(dispatcher.publish(lane, message(str(n)))) for n in range(3)]
        await turns()
        closing = asyncio.create_task(dispatcher.close())
        await turns()
        with pytest.raises(Unavailable, match="the app stops"):
            await dispatcher.publish(lane, message("late"))
        assert not closing.done()
        publisher.gate.set()
        await asyncio.gather(closing, *tasks)

    running(test)


def test_closing_does_not_wait_for_ever() -> None:
    async def test(publisher: Gated, dispatcher: Dispatcher, lane: Lane) -> None:
        publisher.answers = [unavailable] * 1000
        task = asyncio.create_task(dispatcher.publish_many(lane, [message("a", "k")]))
        await turns()
        await dispatcher.close()
        with pytest.raises(Unavailable):
            await task

    running(test, ordered=True, publish_timeout=0.2)


def test_nothing_is_asked_for_no_messages() -> None:
    async def test(publisher: Gated, dispatcher: Dispatcher, lane: Lane) -> None:
        await dispatcher.publish_many(lane, [])
        assert publisher.calls == []

    running(test)


class Moody(Publisher):
    """Takes what it likes; of a key nothing behind what it did not take."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.taken: list[str] = []
        self.busy: set[str] = set()

    async def publish(self, topic: BoundTopic, messages: Sequence[Outgoing]) -> Sequence[str | Exception]:
        keys = {message.ordering_key or "" for message in messages}
        if topic.ordered:
            assert not keys & self.busy, "two requests with one key"
            self.busy |= keys
        try:
            if self.random.random() < 0.05:
                await asyncio.sleep(60)
            await asyncio.sleep(self.random.random() * 0.003)
            failing: set[str] = set()
            answers: list[str | Exception] = []
            for message in messages:
                key, mood = message.ordering_key or "", self.random.random()
                if key in failing or mood < 0.1:
                    failing.add(key if topic.ordered else "nobody")
                    answers.append(BrokerUnavailable("mood"))
                elif Random(message.payload).random() < 0.05:  # for good: always the same ones
                    answers.append(PublishRefused("mood"))
                else:
                    self.taken.append(message.payload.decode())
                    answers.append("id")
            if self.random.random() < 0.05:
                raise BrokerUnavailable("taken, and not confirmed")
            return answers
        finally:
            if topic.ordered:
                self.busy -= keys


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("ordered", [False, True])
def test_whatever_happens_everybody_gets_an_answer_and_keys_keep_their_order(seed: int, ordered: bool) -> None:
    random = Random(seed)
    publisher = Moody(random)
    confirmed: list[str] = []
    outcomes: list[str] = []
    several: set[str] = set()

    async def one(dispatcher: Dispatcher, lane: Lane, texts: list[str]) -> None:
        messages = [message(text, text[0]) for text in texts]
        try:
            if len(messages) == 1:
                await dispatcher.publish(lane, messages[0])
            else:
                await dispatcher.publish_many(lane, messages)
        except (Unavailable, PublishRefused, asyncio.CancelledError) as error:
            outcomes.append(type(error).__name__)
        else:
            confirmed.extend(texts)
            outcomes.append("confirmed")

    async def main() -> None:
        options = PubSubOptions(publish_timeout=0.3, max_outgoing=40)
        dispatcher = Dispatcher("moody", publisher, CAPABILITIES, options)
        lane = lane_of(BoundTopic(name="t", physical="t", ordered=ordered))
        tasks = []
        async with asyncio.timeout(90):
            for number in range(150):
                key = random.choice("abcd")
                texts = [f"{key}{number:04}{n}" for n in range(random.choice((1, 1, 1, 5)))]
                if len(texts) > 1:
                    several.update(texts)
                tasks.append(asyncio.create_task(one(dispatcher, lane, texts)))
                if random.random() < 0.3:
                    await asyncio.sleep(random.random() * 0.005)
                if random.random() < 0.1:
                    random.choice(tasks).cancel()
            await asyncio.wait(tasks)
            await dispatcher.close()
        assert dispatcher.outgoing == 0

    asyncio.run(main())
    assert len(outcomes) >= 140  # a task that was cancelled before it began has none
    assert confirmed
    assert set(confirmed) <= set(publisher.taken)
    if ordered:
        for key in "abcd":
            firsts = list(dict.fromkeys(text for text in publisher.taken if text[0] == key))
            # Of several that wait for room, a single one may come in between.
            singles = [text for text in firsts if text not in several]
            assert singles == sorted(singles)
            for text in firsts:
                together = [one for one in firsts if one[:5] == text[:5]]
                assert together == sorted(together)
